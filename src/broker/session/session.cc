#include "broker/session/session.h"

#include <algorithm>

#include "base/topic_names.h"

namespace robustmq::broker {

void SessionPackets::restore(const ProgressRow& row) {
  last_ = std::max(last_, row.sequence);
  covered_ = std::max(covered_, row.sequence);
  released_ = row.released;
  for (const PacketRow& packet : row.packets) packets_[packet.packet_id] = {packet.sequence, true};
}

void SessionPackets::restore(uint16_t packet_id, uint64_t sequence) {
  if (sequence <= covered_ || std::find(released_.begin(), released_.end(), sequence) != released_.end()) return;
  Packet& packet = packets_[packet_id];
  if (packet.sequence <= sequence) packet = {sequence, true};
  last_ = std::max(last_, sequence);
}

uint64_t SessionPackets::write_to(ProgressRow& row) {
  uint64_t covered = last_;
  for (const auto& [id, packet] : packets_) {
    if (!packet.is_stored) covered = std::min(covered, packet.sequence - 1);
  }
  std::erase_if(released_, [&](uint64_t sequence) { return sequence <= covered; });
  row.sequence = covered;
  row.released = released_;
  for (const auto& [id, packet] : packets_) {
    if (packet.is_stored && packet.sequence <= covered) row.packets.push_back({id, packet.sequence});
  }
  return covered;
}

std::vector<uint16_t> SessionPackets::received() const {
  std::vector<std::pair<uint64_t, uint16_t>> ordered;
  for (const auto& [id, packet] : packets_) ordered.emplace_back(packet.sequence, id);
  std::sort(ordered.begin(), ordered.end());
  std::vector<uint16_t> ids;
  for (const auto& [sequence, id] : ordered) ids.push_back(id);
  return ids;
}

SessionMatch Session::match(const OwedMessage& message) const {
  SessionMatch match;
  for (const SessionSubscription& one : subscriptions) {
    const FollowOne& follow = one.follow;
    if (!follow.share.empty() || (message.is_own && follow.no_local) || !filter_matches(follow.filter, message.topic)) continue;
    match.is_wanted = true;
    match.qos_max = std::max(match.qos_max, follow.qos_max);
    match.retain_as_published |= follow.retain_as_published;
    if (follow.subscription_id != 0) match.ids.push_back(follow.subscription_id);
  }
  return match;
}

}  // namespace robustmq::broker
