// What a consumer group's members follow, from the metadata they join with.
#include "broker/group/consumer_protocol.h"
#include "broker/group/group.h"

namespace robustmq::broker {

std::optional<std::set<std::string>> Group::subscribed_topics() const {
  std::set<std::string> topics;
  if (members_.empty()) return topics;
  if (protocol_type_ != kConsumerProtocol) return std::nullopt;
  for (const auto& [id, member] : members_) {
    for (const GroupProtocol& protocol : member.protocols) {
      // While joins are collected no protocol is chosen yet: all count.
      if (state_ != State::preparing_rebalance && protocol.name != protocol_) continue;
      std::optional<ConsumerSubscription> subscription = read_subscription(protocol.metadata);
      if (!subscription) return std::nullopt;
      topics.insert(subscription->topics.begin(), subscription->topics.end());
    }
  }
  return topics;
}

}  // namespace robustmq::broker
