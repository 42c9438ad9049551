#include "tools/bench/kafka_wire.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <optional>

#include "base/batch.h"
#include "tools/bench/kafka_bytes.h"
#include "tools/bench/link.h"

namespace robustmq::bench {

namespace {

constexpr int16_t kProduce = 0, kFetch = 1, kListOffsets = 2, kCreateTopics = 19, kDeleteTopics = 20;

// The answer, with four bytes before it in place of its size.
std::string call(const Options& options, const std::string& request) {
  Link link;
  link.connect(options.port);
  link.send_now(request);
  const auto size = get_at<int32_t>(link.read_now(4), 0);
  return "size" + link.read_now(static_cast<size_t>(size));
}

struct End {
  int16_t error = 0;
  int64_t offset = 0;
};

End ask_end(const Options& options, int partition) {
  std::string body;
  put<int32_t>(body, -1);
  put<int32_t>(body, 1);
  put_text(body, options.topic);
  put<int32_t>(body, 1);
  put<int32_t>(body, partition);
  put<int64_t>(body, -1);
  const std::string answer = call(options, frame(kListOffsets, 1, body));
  const size_t at = 4 + 4 + 4 + 2 + options.topic.size() + 4 + 4;
  return {get_at<int16_t>(answer, at), get_at<int64_t>(answer, at + 2 + 8)};
}

}  // namespace

bool Answers::take(std::string_view& data, size_t head_bytes) {
  if (is_whole_) head_.clear();
  is_whole_ = false;
  if (skip_ == 0) {
    const size_t wanted = std::min(head_bytes - head_.size(), data.size());
    head_ += data.substr(0, wanted);
    data.remove_prefix(wanted);
    if (head_.size() < head_bytes) return false;
    skip_ = 4 + static_cast<uint64_t>(get_at<int32_t>(head_, 0)) - head_bytes;
  }
  const size_t skipped = std::min<size_t>(skip_, data.size());
  skip_ -= skipped;
  data.remove_prefix(skipped);
  is_whole_ = skip_ == 0;
  return is_whole_;
}

int64_t wall_ms() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::system_clock::now().time_since_epoch()).count();
}

Bytes make_batch(const Options& options, int32_t& records) {
  BatchBuilder builder;
  uint64_t state = 88172645463325252ULL;
  std::string value(static_cast<size_t>(options.record_bytes), '\0');
  const int64_t now_ms = wall_ms();
  records = 0;
  do {
    for (char& c : value) {
      state ^= state << 13;
      state ^= state >> 7;
      state ^= state << 17;
      c = static_cast<char>(state);
    }
    builder.begin_record(now_ms, std::nullopt, as_bytes(value));
    builder.end_record();
    ++records;
  } while (static_cast<int>(builder.size_bytes() + kBatchHeaderBytes) + options.record_bytes + 16 <= options.batch_bytes);
  return builder.finish();
}

void create_topic(const Options& options) {
  std::string body;
  put<int32_t>(body, 1);
  put_text(body, options.topic);
  put<int32_t>(body, options.partitions);
  put<int16_t>(body, 1);
  put<int32_t>(body, 0);
  put<int32_t>(body, 0);
  put<int32_t>(body, 10'000);
  put<int8_t>(body, 0);
  const std::string answer = call(options, frame(kCreateTopics, 4, body));
  const auto error = get_at<int16_t>(answer, 4 + 4 + 4 + 4 + 2 + options.topic.size());
  if (error != 0) fail(fmt::format("creating the topic {}: error {}", options.topic, error));
  const int64_t until_ns = now_ns() + 10 * kSecond;
  for (int i = 0; i < options.partitions; ++i) {
    int16_t last = 0;
    while ((last = ask_end(options, i).error) != 0) {
      if (now_ns() > until_ns) fail(fmt::format("partition {} of {} has no leader: error {}", i, options.topic, last));
    }
  }
}

void delete_topic(const Options& options) {
  std::string body;
  put<int32_t>(body, 1);
  put_text(body, options.topic);
  put<int32_t>(body, 10'000);
  call(options, frame(kDeleteTopics, 3, body));
}

int64_t end_offset(const Options& options, int partition) {
  const End end = ask_end(options, partition);
  if (end.error != 0) fail(fmt::format("the end of {}-{}: error {}", options.topic, partition, end.error));
  return end.offset;
}

std::string produce_request(const Options& options, int partition, const Bytes& batch) {
  std::string body;
  put<int16_t>(body, -1);
  put<int16_t>(body, -1);
  put<int32_t>(body, 30'000);
  put<int32_t>(body, 1);
  put_text(body, options.topic);
  put<int32_t>(body, 1);
  put<int32_t>(body, partition);
  put<int32_t>(body, static_cast<int32_t>(batch.size()));
  body += batch.text();
  return frame(kProduce, 7, body);
}

std::string fetch_request(const Options& options, int partition, int64_t offset) {
  std::string body;
  put<int32_t>(body, -1);
  put<int32_t>(body, 500);
  put<int32_t>(body, 1);
  put<int32_t>(body, 50 << 20);
  put<int8_t>(body, 0);
  put<int32_t>(body, 0);
  put<int32_t>(body, -1);
  put<int32_t>(body, 1);
  put_text(body, options.topic);
  put<int32_t>(body, 1);
  put<int32_t>(body, partition);
  put<int32_t>(body, -1);
  put<int64_t>(body, offset);
  put<int64_t>(body, -1);
  put<int32_t>(body, options.fetch_bytes);
  put<int32_t>(body, 0);
  put_text(body, "");
  return frame(kFetch, 11, body);
}

// Size, correlation, topics (1), name, partitions (1), index, error.
size_t produce_answer_head(const Options& options) { return 4 + 4 + 4 + 2 + options.topic.size() + 4 + 4 + 2; }

void check_produced(const Options& options, std::string_view head) {
  const auto error = get_at<int16_t>(head, produce_answer_head(options) - 2);
  if (error != 0) fail(fmt::format("a produce request was refused: error {}", error));
}

// Size, correlation, throttle, error, session, topics, name, partitions, index, error, three offsets, aborted, preferred,
// length. (No aborted transactions: the isolation level asks for none.)
size_t fetch_answer_head(const Options& options) {
  return 4 + 4 + 4 + 2 + 4 + 4 + 2 + options.topic.size() + 4 + 4 + 2 + 24 + 4 + 4 + 4;
}

Fetched read_fetched(const Options& options, std::string_view head) {
  const size_t end = fetch_answer_head(options);
  const size_t offsets = end - 4 - 4 - 4 - 24;
  const auto error = get_at<int16_t>(head, offsets - 2);
  if (error != 0) fail(fmt::format("a fetch request was refused: error {}", error));
  return {get_at<int64_t>(head, offsets), get_at<int32_t>(head, end - 4)};
}

}  // namespace robustmq::bench
