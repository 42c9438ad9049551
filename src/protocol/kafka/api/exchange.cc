// Exchange: rounds of calls, and the making of exchanges by API key. Pure.
#include "protocol/kafka/api/exchange.h"

#include <algorithm>
#include <set>

#include "protocol/kafka/api/group_makers.h"
#include "protocol/kafka/api/makers.h"
#include "protocol/kafka/api/share_makers.h"

namespace robustmq::kafka {

std::vector<std::string_view> each_once(std::vector<std::string_view> names) {
  std::set<std::string_view> seen;
  std::erase_if(names, [&](std::string_view name) { return !seen.insert(name).second; });
  return names;
}

Exchange::Call* Exchange::find(CallId id) {
  const auto at =
      std::lower_bound(calls_.begin(), calls_.end(), id, [](const Call& call, CallId wanted) { return call.id < wanted; });
  return at == calls_.end() || at->id != id ? nullptr : &*at;
}

bool Exchange::owns(CallId id) const { return const_cast<Exchange*>(this)->find(id) != nullptr; }

std::vector<CallId> Exchange::open_calls() const {
  std::vector<CallId> open;
  for (const Call& call : calls_) {
    if (!call.reply) open.push_back(call.id);
  }
  return open;
}

// A listener may have an address of its own for this node, which is the first of the nodes.
void Exchange::tell_own_address(broker::Reply& reply) const {
  auto* cluster = std::get_if<broker::ClusterFacts>(&reply);
  if (!cluster || cluster->nodes.empty() || link_.facts.advertised_port == 0) return;
  cluster->nodes.front().kafka_host = link_.facts.advertised_host;
  cluster->nodes.front().kafka_port = link_.facts.advertised_port;
}

void Exchange::on_reply(CallId id, broker::Reply reply, Outbox& out) {
  tell_own_address(reply);
  if (Call* call = find(id); call && !call->reply) {
    call->reply = std::move(reply);
    ++replies_;
  }
  if (replies_ < calls_.size()) return;
  std::vector<broker::Reply> replies;
  replies.reserve(calls_.size());
  for (Call& call : calls_) replies.push_back(std::move(*call.reply));
  calls_.clear();
  replies_ = 0;
  on_replies(replies, out);
}

bool Exchange::may_mutate(bool is_strict, double partitions) {
  if (!is_strict) {
    take(QuotaKind::mutation, partitions);
    return true;
  }
  const Delay owed = link_.quotas.owed(QuotaKind::mutation, link_.now);
  if (owed.until > link_.now) {
    delay_by(owed);
    return false;
  }
  link_.quotas.take_silently(QuotaKind::mutation, link_.now, partitions);
  return true;
}

void Exchange::finish(Bytes head, const Writer& writer) {
  ROBUSTMQ_CHECK(writer.room_left() == 0, "a message is shorter than its size() said");
  size_t at = 0;
  for (const Writer::Cut& cut : writer.cuts()) {
    if (cut.at > at) response_.push_back(Piece::of(head.slice(at, cut.at - at)));
    at = cut.at;
    for (const Piece& piece : *cut.pieces) response_.push_back(piece);
  }
  if (at < head.size()) response_.push_back(Piece::of(head.slice(at)));
  is_done_ = true;
}

std::unique_ptr<Exchange> make_exchange(Link& link, RequestFacts facts) {
  switch (facts.key) {
    case 0:
      return make_produce(link, std::move(facts));
    case 1:
      return make_fetch(link, std::move(facts));
    case 2:
      return make_list_offsets(link, std::move(facts));
    case 3:
      return make_metadata(link, std::move(facts));
    case 8:
      return make_offset_commit(link, std::move(facts));
    case 9:
      return make_offset_fetch(link, std::move(facts));
    case 10:
      return make_find_coordinator(link, std::move(facts));
    case 11:
      return make_join_group(link, std::move(facts));
    case 12:
      return make_heartbeat(link, std::move(facts));
    case 13:
      return make_leave_group(link, std::move(facts));
    case 14:
      return make_sync_group(link, std::move(facts));
    case 15:
      return make_describe_groups(link, std::move(facts));
    case 16:
      return make_list_groups(link, std::move(facts));
    case 18:
      return make_api_versions(link, std::move(facts));
    case 19:
      return make_create_topics(link, std::move(facts));
    case 20:
      return make_delete_topics(link, std::move(facts));
    case 21:
      return make_delete_records(link, std::move(facts));
    case 22:
      return make_init_producer_id(link, std::move(facts));
    case 23:
      return make_offset_for_leader_epoch(link, std::move(facts));
    case 24:
      return make_add_partitions_to_txn(link, std::move(facts));
    case 25:
      return make_add_offsets_to_txn(link, std::move(facts));
    case 26:
      return make_end_txn(link, std::move(facts));
    case 27:
      return make_write_txn_markers(link, std::move(facts));
    case 28:
      return make_txn_offset_commit(link, std::move(facts));
    case 32:
      return make_describe_configs(link, std::move(facts));
    case 33:
      return make_alter_configs(link, std::move(facts));
    case 35:
      return make_describe_log_dirs(link, std::move(facts));
    case 37:
      return make_create_partitions(link, std::move(facts));
    case 42:
      return make_delete_groups(link, std::move(facts));
    case 43:
      return make_elect_leaders(link, std::move(facts));
    case 44:
      return make_incremental_alter_configs(link, std::move(facts));
    case 45:
      return make_alter_partition_reassignments(link, std::move(facts));
    case 46:
      return make_list_partition_reassignments(link, std::move(facts));
    case 47:
      return make_offset_delete(link, std::move(facts));
    case 48:
      return make_describe_client_quotas(link, std::move(facts));
    case 49:
      return make_alter_client_quotas(link, std::move(facts));
    case 57:
      return make_update_features(link, std::move(facts));
    case 60:
      return make_describe_cluster(link, std::move(facts));
    case 61:
      return make_describe_producers(link, std::move(facts));
    case 65:
      return make_describe_transactions(link, std::move(facts));
    case 66:
      return make_list_transactions(link, std::move(facts));
    case 68:
      return make_consumer_group_heartbeat(link, std::move(facts));
    case 69:
      return make_consumer_group_describe(link, std::move(facts));
    case 74:
      return make_list_config_resources(link, std::move(facts));
    case 75:
      return make_describe_topic_partitions(link, std::move(facts));
    case 76:
      return make_share_group_heartbeat(link, std::move(facts));
    case 77:
      return make_share_group_describe(link, std::move(facts));
    case 78:
      return make_share_fetch(link, std::move(facts));
    case 79:
      return make_share_acknowledge(link, std::move(facts));
    case 90:
      return make_describe_share_group_offsets(link, std::move(facts));
    case 91:
      return make_alter_share_group_offsets(link, std::move(facts));
    case 92:
      return make_delete_share_group_offsets(link, std::move(facts));
    default:
      return nullptr;
  }
}

}  // namespace robustmq::kafka
