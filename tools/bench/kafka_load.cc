#include "tools/bench/kafka_load.h"

#include <fmt/format.h>

#include <cstring>
#include <memory>

#include "base/batch.h"
#include "tools/bench/bare_loop.h"
#include "tools/bench/kafka_bytes.h"
#include "tools/bench/link.h"

namespace robustmq::bench {

namespace {

// As many records of `record_bytes` as fit into `batch_bytes`, incompressible enough.
Bytes make_batch(const Options& options, int32_t& records) {
  BatchBuilder builder;
  uint64_t state = 88172645463325252ULL;
  std::string value(static_cast<size_t>(options.record_bytes), '\0');
  records = 0;
  do {
    for (char& c : value) {
      state ^= state << 13;
      state ^= state >> 7;
      state ^= state << 17;
      c = static_cast<char>(state);
    }
    builder.begin_record(1'700'000'000'000, std::nullopt, as_bytes(value));
    builder.end_record();
    ++records;
  } while (static_cast<int>(builder.size_bytes() + kBatchHeaderBytes) + options.record_bytes + 16 <= options.batch_bytes);
  return builder.finish();
}

class KafkaLoad {
 public:
  KafkaLoad(const Options& options, int port) : options_(options), port_(port), batch_(make_batch(options, records_)) {}

  void create_topic() {
    std::string body;
    put<int32_t>(body, 1);
    put_text(body, options_.topic);
    put<int32_t>(body, options_.partitions);
    put<int16_t>(body, 1);
    put<int32_t>(body, 0);
    put<int32_t>(body, 0);
    put<int32_t>(body, 10'000);
    put<int8_t>(body, 0);
    const std::string answer = call(frame(19, 4, body));
    const auto error = get_at<int16_t>(answer, 4 + 4 + 4 + 4 + 2 + options_.topic.size());
    if (error != 0) fail(fmt::format("creating the topic {}: error {}", options_.topic, error));
  }

  void delete_topic() {
    std::string body;
    put<int32_t>(body, 1);
    put_text(body, options_.topic);
    put<int32_t>(body, 10'000);
    call(frame(20, 3, body));
  }

  // Produces until `end_ns` or until `limit_bytes` are acknowledged, then waits for what is in flight.
  void produce(int64_t end_ns, uint64_t limit_bytes) {
    const uint64_t stop_at = done_bytes_ + limit_bytes;
    run(
        [&](Member& member) {
          return now_ns() < end_ns && done_bytes_ + in_flight_ * batch_.size() < stop_at && member.in_flight < options_.requests;
        },
        &KafkaLoad::send_batch, &KafkaLoad::take_produced);
  }

  // Fetches round and round until `end_ns`.
  void fetch(int64_t end_ns) {
    run([&](Member& member) { return now_ns() < end_ns && member.in_flight < 1; }, &KafkaLoad::send_fetch,
        &KafkaLoad::take_fetched);
  }

  void open() {
    for (int i = 0; i < options_.partitions; ++i) {
      members_.push_back(std::make_unique<Member>());
      members_.back()->partition = i;
      members_.back()->link.connect(port_);
      members_.back()->produce_frame = produce_frame(i);
      poller_.add(members_.back()->link, static_cast<uint32_t>(i));
    }
  }

  uint64_t done_bytes() const { return done_bytes_; }
  Samples& samples() { return samples_; }
  void end_of_fill() {
    for (auto& member : members_) member->end = member->produced;
  }

 private:
  struct Member {
    Link link;
    int partition = 0;
    int in_flight = 0;
    std::string produce_frame;
    std::vector<int64_t> sent_at;             // oldest first
    int64_t produced = 0, end = 0, next = 0;  // offsets
    std::string head;                         // the beginning of the answer that comes in
    uint64_t skip = 0;                        // bytes of it that need not be looked at
  };

  std::string call(const std::string& request) {
    Link link;
    link.connect(port_);
    link.send_now(request);
    const auto size = get_at<int32_t>(link.read_now(4), 0);
    return "size" + link.read_now(static_cast<size_t>(size));
  }

  std::string produce_frame(int partition) {
    std::string body;
    put<int16_t>(body, -1);
    put<int16_t>(body, -1);
    put<int32_t>(body, 30'000);
    put<int32_t>(body, 1);
    put_text(body, options_.topic);
    put<int32_t>(body, 1);
    put<int32_t>(body, partition);
    put<int32_t>(body, static_cast<int32_t>(batch_.size()));
    body += batch_.text();
    return frame(0, 7, body);
  }

  void send_batch(Member& member) { member.link.out() += member.produce_frame; }

  void send_fetch(Member& member) {
    if (member.next >= member.end) member.next = 0;
    std::string body;
    put<int32_t>(body, -1);
    put<int32_t>(body, 500);
    put<int32_t>(body, 1);
    put<int32_t>(body, 50 << 20);
    put<int8_t>(body, 0);
    put<int32_t>(body, 0);
    put<int32_t>(body, -1);
    put<int32_t>(body, 1);
    put_text(body, options_.topic);
    put<int32_t>(body, 1);
    put<int32_t>(body, member.partition);
    put<int32_t>(body, -1);
    put<int64_t>(body, member.next);
    put<int64_t>(body, -1);
    put<int32_t>(body, options_.fetch_bytes);
    put<int32_t>(body, 0);
    put_text(body, "");
    member.link.out() += frame(1, 11, body);
  }

  // Size, correlation, topics (1), name, partitions (1), index, error: an answer is looked at up to here.
  size_t produce_head() const { return 4 + 4 + 4 + 2 + options_.topic.size() + 4 + 4 + 2; }
  void take_produced(Member& member) {
    const auto error = get_at<int16_t>(member.head, produce_head() - 2);
    if (error != 0) fail(fmt::format("a produce request was refused: error {}", error));
    member.produced += records_;
    done_bytes_ += batch_.size();
  }

  // Size, correlation, throttle, error, session, topics, name, partitions, index, error, three offsets, aborted, preferred,
  // length.
  size_t fetch_head() const { return 4 + 4 + 4 + 2 + 4 + 4 + 2 + options_.topic.size() + 4 + 4 + 2 + 24 + 4 + 4 + 4; }
  void take_fetched(Member& member) {
    const size_t at = fetch_head();
    const auto error = get_at<int16_t>(member.head, at - 4 - 4 - 4 - 24 - 2);
    if (error != 0) fail(fmt::format("a fetch request was refused: error {}", error));
    const auto length = get_at<int32_t>(member.head, at - 4);
    const int64_t batches = length / static_cast<int64_t>(batch_.size());
    if (batches == 0)
      fail(fmt::format("a fetch at {} of {} brought {} bytes, less than one batch", member.next, member.end, length));
    member.next += batches * records_;
    done_bytes_ += static_cast<uint64_t>(length);
  }

  template <class MayNow>
  void run(MayNow may, void (KafkaLoad::*send)(Member&), void (KafkaLoad::*take)(Member&)) {
    const size_t head = send == &KafkaLoad::send_batch ? produce_head() : fetch_head();
    const auto top_up = [&](Member& member) {
      while (may(member)) {
        (this->*send)(member);
        ++member.in_flight;
        ++in_flight_;
        member.sent_at.push_back(now_ns());
      }
      member.link.flush();
    };
    for (auto& member : members_) top_up(*member);
    while (in_flight_ > 0) {
      bool has_unsent = false;
      for (auto& member : members_) has_unsent |= member->link.has_unsent();
      for (uint32_t index : poller_.wait(has_unsent ? kSecond / 10'000 : kSecond / 10)) {
        Member& member = *members_[index];
        std::string_view data = poller_.read(member.link);
        while (!data.empty()) data = consume(member, data, head, take);
        top_up(member);
      }
      for (auto& member : members_) member->link.flush();
    }
  }

  // Takes what belongs to the answer that comes in; gives back the rest.
  std::string_view consume(Member& member, std::string_view data, size_t head, void (KafkaLoad::*take)(Member&)) {
    if (member.skip == 0) {
      const size_t wanted = std::min(head - member.head.size(), data.size());
      member.head += data.substr(0, wanted);
      data.remove_prefix(wanted);
      if (member.head.size() < head) return data;
      member.skip = 4 + static_cast<uint64_t>(get_at<int32_t>(member.head, 0)) - head;
    }
    const size_t skipped = std::min<size_t>(member.skip, data.size());
    member.skip -= skipped;
    data.remove_prefix(skipped);
    if (member.skip == 0) {
      (this->*take)(member);
      member.head.clear();
      --member.in_flight;
      --in_flight_;
      samples_.add(now_ns() - member.sent_at.front());
      member.sent_at.erase(member.sent_at.begin());
    }
    return data;
  }

  const Options& options_;
  const int port_;
  int32_t records_ = 0;
  const Bytes batch_;
  Poller poller_;
  std::vector<std::unique_ptr<Member>> members_;
  uint64_t in_flight_ = 0, done_bytes_ = 0;
  Samples samples_;
};

Report report_of(const Options& options, const Stretch& stretch, KafkaLoad& load, uint64_t before) {
  Report report;
  stretch.report(report, options, static_cast<double>(load.done_bytes() - before) / 1e6, "MB");
  if (options.pid) {
    const double bytes = static_cast<double>(load.done_bytes() - before);
    report.add("broker_cpu_s_per_gb", static_cast<double>(cpu_ns_of(options.pid) - stretch.broker_cpu_ns) / bytes);
  }
  report.add("p50_us", load.samples().percentile_us(50));
  report.add("p99_us", load.samples().percentile_us(99));
  return report;
}

}  // namespace

Report run_kafka_produce(const Options& given, bool is_bare) {
  Options options = given;
  BareLoop bare;
  if (is_bare) bare.start(options);
  KafkaLoad load(options, options.port);
  if (!is_bare) load.create_topic();
  load.open();
  load.produce(now_ns() + static_cast<int64_t>(options.warmup_s * 1e9), UINT64_MAX / 2);
  load.samples().clear();
  const uint64_t before = load.done_bytes();
  const Stretch stretch(options);
  load.produce(now_ns() + static_cast<int64_t>(options.seconds * 1e9), UINT64_MAX / 2);
  Report report = report_of(options, stretch, load, before);
  if (!is_bare) load.delete_topic();
  return report;
}

Report run_kafka_fetch(const Options& given, bool is_bare) {
  Options options = given;
  BareLoop bare;
  if (is_bare) bare.start(options);
  KafkaLoad load(options, options.port);
  if (!is_bare) load.create_topic();
  load.open();
  load.produce(now_ns() + 600 * kSecond, static_cast<uint64_t>(options.fill_mib) << 20);
  load.end_of_fill();
  load.fetch(now_ns() + static_cast<int64_t>(options.warmup_s * 1e9));
  load.samples().clear();
  const uint64_t before = load.done_bytes();
  const Stretch stretch(options);
  load.fetch(now_ns() + static_cast<int64_t>(options.seconds * 1e9));
  Report report = report_of(options, stretch, load, before);
  if (!is_bare) load.delete_topic();
  return report;
}

}  // namespace robustmq::bench
