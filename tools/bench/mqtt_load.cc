#include "tools/bench/mqtt_load.h"

#include <fmt/format.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include <cstring>
#include <memory>

#include "tools/bench/link.h"
#include "tools/bench/mqtt_bytes.h"

namespace robustmq::bench {

namespace {

constexpr int kMarkBytes = 12;        // a payload begins with its time (8) and its publisher (4)
constexpr uint64_t kSampleEvery = 8;  // closed loop: one delivery in so many is a latency sample

std::string connect_packet(const std::string& client_id, bool is_clean) {
  std::string out = "\x10";
  put_length(out, 12 + client_id.size());
  out += std::string_view("\0\4MQTT\4", 7);  // 3.1.1
  out += is_clean ? '\2' : '\0';
  out += std::string_view("\2\x58", 2);  // keep-alive 600 s
  put_u16(out, client_id.size());
  return out + client_id;
}

std::string subscribe_packet(const std::string& filter, int qos) {
  std::string out = "\x82";
  put_length(out, 5 + filter.size());
  put_u16(out, 1);
  put_u16(out, filter.size());
  out += filter;
  out += static_cast<char>(qos);
  return out;
}

struct Client {
  Link link;
  std::string topic;
  uint32_t index = 0;
  bool is_publisher = false;
  bool is_dirty = false;
  int unacked = 0;
  int64_t undelivered = 0;
  uint16_t packet_id = 0;
};

// How publishers and subscribers belong together.
enum class Shape : uint8_t {
  pairs,    // publisher i to subscriber i
  one,      // all of one topic
  shared,   // the subscribers share one topic
  offline,  // all of one topic; the subscribers are stored sessions, and away
};

class MqttLoad {
 public:
  explicit MqttLoad(const Options& options)
      : options_(options), mark_(static_cast<size_t>(std::max(options.size_bytes, kMarkBytes)), 'x') {}

  // Subscribers first, so that nothing is published to nobody.
  void connect(int publishers, int subscribers, Shape shape) {
    const std::string run = fmt::format("bench{}", now_ns() % 1'000'000'000);
    copies_ = publishers == 1 && shape == Shape::one ? subscribers : 1;
    is_offline_ = shape == Shape::offline;
    for (int i = 0; i < subscribers + publishers; ++i) {
      auto client = std::make_unique<Client>();
      client->index = static_cast<uint32_t>(i);
      client->is_publisher = i >= subscribers;
      const int n = client->is_publisher ? i - subscribers : i;
      client->topic = fmt::format("{}/{}", run, shape == Shape::pairs ? n : 0);
      if (shape == Shape::shared && !client->is_publisher) client->topic.insert(0, "$share/bench/");
      open(*client, fmt::format("{}-{}", run, i), !is_offline_ || client->is_publisher);
      if (is_offline_ && !client->is_publisher) client->link.close();
      clients_.push_back(std::move(client));
    }
    first_publisher_ = static_cast<size_t>(subscribers);
    for (const auto& client : clients_) {
      if (client->is_publisher || !is_offline_) poller_.add(client->link, client->index);
    }
  }

  // Until `end_ns`, keeping `window` messages in flight.
  void run_closed(int64_t end_ns) {
    for (size_t i = first_publisher_; i < clients_.size(); ++i) top_up(*clients_[i]);
    flush_dirty();
    while (now_ns() < end_ns) turn(kSecond / 10);
  }

  // Until `end_ns`: one message every 1 / rate seconds, publishers in turn; then until all that was sent has arrived.
  void run_open(double rate, int64_t begin_ns, int64_t end_ns) {
    is_open_ = true;
    const double step = static_cast<double>(kSecond) / rate;
    int64_t sent = 0;
    size_t next = first_publisher_;
    int64_t due = begin_ns;
    while (due < end_ns) {
      const int64_t now = now_ns();
      for (; due <= now && due < end_ns; due = begin_ns + static_cast<int64_t>(static_cast<double>(++sent) * step)) {
        publish(*clients_[next], due);
        if (++next == clients_.size()) next = first_publisher_;
      }
      flush_dirty();
      turn(std::max<int64_t>(0, due - now_ns()));
    }
    for (const int64_t limit = now_ns() + 5 * kSecond;
         delivered_ < published_ * static_cast<uint64_t>(copies_) && now_ns() < limit;) {
      turn(kSecond / 100);
    }
  }

  uint64_t delivered() const { return delivered_; }
  uint64_t published() const { return published_; }
  Samples& samples() { return samples_; }

  // One connection with its subscription, answered.
  void open(Client& client, const std::string& client_id, bool is_clean = true) {
    client.link.connect(options_.port);
    client.link.send_now(connect_packet(client_id, is_clean));
    if (client.link.read_now(4) != std::string_view("\x20\x02\0\0", 4)) fail("CONNECT was refused");
    if (client.is_publisher) return;
    client.link.send_now(subscribe_packet(client.topic, options_.qos));
    const std::string answer = client.link.read_now(5);
    if (answer[0] != '\x90' || static_cast<uint8_t>(answer[4]) > 2) fail("SUBSCRIBE was refused");
  }

 private:
  void turn(int64_t timeout_ns) {
    for (uint32_t index : poller_.wait(timeout_ns)) receive(*clients_[index]);
    flush_dirty();
  }

  void receive(Client& client) {
    std::string_view data = poller_.read(client.link);
    std::string& rest = client.link.rest();
    std::string joined;
    if (!rest.empty()) {
      joined.swap(rest);
      joined += data;
      data = joined;
    }
    while (data.size() >= 2) {
      size_t length = 0, at = 1;
      int shift = 0;
      while (at < data.size() && at < 5) {
        length |= static_cast<size_t>(data[at] & 127) << shift;
        shift += 7;
        if (!(data[at++] & 128)) break;
      }
      if ((data[at - 1] & 128) || data.size() < at + length) break;
      packet(client, static_cast<uint8_t>(data[0]), data.substr(at, length));
      data.remove_prefix(at + length);
    }
    rest.assign(data);
  }

  void packet(Client& client, uint8_t first, std::string_view body) {
    if (first >> 4 == 3) {
      const int qos = first >> 1 & 3;
      size_t at = 2 + (static_cast<size_t>(static_cast<uint8_t>(body[0])) << 8 | static_cast<uint8_t>(body[1]));
      if (qos > 0) {
        acknowledge(client, qos == 1 ? 4 : 5, body.substr(at, 2));
        at += 2;
      }
      delivery(body.substr(at));
    } else if (first >> 4 == 5) {
      acknowledge(client, 6, body.substr(0, 2));
    } else if (first >> 4 == 6) {
      acknowledge(client, 7, body.substr(0, 2));
    } else if (first >> 4 == 4 || first >> 4 == 7) {
      --client.unacked;
      if (is_offline_) {
        ++delivered_;
        --client.undelivered;
      }
      top_up(client);
    }
  }

  // PUBACK 4, PUBREC 5, PUBREL 6, PUBCOMP 7
  void acknowledge(Client& client, int type, std::string_view packet_id) {
    client.link.out() += static_cast<char>(type << 4 | (type == 6 ? 2 : 0));
    client.link.out() += '\2';
    client.link.out() += packet_id;
    mark_dirty(client);
  }

  void delivery(std::string_view payload) {
    int64_t sent_ns = 0;
    uint32_t publisher = 0;
    std::memcpy(&sent_ns, payload.data(), 8);
    std::memcpy(&publisher, payload.data() + 8, 4);
    ++delivered_;
    if (is_open_ || delivered_ % kSampleEvery == 0) samples_.add(now_ns() - sent_ns);
    Client& from = *clients_[publisher];
    --from.undelivered;
    top_up(from);
  }

  void top_up(Client& client) {
    if (is_open_) return;
    while (client.unacked < options_.window && client.undelivered <= static_cast<int64_t>(options_.window - 1) * copies_) {
      publish(client, now_ns());
    }
  }

  void publish(Client& client, int64_t sent_ns) {
    std::string& out = client.link.out();
    out += static_cast<char>(0x30 | options_.qos << 1);
    put_length(out, 2 + client.topic.size() + (options_.qos ? 2 : 0) + mark_.size());
    put_u16(out, client.topic.size());
    out += client.topic;
    if (options_.qos) {
      if (++client.packet_id == 0) client.packet_id = 1;
      put_u16(out, client.packet_id);
      ++client.unacked;
    }
    std::memcpy(mark_.data(), &sent_ns, 8);
    std::memcpy(mark_.data() + 8, &client.index, 4);
    out += mark_;
    client.undelivered += copies_;
    ++published_;
    mark_dirty(client);
  }

  void mark_dirty(Client& client) {
    if (client.is_dirty) return;
    client.is_dirty = true;
    dirty_.push_back(&client);
  }

  void flush_dirty() {
    size_t kept = 0;
    for (Client* client : dirty_) {
      client->link.flush();
      client->is_dirty = client->link.has_unsent();
      if (client->is_dirty) dirty_[kept++] = client;
    }
    dirty_.resize(kept);
  }

  const Options& options_;
  Poller poller_;
  std::vector<std::unique_ptr<Client>> clients_;
  std::vector<Client*> dirty_;
  size_t first_publisher_ = 0;
  int64_t copies_ = 1;
  bool is_open_ = false;
  bool is_offline_ = false;
  uint64_t delivered_ = 0, published_ = 0;
  Samples samples_;
  std::string mark_;
};

Report run_closed(const Options& options, int publishers, int subscribers, Shape shape) {
  MqttLoad load(options);
  load.connect(publishers, subscribers, shape);
  load.run_closed(now_ns() + static_cast<int64_t>(options.warmup_s * 1e9));
  load.samples().clear();
  const uint64_t before = load.delivered();
  const Stretch stretch(options);
  load.run_closed(now_ns() + static_cast<int64_t>(options.seconds * 1e9));
  Report report;
  stretch.report(report, options, static_cast<double>(load.delivered() - before));
  if (shape == Shape::offline) return report;
  report.add("p50_us", load.samples().percentile_us(50));
  report.add("p99_us", load.samples().percentile_us(99));
  return report;
}

}  // namespace

Report run_mqtt_pairs(const Options& options) {
  return run_closed(options, options.publishers, options.publishers, Shape::pairs);
}
Report run_mqtt_fan_out(const Options& options) { return run_closed(options, 1, options.subscribers, Shape::one); }
Report run_mqtt_fan_in(const Options& options) { return run_closed(options, options.publishers, 1, Shape::one); }
Report run_mqtt_shared(const Options& options) {
  return run_closed(options, options.publishers, options.subscribers, Shape::shared);
}
Report run_mqtt_offline(const Options& options) {
  if (options.qos == 0) fail("what is sent at QoS 0 is not kept for who is away: --qos=1 or 2");
  return run_closed(options, options.publishers, options.subscribers, Shape::offline);
}

Report run_mqtt_latency(const Options& options) {
  ::prctl(PR_SET_TIMERSLACK, 1);
  MqttLoad load(options);
  load.connect(options.publishers, options.publishers, Shape::pairs);
  const int64_t warm = now_ns() + kSecond / 100;
  load.run_open(options.rate, warm, warm + static_cast<int64_t>(options.warmup_s * 1e9));
  load.samples().clear();
  const uint64_t before = load.delivered(), published = load.published();
  const Stretch stretch(options);
  const int64_t begin = now_ns() + kSecond / 1000;
  load.run_open(options.rate, begin, begin + static_cast<int64_t>(options.seconds * 1e9));
  Report report;
  stretch.report(report, options, static_cast<double>(load.delivered() - before));
  report.add("missing", static_cast<double>(load.published() - published) - static_cast<double>(load.delivered() - before));
  report.add("p50_us", load.samples().percentile_us(50));
  report.add("p99_us", load.samples().percentile_us(99));
  report.add("max_us", load.samples().percentile_us(100));
  return report;
}

namespace {

// Memory that `connections` of them cost; with `is_stored` their sessions, when the connections are gone.
Report run_idle(const Options& options, bool is_stored) {
  if (options.pid == 0) fail("it measures the broker's memory: --pid is needed");
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
  MqttLoad load(options);
  std::vector<std::unique_ptr<Client>> clients;
  const auto open_one = [&](int i) {
    auto client = std::make_unique<Client>();
    client->topic = fmt::format("idle/{}", i);
    load.open(*client, fmt::format("idle-{}", i), !is_stored);
    if (!is_stored) clients.push_back(std::move(client));
  };
  constexpr int kFirst = 100;  // whatever the first connections make the broker allocate for good is not theirs
  for (int i = 0; i < kFirst; ++i) open_one(i);
  const int64_t before = status_kb(options.pid, "VmRSS");
  const Stretch stretch(options);
  for (int i = 0; i < options.connections; ++i) open_one(kFirst + i);
  const int64_t after = status_kb(options.pid, "VmRSS");
  Report report;
  const char* const what = is_stored ? "session" : "connection";
  stretch.report(report, options, options.connections, what);
  report.add("rss_before_kb", static_cast<double>(before));
  report.add("rss_after_kb", static_cast<double>(after));
  report.add(fmt::format("kb_per_{}", what), static_cast<double>(after - before) / options.connections);
  return report;
}

}  // namespace

Report run_mqtt_idle(const Options& options) { return run_idle(options, false); }
Report run_mqtt_sessions(const Options& options) { return run_idle(options, true); }

}  // namespace robustmq::bench
