// Group: its members go to a group with server-side assignment, and come from one.
#include <map>

#include "broker/group/group.h"

namespace robustmq::broker {

std::vector<Group::Seed> Group::seeds() const {
  std::map<uint64_t, Seed> by_order;
  for (const auto& [id, member] : members_) {
    by_order[member.order] = {id,
                              member.instance_id,
                              member.client_id,
                              member.client_host,
                              member.protocols,
                              member.session_timeout,
                              member.rebalance_timeout,
                              member.assignment};
  }
  std::vector<Seed> out;
  for (auto& [order, seed] : by_order) out.push_back(std::move(seed));
  return out;
}

void Group::hand_over(Code code) {
  close(code);
  state_ = State::empty;
  protocol_.clear();
  leader_.clear();
}

void Group::adopt(int32_t generation, std::string protocol_type, std::vector<Seed> seeds, Instant now) {
  generation_ = generation;
  protocol_type_ = std::move(protocol_type);
  for (Seed& seed : seeds) {
    Member member;
    member.order = next_order_++;
    member.instance_id = seed.instance_id;
    member.client_id = std::move(seed.client_id);
    member.client_host = std::move(seed.client_host);
    member.protocols = std::move(seed.protocols);
    member.session_timeout = seed.session_timeout;
    member.rebalance_timeout = seed.rebalance_timeout;
    member.assignment = std::move(seed.assignment);
    member.is_new = false;
    member.deadline = now + seed.session_timeout;
    if (seed.instance_id) instances_[*seed.instance_id] = seed.member_id;
    if (leader_.empty()) leader_ = seed.member_id;
    members_.emplace(std::move(seed.member_id), std::move(member));
    ++metrics_.members;
  }
  if (members_.empty()) return;
  state_ = State::stable;
  protocol_ = choose_protocol();
  prepare_rebalance(now);
}

}  // namespace robustmq::broker
