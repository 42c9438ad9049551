#include "tools/bench/share_load.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <memory>

#include "base/batch.h"
#include "tools/bench/kafka_bytes.h"
#include "tools/bench/kafka_wire.h"
#include "tools/bench/link.h"

namespace robustmq::bench {

namespace {

constexpr int16_t kAlterConfigs = 44, kHeartbeat = 76, kShareFetch = 78;
constexpr int32_t kFetchAnswer = 1, kHeartbeatAnswer = 2;
constexpr int64_t kHeartbeatEvery = 5 * kSecond;
constexpr int32_t kFetchWaitMs = 1'000;
constexpr int kJoinsAtOnce = 64;  // that are not answered
constexpr int kFillsAtOnce = 64;
using TopicUuid = std::array<char, 16>;

class ShareLoad {
 public:
  explicit ShareLoad(const Options& options)
      : options_(options),
        group_(fmt::format("{}-{}", options.topic, now_ns())),
        state_(static_cast<size_t>(options.partitions)) {}

  // The group begins with what is there, and may have as many records in flight as the node lets it.
  void configure_group() {
    std::string body;
    put_compact(body, 1 + 1);
    put<int8_t>(body, 32);
    put_compact_text(body, group_);
    put_compact(body, 1 + 1);
    put_compact_text(body, "share.auto.offset.reset");
    put<int8_t>(body, 0);
    put_compact_text(body, "earliest");
    put_no_tags(body);
    put_no_tags(body);
    put<int8_t>(body, 0);
    put_no_tags(body);
    const std::string bytes = call(frame(kAlterConfigs, 1, body, true));
    Fields answer(bytes);
    answer.take<int32_t>();  // correlation
    answer.skip_tags();
    answer.take<int32_t>();
    answer.take_count();
    if (const auto error = answer.take<int16_t>(); error != 0) fail(fmt::format("configuring the group: error {}", error));
  }

  // Batches of `fetch_records` records, to the partitions in turn.
  void fill() {
    Link link;
    link.connect(options_.port);
    const std::string value(static_cast<size_t>(options_.record_bytes), 'x');
    const auto take_one = [&] {
      const std::string answer = link.read_now(static_cast<size_t>(get_at<int32_t>(link.read_now(4), 0)));
      const auto error = get_at<int16_t>(answer, 4 + 4 + 2 + options_.topic.size() + 4 + 4);
      if (error != 0) fail(fmt::format("a produce request was refused: error {}", error));
    };
    int in_flight = 0;
    for (int left = options_.records, partition = 0; left > 0; partition = (partition + 1) % options_.partitions) {
      const int count = std::min(left, options_.fetch_records);
      BatchBuilder builder;
      for (int i = 0; i < count; ++i) {
        builder.begin_record(wall_ms(), std::nullopt, as_bytes(value));
        builder.end_record();
      }
      const Bytes batch = builder.finish();
      if (in_flight == kFillsAtOnce) {
        take_one();
        --in_flight;
      }
      link.send_now(produce_request(options_, partition, batch));
      ++in_flight;
      state_[static_cast<size_t>(partition)].resize(state_[static_cast<size_t>(partition)].size() + static_cast<size_t>(count));
      left -= count;
    }
    for (; in_flight > 0; --in_flight) take_one();
  }

  void join() {
    for (int i = 0; i < options_.members; ++i) {
      members_.push_back(std::make_unique<Member>());
      members_.back()->id = fmt::format("member-{:06}", i);
    }
    const int64_t end = now_ns() + 600 * kSecond;
    int asked = 0;
    while (joined_ < options_.members) {
      for (; asked < options_.members && asked - joined_ < kJoinsAtOnce; ++asked) {
        Member& member = *members_[static_cast<size_t>(asked)];
        member.link.connect(options_.port);
        poller_.add(member.link, static_cast<uint32_t>(asked));
        send_heartbeat(member);
        member.link.flush();
      }
      turn();
      beat_all(asked);
      if (now_ns() > end) fail(fmt::format("{} of {} members joined in time", joined_, options_.members));
    }
  }

  // Members fetch and acknowledge until everything is.
  void share(int64_t end_ns) {
    is_sharing_ = true;
    for (auto& member : members_) go_on(*member);
    while (acknowledged_ < static_cast<uint64_t>(options_.records)) {
      turn();
      beat_all(options_.members);
      if (now_ns() > end_ns) fail(fmt::format("{} of {} records were acknowledged in time", acknowledged_, options_.records));
    }
  }

  uint64_t deliveries() const { return deliveries_; }
  int with_records() const {
    return static_cast<int>(std::count_if(members_.begin(), members_.end(), [](const auto& each) { return each->got > 0; }));
  }
  Samples& samples() { return samples_; }

 private:
  enum class RecordState : uint8_t { open, acknowledged };
  struct Range {
    int32_t partition = 0;
    int64_t first = 0, last = 0;
  };
  struct Member {
    Link link;
    std::string id;
    int32_t epoch = 0;          // of the member
    int32_t session_epoch = 0;  // of the share session
    bool is_fetching = false;
    bool is_beating = false;
    int64_t beat_at = 0;
    int64_t sent_at = 0;
    uint64_t got = 0;
    TopicUuid topic{};
    std::vector<int32_t> partitions;  // assigned
    bool has_news = false;            // the session has others
    std::vector<int32_t> in_session;
    std::vector<Range> held;  // to be acknowledged
    std::vector<Range> told;  // acknowledged by the fetch under way
  };

  std::string call(const std::string& request) {
    Link link;
    link.connect(options_.port);
    link.send_now(request);
    return link.read_now(static_cast<size_t>(get_at<int32_t>(link.read_now(4), 0)));
  }

  void turn() {
    bool has_unsent = false;
    for (auto& member : members_) has_unsent |= member->link.has_unsent();
    for (const uint32_t index : poller_.wait(has_unsent ? kSecond / 10'000 : kSecond / 10)) {
      Member& member = *members_[index];
      std::string& data = member.link.rest();
      data += poller_.read(member.link);
      size_t at = 0;
      while (data.size() - at >= 4) {
        const auto size = static_cast<size_t>(get_at<int32_t>(data, at));
        if (data.size() - at - 4 < size) break;
        take(member, std::string_view(data).substr(at + 4, size));
        at += 4 + size;
      }
      data.erase(0, at);
      if (is_sharing_) go_on(member);
    }
    if (has_unsent) {
      for (auto& member : members_) member->link.flush();
    }
  }

  void go_on(Member& member) {
    // Before the fetch, which may wait: answers come in the order of the requests.
    beat_if_due(member);
    if (member.is_fetching || member.partitions.empty()) return;
    send_fetch(member);
    member.link.flush();
  }

  // Of those that joined: who says nothing for long is dropped, and who has no partition yet is told of it in an answer.
  void beat_all(int count) {
    if (now_ns() < beat_all_at_) return;
    beat_all_at_ = now_ns() + kSecond / 10;
    for (int i = 0; i < count; ++i) beat_if_due(*members_[static_cast<size_t>(i)]);
  }

  void beat_if_due(Member& member) {
    if (member.is_beating || member.epoch == 0 || now_ns() < member.beat_at) return;
    send_heartbeat(member);
    member.link.flush();
  }

  void send_heartbeat(Member& member) {
    std::string body;
    put_compact_text(body, group_);
    put_compact_text(body, member.id);
    put<int32_t>(body, member.epoch);
    put_compact(body, 0);
    if (member.epoch == 0) {
      put_compact(body, 1 + 1);
      put_compact_text(body, options_.topic);
    } else {
      put_compact(body, 0);
    }
    put_no_tags(body);
    member.link.out() += frame(kHeartbeat, 1, body, true, kHeartbeatAnswer);
    member.is_beating = true;
    member.beat_at = now_ns() + kHeartbeatEvery;
  }

  // What it held is accepted with it.
  void send_fetch(Member& member) {
    std::vector<int32_t> named;
    if (member.session_epoch == 0 || member.has_news) named = member.partitions;
    for (const Range& range : member.held) named.push_back(range.partition);
    std::sort(named.begin(), named.end());
    named.erase(std::unique(named.begin(), named.end()), named.end());
    std::vector<int32_t> forgotten;
    if (member.has_news) {
      for (const int32_t each : member.in_session) {
        if (std::find(member.partitions.begin(), member.partitions.end(), each) == member.partitions.end())
          forgotten.push_back(each);
      }
      member.in_session = member.partitions;
      member.has_news = false;
    }
    const std::string_view topic(member.topic.data(), member.topic.size());
    std::string body;
    put_compact_text(body, group_);
    put_compact_text(body, member.id);
    put<int32_t>(body, member.session_epoch);
    put<int32_t>(body, kFetchWaitMs);
    put<int32_t>(body, 1);
    put<int32_t>(body, options_.fetch_bytes);
    put<int32_t>(body, options_.fetch_records);
    put<int32_t>(body, options_.fetch_records);
    put_compact(body, named.empty() ? 1 : 2);
    if (!named.empty()) {
      body += topic;
      put_compact(body, named.size() + 1);
      for (const int32_t partition : named) {
        put<int32_t>(body, partition);
        const auto is_its = [&](const Range& range) { return range.partition == partition; };
        put_compact(body, static_cast<uint64_t>(std::count_if(member.held.begin(), member.held.end(), is_its)) + 1);
        for (const Range& range : member.held) {
          if (!is_its(range)) continue;
          put<int64_t>(body, range.first);
          put<int64_t>(body, range.last);
          put_compact(body, 1 + 1);
          put<int8_t>(body, 1);
          put_no_tags(body);
        }
        put_no_tags(body);
      }
      put_no_tags(body);
    }
    put_compact(body, forgotten.empty() ? 1 : 2);
    if (!forgotten.empty()) {
      body += topic;
      put_compact(body, forgotten.size() + 1);
      for (const int32_t partition : forgotten) put<int32_t>(body, partition);
      put_no_tags(body);
    }
    put_no_tags(body);
    member.link.out() += frame(kShareFetch, 1, body, true, kFetchAnswer);
    member.told = std::exchange(member.held, {});
    member.is_fetching = true;
    member.sent_at = now_ns();
    ++member.session_epoch;
  }

  void take(Member& member, std::string_view answer) {
    Fields fields(answer);
    const auto correlation = fields.take<int32_t>();
    fields.skip_tags();
    fields.take<int32_t>();  // throttle
    const auto error = fields.take<int16_t>();
    const std::string_view why = fields.take_text();
    if (error != 0)
      fail(fmt::format("{} was refused: error {} {}", correlation == kFetchAnswer ? "a fetch" : "a heartbeat", error, why));
    correlation == kFetchAnswer ? take_fetched(member, fields) : take_heartbeat(member, fields);
  }

  void take_heartbeat(Member& member, Fields& fields) {
    fields.take_text();
    if (member.epoch == 0) ++joined_;
    member.epoch = fields.take<int32_t>();
    member.is_beating = false;
    fields.take<int32_t>();
    if (fields.take<int8_t>() < 0) return;  // no assignment
    std::vector<int32_t> partitions;
    for (size_t topics = fields.take_count(); topics > 0; --topics) {
      const std::string_view id = fields.take_bytes(16);
      std::copy(id.begin(), id.end(), member.topic.begin());
      for (size_t left = fields.take_count(); left > 0; --left) partitions.push_back(fields.take<int32_t>());
      fields.skip_tags();
    }
    std::sort(partitions.begin(), partitions.end());
    member.has_news |= partitions != member.partitions;
    member.partitions = std::move(partitions);
  }

  void take_fetched(Member& member, Fields& fields) {
    samples_.add(now_ns() - member.sent_at);
    member.is_fetching = false;
    fields.take<int32_t>();  // lock duration
    for (size_t topics = fields.take_count(); topics > 0; --topics) {
      fields.take_bytes(16);
      for (size_t left = fields.take_count(); left > 0; --left) take_partition(member, fields);
      fields.skip_tags();
    }
    // What no partition's answer complained of is accepted for good.
    for (const Range& range : std::exchange(member.told, {})) {
      for (int64_t offset = range.first; offset <= range.last; ++offset) {
        RecordState& state = state_of(range.partition, offset);
        if (state == RecordState::acknowledged)
          fail(fmt::format("record {} of partition {} was accepted twice", offset, range.partition));
        state = RecordState::acknowledged;
        ++acknowledged_;
      }
    }
  }

  void take_partition(Member& member, Fields& fields) {
    const auto partition = fields.take<int32_t>();
    const auto error = fields.take<int16_t>();
    fields.take_text();
    const auto acknowledge_error = fields.take<int16_t>();
    fields.take_text();
    fields.take_bytes(8);
    fields.skip_tags();
    fields.take_bytes(fields.take_count());  // records
    if (error != 0) fail(fmt::format("partition {} was not fetched: error {}", partition, error));
    if (acknowledge_error != 0) {
      // Its locks ran out: they are another's by now.
      std::erase_if(member.told, [&](const Range& range) { return range.partition == partition; });
      ++refused_;
    }
    for (size_t left = fields.take_count(); left > 0; --left) {
      const auto first = fields.take<int64_t>();
      const auto last = fields.take<int64_t>();
      fields.take<int16_t>();
      fields.skip_tags();
      for (int64_t offset = first; offset <= last; ++offset) {
        if (state_of(partition, offset) == RecordState::acknowledged)
          fail(fmt::format("record {} of partition {} was accepted, and given again", offset, partition));
      }
      member.held.push_back({partition, first, last});
      member.got += static_cast<uint64_t>(last - first + 1);
      deliveries_ += static_cast<uint64_t>(last - first + 1);
    }
    fields.skip_tags();
  }

  RecordState& state_of(int32_t partition, int64_t offset) {
    auto& records = state_[static_cast<size_t>(partition)];
    if (offset < 0 || static_cast<size_t>(offset) >= records.size())
      fail(fmt::format("there is no record {} in partition {}", offset, partition));
    return records[static_cast<size_t>(offset)];
  }

  const Options& options_;
  const std::string group_;
  Poller poller_;
  std::vector<std::unique_ptr<Member>> members_;
  std::vector<std::vector<RecordState>> state_;  // of each partition's records
  int joined_ = 0;
  bool is_sharing_ = false;
  int64_t beat_all_at_ = 0;
  uint64_t acknowledged_ = 0, deliveries_ = 0, refused_ = 0;
  Samples samples_;
};

}  // namespace

Report run_kafka_share(const Options& options) {
  ShareLoad load(options);
  create_topic(options);
  load.configure_group();
  load.fill();
  const int64_t before_kb = options.pid ? status_kb(options.pid, "VmRSS") : 0;
  const int64_t began = now_ns();
  load.join();
  const double join_s = static_cast<double>(now_ns() - began) / 1e9;
  const Stretch stretch(options);
  load.share(now_ns() + static_cast<int64_t>(options.seconds * 1e9));
  Report report;
  report.add("members", options.members);
  report.add("join_s", join_s);
  stretch.report(report, options, options.records, "record");
  report.add("deliveries", static_cast<double>(load.deliveries()));
  report.add("members_with_records", load.with_records());
  report.add("fetch_p50_us", load.samples().percentile_us(50));
  report.add("fetch_p99_us", load.samples().percentile_us(99));
  if (options.pid)
    report.add("broker_kb_a_member", static_cast<double>(status_kb(options.pid, "VmRSS") - before_kb) / options.members);
  delete_topic(options);
  return report;
}

}  // namespace robustmq::bench
