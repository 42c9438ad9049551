// GroupCoordinator: consumer groups with server-side assignment. What their machine changes is written before it is answered;
// members of the classic protocol are not kept over a restart, and join again.
#include "base/wire.h"
#include "broker/group/coordinator_entry.h"

namespace robustmq::broker {

void GroupCoordinator::heartbeat(TenantId tenant, HeartbeatConsumer request, Callback<void(Reply)> done) {
  const auto refuse = [&](Code code, std::string detail) {
    ConsumerHeartbeatReply reply;
    reply.code = code;
    reply.detail = std::move(detail);
    reply.member_id = request.member_id;
    done(std::move(reply));
  };
  if (!is_valid_group_name(request.group, false)) return refuse(Code::invalid_argument, "GroupId can't be empty.");
  Entry* entry = find(tenant, request.group);
  if (entry != nullptr && entry->shares)
    return refuse(Code::group_not_found, "Group " + request.group + " is not a consumer group.");
  if (entry == nullptr || !entry->consumers) {
    // A member whose group is gone, or became a classic one, is to join again.
    if (request.member_epoch != 0) return refuse(Code::unknown_member, "The group does not know the member.");
    const bool is_new = entry == nullptr;
    if (is_new) entry = find_or_make(tenant, request.group);
    if (entry == nullptr) return refuse(Code::quota_exceeded, "The number of consumer groups is at its limit.");
    auto consumers = std::make_unique<ConsumerGroup>(options_, metrics_, entry->topics);
    ConsumerGroup::Refusal refusal = consumers->check(request);
    if (refusal.code == Code::ok && !may_upgrade(*entry)) {
      refusal = {Code::group_not_found, "Group " + request.group + " is not a consumer group."};
    }
    if (refusal.code != Code::ok) {
      if (is_new) forget_if_idle(entry->key);
      return refuse(refusal.code, std::move(refusal.detail));
    }
    if (entry->group.has_members()) consumers->adopt(entry->group.generation(), entry->group.seeds(), core_.now());
    entry->group.hand_over(Code::rebalance_in_progress);
    entry->consumers = std::move(consumers);
  }
  const uint64_t high = core_.random();
  const uint64_t low = core_.random();
  ConsumerHeartbeatReply reply =
      entry->consumers->heartbeat(request, Uuid::random(high, low).to_string(), config_of(tenant, request.group), core_.now());
  conclude(*entry, std::move(done), std::move(reply));
}

bool GroupCoordinator::may_upgrade(const Entry& entry) const {
  if (!entry.group.has_members()) return true;
  const GroupMigration way = options_.consumer_migration;
  if (way != GroupMigration::upgrade && way != GroupMigration::bidirectional) return false;
  return ConsumerGroup::suits(entry.group.protocol_type(), entry.group.seeds());
}

void GroupCoordinator::forget_if_idle(Key key) {
  const auto at = groups_.find(key);
  if (at == groups_.end() || !at->second->is_idle() || at->second->shares || has_offsets(key)) return;
  groups_.erase(at);
  metrics_.groups = static_cast<int64_t>(groups_.size());
}

// A classic member joins a group that nobody is in: it is a classic one from now on.
void GroupCoordinator::drop_consumers(Entry& entry) {
  storage::KvBatch batch;
  remove_consumer_group(entry.key.first, entry.key.second, batch);
  entry.consumers.reset();
  write(entry, std::move(batch), {});
}

// Last thing done with the entry: who is answered may ask at once again.
void GroupCoordinator::conclude(Entry& entry, Callback<void(Reply)> done, Reply reply) {
  const TenantId tenant = entry.key.first;
  const std::string& name = entry.key.second;
  storage::KvBatch batch;
  ConsumerGroup::Changes changes;
  const GroupMigration way = options_.consumer_migration;
  const bool may_downgrade = way == GroupMigration::downgrade || way == GroupMigration::bidirectional;
  if (entry.shares) {
    if (entry.shares->take_news()) batch.put(share_group_key(tenant, name), encode_described(entry.shares->row()));
  } else if (entry.consumers && entry.consumers->is_all_classic() && may_downgrade) {
    const int32_t epoch = entry.consumers->epoch();
    entry.group.adopt(epoch, std::string(kConsumerProtocol), entry.consumers->hand_over(), core_.now());
    entry.consumers.reset();
    remove_consumer_group(tenant, name, batch);
  } else if (entry.consumers) {
    changes = entry.consumers->take_changes();
    if (changes.epoch) batch.put(group_epoch_key(tenant, name), encode_described(GroupEpochRow{entry.consumers->epoch()}));
    for (const std::string& id : changes.members) {
      if (const std::optional<MemberRow> row = entry.consumers->row_of(id)) {
        batch.put(group_member_key(tenant, name, id), encode_described(*row));
      } else {
        batch.remove(group_member_key(tenant, name, id));
      }
    }
  }
  std::vector<std::pair<Callback<void(Reply)>, Reply>> answers = take_answers(entry);
  const bool writes = !batch.changes.empty();
  if (done) {
    if (writes || entry.writes_begun != entry.writes_done) {
      entry.held.push_back({entry.writes_begun + (writes ? 1 : 0), std::move(done), std::move(reply)});
    } else {
      answers.emplace_back(std::move(done), std::move(reply));
    }
  }
  arm(entry);
  if (writes) write(entry, std::move(batch), std::move(changes));
  for (auto& [answer, what] : answers) answer(std::move(what));
}

void GroupCoordinator::write(Entry& entry, storage::KvBatch batch, ConsumerGroup::Changes changes) {
  const uint64_t number = ++entry.writes_begun;
  kv_.write(std::move(batch),
            [this, alive = std::weak_ptr<bool>(alive_), key = entry.key, number, changes = std::move(changes)](Status status) {
              if (alive.expired()) return;
              Entry* written = find(key.first, key.second);
              ROBUSTMQ_CHECK(written != nullptr, "a group went before its write was done");
              written->writes_done = number;
              if (!status.ok() && written->consumers) written->consumers->keep_changes(changes);
              if (!status.ok() && written->shares) written->shares->keep_news();
              std::vector<Entry::Held> answers;
              while (!written->held.empty() && written->held.front().write <= number) {
                answers.push_back(std::move(written->held.front()));
                written->held.pop_front();
              }
              for (Entry::Held& answer : answers) answer.done(status.ok() ? std::move(answer.reply) : Reply(status.error()));
            });
}

DescribedConsumers GroupCoordinator::describe(TenantId tenant, const DescribeConsumers& request) const {
  return describe_each(tenant, request.groups, &Entry::consumers, "a consumer group");
}

void GroupCoordinator::restore(StoredGroups stored) {
  configs_ = std::move(stored.configs);
  for (auto& [key, consumers] : stored.consumers) {
    Entry* entry = find(key.first, key.second);
    if (entry == nullptr) {
      entry = groups_.emplace(key, std::make_unique<Entry>(*this, key)).first->second.get();
    }
    entry->consumers = std::make_unique<ConsumerGroup>(options_, metrics_, entry->topics);
    entry->consumers->restore(consumers.epoch, std::move(consumers.members), config_of(key.first, key.second), core_.now());
    conclude(*entry, {}, {});
  }
  for (const auto& [key, row] : stored.shares) {
    Entry* entry = find(key.first, key.second);
    if (entry == nullptr) entry = groups_.emplace(key, std::make_unique<Entry>(*this, key)).first->second.get();
    entry->shares = std::make_unique<ShareGroup>(options_, metrics_, entry->topics);
    entry->shares->restore(row);
  }
}

}  // namespace robustmq::broker
