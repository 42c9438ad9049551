#include "broker/topics.h"

#include <utility>

#include "base/topic_names.h"
#include "broker/gathering.h"
#include "meta/topic_filters.h"

namespace robustmq::broker {
namespace {

Status apply(meta::TopicConfig& config, const std::vector<std::pair<std::string, std::string>>& settings) {
  std::vector<meta::SettingChange> changes;
  for (const auto& [name, text] : settings) changes.push_back({name, text});
  if (Status status = meta::apply_settings(config, changes); !status.ok()) return status;
  if (!meta::is_built(config.mode)) {
    return Error{Code::invalid_config,
                 "mode " + std::string(enum_name(config.mode)) + " is not built yet; use memory, hybrid or persistent"};
  }
  if (config.mode == meta::Mode::none)
    return Error{Code::invalid_config, "a stream stores its records: use mode memory, hybrid or persistent"};
  return {};
}

}  // namespace

TopicFacts Topics::facts_of(const meta::Topic& topic) const {
  TopicFacts facts;
  facts.name = topic.name;
  facts.id = topic.id;
  facts.mode = enum_name(topic.config.mode);
  facts.leader_epoch = static_cast<LeaderEpoch>(meta_.starts());
  facts.partitions = topic.partitions;
  facts.mqtt_filter = topic.mqtt_filter;
  facts.is_rule = topic.is_rule;
  for (meta::SettingRow& row : meta::settings_of(topic.config))
    facts.settings.push_back({std::move(row.name), std::move(row.value), row.is_default});
  return facts;
}

TopicFacts Topics::facts_of(const LightTopic& topic) const {
  meta::Topic as_stream;
  as_stream.name = kafka_name_of_mqtt(topic.name());
  as_stream.id = topic.id;
  as_stream.config = lights_.config_of(topic);
  TopicFacts facts = facts_of(as_stream);
  facts.mqtt_name = topic.name();
  facts.is_light = true;
  return facts;
}

DescribedTopic Topics::light_row(const TopicRef& topic) {
  const bool by_id = !topic.id.is_zero();
  const LightTopic* light = by_id ? lights_.find(topic.id) : lights_.find_by_kafka_name(topic.name);
  if (light) return {Code::ok, facts_of(*light)};
  DescribedTopic missing{by_id ? Code::unknown_topic_id : Code::unknown_topic, {}};
  missing.facts.name = topic.name;
  missing.facts.id = topic.id;
  return missing;
}

void Topics::describe_light(const TopicRef& topic, Described done) {
  const CoreIndex home = topic.id.is_zero() ? static_cast<CoreIndex>(slot_of(kDefaultTenant, topic.name) % core_.count())
                                            : static_cast<CoreIndex>(slot_of_light(topic.id) % core_.count());
  if (home == core_.index()) return done(light_row(topic));
  Topics* peer = peers_[home];
  core_.send(home, [peer, topic, back = core_.index(), done = std::move(done)]() mutable {
    peer->core_.send(back, [done = std::move(done), row = peer->light_row(topic)]() mutable { done(std::move(row)); });
  });
}

void Topics::describe_one(const TopicRef& topic, bool auto_create, bool with_unstored, Described done) {
  const auto stream = topic.id.is_zero() ? meta_.find(kDefaultTenant, topic.name) : meta_.find(topic.id);
  if (stream && (with_unstored || stream->config.mode != meta::Mode::none)) return done({Code::ok, facts_of(*stream)});
  if (stream) {
    DescribedTopic unstored{topic.id.is_zero() ? Code::unknown_topic : Code::unknown_topic_id, {}};
    unstored.facts.name = topic.name;
    unstored.facts.id = topic.id;
    return done(std::move(unstored));
  }
  if (topic.id.is_zero() && !is_valid_stream_name(topic.name)) {
    DescribedTopic refused{Code::invalid_topic, {}};
    refused.facts.name = topic.name;
    return done(std::move(refused));
  }
  describe_light(topic, [this, topic, auto_create, done = std::move(done)](DescribedTopic row) mutable {
    if (row.code != Code::unknown_topic || !auto_create || !options_.auto_create_topics) return done(std::move(row));
    meta::Topic made;
    made.name = topic.name;
    made.partitions = options_.default_partitions;
    make(std::move(made), [this, topic, done = std::move(done)](Result<std::shared_ptr<const meta::Topic>> result) mutable {
      if (result) return done({Code::ok, facts_of(**result)});
      DescribedTopic row{result.code(), {}};
      row.facts.name = topic.name;
      // Somebody else made it meanwhile.
      if (result.code() == Code::topic_exists) {
        if (const auto there = meta_.find(kDefaultTenant, topic.name)) row = {Code::ok, facts_of(*there)};
      }
      done(std::move(row));
    });
  });
}

void Topics::describe(DescribeTopics request, ReplyTo done) {
  auto gathering = std::make_shared<Gathering<DescribedTopics>>();
  gathering->done = std::move(done);
  if (request.all) {
    for (const auto& topic : meta_.list(kDefaultTenant)) {
      if (request.with_unstored || topic->config.mode != meta::Mode::none)
        gathering->whole.topics.push_back({Code::ok, facts_of(*topic)});
    }
    if (request.with_light) {
      gathering->waiting += peers_.size();
      for (Topics* peer : peers_) {
        core_.send(peer->core_.index(), [this, peer, gathering]() mutable {
          std::vector<DescribedTopic> rows;
          // One whose name a stream has meanwhile is found by its id alone.
          peer->lights_.for_each([&](const LightTopic& topic) {
            DescribedTopic row{Code::ok, peer->facts_of(topic)};
            if (!peer->meta_.find(kDefaultTenant, row.facts.name)) rows.push_back(std::move(row));
          });
          peer->core_.send(core_.index(), [gathering = std::move(gathering), rows = std::move(rows)]() mutable {
            for (auto& row : rows) gathering->whole.topics.push_back(std::move(row));
            gathering->finish_one();
          });
        });
      }
    }
    return gathering->finish_one();
  }
  gathering->whole.topics.resize(request.topics.size());
  gathering->waiting += request.topics.size();
  for (size_t i = 0; i < request.topics.size(); ++i) {
    describe_one(request.topics[i], request.auto_create, request.with_unstored, [gathering, i](DescribedTopic row) {
      gathering->whole.topics[i] = std::move(row);
      gathering->finish_one();
    });
  }
  gathering->finish_one();
}

// Opens every partition at its home, so that a made topic takes records at once.
void Topics::open_all(std::shared_ptr<const meta::Topic> topic, Callback<void(Status)> done) {
  struct Opening {
    Callback<void(Status)> done;
    Status status;
    int32_t waiting;
    void finish_one(Status result) {
      if (!result.ok()) status = std::move(result);
      if (--waiting == 0) done(std::move(status));
    }
  };
  auto opening = std::make_shared<Opening>(Opening{std::move(done), {}, topic->partitions + 1});
  for (int32_t partition = 0; partition < topic->partitions; ++partition) {
    Topics* peer = peers_[home_of({topic->id, partition}, core_.count())];
    const auto open = [this, peer, topic, partition, opening] {
      peer->streams_.with(topic, partition, [this, peer, opening](Result<shard::Shard*> shard) {
        Status status = shard ? Status() : Status(shard.error());
        if (peer == this) return opening->finish_one(std::move(status));
        peer->core_.send(core_.index(), [opening, status = std::move(status)] { opening->finish_one(status); });
      });
    };
    if (peer == this)
      open();
    else
      core_.send(peer->core_.index(), open);
  }
  opening->finish_one({});
}

void Topics::make(meta::Topic topic, Callback<void(Result<std::shared_ptr<const meta::Topic>>)> done) {
  topic.id = Uuid::random(core_.random(), core_.random());
  meta_.create_topic(std::move(topic), [this, done = std::move(done)](Result<std::shared_ptr<const meta::Topic>> made) mutable {
    if (!made) return done(std::move(made));
    auto topic = *made;
    open_all(topic, [topic, done = std::move(done)](Status status) mutable {
      if (!status.ok()) return done(status.error());
      done(std::move(topic));
    });
  });
}

Status Topics::check_rule(std::string_view name, const std::string& filter) const {
  if (!is_valid_topic_filter(filter) || filter.starts_with('$'))
    return Error{Code::invalid_topic, filter + " is not a filter of topics that are stored"};
  for (const TopicRule& rule : rules_.all()) {
    // One that a rule of the configuration names is that rule's.
    if (rule.topic == name) return Error{Code::topic_exists, rule.topic + " is the stream of the topic rule " + rule.filter};
    if (meta::filters_intersect(rule.filter, filter))
      return Error{Code::not_supported, meta::claimed_text(filter, rule.filter, rule.topic)};
  }
  return {};
}

void Topics::create_one(const CreateTopics::One& wanted, bool validate_only, Callback<void(CreatedTopic)> done) {
  const auto refuse = [&](Code code, std::string detail) {
    CreatedTopic row{code, std::move(detail), {}};
    row.facts.name = wanted.name;
    done(std::move(row));
  };
  if (!is_valid_stream_name(wanted.name)) return refuse(Code::invalid_topic, "a topic name is 1 to 249 of [a-zA-Z0-9._-]");
  if (meta_.find(kDefaultTenant, wanted.name)) return refuse(Code::topic_exists, "topic " + wanted.name + " exists");
  meta::Topic topic;
  if (Status status = apply(topic.config, wanted.settings); !status.ok()) return refuse(status.code(), status.error().detail);
  const int32_t partitions = wanted.partitions == -1 ? options_.default_partitions : wanted.partitions;
  if (partitions < 1 || partitions > options_.partitions_max) {
    return refuse(Code::invalid_partitions, "a topic has 1 to " + std::to_string(options_.partitions_max) + " partitions");
  }
  if (wanted.replication_factor != -1 && wanted.replication_factor != 1) {
    return refuse(Code::invalid_replication_factor, "there is one node: the replication factor is 1");
  }
  topic.name = wanted.name;
  topic.partitions = partitions;
  if (!wanted.mqtt_filter.empty()) {
    if (Status free = check_rule(wanted.name, wanted.mqtt_filter); !free.ok()) {
      ++declared_.streams_refused_total;
      return refuse(free.code(), free.error().detail);
    }
    topic.mqtt_filter = wanted.mqtt_filter;
    topic.is_rule = true;
  }
  describe_light(
      {wanted.name, {}}, [this, topic = std::move(topic), validate_only, done = std::move(done)](DescribedTopic light) mutable {
        CreatedTopic row;
        row.facts.name = topic.name;
        // A stream that gets the light topic's messages from now on goes on under its name; what that has is found by its id.
        const bool goes_on = topic.is_rule && light.code == Code::ok && filter_matches(topic.mqtt_filter, light.facts.mqtt_name);
        if (light.code == Code::ok && !goes_on) {
          row.code = Code::topic_exists;
          row.detail = "the light topic " + light.facts.mqtt_name + " has this name";
          return done(std::move(row));
        }
        if (validate_only) {
          row.facts = facts_of(topic);
          return done(std::move(row));
        }
        create_made(std::move(topic), std::move(row), std::move(done));
      });
}

void Topics::create_made(meta::Topic topic, CreatedTopic row, Callback<void(CreatedTopic)> done) {
  const bool is_rule = topic.is_rule;
  make(std::move(topic),
       [this, is_rule, row = std::move(row), done = std::move(done)](Result<std::shared_ptr<const meta::Topic>> made) mutable {
         if (made) {
           row.facts = facts_of(**made);
         } else {
           row.code = made.code();
           row.detail = made.error().detail;
         }
         if (is_rule) ++(made ? declared_.streams_made_total : declared_.streams_refused_total);
         done(std::move(row));
       });
}

void Topics::create(CreateTopics request, ReplyTo done) {
  auto gathering = std::make_shared<Gathering<CreatedTopics>>();
  gathering->done = std::move(done);
  gathering->whole.topics.resize(request.topics.size());
  gathering->waiting += request.topics.size();
  for (size_t i = 0; i < request.topics.size(); ++i) {
    create_one(request.topics[i], request.validate_only, [gathering, i](CreatedTopic row) {
      gathering->whole.topics[i] = std::move(row);
      gathering->finish_one();
    });
  }
  gathering->finish_one();
}

void Topics::remove(DeleteTopics request, ReplyTo done) {
  auto gathering = std::make_shared<Gathering<DeletedTopics>>();
  gathering->done = std::move(done);
  gathering->whole.topics.resize(request.topics.size());
  gathering->waiting += request.topics.size();
  for (size_t i = 0; i < request.topics.size(); ++i) {
    const TopicRef& wanted = request.topics[i];
    DeletedTopic& row = gathering->whole.topics[i];
    row.name = wanted.name;
    row.id = wanted.id;
    const auto topic = wanted.id.is_zero() ? meta_.find(kDefaultTenant, wanted.name) : meta_.find(wanted.id);
    if (!topic) {
      row.code = wanted.id.is_zero() ? Code::unknown_topic : Code::unknown_topic_id;
      row.detail = "no stream has this name or id (a light topic goes by itself when it is empty)";
      gathering->finish_one();
      continue;
    }
    row.name = topic->name;
    row.id = topic->id;
    meta_.delete_topic(topic->id, [gathering, i](Status status) {
      gathering->whole.topics[i].code = status.code();
      gathering->whole.topics[i].detail = status.error().detail;
      gathering->finish_one();
    });
  }
  gathering->finish_one();
}

void Topics::create_rule_streams(Callback<void(Status)> done) {
  struct Making {
    Callback<void(Status)> done;
    Status status;
    size_t waiting = 1;
    void finish_one(Status result) {
      if (!result.ok() && result.code() != Code::topic_exists) status = std::move(result);
      if (--waiting == 0) done(std::move(status));
    }
  };
  auto making = std::make_shared<Making>();
  making->done = std::move(done);
  for (const TopicRule& rule : rules_.all()) {
    if (rule.topic.empty() || meta_.find(kDefaultTenant, rule.topic)) continue;
    ++making->waiting;
    meta::Topic topic;
    topic.name = rule.topic;
    topic.partitions = rule.partitions;
    topic.config = TopicRules::config_of(rule);
    topic.mqtt_filter = rule.filter;
    make(std::move(topic), [making](Result<std::shared_ptr<const meta::Topic>> made) {
      making->finish_one(made ? Status() : Status(made.error()));
    });
  }
  making->finish_one({});
}

}  // namespace robustmq::broker
