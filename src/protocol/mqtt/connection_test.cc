// The transcripts in transcripts/ and what a transcript cannot say. The language of a transcript:
//   option: name value           before the first packet
//   answers in: v5               how the server's packets are read where no CONNECT of 5.0 says it
//   C: CONNECT v5 id=a           the client sends a packet (packet_text.h), or bytes in hex
//   C+: ...                      the same, but it arrives together with the next C:
//   S: PINGRESP                  the server has sent this packet next
//   B: publish a=hi[mqtt.qos=1]? the broker is asked next; `?` wants a reply; several messages with `;`
//   R: 2 published ok,internal   the broker answers its second call
//   D: topic=a qos=1 payload=x h:name=value ids=1,2 rap waited=1500   the broker delivers a record
//   N: taken_over                T: 5000 milliseconds pass         congested: 1          X: the peer closes
//   end: protocol_error why      the connection closes; the rest of the line is a part of the detail
// What the machine does must be said in full before the next input.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <random>

#include "base/describe.h"
#include "protocol/mqtt/connection.h"
#include "protocol/mqtt/delivery.h"
#include "protocol/mqtt/machine.h"
#include "protocol/mqtt/packet_text.h"
#include "protocol/mqtt/scripted_link.h"

namespace robustmq::mqtt {
namespace {

using packet_text::escaped;

struct SetOption {
  MqttOptions& options;
  std::string_view name;
  uint64_t value;
  bool found = false;
  template <class T>
  void field(std::string_view field_name, T MqttOptions::* member, FieldFacts = {}) {
    if (field_name != name) return;
    options.*member = static_cast<T>(value);
    found = true;
  }
};

std::string text_of(const broker::Message& message) {
  std::string text = escaped(message.topic) + "=" + escaped(as_text(message.payload)) + "[";
  RecordView view;
  view.raw_headers = message.raw_headers;
  view.header_count = message.header_count;
  HeaderReader reader(view);
  bool is_first = true;
  for (HeaderView header; reader.next(header); is_first = false) {
    text += (is_first ? "" : ",") + escaped(header.key) + "=" + (header.value ? escaped(as_text(*header.value)) : "null");
  }
  EXPECT_FALSE(reader.is_malformed());
  return text + "]" + (message.wants_reply ? "?" : "");
}

std::string text_of(const broker::Request& request) {
  std::string text;
  if (const auto* open = std::get_if<broker::OpenSession>(&request)) return "open " + escaped(open->client_id);
  if (const auto* publish = std::get_if<broker::Publish>(&request)) {
    for (const broker::Message& message : publish->messages) text += (text.empty() ? "publish " : "; ") + text_of(message);
  } else if (const auto* follow = std::get_if<broker::Follow>(&request)) {
    text = "follow";
    for (const broker::FollowOne& one : follow->filters) {
      text += " " + escaped(one.filter) + ":" + std::to_string(one.qos_max) + (one.no_local ? ":nl" : "") +
              (one.retain_as_published ? ":rap" : "");
      if (one.subscription_id) text += ":id" + std::to_string(one.subscription_id);
    }
  } else if (const auto* unfollow = std::get_if<broker::Unfollow>(&request)) {
    text = "unfollow";
    for (const std::string& filter : unfollow->filters) text += " " + escaped(filter);
  }
  return text;
}

Code code_of(const std::string& name) {
  for (int i = 0; i < 200; ++i) {
    if (code_name(static_cast<Code>(i)) == name) return static_cast<Code>(i);
  }
  ADD_FAILURE() << "no code " << name;
  return Code::internal;
}

class Transcript {
 public:
  explicit Transcript(const std::filesystem::path& path) : name_(path.filename().string()) {
    std::ifstream file(path);
    for (std::string line; std::getline(file, line);) lines_.push_back(line);
  }

  void run() {
    for (number_ = 1; number_ <= lines_.size() && !::testing::Test::HasFatalFailure(); ++number_) {
      const std::string& line = lines_[number_ - 1];
      if (line.empty() || line[0] == '#') continue;
      const size_t colon = line.find(':');
      if (colon == std::string::npos) {
        FAIL() << at() << "no colon";
      }
      const std::string verb = line.substr(0, colon);
      const std::string rest = colon + 2 <= line.size() ? line.substr(colon + 2) : "";
      step(verb, rest);
    }
    EXPECT_TRUE(done_.empty()) << at() << "not said: " << done_.front();
  }

 private:
  std::string at() const { return name_ + ":" + std::to_string(number_) + ": "; }

  void step(const std::string& verb, const std::string& rest) {
    if (verb == "S" || verb == "B" || verb == "end") return expect(verb, rest);
    EXPECT_TRUE(done_.empty()) << at() << "not said: " << done_.front();
    done_.clear();
    if (verb == "option") return set_option(rest);
    if (verb == "answers in") {
      version_ = Version::v5;
      return;
    }
    if (!link_) start();
    if (verb == "C" || verb == "C+") return client_sends(rest, verb == "C+");
    if (verb == "R") return broker_answers(rest);
    if (verb == "D") return broker_delivers(rest);
    if (verb == "T") return link_->pass(Duration::millis(std::stoll(rest)));
    if (verb == "X") return link_->peer_closes();
    if (verb == "N") return link_->notice(rest == "taken_over" ? broker::Notice::taken_over : broker::Notice::stopping);
    if (verb == "congested") {
      link_->unsent_limit = 1000;
      if (rest == "1") {
        link_->unsent = 1001;
      } else {
        link_->drained();
      }
      return;
    }
    FAIL() << at() << "no such verb";
  }

  void start() {
    link_ = std::make_unique<ScriptedLink>(options_);
    link_->after_turn = [this] { note(); };
  }

  // What the last input did, as lines.
  void note() {
    for (; noted_calls_ < link_->calls.size(); ++noted_calls_) {
      done_.push_back("B " + text_of(link_->calls[noted_calls_].request));
      ids_.push_back(link_->calls[noted_calls_].id);
    }
    const ByteSpan fresh = as_bytes(std::string_view(link_->sent).substr(noted_bytes_));
    for (const std::string& line : packet_text::lines_of(fresh, version_, Side::server)) done_.push_back("S " + line);
    noted_bytes_ = link_->sent.size();
    if (link_->is_closed() && !is_end_noted_) {
      is_end_noted_ = true;
      done_.push_back("end " + std::string(close_why_name(link_->why)) + " " + link_->detail);
    }
  }

  void expect(const std::string& verb, const std::string& rest) {
    ASSERT_FALSE(done_.empty()) << at() << "nothing more happened";
    if (verb == "end") {
      const size_t space = rest.find(' ');
      EXPECT_TRUE(done_.front().starts_with("end " + rest.substr(0, space))) << at() << done_.front();
      if (space != std::string::npos)
        EXPECT_NE(done_.front().find(rest.substr(space + 1)), std::string::npos) << at() << done_.front();
    } else {
      EXPECT_EQ(done_.front(), verb + " " + rest) << at();
    }
    done_.erase(done_.begin());
  }

  void set_option(const std::string& rest) {
    const size_t space = rest.find(' ');
    const std::string name = rest.substr(0, space);
    SetOption set{options_, name, std::stoull(rest.substr(space + 1))};
    MqttOptions::describe(set);
    EXPECT_TRUE(set.found) << at() << "no option " << name;
  }

  void client_sends(const std::string& rest, bool with_next) {
    if (rest.starts_with("CONNECT v5")) version_ = Version::v5;
    Buffer bytes;
    ASSERT_TRUE(packet_text::bytes_of_hex(rest, bytes) || packet_text::encode_line(rest, version_, bytes)) << at() << "no packet";
    held_back_ += as_text(bytes.span());
    if (with_next) return;
    const std::string all = std::exchange(held_back_, {});
    link_->receive(as_bytes(all));
  }

  void broker_answers(const std::string& rest) {
    const std::vector<std::string> parts = packet_text::split(rest, ' ');
    ASSERT_GE(parts.size(), 2u) << at();
    const size_t index = std::stoul(parts[0]) - 1;
    ASSERT_LT(index, ids_.size()) << at() << "no such call yet";
    broker::Reply reply;
    if (parts[1] == "opened") {
      reply = broker::SessionOpened{};
    } else if (parts[1] == "published") {
      broker::Published published;
      for (const std::string& code : packet_text::split(parts.size() > 2 ? parts[2] : "", ',')) {
        published.results.push_back(code == "nobody" ? broker::PublishResult{Code::ok, false}
                                                     : broker::PublishResult{code_of(code)});
      }
      reply = std::move(published);
    } else if (parts[1] == "followed") {
      broker::Followed followed;
      for (const std::string& code : packet_text::split(parts[2], ',')) followed.results.push_back({code_of(code)});
      reply = std::move(followed);
    } else if (parts[1] == "unfollowed") {
      broker::Unfollowed unfollowed;
      for (const std::string& existed : packet_text::split(parts[2], ',')) unfollowed.existed.push_back(existed == "1");
      reply = std::move(unfollowed);
    } else {
      ASSERT_EQ(parts[1], "error") << at();
      reply = Error{code_of(parts[2]), ""};
    }
    link_->reply(ids_[index], std::move(reply));
  }

  void broker_delivers(const std::string& rest) {
    std::string topic, payload;
    TestRecord::Headers headers;
    std::vector<uint32_t> ids;
    uint8_t qos = 0;
    bool rap = false, is_null = false;
    int64_t waited_ms = 0;
    for (const packet_text::Word& word : packet_text::words_of(rest)) {
      if (word.key == "topic") topic = word.value;
      if (word.key == "payload") payload = word.value;
      if (word.key == "null") is_null = true;
      if (word.key == "qos") qos = static_cast<uint8_t>(word.number());
      if (word.key == "rap") rap = true;
      if (word.key == "waited") waited_ms = word.number();
      if (word.key.starts_with("h:")) headers.emplace_back(word.key.substr(2), word.value);
      if (word.key == "ids") {
        for (const std::string& id : packet_text::split(word.value, ',')) ids.push_back(static_cast<uint32_t>(std::stoul(id)));
      }
    }
    const TestRecord record = TestRecord::make(payload, headers, link_->wall.ms - waited_ms, is_null);
    link_->deliver(topic, record, qos, rap, ids.empty() ? nullptr : &ids);
  }

  std::string name_;
  std::vector<std::string> lines_;
  size_t number_ = 0;
  MqttOptions options_;
  Version version_ = Version::v3_1_1;
  std::unique_ptr<ScriptedLink> link_;
  std::string held_back_;
  std::vector<std::string> done_;
  std::vector<protocol::CallId> ids_;
  size_t noted_calls_ = 0;
  size_t noted_bytes_ = 0;
  bool is_end_noted_ = false;
};

TEST(Transcripts, HoldWordForWord) {
  size_t count = 0;
  for (const auto& entry : std::filesystem::directory_iterator("src/protocol/mqtt/transcripts")) {
    if (entry.path().extension() != ".txt") continue;
    Transcript(entry.path()).run();
    ++count;
  }
  EXPECT_GT(count, 0u);
}

// ---- beyond transcripts ----

// A broker that agrees at once with everything, and remembers what was published.
class Agreeable {
 public:
  explicit Agreeable(ScriptedLink& link) : link_(link) {
    link_.after_turn = [this] { note(); };
  }
  void answer_all() {
    while (!link_.calls.empty()) {
      protocol::Outbox::Call call = std::move(link_.calls.front());
      link_.calls.pop_front();
      ++answered_;
      broker::Reply reply = broker::SessionOpened{};
      if (const auto* follow = std::get_if<broker::Follow>(&call.request)) {
        reply = broker::Followed{std::vector<broker::FollowResult>(follow->filters.size())};
      } else if (const auto* unfollow = std::get_if<broker::Unfollow>(&call.request)) {
        reply = broker::Unfollowed{std::vector<bool>(unfollow->filters.size(), true)};
      } else if (std::holds_alternative<broker::Publish>(call.request)) {
        reply = broker::Published{std::vector<broker::PublishResult>(wanted_[call.id])};
      }
      link_.reply(call.id, std::move(reply));
    }
  }
  std::vector<std::string> published;
  size_t publish_calls = 0;

 private:
  void note() {
    for (const protocol::Outbox::Call& call : link_.calls) {
      if (call.id <= noted_) continue;
      noted_ = call.id;
      const auto* publish = std::get_if<broker::Publish>(&call.request);
      if (!publish) continue;
      ++publish_calls;
      for (const broker::Message& message : publish->messages) {
        published.push_back(text_of(message));
        wanted_[call.id] += message.wants_reply;
      }
    }
  }
  ScriptedLink& link_;
  protocol::CallId noted_ = 0;
  size_t answered_ = 0;
  std::map<protocol::CallId, size_t> wanted_;
};

std::string packet(std::string_view line, Version version) {
  Buffer bytes;
  EXPECT_TRUE(packet_text::encode_line(line, version, bytes)) << line;
  return std::string(as_text(bytes.span()));
}

// The server's packets of one type each, in order: between types the order depends on when answers come.
std::map<std::string, std::vector<std::string>> by_type(const std::string& sent, Version version) {
  std::map<std::string, std::vector<std::string>> types;
  for (const std::string& line : packet_text::lines_of(as_bytes(sent), version, Side::server))
    types[line.substr(0, line.find(' '))].push_back(line);
  return types;
}

TEST(Connection, GivesTheSameHoweverTheInputIsCut) {
  const uint32_t seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  for (int round = 0; round < 20; ++round) {
    const Version version = round % 2 ? Version::v5 : Version::v3_1_1;
    std::string stream =
        packet(version == Version::v5 ? "CONNECT v5 id=a will=w:bye" : "CONNECT v3.1.1 id=a will=w:bye", version);
    const int count = 5 + static_cast<int>(random() % 30);
    for (int i = 1; i <= count; ++i) {
      const std::string n = std::to_string(i);
      switch (random() % 8) {
        case 0:
          stream += packet("SUBSCRIBE id=" + n + " filter=a/" + n + ":1 filter=+x:0", version);
          break;
        case 1:
          stream += packet("UNSUBSCRIBE id=" + n + " filter=a/" + n, version);
          break;
        case 2:
          stream += packet("PINGREQ", version);
          break;
        case 3:
          stream += packet("PUBREL id=" + n, version);
          break;
        case 4:
          stream += packet("PUBLISH topic=t qos=1 id=" + n + " payload=" + std::string(random() % 300, 'x'), version);
          break;
        case 5:
          stream += packet("PUBLISH topic=t/" + n + (version == Version::v5 ? " user:a=b" : ""), version);
          break;
        default:
          stream += packet("PUBLISH topic=t payload=" + n, version);
          break;
      }
    }
    bool ends = true;
    switch (random() % 4) {
      case 0:
        stream += packet("DISCONNECT", version);
        break;
      case 1:
        stream += "\xF0\x01";
        break;
      case 2:
        stream += packet("CONNECT v5 id=a", version);
        break;
      default:
        ends = false;
        break;
    }
    const auto play = [&](auto cut) {
      ScriptedLink link;
      Agreeable broker(link);
      for (size_t at = 0; at < stream.size();) {
        const size_t length = std::min(cut(), stream.size() - at);
        link.receive(as_bytes(std::string_view(stream).substr(at, length)));
        broker.answer_all();
        at += length;
      }
      link.peer_closes();
      auto sent = by_type(link.sent, version);
      if (ends) {
        // How many answers come before the end depends on how soon the end arrives.
        for (const char* answer : {"PUBACK", "SUBACK", "UNSUBACK"}) sent.erase(answer);
      }
      return std::tuple(sent, broker.published, link.why, link.detail);
    };
    const auto whole = play([&] { return stream.size(); });
    EXPECT_TRUE(play([] { return size_t{1}; }) == whole) << round;
    EXPECT_TRUE(play([&] { return size_t{random() % 50 + 1}; }) == whole) << round;
  }
}

TEST(Connection, TakesTenThousandPacketsInOneRead) {
  ScriptedLink link;
  Agreeable broker(link);
  std::string stream = packet("CONNECT v3.1.1 id=a", Version::v3_1_1);
  for (int i = 0; i < 10'000; ++i) stream += packet("PUBLISH topic=t payload=" + std::to_string(i), Version::v3_1_1);
  link.receive(as_bytes(stream));
  broker.answer_all();
  ASSERT_EQ(broker.published.size(), 10'000u);
  EXPECT_EQ(broker.publish_calls, (10'000 + link.options.publish_batch_messages - 1) / link.options.publish_batch_messages);
  EXPECT_EQ(broker.published[9'999], "t=9999[mqtt.qos=0]");
  EXPECT_EQ(link.unread.size(), 0u);
}

TEST(Connection, HandsOnTenThousandQos1PacketsAsTheirAnswersComeIn) {
  ScriptedLink link;
  Agreeable broker(link);
  std::string stream = packet("CONNECT v3.1.1 id=a", Version::v3_1_1);
  std::vector<std::string> acks;
  for (int i = 1; i <= 10'000; ++i) {
    stream += packet("PUBLISH topic=t qos=1 id=" + std::to_string(i), Version::v3_1_1);
    acks.push_back("PUBACK id=" + std::to_string(i));
  }
  link.receive(as_bytes(stream));
  broker.answer_all();
  EXPECT_EQ(broker.published.size(), 10'000u);
  EXPECT_EQ(by_type(link.sent, Version::v3_1_1)["PUBACK"], acks);
}

void connect(ScriptedLink& link, std::string_view line) {
  link.receive(as_bytes(packet(line, line.starts_with("CONNECT v5") ? Version::v5 : Version::v3_1_1)));
  ASSERT_EQ(link.calls.size(), 1u);
  link.reply(link.calls.front().id, broker::SessionOpened{});
  link.calls.clear();
  link.sent.clear();
}

// Each follower of one record gets its own packet id, QoS and RETAIN, wherever the spelling came from.
TEST(Connection, SharesOneSpellingAmongFollowers) {
  for (const size_t payload_size : {0u, 64u, 200u, 20'000u}) {
    const TestRecord record =
        TestRecord::make(std::string(payload_size, 'p'), {{"mqtt.qos", "1"}, {"mqtt.retain", "1"}, {"k", "v"}}, 0);
    broker::DeliveryScratch scratch;
    for (int follower = 0; follower < 24; ++follower) {
      ScriptedLink link;
      const bool is_v5 = follower % 2;
      const uint8_t qos = follower / 2 % 2;
      const bool rap = follower / 4 % 2;
      connect(link, is_v5 ? "CONNECT v5 id=a" : "CONNECT v3.1.1 id=a");
      // A different number of earlier messages, so that packet ids differ.
      const TestRecord earlier = TestRecord::make("x", {{"mqtt.qos", "1"}}, 0);
      for (int i = 0; i < follower; ++i) link.deliver("e", earlier, 1);
      link.sent.clear();
      link.deliver("some/topic", record, qos, rap, nullptr, &scratch);
      const Version version = is_v5 ? Version::v5 : Version::v3_1_1;
      const std::vector<std::string> lines = packet_text::lines_of(as_bytes(link.sent), version, Side::server);
      ASSERT_EQ(lines.size(), 1u);
      std::string wanted = "PUBLISH topic=some/topic";
      if (qos) wanted += " qos=1 id=" + std::to_string(follower + 1);
      if (rap) wanted += " retain";
      if (payload_size) wanted += " payload=" + std::string(payload_size, 'p');
      if (is_v5) wanted += " user:k=v";
      EXPECT_EQ(lines[0], wanted);
    }
  }
}

TEST(Connection, SendsLargePayloadsFromTheRecordsMemory) {
  ScriptedLink link;
  connect(link, "CONNECT v3.1.1 id=a");
  const TestRecord record = TestRecord::make(std::string(kPayloadBytesShared, 'p'), {}, 0);
  broker::DeliveryScratch scratch;
  protocol::CallId last = 0;
  protocol::Outbox out;
  out.begin({}, {}, &last, 0, UINT64_MAX);
  link.machine->on_delivery({"t", record.view, record.owner, 0, false, nullptr, scratch}, out);
  const Pieces pieces = out.take_pieces();
  ASSERT_EQ(pieces.size(), 2u);
  EXPECT_EQ(pieces[1].bytes.data(), record.owner.data());
}

// A waiting message holds what it needs: a share where the record is most of the memory, a copy where it is a small part.
TEST(Connection, KeepsWaitingMessagesWithoutPinningTheirBatch) {
  ScriptedLink link;
  connect(link, "CONNECT v5 id=a receive_maximum=1");
  std::string batch(1 << 20, 'b');
  batch.replace(500'000, 5, "hello");
  Bytes owner = Bytes::copy_of(batch);
  RecordView record;
  record.value = owner.span().subspan(500'000, 5);
  broker::DeliveryScratch scratch;
  protocol::CallId last = 100;
  protocol::Outbox out;
  for (int i = 0; i < 3; ++i) {
    out.clear();
    out.begin({}, {}, &last, 0, UINT64_MAX);
    link.machine->on_delivery({"t", record, owner, 1, false, nullptr, scratch}, out);
  }
  EXPECT_EQ(link.metrics.queued_messages, 2);
  EXPECT_LT(link.metrics.queued_bytes, 2000);
  std::memset(owner.patchable(), 'z', owner.size());
  link.receive(as_bytes(packet("PUBACK id=1", Version::v5)));
  EXPECT_EQ(packet_text::lines_of(as_bytes(link.sent), Version::v5, Side::server),
            std::vector<std::string>{"PUBLISH topic=t qos=1 id=2 payload=hello"});
}

TEST(Connection, BoundsWaitingBytes) {
  MqttOptions options;
  options.queue_bytes_max = 10'000;
  ScriptedLink link(options);
  connect(link, "CONNECT v3.1.1 id=a");
  link.unsent_limit = 10;
  link.unsent = 11;
  const TestRecord record = TestRecord::make(std::string(3000, 'p'), {}, 0);
  for (int i = 0; i < 4; ++i) link.deliver("t", record, 1);
  EXPECT_EQ(link.why, protocol::CloseWhy::slow_reader);
  EXPECT_EQ(link.metrics.slow_readers_total, 1u);
  EXPECT_EQ(link.metrics.queued_messages, 0);
  EXPECT_EQ(link.metrics.queued_bytes, 0);
}

TEST(Connection, CountsItsDrops) {
  ScriptedLink link;
  connect(link, "CONNECT v5 id=a maximum_packet_size=30");
  const TestRecord large = TestRecord::make(std::string(100, 'p'), {{"mqtt.qos", "1"}}, 0);
  link.deliver("t", large, 0);
  link.deliver("t", large, 1);
  EXPECT_EQ(link.metrics.dropped_too_large_total, 2u);
  const TestRecord old = TestRecord::make("x", {{"mqtt.message_expiry_s", "1"}}, link.wall.ms - 5000);
  link.deliver("t", old, 0);
  EXPECT_EQ(link.metrics.dropped_expired_total, 1u);
  const TestRecord binary = TestRecord::make("x", {{"k", "\xff"}, {"mqtt.payload_format", "9"}}, 0);
  link.deliver("t", binary, 0);
  EXPECT_EQ(link.metrics.headers_left_out_total, 2u);
  link.unsent_limit = 10;
  link.unsent = 11;
  link.deliver("t", binary, 0);
  EXPECT_EQ(link.metrics.dropped_congested_total, 1u);
  link.deliver("", binary, 0);
  EXPECT_EQ(link.metrics.dropped_bad_topic_total, 1u);
  EXPECT_EQ(link.sent.size(), packet("PUBLISH topic=t payload=x", Version::v5).size());
}

TEST(Connection, MovesBetweenCoresWhileItsSessionOpens) {
  MqttOptions options;
  MqttMetrics first, second;
  Connections here(options, first), there(options, second);
  const std::unique_ptr<protocol::Connection> connection = here.make({.id = 1, .seed = 2, .peer = {}});
  EXPECT_EQ(first.connections, 1);
  protocol::CallId last = 0;
  protocol::Outbox out;
  out.begin({}, {}, &last, 0, UINT64_MAX);
  connection->on_open(out);
  connection->on_bytes(Bytes::copy_of(packet("CONNECT v3.1.1 id=a", Version::v3_1_1)), out);
  here.leave(*connection);
  there.join(*connection);
  EXPECT_EQ(first.connections, 0);
  EXPECT_EQ(second.connections, 1);
  connection->on_reply(1, broker::SessionOpened{}, out);
  EXPECT_EQ(first.connects_total, 0u);
  EXPECT_EQ(second.connects_total, 1u);
}

// An idle connection is the object and nothing else.
TEST(Connection, IsSmallWhileIdle) { EXPECT_LE(sizeof(Machine), 200u); }

}  // namespace
}  // namespace robustmq::mqtt
