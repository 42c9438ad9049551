#include "tools/bench/kafka_load.h"

#include <fmt/format.h>

#include <memory>

#include "tools/bench/bare_loop.h"
#include "tools/bench/kafka_wire.h"
#include "tools/bench/link.h"

namespace robustmq::bench {

namespace {

class KafkaLoad {
 public:
  explicit KafkaLoad(const Options& options) : options_(options), batch_(make_batch(options, records_)) {}

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
      members_.back()->link.connect(options_.port);
      members_.back()->produce_frame = produce_request(options_, i, batch_);
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
    Answers answers;
  };

  void send_batch(Member& member) { member.link.out() += member.produce_frame; }

  void send_fetch(Member& member) {
    if (member.next >= member.end) member.next = 0;
    member.link.out() += fetch_request(options_, member.partition, member.next);
  }

  void take_produced(Member& member) {
    check_produced(options_, member.answers.head());
    member.produced += records_;
    done_bytes_ += batch_.size();
  }

  // Whole batches count: a broker may cut the last one, and then it is of no use.
  void take_fetched(Member& member) {
    const int64_t length = read_fetched(options_, member.answers.head()).bytes;
    const int64_t batches = length / static_cast<int64_t>(batch_.size());
    if (batches == 0)
      fail(fmt::format("a fetch at {} of {} brought {} bytes, less than one batch", member.next, member.end, length));
    member.next += batches * records_;
    done_bytes_ += static_cast<uint64_t>(batches) * batch_.size();
  }

  template <class MayNow>
  void run(MayNow may, void (KafkaLoad::*send)(Member&), void (KafkaLoad::*take)(Member&)) {
    const size_t head = send == &KafkaLoad::send_batch ? produce_answer_head(options_) : fetch_answer_head(options_);
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
        while (!data.empty()) {
          if (!member.answers.take(data, head)) continue;
          (this->*take)(member);
          --member.in_flight;
          --in_flight_;
          samples_.add(now_ns() - member.sent_at.front());
          member.sent_at.erase(member.sent_at.begin());
        }
        top_up(member);
      }
      for (auto& member : members_) member->link.flush();
    }
  }

  const Options& options_;
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
  KafkaLoad load(options);
  if (!is_bare) create_topic(options);
  load.open();
  load.produce(now_ns() + static_cast<int64_t>(options.warmup_s * 1e9), UINT64_MAX / 2);
  load.samples().clear();
  const uint64_t before = load.done_bytes();
  const Stretch stretch(options);
  load.produce(now_ns() + static_cast<int64_t>(options.seconds * 1e9), UINT64_MAX / 2);
  Report report = report_of(options, stretch, load, before);
  if (!is_bare) delete_topic(options);
  return report;
}

Report run_kafka_fill(const Options& options) {
  create_topic(options);
  KafkaLoad load(options);
  load.open();
  const Stretch stretch(options);
  load.produce(now_ns() + 600 * kSecond, static_cast<uint64_t>(options.fill_mib) << 20);
  return report_of(options, stretch, load, 0);
}

Report run_kafka_fetch(const Options& given, bool is_bare) {
  Options options = given;
  BareLoop bare;
  if (is_bare) bare.start(options);
  KafkaLoad load(options);
  if (!is_bare) create_topic(options);
  load.open();
  load.produce(now_ns() + 600 * kSecond, static_cast<uint64_t>(options.fill_mib) << 20);
  load.end_of_fill();
  load.fetch(now_ns() + static_cast<int64_t>(options.warmup_s * 1e9));
  load.samples().clear();
  const uint64_t before = load.done_bytes();
  const Stretch stretch(options);
  load.fetch(now_ns() + static_cast<int64_t>(options.seconds * 1e9));
  Report report = report_of(options, stretch, load, before);
  if (!is_bare) delete_topic(options);
  return report;
}

}  // namespace robustmq::bench
