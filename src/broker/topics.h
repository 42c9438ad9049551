// Topics: describe, create and delete topics. Lives on its core; asks the homes of light topics where the catalog has no answer.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <vector>

#include "broker/broker.h"
#include "broker/declare_options.h"
#include "broker/locate.h"
#include "broker/options.h"
#include "broker/topic_rules.h"
#include "meta/meta.h"

namespace robustmq::broker {

class Topics {
 public:
  Topics(runtime::Core& core, meta::Meta& meta, LightTopics& lights, Streams& streams, const BrokerOptions& options,
         const TopicRules& rules, DeclareMetrics& declared)
      : core_(core), meta_(meta), lights_(lights), streams_(streams), options_(options), rules_(rules), declared_(declared) {}
  void set_peers(std::vector<Topics*> peers) { peers_ = std::move(peers); }

  void describe(DescribeTopics request, ReplyTo done);
  void create(CreateTopics request, ReplyTo done);
  void remove(DeleteTopics request, ReplyTo done);
  // topic_changes.cc
  void grow(GrowTopics request, ReplyTo done);
  void configure(ConfigureTopics request, ReplyTo done);
  // Why a stream of that name cannot be a rule for the filter, as far as this core knows; ok: it can.
  Status check_rule(std::string_view name, const std::string& filter) const;
  // Makes the streams of the topic rules that are missing; at start, and when one was deleted.
  void create_rule_streams(Callback<void(Status)> done);

 private:
  using Described = Callback<void(DescribedTopic)>;
  TopicFacts facts_of(const meta::Topic& topic) const;
  TopicFacts facts_of(const LightTopic& topic) const;
  void describe_one(const TopicRef& topic, bool auto_create, bool with_unstored, Described done);
  void describe_light(const TopicRef& topic, Described done);
  DescribedTopic light_row(const TopicRef& topic);
  void create_one(const CreateTopics::One& wanted, bool validate_only, Callback<void(CreatedTopic)> done);
  void grow_one(const GrowTopics::One& wanted, bool validate_only, Callback<void(GrownTopics::One)> done);
  void configure_one(const ConfigureTopics::One& wanted, bool validate_only, Callback<void(ConfiguredTopics::One)> done);
  void create_made(meta::Topic topic, CreatedTopic row, Callback<void(CreatedTopic)> done);
  // topic_modes.cc: on core 0; one at a time for each topic.
  struct ModeChange;
  void change_mode(std::shared_ptr<ModeChange> change);
  void run_mode_change(const std::shared_ptr<ModeChange>& change);
  void end_mode_change(const std::shared_ptr<ModeChange>& change, Result<std::shared_ptr<const meta::Topic>> result);
  void on_all_streams(Callback<void(Streams&, Callback<void(Status)>)> ask, Callback<void(Status)> done);
  void make(meta::Topic topic, Callback<void(Result<std::shared_ptr<const meta::Topic>>)> done);
  void open_all(std::shared_ptr<const meta::Topic> topic, Callback<void(Status)> done);

  runtime::Core& core_;
  meta::Meta& meta_;
  LightTopics& lights_;
  Streams& streams_;
  const BrokerOptions& options_;
  const TopicRules& rules_;
  DeclareMetrics& declared_;
  std::vector<Topics*> peers_;
  std::map<TopicId, std::deque<std::shared_ptr<ModeChange>>> mode_changes_;  // the first is under way
};

}  // namespace robustmq::broker
