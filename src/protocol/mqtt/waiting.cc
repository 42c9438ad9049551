#include "protocol/mqtt/waiting.h"

namespace robustmq::mqtt {

size_t WaitingMessage::size_bytes() const {
  const size_t value = record.value ? record.value->size() : 0;
  return sizeof(WaitingMessage) + topic.size() + value + record.raw_headers.size() + subscription_ids.size() * sizeof(uint32_t);
}

WaitingMessage keep(const broker::Delivery& delivery, const RecordFacts& facts, uint8_t qos) {
  WaitingMessage message;
  message.topic = delivery.topic;
  message.lease = delivery.lease;
  message.qos = qos;
  message.dup = delivery.is_again;
  message.retain = delivery.is_retained || (delivery.retain_as_published && facts.retain);
  message.is_plain = facts.is_plain;
  message.expiry_s = facts.expiry_s;
  if (delivery.subscription_ids) message.subscription_ids = *delivery.subscription_ids;
  message.record = delivery.record;
  message.record.key.reset();  // not sent, and not to be held
  const ByteSpan value = delivery.record.value ? *delivery.record.value : ByteSpan{};
  const ByteSpan headers = delivery.record.raw_headers;
  const Bytes& owner = delivery.owner;
  const auto is_inside = [&](ByteSpan part) {
    return part.empty() || (part.data() >= owner.begin() && part.data() + part.size() <= owner.end());
  };
  if (is_inside(value) && is_inside(headers) && owner.pinned() <= 4 * (value.size() + headers.size()) + 1024) {
    message.owner = owner;
    return message;
  }
  Buffer copy(value.size() + headers.size());
  copy.append(value);
  copy.append(headers);
  message.owner = copy.take();
  if (delivery.record.value) message.record.value = message.owner.span().first(value.size());
  message.record.raw_headers = message.owner.span().subspan(value.size());
  return message;
}

}  // namespace robustmq::mqtt
