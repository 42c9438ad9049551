// GroupCoordinator: what a commit names, and offsets that are committed in transactions.
#include <algorithm>

#include "base/failpoint.h"
#include "broker/group/coordinator.h"

namespace robustmq::broker {

// What of a commit can be kept; `results` has a row for each of its offsets.
std::vector<Offsets::Change> GroupCoordinator::take_offsets(TenantId tenant, CommitOffsets& request, int64_t expires_at_ms,
                                                            std::vector<Code>& results) const {
  std::vector<std::optional<ResolvedTopic>> topics;
  for (const TopicRef& ref : request.topics) topics.push_back(resolve(tenant, ref));
  std::vector<Offsets::Change> changes;
  for (CommitOffsets::One& one : request.offsets) {
    Code& result = results.emplace_back(Code::ok);
    const auto index = static_cast<size_t>(one.topic_index);
    if (index >= topics.size()) {
      result = Code::invalid_argument;
    } else if (!topics[index]) {
      result = request.topics[index].name.empty() ? Code::unknown_topic_id : Code::unknown_topic;
    } else if (one.partition < 0 || one.partition >= topics[index]->partitions) {
      result = Code::unknown_topic;
    } else if (one.metadata.size() > static_cast<size_t>(options_.offset_metadata_bytes_max)) {
      result = Code::metadata_too_large;
    } else {
      const ResolvedTopic& topic = *topics[index];
      changes.push_back(
          {ShardId{topic.id, one.partition}, CommittedOffset{one.offset, one.leader_epoch, std::move(one.metadata),
                                                             core_.wall_now().ms, topic.name, topic.is_light, expires_at_ms}});
    }
  }
  return changes;
}

// As in Kafka a topic that is not there is told whatever else is wrong.
void GroupCoordinator::refuse_offsets(std::vector<Code>& results, Code code) {
  for (Code& result : results) {
    if (result == Code::ok || result == Code::metadata_too_large) result = code;
  }
}

bool GroupCoordinator::is_of_unknown_topics(const std::vector<Code>& results) {
  return std::none_of(results.begin(), results.end(),
                      [](Code code) { return code == Code::ok || code == Code::metadata_too_large; });
}

void GroupCoordinator::commit_in_transaction(TenantId tenant, ProducerId producer, CommitOffsets request,
                                             Callback<void(Reply)> done) {
  CommittedOffsets reply;
  std::vector<Offsets::Change> changes = take_offsets(tenant, request, -1, reply.offsets);
  const auto refuse = [&](Code code) {
    refuse_offsets(reply.offsets, code);
    done(std::move(reply));
  };
  if (is_of_unknown_topics(reply.offsets)) return done(std::move(reply));
  if (!is_loaded_) return refuse(Code::coordinator_loading);
  // A producer that says nothing of a member commits for the group as a whole.
  if (request.generation >= 0 || !request.member_id.empty() || request.instance_id) {
    const Code code = check_commit(tenant, request);
    if (code != Code::ok) return refuse(code);
  }
  if (changes.empty()) return done(std::move(reply));
  // A group has a place from its first offset on, also where that shows later.
  if (find_or_make(tenant, request.group) == nullptr) return refuse(Code::quota_exceeded);
  pending_.add(tenant, request.group, producer, std::move(changes),
               [reply = std::move(reply), done = std::move(done)](const Status& status) mutable {
                 failpoint("transaction_offsets_pending");
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
