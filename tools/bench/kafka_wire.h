// The few Kafka requests that the loads send, as bytes, and where their answers have what counts. One topic and one partition a
// request; correlation ids are always 1, since answers come in order. Versions that old and new brokers serve alike.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "tools/bench/measure.h"

namespace robustmq::bench {

// As many records of `record_bytes` as fit into `batch_bytes`, one at least, incompressible enough. Their time is now, or
// retention takes them.
Bytes make_batch(const Options& options, int32_t& records);

// The wall clock.
int64_t wall_ms();

// Makes options.topic with options.partitions and waits until each has a leader that answers. Fails on any error.
void create_topic(const Options& options);
void delete_topic(const Options& options);
// The offset after the last record of a partition.
int64_t end_offset(const Options& options, int partition);

// Produce 7, acks=all.
std::string produce_request(const Options& options, int partition, const Bytes& batch);
// Fetch 11, without a session: waits up to 500 ms for at least one byte.
std::string fetch_request(const Options& options, int partition, int64_t offset);

// An answer's bytes up to and with what is looked at, its size first.
size_t produce_answer_head(const Options& options);
size_t fetch_answer_head(const Options& options);

// Answers as they come in on one connection: of each only the head is kept.
class Answers {
 public:
  // Takes from the front of `data` what belongs to the answer that comes in. True when that is whole; head() holds until the
  // next call.
  bool take(std::string_view& data, size_t head_bytes);
  const std::string& head() const { return head_; }

 private:
  std::string head_;
  uint64_t skip_ = 0;  // bytes of the answer after its head that are still to come
  bool is_whole_ = false;
};

// Reads one head; fail() when it names an error.
void check_produced(const Options& options, std::string_view head);
struct Fetched {
  int64_t high_watermark = 0;
  int64_t bytes = 0;  // of record batches, the last of which may be cut
};
Fetched read_fetched(const Options& options, std::string_view head);

}  // namespace robustmq::bench
