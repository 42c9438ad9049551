#include "broker/shared.h"

#include <algorithm>
#include <utility>

#include "base/batch.h"
#include "base/hash.h"
#include "broker/extensions/topic_watch.h"
#include "broker/lease_ids.h"
#include "broker/menu/record_qos.h"

namespace robustmq::broker {
struct Shared::Group {
  std::shared_ptr<const Name> name;
  std::vector<Member> members;  // of all cores, by connection
  std::map<uint64_t, Local> locals;
  size_t next = 0;     // round robin
  uint64_t stuck = 0;  // sticky: the member drawn last
};

Shared::Shared(runtime::Core& core, const BrokerOptions& options, BrokerMetrics& metrics)
    : core_(core), options_(options), metrics_(metrics) {}

Shared::~Shared() = default;

// ---- Subscriptions ----

bool Shared::add(Context& context, const FollowOne& wanted, Callback<void()> done) {
  const Name name{wanted.share, wanted.filter};
  const Local local{&context, wanted.subscription_id, wanted.qos_max, wanted.retain_as_published};
  const uint64_t connection = context.connection_id;
  if (Group* group = find(name); group && group->locals.contains(connection)) {
    group->locals[connection] = local;
    done();
    return false;
  }
  learn(name, connection, core_.index(), true);
  find(name)->locals[connection] = local;
  holders_[connection].groups.push_back(name);
  ++metrics_.shared_subscriptions;
  tell(name, connection, true, std::move(done));
  return true;
}

bool Shared::remove(Context& context, std::string_view filter, std::string_view share) {
  const auto holder = holders_.find(context.connection_id);
  if (holder == holders_.end()) return false;
  const Name name{std::string(share), std::string(filter)};
  auto& groups = holder->second.groups;
  const auto at = std::find(groups.begin(), groups.end(), name);
  if (at == groups.end()) return false;
  groups.erase(at);
  // What was sent is finished by this client (MQTT5 3.10.4).
  if (groups.empty() && holder->second.held.empty()) holders_.erase(holder);
  find(name)->locals.erase(context.connection_id);
  learn(name, context.connection_id, core_.index(), false);
  --metrics_.shared_subscriptions;
  tell(name, context.connection_id, false, [] {});
  return true;
}

void Shared::close(Context& context) {
  const uint64_t connection = context.connection_id;
  const auto found = holders_.find(connection);
  if (found == holders_.end()) return;
  Holder holder = std::move(found->second);
  holders_.erase(found);
  for (const Name& name : holder.groups) {
    find(name)->locals.erase(connection);
    learn(name, connection, core_.index(), false);
    --metrics_.shared_subscriptions;
    tell(name, connection, false, [] {});
  }
  load_changed(connection, 0);
  std::vector<Held*> left;
  for (auto& [lease, held] : holder.held) left.push_back(&held);
  std::sort(left.begin(), left.end(), [](const Held* a, const Held* b) { return a->order < b->order; });
  for (Held* held : left) {
    if (held->qos == 2) {
      ++metrics_.shared_messages_ended_total;
      continue;
    }
    ++metrics_.shared_messages_handed_on_total;
    held->parcel.refused.push_back(connection);
    place(std::move(held->parcel));
  }
  flush();
}

size_t Shared::count_of(const Context& context) const {
  const auto holder = holders_.find(context.connection_id);
  return holder == holders_.end() ? 0 : holder->second.groups.size();
}

bool Shared::has(const Context& context, std::string_view filter, std::string_view share) const {
  const auto holder = holders_.find(context.connection_id);
  if (holder == holders_.end()) return false;
  const auto& groups = holder->second.groups;
  return std::any_of(groups.begin(), groups.end(),
                     [&](const Name& name) { return name.filter == filter && name.share == share; });
}

void Shared::each_of(const Context& context, Callback<void(const std::string&, const std::string&, uint8_t)> visit) const {
  const auto holder = holders_.find(context.connection_id);
  if (holder == holders_.end()) return;
  for (const Name& name : holder->second.groups) {
    const auto group = groups_.find(name);
    if (group == groups_.end()) continue;
    const auto local = group->second->locals.find(context.connection_id);
    if (local != group->second->locals.end()) visit(name.filter, name.share, local->second.qos_max);
  }
}

Code Shared::settle(const Context& context, const Settle::One& one) {
  const auto holder = holders_.find(context.connection_id);
  if (holder == holders_.end()) return Code::not_found;
  const auto held = holder->second.held.find(one.lease);
  if (held == holder->second.held.end()) return Code::not_found;
  if (one.outcome == Settle::Outcome::received) return Code::ok;
  Parcel parcel = std::move(held->second.parcel);
  holder->second.held.erase(held);
  load_changed(context.connection_id, static_cast<uint32_t>(holder->second.held.size()));
  if (one.outcome == Settle::Outcome::refused) {
    ++metrics_.shared_messages_handed_on_total;
    parcel.refused.push_back(context.connection_id);
    place(std::move(parcel));
    flush();
  } else if (holder->second.groups.empty() && holder->second.held.empty()) {
    holders_.erase(holder);
  }
  return Code::ok;
}

void Shared::tell(const Name& name, uint64_t connection, bool is_member, Callback<void()> done) {
  if (peers_.size() <= 1) return done();
  struct Telling {
    Callback<void()> done;
    size_t waiting;
  };
  auto telling = std::make_shared<Telling>(Telling{std::move(done), peers_.size() - 1});
  for (Shared* peer : peers_) {
    if (peer == this) continue;
    core_.send(peer->core_.index(), [this, peer, name, connection, is_member, telling] {
      peer->learn(name, connection, core_.index(), is_member);
      peer->core_.send(core_.index(), [telling] {
        if (--telling->waiting == 0) telling->done();
      });
    });
  }
}

Shared::Group* Shared::find(const Name& name) {
  const auto found = groups_.find(name);
  return found == groups_.end() ? nullptr : found->second.get();
}

void Shared::learn(const Name& name, uint64_t connection, CoreIndex core, bool is_member) {
  ++generation_;
  Group* group = find(name);
  if (!group) {
    if (!is_member) return;
    group = (groups_[name] = std::make_unique<Group>()).get();
    group->name = std::make_shared<const Name>(name);
    trie_.node(name.filter).entries().push_back(group);
  }
  const auto at = std::lower_bound(group->members.begin(), group->members.end(), connection,
                                   [](const Member& member, uint64_t id) { return member.connection < id; });
  const bool is_there = at != group->members.end() && at->connection == connection;
  if (is_member) {
    if (!is_there) group->members.insert(at, {connection, core});
    return;
  }
  if (is_there) group->members.erase(at);
  if (core != core_.index()) loads_.erase(connection);
  if (!group->members.empty()) return;
  auto* node = trie_.find(name.filter);
  std::erase(node->entries(), group);
  if (node->entries().empty()) trie_.prune(*node);
  groups_.erase(name);
}

// ---- Messages ----

std::shared_ptr<const Shared::Groups> Shared::groups_of(std::string_view topic) {
  if (trie_.empty()) return nullptr;
  if (remembered_generation_ != generation_ || remembered_.size() >= kRememberedMax || remembered_bytes_ >= kRememberedBytesMax) {
    remembered_.clear();
    remembered_bytes_ = 0;
    remembered_generation_ = generation_;
  }
  const auto known = remembered_.find(topic);
  if (known != remembered_.end()) return known->second;
  auto found = std::make_shared<Groups>();
  trie_.match(topic, [&](const std::vector<Group*>& groups) { found->insert(found->end(), groups.begin(), groups.end()); });
  std::sort(found->begin(), found->end(), [](const Group* a, const Group* b) { return *a->name < *b->name; });
  std::shared_ptr<const Groups> groups = found->empty() ? nullptr : std::move(found);
  remembered_bytes_ += topic.size();
  remembered_.emplace(std::string(topic), groups);
  return groups;
}

void Shared::give(std::string_view topic, const RecordView& record, const Bytes& owner, uint64_t origin) {
  const std::shared_ptr<const Groups> groups = groups_of(topic);
  if (!groups) return;
  const uint8_t qos = qos_of(record);
  const uint64_t generation = generation_;
  for (Group* group : *groups) {
    // A delivery may have ended connections, and groups with them.
    if (generation != generation_ &&
        std::none_of(groups_.begin(), groups_.end(), [&](const auto& known) { return known.second.get() == group; }))
      continue;
    place({.name = group->name, .topic = std::string(topic), .owner = owner, .record = record, .origin = origin, .qos = qos});
  }
}

void Shared::place(Parcel parcel) {
  while (Group* group = find(*parcel.name)) {
    const Member* member = draw(*group, parcel);
    if (!member) break;
    parcel.member = member->connection;
    if (member->core != core_.index()) {
      leaving_.resize(peers_.size());
      // Until that core tells better.
      if (options_.shared_strategy == SharedStrategy::least_inflight) ++loads_[member->connection];
      leaving_[member->core].push_back(std::move(parcel));
      return;
    }
    if (deliver(*group, parcel)) return;
    parcel.refused.push_back(parcel.member);
  }
  ++metrics_.shared_messages_dropped_total;
}

// False: the member is gone or cannot take it.
bool Shared::deliver(Group& group, Parcel& parcel) {
  const auto found = group.locals.find(parcel.member);
  if (found == group.locals.end()) return false;
  const Local local = found->second;
  const uint8_t qos = std::min(local.qos_max, parcel.qos);
  Sink& sink = *local.context->sink;
  uint16_t lease = 0;
  if (qos == 0) {
    if (!sink.is_ready()) return false;
  } else {
    Holder& holder = holders_[parcel.member];
    lease = take_lease(holder);
    if (lease == 0) return false;
  }
  ++metrics_.messages_delivered_total;
  if (watch_) watch_->note_out(parcel.topic);
  // Held before it is delivered: the connection may settle or end at once. The delivery's own share keeps the record meanwhile.
  const std::string topic = parcel.topic;
  const Bytes owner = parcel.owner;
  const RecordView record = parcel.record;
  if (lease != 0) {
    Holder& holder = holders_[parcel.member];
    holder.held.emplace(lease, Held{++orders_, qos, std::move(parcel)});
    load_changed(local.context->connection_id, static_cast<uint32_t>(holder.held.size()));
  }
  const std::vector<uint32_t> ids{local.id};
  DeliveryScratch scratch;
  sink.on_delivery(Delivery{.topic = topic,
                            .record = record,
                            .owner = owner,
                            .qos_max = qos,
                            .retain_as_published = local.retain_as_published,
                            .lease = lease,
                            .subscription_ids = local.id == 0 ? nullptr : &ids,
                            .scratch = scratch});
  return true;
}

// 0: it holds as much as it may.
uint16_t Shared::take_lease(Holder& holder) {
  if (holder.held.size() >= static_cast<size_t>(options_.shared_inflight_max)) return 0;
  return take_lease_id(holder.held, holder.next_lease, kSharedLeaseMin, kQueueLeaseMin - 1);
}

void Shared::flush() {
  for (size_t core = 0; core < leaving_.size(); ++core) {
    if (leaving_[core].empty()) continue;
    core_.send(static_cast<CoreIndex>(core), [peer = peers_[core], parcels = std::exchange(leaving_[core], {})]() mutable {
      peer->receive(std::move(parcels));
    });
  }
}

void Shared::receive(std::vector<Parcel> parcels) {
  for (Parcel& parcel : parcels) {
    Group* group = find(*parcel.name);
    if (group && deliver(*group, parcel)) continue;
    parcel.refused.push_back(parcel.member);
    place(std::move(parcel));
  }
  flush();
}

// ---- Strategies ----

// One that has not refused it; nullptr: nobody is left.
const Shared::Member* Shared::draw(Group& group, const Parcel& parcel) {
  const size_t count = group.members.size();
  if (count == 0 || parcel.refused.size() >= kTriesMax) return nullptr;
  const auto has_refused = [&](const Member& member) {
    return std::find(parcel.refused.begin(), parcel.refused.end(), member.connection) != parcel.refused.end();
  };
  size_t first = 0;
  if (options_.shared_strategy == SharedStrategy::sticky) {
    const auto stuck = std::find_if(group.members.begin(), group.members.end(), [&](const Member& member) {
      return member.connection == group.stuck && !has_refused(member);
    });
    first = stuck != group.members.end() ? static_cast<size_t>(stuck - group.members.begin())
                                         : first_draw(group, options_.shared_sticky_first, parcel);
  } else if (options_.shared_strategy == SharedStrategy::round_robin ||
             options_.shared_strategy == SharedStrategy::round_robin_per_group) {
    first = group.next++;
  } else {
    first = first_draw(group, options_.shared_strategy, parcel);
  }
  for (size_t i = 0; i < count; ++i) {
    const Member& member = group.members[(first + i) % count];
    if (has_refused(member)) continue;
    group.stuck = member.connection;
    return &member;
  }
  return nullptr;
}

size_t Shared::first_draw(const Group& group, SharedStrategy strategy, const Parcel& parcel) {
  const size_t count = group.members.size();
  switch (strategy) {
    case SharedStrategy::local:
      return draw_of_core(group);
    case SharedStrategy::hash_topic:
      return hash64(as_bytes(parcel.topic)) % count;
    case SharedStrategy::hash_clientid:
      return hash64({reinterpret_cast<const uint8_t*>(&parcel.origin), sizeof(parcel.origin)}) % count;
    case SharedStrategy::least_inflight:
      return least_loaded(group, parcel);
    case SharedStrategy::random:
    case SharedStrategy::round_robin:
    case SharedStrategy::round_robin_per_group:
    case SharedStrategy::sticky:
      break;
  }
  return core_.random() % count;
}

// One of this core's own members, where there is one.
size_t Shared::draw_of_core(const Group& group) const {
  if (group.locals.empty()) return core_.random() % group.members.size();
  auto local = group.locals.begin();
  std::advance(local, static_cast<ptrdiff_t>(core_.random() % group.locals.size()));
  const auto at = std::lower_bound(group.members.begin(), group.members.end(), local->first,
                                   [](const Member& member, uint64_t id) { return member.connection < id; });
  return static_cast<size_t>(at - group.members.begin());
}

// The one with the fewest messages unacknowledged; among equals the search begins anywhere.
size_t Shared::least_loaded(const Group& group, const Parcel& parcel) const {
  const size_t count = group.members.size();
  const size_t start = core_.random() % count;
  size_t best = start;
  uint32_t least = UINT32_MAX;
  for (size_t i = 0; i < count; ++i) {
    const Member& member = group.members[(start + i) % count];
    if (std::find(parcel.refused.begin(), parcel.refused.end(), member.connection) != parcel.refused.end()) continue;
    const auto load = loads_.find(member.connection);
    const uint32_t inflight = load == loads_.end() ? 0 : load->second;
    if (inflight >= least) continue;
    least = inflight;
    best = (start + i) % count;
  }
  return best;
}

void Shared::load_changed(uint64_t connection, uint32_t load) {
  if (options_.shared_strategy != SharedStrategy::least_inflight) return;
  learn_load({{connection, load}});
  if (peers_.size() <= 1) return;
  new_loads_[connection] = load;
  core_.defer(*this);
}

void Shared::run_deferred() {
  std::vector<std::pair<uint64_t, uint32_t>> loads(new_loads_.begin(), new_loads_.end());
  new_loads_.clear();
  for (Shared* peer : peers_) {
    if (peer != this) core_.send(peer->core_.index(), [peer, loads] { peer->learn_load(loads); });
  }
}

void Shared::learn_load(const std::vector<std::pair<uint64_t, uint32_t>>& loads) {
  for (const auto& [connection, load] : loads) {
    if (load == 0)
      loads_.erase(connection);  // as one that is not known: nothing is kept of connections that are gone
    else
      loads_[connection] = load;
  }
}

}  // namespace robustmq::broker
