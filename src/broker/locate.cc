#include "broker/locate.h"

namespace robustmq::broker {

Located Locator::locate(const TopicRef& topic) const {
  auto stream = topic.id.is_zero() ? meta_.find(kDefaultTenant, topic.name) : meta_.find(topic.id);
  // What stores nothing is no topic to those who read and write records.
  if (stream && stream->config.mode != meta::Mode::none) return {std::move(stream), {}};
  return {nullptr, topic};
}

CoreIndex Locator::home(const Located& topic, int32_t partition) const {
  const CoreIndex cores = core_.count();
  if (topic.stream) return home_of({topic.stream->id, partition}, cores);
  if (!topic.light.id.is_zero()) return static_cast<CoreIndex>(slot_of_light(topic.light.id) % cores);
  return static_cast<CoreIndex>(slot_of(kDefaultTenant, topic.light.name) % cores);
}

void Locator::with_shard(const Located& topic, int32_t partition, Callback<void(Result<shard::Shard*>)> use) {
  if (topic.stream) return streams_.with(topic.stream, partition, std::move(use));
  const bool by_id = !topic.light.id.is_zero();
  LightTopic* light = by_id ? lights_.find(topic.light.id) : lights_.find_by_kafka_name(topic.light.name);
  if (!light) return use(by_id ? Code::unknown_topic_id : Code::unknown_topic);
  if (partition != 0) return use(Code::unknown_topic);
  lights_.with(*light, std::move(use));
}

Code check_epoch(LeaderEpoch given, const shard::Shard& shard) {
  if (given < 0) return Code::ok;
  const LeaderEpoch current = shard.bounds().leader_epoch;
  if (given < current) return Code::fenced_leader_epoch;
  return given > current ? Code::unknown_leader_epoch : Code::ok;
}

}  // namespace robustmq::broker
