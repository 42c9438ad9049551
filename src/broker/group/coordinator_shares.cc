// GroupCoordinator: share groups. That a group is there, and over which topics it has queues, is written before it is answered;
// members are not kept over a restart, and join again.
#include "base/wire.h"
#include "broker/group/coordinator_entry.h"

namespace robustmq::broker {
namespace {

Code code_of(const Reply& reply) {
  const auto* error = std::get_if<Error>(&reply);
  return error ? error->code : Code::ok;
}

}  // namespace

void GroupCoordinator::heartbeat(TenantId tenant, const HeartbeatShare& request, Callback<void(Reply)> done) {
  const auto refuse = [&](Code code, std::string detail) {
    ConsumerHeartbeatReply reply;
    reply.code = code;
    reply.detail = std::move(detail);
    reply.member_id = request.member_id;
    done(std::move(reply));
  };
  if (!is_valid_group_name(request.group, false)) return refuse(Code::invalid_argument, "GroupId can't be empty.");
  if (request.group.starts_with(kQueueGroup))
    return refuse(Code::invalid_argument, "Group " + request.group + " is a queue, whose members are MQTT clients.");
  Entry* entry = find(tenant, request.group);
  if (entry == nullptr || !entry->shares) {
    if (entry != nullptr && entry->is_ending) return refuse(Code::coordinator_loading, "The group is being changed.");
    if (request.member_epoch != 0) return refuse(Code::unknown_member, "The group does not know the member.");
    const bool is_new = entry == nullptr;
    const Result<Entry*> made = entry_for_shares(tenant, request.group);
    if (!made.ok()) return refuse(made.code(), made.error().detail);
    entry = *made;
    auto shares = std::make_unique<ShareGroup>(options_, metrics_, entry->topics);
    ShareGroup::Refusal refusal = shares->check(request);
    if (refusal.code != Code::ok) {
      if (is_new) forget_if_idle(entry->key);
      return refuse(refusal.code, std::move(refusal.detail));
    }
    if (entry->consumers) drop_consumers(*entry);
    entry->shares = std::move(shares);
  } else if (entry->is_ending) {
    return refuse(Code::coordinator_loading, "The group is being changed.");
  }
  ConsumerHeartbeatReply reply = entry->shares->heartbeat(request, config_of(tenant, request.group), core_.now());
  conclude(*entry, std::move(done), std::move(reply));
}

// The group that is to be one of shares: one without members and offsets is what is made of it.
Result<GroupCoordinator::Entry*> GroupCoordinator::entry_for_shares(TenantId tenant, const std::string& group) {
  Entry* entry = find(tenant, group);
  if (entry != nullptr && (!entry->is_idle() || has_offsets(entry->key)))
    return Error{Code::group_not_found, "Group " + group + " is not a share group."};
  if (entry == nullptr) entry = find_or_make(tenant, group);
  if (entry == nullptr) return Error{Code::quota_exceeded, "The number of groups is at its limit."};
  return entry;
}

void GroupCoordinator::open_queue(TenantId tenant, const std::string& group, const TopicId& topic,
                                  Callback<void(Code, bool)> done) {
  if (!is_loaded_) return done(Code::coordinator_loading, false);
  Entry* entry = find(tenant, group);
  if (entry != nullptr && entry->is_ending) return done(Code::coordinator_loading, false);
  if (entry == nullptr || !entry->shares) {
    const Result<Entry*> made = entry_for_shares(tenant, group);
    if (!made.ok()) return done(made.code(), false);
    entry = *made;
    if (entry->consumers) drop_consumers(*entry);
    entry->shares = std::make_unique<ShareGroup>(options_, metrics_, entry->topics);
  }
  const bool has_begun = entry->shares->begin_topic(topic);
  auto written = [has_begun, done = std::move(done)](const Reply& reply) mutable { done(code_of(reply), has_begun); };
  conclude(*entry, std::move(written), HeartbeatReply{});
}

void GroupCoordinator::began_queue(TenantId tenant, const std::string& group, const TopicId& topic) {
  Entry* entry = find(tenant, group);
  if (entry != nullptr && entry->shares) entry->shares->began_topic(topic);
}

DescribedConsumers GroupCoordinator::describe(TenantId tenant, const DescribeShares& request) const {
  return describe_each(tenant, request.groups, &Entry::shares, "a share group");
}

Result<QueueSettings> GroupCoordinator::queue_settings(TenantId tenant, const std::string& group, const TopicId& topic) const {
  if (!is_loaded_) return Code::coordinator_loading;
  const Entry* entry = find(tenant, group);
  if (entry == nullptr || !entry->shares || entry->is_ending || !entry->shares->topics().contains(topic))
    return Code::group_not_found;
  return settings_of(tenant, group);
}

GroupCoordinator::ShareFacts GroupCoordinator::share_facts(TenantId tenant, const std::string& group) const {
  ShareFacts facts;
  const Entry* entry = find(tenant, group);
  if (!is_loaded_) {
    facts.code = Code::coordinator_loading;
  } else if (entry == nullptr || !entry->shares) {
    facts.code = Code::group_not_found;
    facts.detail = "Group " + group + (entry ? " is not a share group." : " not found.");
  } else {
    const std::set<TopicId>& topics = entry->shares->topics();
    facts.has_members = entry->has_members();
    facts.topics.assign(topics.begin(), topics.end());
  }
  return facts;
}

void GroupCoordinator::add_share_topics(TenantId tenant, const std::string& group, const std::vector<TopicId>& topics,
                                        Callback<void(Code)> done) {
  Entry* entry = find(tenant, group);
  if (entry != nullptr && entry->is_ending) return done(Code::group_not_found);
  if (entry == nullptr || !entry->shares) {
    if (!is_valid_group_name(group, false)) return done(Code::invalid_group);
    // What was a group of another protocol is left to it, also while it is empty.
    if (entry != nullptr && (entry->consumers || !entry->is_idle() || has_offsets(entry->key)))
      return done(Code::group_not_found);
    if (topics.empty()) return done(Code::ok);
    if (entry == nullptr) entry = find_or_make(tenant, group);
    if (entry == nullptr) return done(Code::quota_exceeded);
    entry->shares = std::make_unique<ShareGroup>(options_, metrics_, entry->topics);
  }
  for (const TopicId& topic : topics) entry->shares->add_topic(topic);
  conclude(*entry, [done = std::move(done)](const Reply& reply) mutable { done(code_of(reply)); }, HeartbeatReply{});
}

// While the queues go no queue is made; then the row forgets the topics.
void GroupCoordinator::remove_share_topics(TenantId tenant, const std::string& group, std::vector<TopicId> topics,
                                           Callback<void(Code)> done) {
  Entry* entry = find(tenant, group);
  if (entry == nullptr || !entry->shares || entry->is_ending) return done(Code::group_not_found);
  if (entry->has_members()) return done(Code::group_not_empty);
  if (!queues_.removed) return done(Code::not_supported);
  entry->is_ending = true;
  auto removed = [this, alive = std::weak_ptr<bool>(alive_), key = entry->key, topics,
                  done = std::move(done)](Code code) mutable {
    if (alive.expired()) return;
    Entry* at = find(key.first, key.second);
    if (at == nullptr || !at->shares) return done(Code::group_not_found);
    at->is_ending = false;
    if (code != Code::ok) return done(code);
    for (const TopicId& topic : topics) at->shares->remove_topic(topic);
    conclude(*at, [done = std::move(done)](const Reply& reply) mutable { done(code_of(reply)); }, HeartbeatReply{});
  };
  queues_.removed(tenant, group, std::move(topics), std::move(removed));
}

void GroupCoordinator::delete_share_group(Entry& entry, Callback<void(Code)> done) {
  if (!queues_.removed) return done(Code::not_supported);
  entry.is_ending = true;
  const std::set<TopicId>& topics = entry.shares->topics();
  auto removed = [this, alive = std::weak_ptr<bool>(alive_), key = entry.key, done = std::move(done)](Code code) mutable {
    if (alive.expired()) return;
    const auto at = groups_.find(key);
    if (at == groups_.end()) return done(Code::group_not_found);
    if (code != Code::ok) {
      at->second->is_ending = false;
      return done(code);
    }
    storage::KvBatch batch;
    batch.remove(share_group_key(key.first, key.second));
    kv_.write(std::move(batch), [this, alive, key, done = std::move(done)](const Status& status) mutable {
      if (alive.expired()) return;
      const auto gone = groups_.find(key);
      if (gone != groups_.end() && !status.ok()) {
        gone->second->is_ending = false;
      } else if (gone != groups_.end()) {
        groups_.erase(gone);
      }
      metrics_.groups = static_cast<int64_t>(groups_.size());
      done(status.code());
    });
  };
  queues_.removed(entry.key.first, entry.key.second, {topics.begin(), topics.end()}, std::move(removed));
}

}  // namespace robustmq::broker
