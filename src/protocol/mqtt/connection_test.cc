// The transcripts in transcripts/, a test each, and what a transcript cannot say.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <random>

#include "protocol/mqtt/connection.h"
#include "protocol/mqtt/delivery.h"
#include "protocol/mqtt/machine.h"
#include "protocol/mqtt/packet_text.h"
#include "protocol/mqtt/scripted_link.h"
#include "protocol/mqtt/transcript.h"

namespace robustmq::mqtt {
namespace {

constexpr const char* kTranscripts = "src/protocol/mqtt/transcripts";

std::vector<std::string> transcript_names() {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(kTranscripts)) {
    if (entry.path().extension() == ".txt") names.push_back(entry.path().stem().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

class Transcripts : public ::testing::TestWithParam<std::string> {};

TEST_P(Transcripts, HoldWordForWord) {
  std::ifstream file(std::filesystem::path(kTranscripts) / (GetParam() + ".txt"));
  std::vector<std::string> lines;
  for (std::string line; std::getline(file, line);) lines.push_back(line);
  EXPECT_FALSE(lines.empty());
  Transcript transcript(GetParam(), std::move(lines));
  transcript.run();
  for (const std::string& failure : transcript.failures()) ADD_FAILURE() << failure;
}

INSTANTIATE_TEST_SUITE_P(Mqtt, Transcripts, ::testing::ValuesIn(transcript_names()), [](const auto& info) { return info.param; });

// The tables of the README name tests that are there: every transcript that it names, and every numbered case.
TEST(Readme, NamesTranscriptsThatExist) {
  std::ifstream file("src/protocol/mqtt/README.md");
  const std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  ASSERT_FALSE(text.empty());
  const std::vector<std::string> names = transcript_names();
  for (size_t at = text.find("`case_"); at != std::string::npos; at = text.find("`case_", at + 1)) {
    const std::string name = text.substr(at + 1, text.find('`', at + 1) - at - 1);
    EXPECT_TRUE(std::binary_search(names.begin(), names.end(), name)) << name;
  }
  for (const std::string& name : names) {
    if (name.starts_with("case_")) EXPECT_NE(text.find("`" + name + "`"), std::string::npos) << name;
  }
  for (int number = 1; number <= 76; ++number)
    EXPECT_NE(text.find("\n| " + std::to_string(number) + " | "), std::string::npos) << "case " << number;
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

TEST(Connection, ReadsAClientNoFurtherThatIsOverItsRate) {
  auto limits = std::make_shared<protocol::LinkLimits>();
  limits->client_messages_per_s = 2;
  ScriptedLink link({}, limits);
  Agreeable broker(link);
  link.receive(as_bytes(packet("CONNECT v3.1.1 id=a ka=1", Version::v3_1_1)));
  broker.answer_all();
  std::string stream;
  for (int i = 0; i < 8; ++i) stream += packet("PUBLISH topic=t payload=" + std::to_string(i), Version::v3_1_1);
  link.receive(as_bytes(stream + packet("PINGREQ", Version::v3_1_1)));
  EXPECT_EQ(broker.published.size(), 2u) << "a second's worth at once";
  EXPECT_TRUE(link.machine->is_paused());
  for (size_t i = 3; i <= 8; ++i) {
    link.pass(Duration::millis(499));
    EXPECT_EQ(broker.published.size(), i - 1);
    link.pass(Duration::millis(1));
    EXPECT_EQ(broker.published.size(), i);
  }
  EXPECT_EQ(by_type(link.sent, Version::v3_1_1)["PINGRESP"].size(), 1u);
  EXPECT_EQ(broker.published[7], "t=7[mqtt.qos=0]");
  EXPECT_FALSE(link.is_closed()) << "it was not silent: nobody listened";
  EXPECT_EQ(link.metrics.reads_delayed_total, 6u);
  link.pass(Duration::millis(1'400));
  EXPECT_FALSE(link.is_closed());
  link.pass(Duration::millis(101));
  EXPECT_TRUE(link.is_closed()) << "now it is";
}

TEST(Connection, SharesItsListenersRates) {
  auto limits = std::make_shared<protocol::LinkLimits>();
  const std::string publish = packet("PUBLISH topic=t payload=" + std::string(93, 'x'), Version::v3_1_1);
  limits->bytes = std::make_shared<Rate>(publish.size() * 2);
  ScriptedLink one({}, limits);
  ScriptedLink two({}, limits);
  Agreeable broker_one(one);
  Agreeable broker_two(two);
  for (ScriptedLink* link : {&one, &two}) link->receive(as_bytes(packet("CONNECT v3.1.1 id=a", Version::v3_1_1)));
  broker_one.answer_all();
  broker_two.answer_all();
  one.receive(as_bytes(publish + publish + publish));
  two.receive(as_bytes(publish + publish));
  EXPECT_EQ(broker_one.published.size(), 2u);
  EXPECT_EQ(broker_two.published.size(), 0u);
  for (ScriptedLink* link : {&one, &two}) link->pass(Duration::millis(500));
  EXPECT_EQ(broker_one.published.size(), 3u);
  EXPECT_EQ(broker_two.published.size(), 0u) << "its turn is behind the other's";
  two.pass(Duration::millis(500));
  EXPECT_EQ(broker_two.published.size(), 1u);
  two.pass(Duration::millis(500));
  EXPECT_EQ(broker_two.published.size(), 2u);
}

TEST(Connection, TellsWhoIsBannedAndWhoIsEnded) {
  const auto refused = [](std::string_view connect, Version version) {
    ScriptedLink link;
    link.receive(as_bytes(packet(connect, version)));
    link.reply(link.calls.at(0).id, broker::ClientBanned{});
    EXPECT_EQ(link.why, protocol::CloseWhy::ended);
    return link.sent;
  };
  EXPECT_EQ(refused("CONNECT v3.1.1 id=a", Version::v3_1_1), std::string("\x20\x02\x00\x05", 4));
  EXPECT_EQ(refused("CONNECT v5 id=a", Version::v5).at(3), '\x8A');
  ScriptedLink link;
  link.receive(as_bytes(packet("CONNECT v5 id=a", Version::v5)));
  link.notice(broker::Notice::ended);
  EXPECT_EQ(link.sent.at(3), '\x8A') << "its ban came while its session opened";
  EXPECT_TRUE(link.is_closed());
  ScriptedLink open;
  open.receive(as_bytes(packet("CONNECT v5 id=a", Version::v5)));
  open.reply(open.calls.at(0).id, broker::SessionOpened{});
  const size_t before = open.sent.size();
  open.notice(broker::Notice::ended);
  EXPECT_EQ(open.sent.at(before), '\xE0');
  EXPECT_EQ(open.sent.at(before + 2), '\x98');
}

TEST(Connection, TellsOfMessagesThatWaitedLong) {
  MqttOptions options;
  options.slow_ms_min = 500;
  options.inflight_max = 1;
  ScriptedLink link(options);
  link.receive(as_bytes(packet("CONNECT v3.1.1 id=a", Version::v3_1_1)));
  link.reply(link.calls.at(0).id, broker::SessionOpened{});
  const auto reports = [&] {
    size_t count = 0;
    for (const protocol::Outbox::Call& call : link.calls) count += std::holds_alternative<broker::ReportSlow>(call.request);
    return count;
  };
  link.deliver("t", TestRecord::make("1", {{"mqtt.qos", "1"}}, link.wall.ms - 10'000), 1);
  EXPECT_EQ(reports(), 0u) << "it is older than the connection's first";
  link.deliver("u", TestRecord::make("2", {{"mqtt.qos", "1"}}, link.wall.ms), 1);
  link.deliver("v", TestRecord::make("3", {{"mqtt.qos", "1"}}, link.wall.ms), 1);
  link.pass(Duration::millis(700));
  link.receive(as_bytes(packet("PUBACK id=1", Version::v3_1_1)));
  EXPECT_EQ(reports(), 1u);
  const auto& report = std::get<broker::ReportSlow>(link.calls.back().request);
  EXPECT_EQ(report.topic, "u");
  EXPECT_EQ(report.waited_ms, 700);
  link.receive(as_bytes(packet("PUBACK id=2", Version::v3_1_1)));
  EXPECT_EQ(reports(), 1u) << "once a second";
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
      link.deliver("some/topic", record, qos, {.retain_as_published = rap, .scratch = &scratch});
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
  link.machine->on_delivery({.topic = "t", .record = record.view, .owner = record.owner, .scratch = scratch}, out);
  const Pieces pieces = out.take_pieces();
  ASSERT_EQ(pieces.size(), 2u);
  EXPECT_EQ(pieces[1].bytes.data(), record.owner.data());
}

TEST(Connection, Case65QueuesWhenPacketIdsAreExhausted) {
  MqttOptions options;
  options.inflight_max = 65'535;
  options.queue_messages_max = 10;
  ScriptedLink link(options);
  connect(link, "CONNECT v3.1.1 id=a");
  const TestRecord record = TestRecord::make("x", {{"mqtt.qos", "1"}}, 0);
  // The ids above are of shared subscriptions.
  constexpr int kIds = broker::kSharedLeaseMin - 1;
  for (int i = 0; i < kIds + 3; ++i) link.deliver("t", record, 1);
  EXPECT_EQ(link.metrics.publishes_sent_total, static_cast<uint64_t>(kIds));
  EXPECT_EQ(link.metrics.queued_messages, 3);
  EXPECT_FALSE(link.is_closed());
  link.sent.clear();
  link.receive(as_bytes(packet("PUBACK id=777", Version::v3_1_1)));
  link.receive(as_bytes(packet("PUBACK id=5", Version::v3_1_1)));
  EXPECT_EQ(packet_text::lines_of(as_bytes(link.sent), Version::v3_1_1, Side::server),
            (std::vector<std::string>{"PUBLISH topic=t qos=1 id=777 payload=x", "PUBLISH topic=t qos=1 id=5 payload=x"}));
  EXPECT_EQ(link.metrics.queued_messages, 1);
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
    link.machine->on_delivery({.topic = "t", .record = record, .owner = owner, .qos_max = 1, .scratch = scratch}, out);
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

TEST(Mountpoint, IsPutOnWhatClientsNameAndTakenOffWhatTheyAreTold) {
  ScriptedLink link({}, protocol::LinkFacts{.mountpoint = "floor1/${clientid}/${username}/"});
  link.receive(as_bytes(packet("CONNECT v5 id=a user=u will=last:p", Version::v5)));
  const auto& open = std::get<broker::OpenSession>(link.calls.front().request);
  EXPECT_EQ(open.user, "u");
  EXPECT_EQ(open.will->topic, "floor1/a/u/last");
  link.reply(link.calls.front().id, broker::SessionOpened{});
  std::vector<std::string> published;
  link.after_turn = [&] {
    for (const protocol::Outbox::Call& call : link.calls) {
      const auto* publish = std::get_if<broker::Publish>(&call.request);
      if (!publish) continue;
      for (const broker::Message& message : publish->messages) published.emplace_back(message.topic);
    }
    if (!published.empty()) link.calls.clear();
  };
  link.receive(as_bytes(packet("PUBLISH topic=t payload=x", Version::v5) + packet("PUBLISH topic=t payload=y", Version::v5) +
                        packet("PUBLISH topic=$delayed/5/t payload=x", Version::v5)));
  EXPECT_EQ(published, (std::vector<std::string>{"floor1/a/u/t", "floor1/a/u/t", "$delayed/5/floor1/a/u/t"}));
  link.after_turn = nullptr;
  link.calls.clear();
  link.receive(as_bytes(packet("SUBSCRIBE id=1 filter=t/#:1 filter=$share/g/t:0 filter=$exclusive/t:0", Version::v5)));
  const auto& follow = std::get<broker::Follow>(link.calls.front().request);
  ASSERT_EQ(follow.filters.size(), 3u);
  EXPECT_EQ(follow.filters[0].filter, "floor1/a/u/t/#");
  EXPECT_EQ(follow.filters[1].filter, "floor1/a/u/t");
  EXPECT_EQ(follow.filters[1].share, "g");
  EXPECT_EQ(follow.filters[2].filter, "$exclusive/floor1/a/u/t");
  link.calls.clear();
  link.receive(as_bytes(packet("UNSUBSCRIBE id=2 filter=t/#", Version::v5)));
  EXPECT_EQ(std::get<broker::Unfollow>(link.calls.front().request).filters[0].filter, "floor1/a/u/t/#");
  link.sent.clear();
  link.deliver("floor1/a/u/t/1", TestRecord::make("x", {}, 0), 0);
  link.deliver("elsewhere", TestRecord::make("y", {}, 0), 0);
  EXPECT_EQ(packet_text::lines_of(as_bytes(link.sent), Version::v5, Side::server),
            (std::vector<std::string>{"PUBLISH topic=t/1 payload=x"}));
  EXPECT_EQ(link.metrics.dropped_foreign_total, 1u);
}

// A filter's `#` matches the level above it: what is published to floor1/a is not a client's of floor1/a/.
TEST(Mountpoint, DoesNotShowTheLevelAboveIt) {
  ScriptedLink link({}, protocol::LinkFacts{.mountpoint = "floor1/${clientid}/"});
  link.receive(as_bytes(packet("CONNECT v5 id=a session_expiry=60", Version::v5)));
  EXPECT_EQ(std::get<broker::OpenSession>(link.calls.front().request).prefix, "floor1/a/");
  link.reply(link.calls.front().id, broker::SessionOpened{.expiry_s = 60});
  link.calls.clear();
  link.sent.clear();
  for (const uint16_t lease : {uint16_t{0}, uint16_t{5}, broker::kSharedLeaseMin})
    link.deliver("floor1/a", TestRecord::make("x", {{"mqtt.qos", "1"}}, 0), 1, {.lease = lease});
  EXPECT_EQ(link.sent, "");
  EXPECT_EQ(link.metrics.dropped_foreign_total, 3u);
  ASSERT_EQ(link.calls.size(), 2u);
  for (const protocol::Outbox::Call& call : link.calls)
    EXPECT_EQ(std::get<broker::Settle>(call.request).leases.at(0).outcome, broker::Settle::Outcome::refused);
}

TEST(KeepAlive, DoesNotCountWhileTheClientIsNotRead) {
  ScriptedLink link;
  connect(link, "CONNECT v5 id=a ka=10");
  link.unsent_limit = 100;
  link.unsent = 1000;  // what the client was sent waits, so that it is not read
  link.pass(Duration::seconds(60));
  EXPECT_FALSE(link.is_closed());
  link.drained();
  link.pass(Duration::seconds(14));
  EXPECT_FALSE(link.is_closed()) << "it has its time again";
  link.pass(Duration::seconds(2));
  EXPECT_TRUE(link.is_closed());
  EXPECT_EQ(link.metrics.keep_alive_timeouts_total, 1u);
}

TEST(Properties, OfTheBrokersOwnAreNotMissed) {
  uint64_t left_out = 0;
  const TestRecord record =
      TestRecord::make("x", {{"mqtt.qos", "2"}, {"mqtt.packet", std::string("\x01\xff", 2)}, {"mqtt.delayed", "\xff"}}, 0);
  EXPECT_EQ(properties_size(record.view, left_out), 0u);
  EXPECT_EQ(left_out, 0u);
}

TEST(Mountpoint, RefusesClientsWhoseNameLeavesIt) {
  for (const char* id : {"../b", "+", "a/b", "#"}) {
    ScriptedLink link({}, protocol::LinkFacts{.mountpoint = "floor1/${clientid}/"});
    link.receive(as_bytes(packet(std::string("CONNECT v5 id=") + id, Version::v5)));
    EXPECT_TRUE(link.is_closed()) << id;
    EXPECT_TRUE(link.calls.empty()) << id;
  }
  ScriptedLink nobody({}, protocol::LinkFacts{.mountpoint = "${username}/"});
  nobody.receive(as_bytes(packet("CONNECT v5 id=a", Version::v5)));
  EXPECT_TRUE(nobody.is_closed());
}

TEST(Mountpoint, RefusesATopicThatBecomesTooLong) {
  ScriptedLink link({}, protocol::LinkFacts{.mountpoint = "floor1/"});
  connect(link, "CONNECT v5 id=a");
  link.sent.clear();
  link.receive(as_bytes(packet("PUBLISH qos=1 id=1 topic=" + std::string(65'530, 't') + " payload=x", Version::v5)));
  EXPECT_TRUE(link.calls.empty());
  EXPECT_EQ(packet_text::lines_of(as_bytes(link.sent), Version::v5, Side::server).size(), 1u);
}

TEST(CertificateIdentity, StandsInPlaceOfWhatConnectSays) {
  const protocol::LinkFacts facts{.certificate_user = "cn", .certificate_client_id = "device 7"};
  for (const char* sent : {"CONNECT v5 id=other user=u", "CONNECT v5 id="}) {
    ScriptedLink link({}, facts);
    link.receive(as_bytes(packet(sent, Version::v5)));
    const auto& open = std::get<broker::OpenSession>(link.calls.front().request);
    EXPECT_EQ(open.client_id, "device 7");
    EXPECT_EQ(open.user, "cn");
    link.reply(link.calls.front().id, broker::SessionOpened{});
    // Who sent none is told the one it has (MQTT5 3.2.2.3.7).
    EXPECT_EQ(link.sent.find("device 7") != std::string::npos, std::string_view(sent) == "CONNECT v5 id=");
  }
  ScriptedLink older({}, facts);
  older.receive(as_bytes(packet("CONNECT v3.1.1 id= clean=0", Version::v3_1_1)));
  EXPECT_EQ(std::get<broker::OpenSession>(older.calls.front().request).client_id, "device 7");
}

// An idle connection is the object and nothing else.
TEST(Connection, IsSmallWhileIdle) { EXPECT_LE(sizeof(Machine), 152u); }

}  // namespace
}  // namespace robustmq::mqtt
