#include "broker/packet_repeat.h"

#include <optional>

namespace robustmq::broker {
namespace {

bool are_equal(const std::optional<ByteSpan>& a, const std::optional<ByteSpan>& b) {
  return a.has_value() == b.has_value() && (!a || std::equal(a->begin(), a->end(), b->begin(), b->end()));
}

bool next_of_message(HeaderReader& headers, HeaderView& out) {
  while (headers.next(out)) {
    if (out.key != kPacketHeader) return true;
  }
  return false;
}

bool have_same_headers(const RecordView& a, const RecordView& b) {
  HeaderReader of_a(a);
  HeaderReader of_b(b);
  HeaderView one;
  HeaderView other;
  while (next_of_message(of_a, one)) {
    if (!next_of_message(of_b, other) || one.key != other.key || !are_equal(one.value, other.value)) return false;
  }
  return !next_of_message(of_b, other);
}

}  // namespace

bool is_same_packet(const RecordView& stored, const RecordView& again, const PacketRepeat& repeat) {
  const std::optional<PacketMark> was = message_facts_of(stored).packet;
  const std::optional<PacketMark> is = message_facts_of(again).packet;
  return was && is && was->client_id == is->client_id && was->packet_id == is->packet_id && was->sequence < is->sequence &&
         repeat.is_open(was->sequence) && are_equal(stored.value, again.value) && have_same_headers(stored, again);
}

}  // namespace robustmq::broker
