// The menu: transactions (the words are Kafka's). Pure.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "broker/menu/groups.h"
#include "broker/menu/topics.h"

namespace robustmq::broker {

// The producer of a transactional id: a new one, or the same in a newer epoch, which fences who had the id before. A transaction
// that is open is aborted first: concurrent_transactions until that is done. Codes: invalid_transaction_timeout,
// fenced_producer, invalid_producer_mapping, concurrent_transactions, quota_exceeded, coordinator's.
struct InitProducer {
  std::string transactional_id;
  int32_t timeout_ms = 0;  // a transaction that is open for longer is aborted
  ProducerId id = -1;      // what the caller has already; -1: nothing
  int16_t epoch = -1;
};
struct InitedProducer {
  Code code = Code::ok;
  ProducerId id = -1;
  int16_t epoch = -1;
};
// Codes of the requests below: invalid_producer_mapping (no such id, or another producer's), fenced_producer (another epoch),
// concurrent_transactions, invalid_transaction_state.
struct ProducerOf {
  std::string transactional_id;
  ProducerId id = -1;
  int16_t epoch = -1;
};
struct AddToTransaction {
  ProducerOf producer;
  std::vector<TopicRef> topics;
  std::vector<PartitionRef> partitions;
  bool verify_only = false;  // adds nothing: invalid_transaction_state for a partition that is not in it
};
// One bad partition: its code, and not_attempted for the others.
struct AddedToTransaction {
  std::vector<Code> partitions;
};
struct AddOffsetsToTransaction {
  ProducerOf producer;
  std::string group;
};
struct TransactionReply {
  Code code = Code::ok;
};
// Answered when it is decided durably and, where nothing is in the way, all of it shows.
struct EndTransaction {
  ProducerOf producer;
  bool commits = false;
  bool bumps_epoch = false;  // KIP-890: the producer goes on in a new epoch, which the answer tells
};
struct EndedTransaction {
  Code code = Code::ok;
  ProducerId id = -1;
  int16_t epoch = -1;
};
// Offsets that show when the transaction commits.
struct CommitInTransaction {
  ProducerOf producer;
  CommitOffsets commit;
  bool adds_group = false;  // KIP-890: as AddOffsetsToTransaction before it
};
// Ends what a producer has open in partitions; for operators.
struct WriteMarkers {
  struct One {
    ProducerId id = -1;
    int16_t epoch = -1;
    bool commits = false;
    std::vector<TopicRef> topics;
    std::vector<PartitionRef> partitions;
  };
  std::vector<One> markers;
};
struct WrittenMarkers {
  std::vector<std::vector<Code>> markers;  // of each, its partitions
};
struct DescribeTransactions {
  std::vector<std::string> ids;
};
struct DescribedTransaction {
  Code code = Code::ok;
  std::string transactional_id;
  std::string state;  // Kafka's name
  ProducerId producer_id = -1;
  int16_t epoch = -1;
  int32_t timeout_ms = 0;
  int64_t started_ms = -1;
  std::vector<std::pair<std::string, int32_t>> partitions;  // of the one that is open, by topic
};
struct DescribedTransactions {
  std::vector<DescribedTransaction> transactions;
};
struct ListTransactions {
  std::string pattern;  // of their ids, in RE2's syntax; empty: all
};
// Without their partitions.
struct ListedTransactions {
  Code code = Code::ok;  // invalid_pattern
  std::vector<DescribedTransaction> transactions;
};

}  // namespace robustmq::broker
