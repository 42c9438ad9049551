#include "broker/follow.h"

#include <algorithm>

#include "broker/extensions/topic_watch.h"
#include "broker/retained_bursts.h"
#include "broker/session/spool_record.h"

namespace robustmq::broker {

Follows::Added Follows::add(Context& context, const FollowOne& wanted) {
  auto* follower = static_cast<Follower*>(context.state);
  if (!follower) {
    follower = new Follower(context);
    followers_.push_back(*follower);
    context.state = follower;
  }
  auto& node = trie_.node(wanted.filter);
  const Subscription subscription{follower, wanted.subscription_id, wanted.qos_max, wanted.no_local, wanted.retain_as_published};
  ++generation_;
  for (Subscription& entry : node.entries()) {
    if (entry.follower == follower) {
      entry = subscription;
      return {false, false};
    }
  }
  const bool is_first = node.entries().empty();
  node.entries().push_back(subscription);
  follower->nodes.push_back(&node);
  ++metrics_.subscriptions;
  return {true, is_first};
}

void Follows::drop(FilterTrie<Subscription>::Node& node, Follower& follower) {
  std::erase_if(node.entries(), [&](const Subscription& entry) { return entry.follower == &follower; });
  --metrics_.subscriptions;
}

std::optional<Follows::Removed> Follows::remove(Context& context, std::string_view filter) {
  auto* follower = static_cast<Follower*>(context.state);
  auto* node = trie_.find(filter);
  if (!follower || !node) return std::nullopt;
  const auto at = std::find(follower->nodes.begin(), follower->nodes.end(), node);
  if (at == follower->nodes.end()) return std::nullopt;
  ++generation_;
  follower->nodes.erase(at);
  drop(*node, *follower);
  const bool is_last = node->entries().empty();
  if (is_last) trie_.prune(*node);
  if (follower->nodes.empty()) {
    context.state = nullptr;
    delete follower;
  }
  return Removed{is_last};
}

size_t Follows::count_of(const Context& context) const {
  const auto* follower = static_cast<const Follower*>(context.state);
  return follower ? follower->nodes.size() : 0;
}

bool Follows::has(const Context& context, std::string_view filter) const {
  const auto* follower = static_cast<const Follower*>(context.state);
  const auto* node = trie_.find(filter);
  return follower && node && std::find(follower->nodes.begin(), follower->nodes.end(), node) != follower->nodes.end();
}

std::shared_ptr<const Targets> Follows::match(std::string_view topic, uint64_t without_own_of) const {
  std::vector<const Subscription*> found;
  trie_.match(topic, [&](const std::vector<Subscription>& entries) {
    for (const Subscription& entry : entries) {
      const bool is_own = without_own_of != 0 && entry.follower->context->connection_id == without_own_of;
      if (!(is_own && entry.no_local)) found.push_back(&entry);
    }
  });
  if (found.empty()) return nullptr;
  // Grouped by connection, in the order of connecting, so that the order of deliveries is the same on every run.
  std::sort(found.begin(), found.end(), [](const Subscription* a, const Subscription* b) {
    const uint64_t first = a->follower->context->connection_id;
    const uint64_t second = b->follower->context->connection_id;
    return first != second ? first < second : a->id < b->id;
  });
  auto targets = std::make_shared<Targets>();
  targets->reserve(found.size());
  for (const Subscription* entry : found) {
    if (targets->empty() || targets->back().follower != entry->follower)
      targets->push_back({entry->follower, 0, false, false, {}});
    Target& target = targets->back();
    target.qos_max = std::max(target.qos_max, entry->qos_max);
    target.retain_as_published |= entry->retain_as_published;
    target.has_no_local |= entry->no_local;
    if (entry->id != 0) target.ids.push_back(entry->id);
  }
  return targets;
}

std::shared_ptr<const Targets> Follows::targets_of(std::string_view topic) {
  if (trie_.empty()) return nullptr;
  if (remembered_generation_ != generation_ || remembered_.size() >= kRememberedMax || remembered_bytes_ >= kRememberedBytesMax) {
    remembered_.clear();
    remembered_bytes_ = 0;
    remembered_generation_ = generation_;
  }
  const auto found = remembered_.find(topic);
  if (found != remembered_.end()) return found->second;
  remembered_bytes_ += topic.size();
  return remembered_.emplace(std::string(topic), match(topic, 0)).first->second;
}

bool Follows::are_ready(std::string_view topic) const {
  const auto targets = find_targets(topic);
  return !targets || std::all_of(targets->begin(), targets->end(),
                                 [](const Target& each) { return each.follower->context->sink->is_ready(); });
}

void Follows::deliver(const Targets& targets, std::string_view topic, const RecordView& record, const Bytes& owner,
                      uint64_t origin) {
  DeliveryScratch scratch;
  const uint64_t generation = generation_;
  for (const Target& target : targets) {
    // A delivery may have closed connections; their followers are gone then. Rare, so looked up anew.
    if (generation != generation_) {
      const auto now = match(topic, 0);
      const bool is_there =
          now && std::any_of(now->begin(), now->end(), [&](const Target& t) { return t.follower == target.follower; });
      if (!is_there) continue;
    }
    Context& context = *target.follower->context;
    const Target* shown = &target;
    std::shared_ptr<const Targets> without_own;
    if (target.has_no_local && origin != 0 && origin == context.connection_id) {
      without_own = match(topic, origin);
      if (!without_own) continue;
      const auto own =
          std::find_if(without_own->begin(), without_own->end(), [&](const Target& t) { return t.follower == target.follower; });
      if (own == without_own->end()) continue;
      shown = &*own;
    }
    if (context.session_state && (is_all_owed_ || (shown->qos_max > 0 && message_facts_of(record).qos > 0))) continue;
    ++metrics_.messages_delivered_total;
    if (watch_) watch_->note_out(topic);
    if (context.has_burst) bursts_->note_live(context, topic, record);
    context.sink->on_delivery(Delivery{.topic = topic,
                                       .record = record,
                                       .owner = owner,
                                       .qos_max = shown->qos_max,
                                       .retain_as_published = shown->retain_as_published,
                                       .subscription_ids = shown->ids.empty() ? nullptr : &shown->ids,
                                       .scratch = scratch});
  }
}

}  // namespace robustmq::broker
