#include "broker/group/coordinator.h"

#include <algorithm>

#include "broker/group/coordinator_entry.h"

namespace robustmq::broker {
namespace {

constexpr size_t kGroupNameBytesMax = 32'767;  // Kafka's strings
constexpr int64_t kRetentionMsMax = 100LL * 365 * 24 * 3600 * 1000;
constexpr size_t kClientIdBytesMax = 255;  // of a client id, inside a member id

// A client id, or an instance id, and what makes it unique.
std::string member_id_from(std::string_view name, uint64_t high, uint64_t low) {
  size_t length = std::min(name.size(), kClientIdBytesMax);
  while (length < name.size() && length > 0 && (static_cast<uint8_t>(name[length]) & 0xc0) == 0x80)
    --length;  // not inside a UTF-8 character
  return std::string(name.substr(0, length)) + "-" + Uuid::random(high, low).to_string();
}

}  // namespace

bool is_valid_group_name(const std::string& group, bool may_be_empty) {
  return (may_be_empty || !group.empty()) && group.size() <= kGroupNameBytesMax;
}

GroupCoordinator::GroupCoordinator(runtime::Core& core, storage::Kv& kv, meta::Meta& meta, const GroupOptions& options)
    : core_(core),
      kv_(kv),
      meta_(meta),
      options_(options),
      offsets_(kv, options_, metrics_),
      pending_(kv, offsets_),
      retention_timer_([](void* self) { static_cast<GroupCoordinator*>(self)->expire_offsets(); }, this),
      lag_timer_([](void* self) { static_cast<GroupCoordinator*>(self)->on_lag_timer(); }, this) {}

GroupCoordinator::~GroupCoordinator() {
  std::vector<Callback<void(Reply)>> left;
  for (auto& [key, entry] : groups_) {
    entry->group.close(Code::shutting_down);
    for (auto& [ticket, done] : entry->waiting) left.push_back(std::move(done));
    for (Entry::Held& held : entry->held) left.push_back(std::move(held.done));
  }
  groups_.clear();
  for (Callback<void(Reply)>& done : left) done(Error{Code::shutting_down, {}});
}

void GroupCoordinator::start(Callback<void(Status)> done) {
  meta_.watch([this, alive = std::weak_ptr<bool>(alive_)](const meta::CatalogEvent& event) {
    if (alive.expired()) return;
    const auto* deleted = std::get_if<meta::TopicDeleted>(&event);
    if (deleted) offsets_.remove_topic(deleted->topic->id);
    for (const auto& [key, entry] : groups_) {
      if (entry->consumers) entry->consumers->topics_changed();
      if (entry->shares) entry->shares->topics_changed();
      // The row follows with the next change; what it says of a topic that is not there does nothing.
      if (entry->shares && deleted) entry->shares->remove_topic(deleted->topic->id);
    }
  });
  offsets_.load([this, done = std::move(done)](Status status) mutable {
    if (!status.ok()) return done(status);
    pending_.load([this, done = std::move(done)](const Status& read) mutable {
      if (!read.ok()) return done(read);
      load_groups(kv_, [this, alive = std::weak_ptr<bool>(alive_), done = std::move(done)](Result<StoredGroups> stored) mutable {
        if (alive.expired()) return;
        if (!stored.ok()) return done(stored.error());
        started_at_ = core_.wall_now();
        for (const auto& [key, rows] : offsets_.groups()) groups_.emplace(key, std::make_unique<Entry>(*this, key));
        for (const auto& [key, rows] : pending_.groups()) groups_.try_emplace(key, std::make_unique<Entry>(*this, key));
        restore(stored.take());
        metrics_.groups = static_cast<int64_t>(groups_.size());
        is_loaded_ = true;
        core_.arm(retention_timer_, core_.now() + Duration::millis(options_.offsets_retention_check_ms));
        done({});
      });
    });
  });
}

bool GroupCoordinator::takes(const Request& request) {
  return std::visit(
      []<class R>(const R&) {
        return std::is_same_v<R, JoinGroup> || std::is_same_v<R, SyncGroup> || std::is_same_v<R, HeartbeatGroup> ||
               std::is_same_v<R, LeaveGroup> || std::is_same_v<R, CommitOffsets> || std::is_same_v<R, FetchOffsets> ||
               std::is_same_v<R, DescribeGroups> || std::is_same_v<R, ListGroups> || std::is_same_v<R, DeleteGroups> ||
               std::is_same_v<R, DeleteOffsets> || std::is_same_v<R, HeartbeatConsumer> || std::is_same_v<R, HeartbeatShare> ||
               std::is_same_v<R, DescribeShares> || std::is_same_v<R, DescribeConsumers> || std::is_same_v<R, ConfigureGroups> ||
               std::is_same_v<R, DescribeGroupConfigs>;
      },
      request);
}

void GroupCoordinator::execute(TenantId tenant, Request request, Callback<void(Reply)> done) {
  if (!is_loaded_) return done(Error{Code::coordinator_loading, {}});
  if (auto* join_request = std::get_if<JoinGroup>(&request)) return join(tenant, std::move(*join_request), std::move(done));
  if (auto* sync_request = std::get_if<SyncGroup>(&request)) return sync(tenant, std::move(*sync_request), std::move(done));
  if (auto* commit_request = std::get_if<CommitOffsets>(&request))
    return commit(tenant, std::move(*commit_request), std::move(done));
  if (auto* delete_request = std::get_if<DeleteGroups>(&request))
    return delete_groups(tenant, std::move(*delete_request), std::move(done));
  if (auto* offsets_request = std::get_if<DeleteOffsets>(&request))
    return delete_offsets(tenant, std::move(*offsets_request), std::move(done));
  if (auto* heartbeat_request = std::get_if<HeartbeatGroup>(&request))
    return heartbeat(tenant, *heartbeat_request, std::move(done));
  if (auto* leave_request = std::get_if<LeaveGroup>(&request)) return leave(tenant, *leave_request, std::move(done));
  if (auto* consumer_request = std::get_if<HeartbeatConsumer>(&request))
    return heartbeat(tenant, std::move(*consumer_request), std::move(done));
  if (auto* share_request = std::get_if<HeartbeatShare>(&request)) return heartbeat(tenant, *share_request, std::move(done));
  if (auto* shares_request = std::get_if<DescribeShares>(&request)) return done(describe(tenant, *shares_request));
  if (auto* configure_request = std::get_if<ConfigureGroups>(&request))
    return configure(tenant, *configure_request, std::move(done));
  if (auto* consumers_request = std::get_if<DescribeConsumers>(&request)) return done(describe(tenant, *consumers_request));
  if (auto* configs_request = std::get_if<DescribeGroupConfigs>(&request)) return done(describe(tenant, *configs_request));
  if (auto* fetch_request = std::get_if<FetchOffsets>(&request)) return done(fetch(tenant, *fetch_request));
  if (auto* describe_request = std::get_if<DescribeGroups>(&request)) return done(describe(tenant, *describe_request));
  if (std::holds_alternative<ListGroups>(request)) return done(list(tenant));
  done(Error{Code::not_supported, "not a request of consumer groups"});
}

// ---- Members ----

void GroupCoordinator::join(TenantId tenant, JoinGroup request, Callback<void(Reply)> done) {
  const auto refuse = [&](Code code) {
    JoinedGroup reply;
    reply.code = code;
    reply.member_id = request.member_id;
    done(std::move(reply));
  };
  if (!is_valid_group_name(request.group, false)) return refuse(Code::invalid_group);
  Entry* entry = find(tenant, request.group);
  if (entry != nullptr && entry->shares) return refuse(Code::inconsistent_protocol);
  const bool is_new = entry == nullptr;
  if (is_new) {
    if (!request.member_id.empty()) return refuse(Code::unknown_member);
    entry = find_or_make(tenant, request.group);
    if (entry == nullptr) {
      ++metrics_.members_refused_total;
      return refuse(Code::quota_exceeded);
    }
  }
  const uint64_t high = core_.random();
  const uint64_t low = core_.random();
  std::string member_id = member_id_from(request.instance_id ? *request.instance_id : request.client_id, high, low);
  if (entry->consumers && entry->consumers->has_members()) {
    JoinedGroup reply = entry->consumers->join(request, std::move(member_id), core_.now());
    return conclude(*entry, std::move(done), std::move(reply));
  }
  if (entry->consumers) drop_consumers(*entry);
  const Group::Ticket ticket = ++last_ticket_;
  entry->waiting.emplace(ticket, std::move(done));
  entry->group.join(ticket, request, std::move(member_id), core_.now());
  carry_out(*entry);
  // A first member that was refused leaves nothing behind.
  if (is_new) forget_if_idle({tenant, request.group});
}

void GroupCoordinator::sync(TenantId tenant, SyncGroup request, Callback<void(Reply)> done) {
  if (!is_valid_group_name(request.group, false)) return done(SyncedGroup{.code = Code::invalid_group});
  Entry* entry = find(tenant, request.group);
  if (entry == nullptr) return done(SyncedGroup{.code = Code::unknown_member});
  if (entry->consumers) {
    SyncedGroup reply = entry->consumers->sync(request, core_.now());
    return conclude(*entry, std::move(done), std::move(reply));
  }
  const Group::Ticket ticket = ++last_ticket_;
  entry->waiting.emplace(ticket, std::move(done));
  entry->group.sync(ticket, request, core_.now());
  carry_out(*entry);
}

void GroupCoordinator::heartbeat(TenantId tenant, const HeartbeatGroup& request, Callback<void(Reply)> done) {
  if (!is_valid_group_name(request.group, false)) return done(HeartbeatReply{Code::invalid_group});
  Entry* entry = find(tenant, request.group);
  if (entry == nullptr) return done(HeartbeatReply{Code::unknown_member});
  if (entry->consumers) {
    const Code code = entry->consumers->heartbeat(request, core_.now());
    return conclude(*entry, std::move(done), HeartbeatReply{code});
  }
  const Code code = entry->group.heartbeat(request, core_.now());
  if (!entry->group.outputs().empty()) carry_out(*entry);
  done(HeartbeatReply{code});
}

void GroupCoordinator::leave(TenantId tenant, const LeaveGroup& request, Callback<void(Reply)> done) {
  LeftGroup reply;
  Entry* entry = find(tenant, request.group);
  if (!is_valid_group_name(request.group, false)) {
    reply.code = Code::invalid_group;
  } else if (entry == nullptr) {
    reply.members.assign(request.members.size(), Code::unknown_member);
  } else if (entry->consumers) {
    reply = entry->consumers->leave(request, core_.now());
    return conclude(*entry, std::move(done), std::move(reply));
  } else {
    reply = entry->group.leave(request, core_.now());
    carry_out(*entry);
  }
  done(std::move(reply));
}

// Last thing done with the entry: who is answered may ask at once again.
void GroupCoordinator::carry_out(Entry& entry) {
  std::vector<std::pair<Callback<void(Reply)>, Reply>> answers = take_answers(entry);
  arm(entry);
  for (auto& [done, reply] : answers) done(std::move(reply));
}

std::vector<std::pair<Callback<void(Reply)>, Reply>> GroupCoordinator::take_answers(Entry& entry) {
  Group::Outputs outputs = std::exchange(entry.group.outputs(), {});
  std::vector<std::pair<Callback<void(Reply)>, Reply>> answers;
  const auto answer = [&](Group::Ticket ticket, Reply reply) {
    const auto at = entry.waiting.find(ticket);
    ROBUSTMQ_CHECK(at != entry.waiting.end(), "a ticket answered twice");
    answers.emplace_back(std::move(at->second), std::move(reply));
    entry.waiting.erase(at);
  };
  for (auto& [ticket, reply] : outputs.joined) answer(ticket, std::move(reply));
  for (auto& [ticket, reply] : outputs.synced) answer(ticket, std::move(reply));
  return answers;
}

void GroupCoordinator::arm(Entry& entry) {
  if (entry.had_members && !entry.has_members()) entry.emptied_at = core_.wall_now();
  entry.had_members = entry.has_members();
  const Instant next = entry.shares      ? entry.shares->next_timer()
                       : entry.consumers ? entry.consumers->next_timer()
                                         : entry.group.next_timer();
  if (next == Instant::never()) {
    entry.timer.cancel();
  } else {
    core_.arm(entry.timer, next);
  }
}

void GroupCoordinator::on_group_timer(Entry& entry) {
  if (entry.shares) {
    entry.shares->tick(core_.now());
    return conclude(entry, {}, {});
  }
  if (entry.consumers) {
    entry.consumers->tick(core_.now());
    return conclude(entry, {}, {});
  }
  entry.group.tick(core_.now());
  carry_out(entry);
}

// ---- Offsets ----

std::optional<GroupCoordinator::ResolvedTopic> GroupCoordinator::resolve(TenantId tenant, const TopicRef& ref) const {
  if (!ref.name.empty() && !ref.id.is_zero()) {
    const std::shared_ptr<const meta::Topic> known = meta_.find(ref.id);
    return ResolvedTopic{ref.name, ref.id, known ? known->partitions : 1, known == nullptr};
  }
  const std::shared_ptr<const meta::Topic> topic = ref.id.is_zero() ? meta_.find(tenant, ref.name) : meta_.find(ref.id);
  if (topic == nullptr || topic->tenant != tenant) return std::nullopt;
  return ResolvedTopic{topic->name, topic->id, topic->partitions, false};
}

Code GroupCoordinator::check_commit(TenantId tenant, const CommitOffsets& request) {
  Entry* entry = find(tenant, request.group);
  if (entry == nullptr && request.generation < 0) return Code::ok;
  if (entry == nullptr || entry->shares) return Code::illegal_generation;
  const Code code =
      entry->consumers ? entry->consumers->check_commit(request) : entry->group.check_commit(request, core_.now(), true);
  if (!entry->group.outputs().empty()) carry_out(*entry);
  // Producers know of generations alone.
  return code == Code::stale_member_epoch ? Code::illegal_generation : code;
}

void GroupCoordinator::commit(TenantId tenant, CommitOffsets request, Callback<void(Reply)> done) {
  CommittedOffsets reply;
  const int64_t expires_at_ms =
      request.retention_ms >= 0 ? core_.wall_now().ms + std::min(request.retention_ms, kRetentionMsMax) : -1;
  std::vector<Offsets::Change> changes = take_offsets(tenant, request, expires_at_ms, reply.offsets);
  const auto refuse = [&](Code code) {
    refuse_offsets(reply.offsets, code);
    done(std::move(reply));
  };
  if (is_of_unknown_topics(reply.offsets)) return done(std::move(reply));
  if (!is_valid_group_name(request.group, true)) return refuse(Code::invalid_group);
  Entry* entry = find(tenant, request.group);
  if (entry != nullptr && entry->shares) return refuse(Code::group_not_found);
  if (entry == nullptr) {
    if (request.generation >= 0) return refuse(request.knows_epochs ? Code::group_not_found : Code::illegal_generation);
    if (changes.empty()) return done(std::move(reply));
    entry = find_or_make(tenant, request.group);
    if (entry == nullptr) return refuse(Code::quota_exceeded);
  }
  const Code code = entry->consumers ? entry->consumers->check_commit(request) : entry->group.check_commit(request, core_.now());
  if (!entry->group.outputs().empty()) carry_out(*entry);
  if (code != Code::ok) return refuse(code);
  if (changes.empty()) return done(std::move(reply));
  // Answering may have changed the map of groups; the group itself is there as long as it has members or offsets on the way.
  entry = find_or_make(tenant, request.group);
  if (entry == nullptr) return refuse(Code::quota_exceeded);
  ++entry->commits_under_way;
  auto written = [this, tenant, group = request.group, reply = std::move(reply), done = std::move(done)](Status status) mutable {
    if (Entry* at = find(tenant, group)) --at->commits_under_way;
    for (Code& result : reply.offsets) {
      if (result == Code::ok) result = status.code();
    }
    done(std::move(reply));
  };
  offsets_.commit(tenant, request.group, std::move(changes), std::move(written));
}

FetchedOffsets GroupCoordinator::fetch(TenantId tenant, const FetchOffsets& request) const {
  FetchedOffsets reply;
  if (const Entry* entry = find(tenant, request.group); entry != nullptr && entry->consumers) {
    reply.code = entry->consumers->check_fetch(request);
    if (reply.code != Code::ok) return reply;
  }
  const Offsets::Rows* rows = offsets_.rows_of(tenant, request.group);
  const auto fill = [](FetchedOffsets::One& one, const CommittedOffset& row) {
    one.offset = row.offset;
    one.leader_epoch = row.leader_epoch;
    one.metadata = row.metadata;
  };
  // What it will be is decided by a transaction that has not ended.
  const auto hide_unstable = [&](FetchedOffsets::One& one) {
    if (!request.require_stable || !pending_.is_pending(tenant, request.group, {one.topic_id, one.partition})) return;
    one.offset = -1;
    one.leader_epoch = -1;
    one.metadata.clear();
    one.code = Code::unstable_offset;
  };
  if (request.all) {
    if (rows == nullptr) return reply;
    for (const auto& [shard, row] : *rows) {
      // Rows of a deleted topic are on their way out.
      const std::shared_ptr<const meta::Topic> topic = meta_.find(shard.topic);
      if (topic == nullptr && !row.is_light) continue;
      FetchedOffsets::One& one = reply.offsets.emplace_back();
      one.topic = topic ? topic->name : row.topic;
      one.topic_id = shard.topic;
      one.partition = shard.partition;
      fill(one, row);
      hide_unstable(one);
    }
    return reply;
  }
  std::vector<std::optional<ResolvedTopic>> topics;
  for (const TopicRef& ref : request.topics) topics.push_back(resolve(tenant, ref));
  for (const auto& [topic_index, partition] : request.partitions) {
    FetchedOffsets::One& one = reply.offsets.emplace_back();
    one.partition = partition;
    const auto index = static_cast<size_t>(topic_index);
    if (index >= topics.size()) {
      one.code = Code::invalid_argument;
      continue;
    }
    one.topic = topics[index] ? topics[index]->name : request.topics[index].name;
    one.topic_id = topics[index] ? topics[index]->id : request.topics[index].id;
    if (!topics[index]) {
      if (request.topics[index].name.empty()) one.code = Code::unknown_topic_id;
      continue;
    }
    if (rows != nullptr) {
      if (const auto at = rows->find(ShardId{one.topic_id, partition}); at != rows->end()) fill(one, at->second);
    }
    hide_unstable(one);
  }
  return reply;
}

void GroupCoordinator::expire_offsets() {
  const int64_t now = core_.wall_now().ms;
  std::vector<std::pair<Offsets::GroupKey, std::vector<ShardId>>> doomed;
  for (const auto& [key, rows] : offsets_.groups()) {
    const Entry* entry = find(key.first, key.second);
    const bool is_empty = entry == nullptr || entry->is_idle();
    const int64_t since = std::max(started_at_.ms, entry == nullptr ? 0 : entry->emptied_at.ms);
    std::vector<ShardId> shards;
    // A group with members keeps what they follow, and everything where that cannot be told.
    const Entry::Followed followed = is_empty ? Entry::Followed{} : entry->followed();
    const bool keeps_all = !is_empty && (!followed.is_known() || entry->commits_under_way > 0);
    for (const auto& [shard, row] : rows) {
      const bool is_free = is_empty || (!keeps_all && !followed.contains(row.topic));
      const int64_t from = is_empty ? std::max(since, row.committed_at_ms) : std::max(started_at_.ms, row.committed_at_ms);
      const int64_t expires_at = row.expires_at_ms >= 0 ? row.expires_at_ms : from + options_.offsets_retention_ms;
      const bool is_old = is_free && expires_at <= now;
      const bool is_orphan = !row.is_light && meta_.find(shard.topic) == nullptr;
      if (is_old || is_orphan) shards.push_back(shard);
    }
    if (!shards.empty()) doomed.emplace_back(key, std::move(shards));
  }
  for (auto& [key, shards] : doomed) {
    metrics_.offsets_expired_total += shards.size();
    offsets_.remove(key.first, key.second, std::move(shards), [](Status) {});
  }
  drop_idle_groups();
  core_.arm(retention_timer_, core_.now() + Duration::millis(options_.offsets_retention_check_ms));
}

// ---- Groups ----

GroupCoordinator::Entry* GroupCoordinator::find(TenantId tenant, const std::string& group) const {
  const auto at = groups_.find({tenant, group});
  return at == groups_.end() ? nullptr : at->second.get();
}

GroupCoordinator::Entry* GroupCoordinator::find_or_make(TenantId tenant, const std::string& group) {
  if (Entry* entry = find(tenant, group)) return entry;
  if (groups_.size() >= static_cast<size_t>(options_.groups_max)) drop_idle_groups();
  if (groups_.size() >= static_cast<size_t>(options_.groups_max)) return nullptr;
  Key key(tenant, group);
  Entry* entry = groups_.emplace(key, std::make_unique<Entry>(*this, key)).first->second.get();
  metrics_.groups = static_cast<int64_t>(groups_.size());
  return entry;
}

void GroupCoordinator::drop_idle_groups() {
  storage::KvBatch batch;
  std::erase_if(groups_, [&](const auto& at) {
    const auto& [tenant, name] = at.first;
    if (!at.second->is_idle() || at.second->shares || has_offsets(at.first)) return false;
    if (at.second->consumers) remove_consumer_group(tenant, name, batch);
    return true;
  });
  // Where it fails the groups are there again, and empty, after the next start.
  if (!batch.changes.empty()) kv_.write(std::move(batch), [](Status) {});
  metrics_.groups = static_cast<int64_t>(groups_.size());
}

DescribedGroups GroupCoordinator::describe(TenantId tenant, const DescribeGroups& request) const {
  DescribedGroups reply;
  for (const std::string& group : request.groups) {
    DescribedGroup& one = reply.groups.emplace_back();
    const Entry* entry = find(tenant, group);
    if (entry != nullptr && !entry->consumers && !entry->shares) {
      one = entry->group.describe();
    } else {
      one.code = Code::group_not_found;
      one.state = Group::state_name(Group::State::dead);
    }
    one.group = group;
  }
  return reply;
}

ListedGroups GroupCoordinator::list(TenantId tenant) const {
  ListedGroups reply;
  for (auto at = groups_.lower_bound({tenant, {}}); at != groups_.end() && at->first.first == tenant; ++at) {
    ListedGroups::One& one = reply.groups.emplace_back();
    one.group = at->first.second;
    if (const auto& shares = at->second->shares) {
      one = {one.group, "share", std::string(shares->state_name()), "share"};
    } else if (const auto& consumers = at->second->consumers) {
      one = {one.group, std::string(kConsumerProtocol), std::string(consumers->state_name()), "consumer"};
    } else {
      const Group& group = at->second->group;
      one = {one.group, group.protocol_type(), std::string(Group::state_name(group.state())), "classic"};
    }
  }
  return reply;
}

void GroupCoordinator::delete_offsets(TenantId tenant, DeleteOffsets request, Callback<void(Reply)> done) {
  DeletedOffsets reply;
  const Entry* entry = find(tenant, request.group);
  if (entry == nullptr || entry->shares) {
    reply.code = request.group.empty() ? Code::invalid_group : Code::group_not_found;
    return done(std::move(reply));
  }
  const Entry::Followed followed = entry->followed();
  if (!followed.is_known()) {
    reply.code = Code::group_not_empty;
    return done(std::move(reply));
  }
  const Offsets::Rows* rows = offsets_.rows_of(tenant, request.group);
  std::vector<ShardId> shards;
  for (const PartitionRef& wanted : request.partitions) {
    const auto index = static_cast<size_t>(wanted.topic_index);
    const auto topic = index < request.topics.size() ? resolve(tenant, request.topics[index]) : std::nullopt;
    Code& result = reply.partitions.emplace_back(Code::ok);
    if (!topic || wanted.partition < 0 || wanted.partition >= topic->partitions) {
      result = Code::unknown_topic;
    } else if (followed.contains(topic->name)) {
      result = Code::group_not_empty;
    } else if (const ShardId shard{topic->id, wanted.partition}; rows != nullptr && rows->contains(shard)) {
      shards.push_back(shard);
    }
  }
  if (shards.empty()) return done(std::move(reply));
  offsets_.remove(tenant, request.group, std::move(shards),
                  [reply = std::move(reply), done = std::move(done)](Status status) mutable {
                    for (Code& result : reply.partitions) {
                      if (result == Code::ok) result = status.code();
                    }
                    done(std::move(reply));
                  });
}

void GroupCoordinator::delete_groups(TenantId tenant, DeleteGroups request, Callback<void(Reply)> done) {
  // Answered when the last of the removals is done.
  struct Progress {
    DeletedGroups reply;
    size_t left = 1;
    Callback<void(Reply)> done;
    void finish_one() {
      if (--left == 0) done(std::move(reply));
    }
  };
  auto progress = std::make_shared<Progress>();
  progress->done = std::move(done);
  progress->reply.groups.assign(request.groups.size(), Code::ok);
  for (size_t i = 0; i < request.groups.size(); ++i) {
    const std::string& group = request.groups[i];
    Entry* entry = find(tenant, group);
    if (entry == nullptr || !entry->is_empty() || entry->is_ending) {
      progress->reply.groups[i] = entry == nullptr ? Code::group_not_found : Code::group_not_empty;
      continue;
    }
    ++progress->left;
    if (entry->shares) {
      delete_share_group(*entry, [i, progress](Code code) {
        progress->reply.groups[i] = code;
        progress->finish_one();
      });
      continue;
    }
    if (entry->consumers) {
      storage::KvBatch batch;
      remove_consumer_group(tenant, group, batch);
      kv_.write(std::move(batch), [](Status) {});  // where it fails, so does the next
    }
    offsets_.remove_group(tenant, group, [this, tenant, group, i, progress](Status status) {
      progress->reply.groups[i] = status.code();
      const auto at = groups_.find({tenant, group});
      if (status.ok() && at != groups_.end() && at->second->is_empty()) groups_.erase(at);
      metrics_.groups = static_cast<int64_t>(groups_.size());
      progress->finish_one();
    });
  }
  progress->finish_one();
}

}  // namespace robustmq::broker
