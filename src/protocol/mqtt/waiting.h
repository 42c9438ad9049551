// Waiting: QoS 1 and 2 messages that a client cannot take yet (Receive Maximum reached, socket full). Pure.
//
// A message keeps a share of the record's memory, or a copy of its value and headers where the share would pin much more than
// they are. What it holds is counted in messages and bytes; the machine sets the limits.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/batch.h"
#include "base/bytes.h"
#include "broker/menu/request.h"
#include "protocol/mqtt/names.h"
#include "protocol/mqtt/ring.h"

namespace robustmq::mqtt {

struct WaitingMessage {
  std::string topic;
  Bytes owner;
  RecordView record;  // views into `owner`
  uint16_t lease = 0;
  uint8_t qos = 1;
  bool dup = false;
  bool retain = false;
  bool is_plain = false;
  std::optional<uint32_t> expiry_s;
  std::vector<uint32_t> subscription_ids;

  size_t size_bytes() const;
};

// Takes what is needed of a delivery past its call.
WaitingMessage keep(const broker::Delivery& delivery, const RecordFacts& facts, uint8_t qos);

class Waiting {
 public:
  bool empty() const { return messages_.empty(); }
  size_t size() const { return messages_.size(); }
  uint64_t bytes() const { return bytes_; }
  void push(WaitingMessage message) {
    bytes_ += message.size_bytes();
    messages_.push_back(std::move(message));
  }
  WaitingMessage& front() { return messages_.front(); }
  void pop() {
    bytes_ -= messages_.front().size_bytes();
    messages_.pop_front();
  }

 private:
  Ring<WaitingMessage> messages_;
  uint64_t bytes_ = 0;
};

}  // namespace robustmq::mqtt
