#include "tools/bench/topics_load.h"

#include <fmt/format.h>

#include <memory>

#include "tools/bench/link.h"
#include "tools/bench/mqtt_bytes.h"

namespace robustmq::bench {

namespace {

constexpr size_t kConnAckBytes = 4;
constexpr size_t kPubAckBytes = 4;
constexpr int kNamesALevel = 1000;  // topics are PREFIX/<n / 1000>/<n % 1000>

struct Publisher {
  Link link;
  int unacked = 0;
  uint16_t packet_id = 0;
};

class TopicsLoad {
 public:
  explicit TopicsLoad(const Options& options) : options_(options), payload_(static_cast<size_t>(options.size_bytes), 'x') {}

  void connect() {
    for (int i = 0; i < options_.publishers; ++i) {
      auto publisher = std::make_unique<Publisher>();
      publisher->link.connect(options_.port);
      const std::string id = fmt::format("topics-{}", i);
      std::string packet = "\x10";
      put_length(packet, 12 + id.size());
      packet += std::string_view("\0\4MQTT\4\2\2\x58", 10);  // 3.1.1, clean session, keep-alive 600 s
      put_u16(packet, id.size());
      publisher->link.send_now(packet + id);
      if (publisher->link.read_now(kConnAckBytes) != std::string_view("\x20\x02\0\0", 4)) fail("CONNECT was refused");
      publishers_.push_back(std::move(publisher));
    }
    for (size_t i = 0; i < publishers_.size(); ++i) poller_.add(publishers_[i]->link, static_cast<uint32_t>(i));
  }

  void run() {
    for (const auto& publisher : publishers_) top_up(*publisher);
    const int64_t end_ns = now_ns() + static_cast<int64_t>(options_.seconds * 1e9);
    while (acked_ < options_.topics && now_ns() < end_ns) {
      for (const uint32_t index : poller_.wait(kSecond / 10)) receive(*publishers_[index]);
      for (const auto& publisher : publishers_) {
        if (publisher->link.has_unsent()) publisher->link.flush();
      }
    }
  }
  int acked() const { return acked_; }

 private:
  void receive(Publisher& publisher) {
    std::string& rest = publisher.link.rest();
    rest += poller_.read(publisher.link);
    size_t at = 0;
    for (; at + kPubAckBytes <= rest.size(); at += kPubAckBytes) {
      if (static_cast<uint8_t>(rest[at]) != 0x40) fail("an answer that is no PUBACK");
      --publisher.unacked;
      ++acked_;
    }
    rest.erase(0, at);
    top_up(publisher);
  }
  void top_up(Publisher& publisher) {
    std::string& out = publisher.link.out();
    while (publisher.unacked < options_.window && sent_ < options_.topics) {
      const std::string topic = fmt::format("{}/{}/{}", options_.topic, sent_ / kNamesALevel, sent_ % kNamesALevel);
      ++sent_;
      out += '\x32';
      put_length(out, 4 + topic.size() + payload_.size());
      put_u16(out, topic.size());
      out += topic;
      if (++publisher.packet_id == 0) publisher.packet_id = 1;
      put_u16(out, publisher.packet_id);
      out += payload_;
      ++publisher.unacked;
    }
    publisher.link.flush();
  }

  const Options& options_;
  std::string payload_;
  Poller poller_;
  std::vector<std::unique_ptr<Publisher>> publishers_;
  int sent_ = 0;
  int acked_ = 0;
};

}  // namespace

Report run_mqtt_topics(const Options& options) {
  TopicsLoad load(options);
  load.connect();
  const int64_t before = options.pid ? status_kb(options.pid, "VmRSS") : 0;
  const Stretch stretch(options);
  load.run();
  Report report;
  stretch.report(report, options, load.acked(), "topic");
  if (options.pid) {
    const int64_t after = status_kb(options.pid, "VmRSS");
    report.add("rss_before_kb", static_cast<double>(before));
    report.add("rss_after_kb", static_cast<double>(after));
    report.add("bytes_per_topic", load.acked() > 0 ? static_cast<double>(after - before) * 1024 / load.acked() : 0);
  }
  return report;
}

}  // namespace robustmq::bench
