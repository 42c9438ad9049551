// What a consumer group's members follow, from the metadata they join with.
//
// ConsumerProtocolSubscription, of every version: int16 version, int32 number of topics, each an int16 length and its name; what
// follows does not matter here. All big-endian.
#include <cstring>

#include "broker/group/group.h"

namespace robustmq::broker {
namespace {

constexpr std::string_view kConsumer = "consumer";

bool take_number(ByteSpan& rest, size_t width, int64_t& value) {
  if (rest.size() < width) return false;
  uint64_t number = 0;
  for (size_t i = 0; i < width; ++i) number = number << 8 | rest[i];
  value = width == 2 ? static_cast<int16_t>(number) : static_cast<int32_t>(number);
  rest = rest.subspan(width);
  return true;
}

bool add_topics(ByteSpan metadata, std::set<std::string>& topics) {
  int64_t version = 0, count = 0;
  if (!take_number(metadata, 2, version) || !take_number(metadata, 4, count)) return false;
  for (int64_t i = 0; i < count; ++i) {
    int64_t length = 0;
    if (!take_number(metadata, 2, length) || length < 0 || static_cast<size_t>(length) > metadata.size()) return false;
    topics.emplace(as_text(metadata.first(static_cast<size_t>(length))));
    metadata = metadata.subspan(static_cast<size_t>(length));
  }
  return version >= 0 && count >= 0;
}

}  // namespace

std::optional<std::set<std::string>> Group::subscribed_topics() const {
  std::set<std::string> topics;
  if (members_.empty()) return topics;
  if (protocol_type_ != kConsumer) return std::nullopt;
  for (const auto& [id, member] : members_) {
    for (const GroupProtocol& protocol : member.protocols) {
      // While joins are collected no protocol is chosen yet: all count.
      if (state_ != State::preparing_rebalance && protocol.name != protocol_) continue;
      if (!add_topics(protocol.metadata, topics)) return std::nullopt;
    }
  }
  return topics;
}

}  // namespace robustmq::broker
