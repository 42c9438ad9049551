// Locate: from a topic reference and a partition to a shard and its home core. One a core; lives on it.
#pragma once

#include <memory>

#include "broker/light_topics.h"
#include "broker/menu/request.h"
#include "broker/streams.h"
#include "meta/meta.h"

namespace robustmq::broker {

// A topic as far as this core knows it. A light topic's home has the last word whether it exists.
struct Located {
  std::shared_ptr<const meta::Topic> stream;  // nullptr: perhaps a light topic
  TopicRef light;
};

class Locator {
 public:
  Locator(runtime::Core& core, meta::Meta& meta, LightTopics& lights, Streams& streams)
      : core_(core), meta_(meta), lights_(lights), streams_(streams) {}

  runtime::Core& core() { return core_; }
  Located locate(const TopicRef& topic) const;
  CoreIndex home(const Located& topic, int32_t partition) const;
  // On the home core: the shard, now or once it is open. Errors: unknown_topic, unknown_topic_id, storage_*.
  void with_shard(const Located& topic, int32_t partition, Callback<void(Result<shard::Shard*>)> use);

 private:
  runtime::Core& core_;
  meta::Meta& meta_;
  LightTopics& lights_;
  Streams& streams_;
};

// ok, fenced_leader_epoch or unknown_leader_epoch.
Code check_epoch(LeaderEpoch given, const shard::Shard& shard);

}  // namespace robustmq::broker
