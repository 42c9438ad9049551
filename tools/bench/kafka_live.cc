#include "tools/bench/kafka_live.h"

#include <fmt/format.h>

#include <algorithm>
#include <deque>
#include <memory>

#include "tools/bench/kafka_wire.h"
#include "tools/bench/link.h"

namespace robustmq::bench {

namespace {

constexpr int64_t kDrainNs = 30 * kSecond;  // how long the last answers may take

class LiveLoad {
 public:
  explicit LiveLoad(const Options& options) : options_(options), batch_(make_batch(options, records_)) {}

  void open() {
    for (int i = 0; i < options_.partitions; ++i) {
      auto lane = std::make_unique<Lane>();
      lane->producer.connect(options_.port);
      lane->reader.connect(options_.port);
      lane->request = produce_request(options_, i, batch_);
      poller_.add(lane->producer, static_cast<uint32_t>(2 * i));
      poller_.add(lane->reader, static_cast<uint32_t>(2 * i + 1));
      lanes_.push_back(std::move(lane));
      ask(i);
    }
  }

  // Sends until `end_ns`, each batch when it is due, then waits for what is under way. Counts batches due from now on.
  void run(int64_t end_ns) {
    const auto gap_ns = static_cast<int64_t>(static_cast<double>(batch_.size()) / options_.rate_mb * 1e3);
    int64_t due_ns = now_ns();
    counted_from_ns_ = due_ns;
    acked_ = delivered_ = 0;
    produced_.clear();
    end_to_end_.clear();
    size_t turn = 0;
    for (int64_t now = due_ns; now < end_ns || !is_done(); now = now_ns()) {
      if (now > end_ns + kDrainNs) fail("the last batches were not acknowledged and read within 30 s");
      for (; due_ns <= now && due_ns < end_ns; due_ns += gap_ns, ++turn) send(*lanes_[turn % lanes_.size()], due_ns);
      flush();
      wait(due_ns < end_ns ? std::max<int64_t>(due_ns - now_ns(), 0) : kSecond / 1000);
    }
  }

  double acked_bytes() const { return static_cast<double>(acked_ * batch_.size()); }
  Samples& produced() { return produced_; }
  Samples& end_to_end() { return end_to_end_; }

 private:
  struct Lane {
    Link producer, reader;
    Answers produced, fetched;
    std::string request;
    int64_t next = 0;                     // the reader's offset
    std::deque<int64_t> unacked, unread;  // when they were due, oldest first
  };

  void send(Lane& lane, int64_t due_ns) {
    lane.producer.out() += lane.request;
    lane.unacked.push_back(due_ns);
    lane.unread.push_back(due_ns);
  }

  void ask(int partition) {
    Lane& lane = *lanes_[static_cast<size_t>(partition)];
    lane.reader.out() += fetch_request(options_, partition, lane.next);
  }

  void flush() {
    for (auto& lane : lanes_) {
      lane->producer.flush();
      lane->reader.flush();
    }
  }

  bool is_done() const {
    return std::all_of(lanes_.begin(), lanes_.end(),
                       [](const auto& lane) { return lane->unacked.empty() && lane->unread.empty(); });
  }

  void wait(int64_t timeout_ns) {
    const bool has_unsent =
        std::any_of(lanes_.begin(), lanes_.end(), [](const auto& lane) { return lane->producer.has_unsent(); });
    for (const uint32_t index : poller_.wait(has_unsent ? std::min<int64_t>(timeout_ns, kSecond / 10'000) : timeout_ns)) {
      const auto partition = static_cast<int>(index / 2);
      Lane& lane = *lanes_[index / 2];
      std::string_view data = poller_.read(index % 2 == 0 ? lane.producer : lane.reader);
      while (!data.empty()) {
        if (index % 2 == 0) {
          if (lane.produced.take(data, produce_answer_head(options_))) take_produced(lane);
        } else if (lane.fetched.take(data, fetch_answer_head(options_))) {
          take_fetched(lane);
          ask(partition);
        }
      }
      lane.reader.flush();
    }
  }

  void take_produced(Lane& lane) {
    check_produced(options_, lane.produced.head());
    count(lane.unacked, produced_, acked_);
  }

  void take_fetched(Lane& lane) {
    const int64_t bytes = read_fetched(options_, lane.fetched.head()).bytes;
    for (int64_t batches = bytes / static_cast<int64_t>(batch_.size()); batches > 0; --batches) {
      if (lane.unread.empty()) fail("more was read than was sent");
      lane.next += records_;
      count(lane.unread, end_to_end_, delivered_);
    }
  }

  void count(std::deque<int64_t>& due, Samples& samples, uint64_t& total) {
    if (due.front() >= counted_from_ns_) {
      samples.add(now_ns() - due.front());
      ++total;
    }
    due.pop_front();
  }

  const Options& options_;
  int32_t records_ = 0;
  const Bytes batch_;
  Poller poller_;
  std::vector<std::unique_ptr<Lane>> lanes_;
  int64_t counted_from_ns_ = 0;
  uint64_t acked_ = 0, delivered_ = 0;
  Samples produced_, end_to_end_;
};

void add_percentiles(Report& report, std::string_view before, Samples& samples) {
  report.add(fmt::format("{}p50_us", before), samples.percentile_us(50));
  report.add(fmt::format("{}p99_us", before), samples.percentile_us(99));
  report.add(fmt::format("{}p999_us", before), samples.percentile_us(99.9));
}

class CatchUp {
 public:
  explicit CatchUp(const Options& options) : options_(options) {
    for (int i = 0; i < options.partitions; ++i) {
      auto reader = std::make_unique<Reader>();
      reader->end = end_offset(options, i);
      reader->link.connect(options.port);
      poller_.add(reader->link, static_cast<uint32_t>(i));
      readers_.push_back(std::move(reader));
    }
  }

  // Whether everything was read.
  bool run(int64_t end_ns) {
    const int64_t began_ns = now_ns();
    const size_t batch_bytes = make_batch(options_, records_).size();
    for (;;) {
      const int64_t now = now_ns();
      const double may = options_.rate_mb > 0 ? static_cast<double>(now - began_ns) * options_.rate_mb / 1e3 : 1e18;
      bool is_over = true;
      for (size_t i = 0; i < readers_.size(); ++i) {
        Reader& reader = *readers_[i];
        if (!reader.is_waiting && reader.next < reader.end && now < end_ns && static_cast<double>(bytes_) <= may) {
          reader.link.out() += fetch_request(options_, static_cast<int>(i), reader.next);
          reader.is_waiting = true;
        }
        reader.link.flush();
        is_over &= !reader.is_waiting && (reader.next >= reader.end || now >= end_ns);
      }
      if (is_over) break;
      for (const uint32_t index : poller_.wait(kSecond / 1000)) receive(*readers_[index], batch_bytes);
    }
    return std::all_of(readers_.begin(), readers_.end(), [](const auto& reader) { return reader->next >= reader->end; });
  }
  uint64_t bytes() const { return bytes_; }

 private:
  struct Reader {
    Link link;
    Answers answers;
    int64_t next = 0, end = 0;
    bool is_waiting = false;
  };

  void receive(Reader& reader, size_t batch_bytes) {
    std::string_view data = poller_.read(reader.link);
    while (!data.empty()) {
      if (!reader.answers.take(data, fetch_answer_head(options_))) continue;
      const auto batches = static_cast<size_t>(read_fetched(options_, reader.answers.head()).bytes) / batch_bytes;
      if (batches == 0) fail("a fetch of what was filled in brought less than one batch");
      reader.next += static_cast<int64_t>(batches) * records_;
      reader.is_waiting = false;
      bytes_ += batches * batch_bytes;
    }
  }

  const Options& options_;
  int32_t records_ = 0;
  Poller poller_;
  std::vector<std::unique_ptr<Reader>> readers_;
  uint64_t bytes_ = 0;
};

}  // namespace

Report run_kafka_live(const Options& options) {
  create_topic(options);
  LiveLoad load(options);
  load.open();
  load.run(now_ns() + static_cast<int64_t>(options.warmup_s * 1e9));
  const Stretch stretch(options);
  load.run(now_ns() + static_cast<int64_t>(options.seconds * 1e9));
  Report report;
  stretch.report(report, options, load.acked_bytes() / 1e6, "MB");
  add_percentiles(report, "", load.produced());
  add_percentiles(report, "end_to_end_", load.end_to_end());
  delete_topic(options);
  return report;
}

Report run_kafka_catch_up(const Options& options) {
  CatchUp catch_up(options);
  const Stretch stretch(options);
  const bool is_all = catch_up.run(now_ns() + static_cast<int64_t>(options.seconds * 1e9));
  Report report;
  stretch.report(report, options, static_cast<double>(catch_up.bytes()) / 1e6, "MB");
  report.add("is_all", is_all ? 1 : 0);
  return report;
}

}  // namespace robustmq::bench
