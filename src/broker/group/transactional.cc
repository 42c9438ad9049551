// GroupCoordinator: offsets that are committed in transactions.
#include <algorithm>

#include "broker/group/coordinator.h"

namespace robustmq::broker {

void GroupCoordinator::commit_in_transaction(TenantId tenant, ProducerId producer, CommitOffsets request,
                                             Callback<void(Reply)> done) {
  CommittedOffsets reply;
  const auto refuse = [&](Code code) {
    reply.offsets.assign(request.offsets.size(), code);
    done(std::move(reply));
  };
  if (!is_loaded_) return refuse(Code::coordinator_loading);
  // A producer that says nothing of a member commits for the group as a whole.
  if (request.generation >= 0 || !request.member_id.empty() || request.instance_id) {
    const Code code = check_commit(tenant, request);
    if (code != Code::ok) return refuse(code);
  }
  std::vector<std::optional<ResolvedTopic>> topics;
  for (const TopicRef& ref : request.topics) topics.push_back(resolve(tenant, ref));
  std::vector<Offsets::Change> changes;
  for (CommitOffsets::One& one : request.offsets) {
    Code& result = reply.offsets.emplace_back(Code::ok);
    const auto index = static_cast<size_t>(one.topic_index);
    if (index >= topics.size()) {
      result = Code::invalid_argument;
    } else if (!topics[index] || one.partition < 0 || one.partition >= topics[index]->partitions) {
      result = Code::unknown_topic;
    } else if (one.metadata.size() > static_cast<size_t>(options_.offset_metadata_bytes_max)) {
      result = Code::metadata_too_large;
    } else {
      const ResolvedTopic& topic = *topics[index];
      changes.push_back({ShardId{topic.id, one.partition}, CommittedOffset{one.offset, one.leader_epoch, std::move(one.metadata),
                                                                           core_.wall_now().ms, topic.name, topic.is_light, -1}});
    }
  }
  if (changes.empty()) return done(std::move(reply));
  // A group has a place from its first offset on, also where that shows later.
  if (find_or_make(tenant, request.group) == nullptr) return refuse(Code::quota_exceeded);
  pending_.add(tenant, request.group, producer, std::move(changes),
               [reply = std::move(reply), done = std::move(done)](const Status& status) mutable {
                 for (Code& result : reply.offsets) {
                   if (result == Code::ok) result = status.code();
                 }
                 done(std::move(reply));
               });
}

void GroupCoordinator::end_transaction(TenantId tenant, const std::string& group, ProducerId producer, bool commits,
                                       Callback<void(Status)> done) {
  if (!is_loaded_) return done(Code::coordinator_loading);
  // It may have been deleted meanwhile.
  if (commits) find_or_make(tenant, group);
  pending_.end(tenant, group, producer, commits, std::move(done));
}

}  // namespace robustmq::broker
