// What is known, and kept, of a transactional id. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/describe.h"
#include "base/ids.h"

namespace robustmq::broker {

// The words are Kafka's. Prepared: decided durably, and what it wrote is not told everywhere yet.
enum class TransactionState : uint8_t { empty, ongoing, prepare_commit, prepare_abort, complete_commit, complete_abort };

}  // namespace robustmq::broker

template <>
struct robustmq::EnumNames<robustmq::broker::TransactionState> {
  using S = robustmq::broker::TransactionState;
  static constexpr std::pair<S, std::string_view> values[] = {
      {S::empty, "Empty"},
      {S::ongoing, "Ongoing"},
      {S::prepare_commit, "PrepareCommit"},
      {S::prepare_abort, "PrepareAbort"},
      {S::complete_commit, "CompleteCommit"},
      {S::complete_abort, "CompleteAbort"},
  };
};

namespace robustmq::broker {

struct TransactionPartition {
  std::string topic;  // Kafka's spelling
  TopicId id;
  int32_t partition = 0;
  bool is_light = false;

  bool is(const TransactionPartition& other) const { return id == other.id && partition == other.partition; }
  template <class V>
  static void describe(V& v) {
    v.field("topic", &TransactionPartition::topic);
    v.field("id", &TransactionPartition::id);
    v.field("partition", &TransactionPartition::partition);
    v.field("is_light", &TransactionPartition::is_light);
  }
};

struct TransactionRow {
  ProducerId producer_id = -1;
  int16_t epoch = -1;
  // What the producer may still say because it did not hear of the change to the above; -1: nothing.
  ProducerId last_producer_id = -1;
  int16_t last_epoch = -1;
  ProducerId next_producer_id = -1;  // while prepared: takes over with epoch 0; -1: the same goes on
  int32_t timeout_ms = 0;
  TransactionState state = TransactionState::empty;
  int64_t started_ms = -1;  // of the open transaction
  int64_t changed_ms = 0;
  std::vector<TransactionPartition> partitions;  // of the open transaction
  std::vector<std::string> groups;               // consumer groups with offsets in it

  bool is_prepared() const { return state == TransactionState::prepare_commit || state == TransactionState::prepare_abort; }
  bool is_open() const { return state == TransactionState::ongoing || is_prepared(); }
  template <class V>
  static void describe(V& v) {
    using R = TransactionRow;
    v.field("producer_id", &R::producer_id);
    v.field("epoch", &R::epoch);
    v.field("last_producer_id", &R::last_producer_id);
    v.field("last_epoch", &R::last_epoch);
    v.field("next_producer_id", &R::next_producer_id);
    v.field("timeout_ms", &R::timeout_ms);
    v.field("state", &R::state);
    v.field("started_ms", &R::started_ms);
    v.field("changed_ms", &R::changed_ms);
    v.field("partitions", &R::partitions);
    v.field("groups", &R::groups);
  }
};

}  // namespace robustmq::broker
