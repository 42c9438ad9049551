// QUIC over simulated datagrams that are lost, doubled and overtake each other, with a client of ours.
#include "net/quic/endpoint.h"

#include <gtest/gtest.h>

#include "net/quic/quic_rig.h"

namespace robustmq::net {
namespace {

std::string text_of_size(size_t size) {
  std::string text(size, ' ');
  for (size_t i = 0; i < size; ++i) text[i] = static_cast<char>('a' + i * 31 % 26);
  return text;
}

TEST(Quic, EchoesOverOneStream) {
  QuicWorld quic(1);
  QuicClientPart& client = quic.client();
  client.dial(quic.address(), quic_client_context(), "hello");
  ASSERT_TRUE(quic.until([&] { return client.talk && client.talk->heard == "hello"; })) << client.why;
  EXPECT_EQ(quic.sum().handshakes_total, 1u);
  EXPECT_EQ(quic.sum().handshakes, 0);
  EXPECT_EQ(quic.sum().retries_sent_total, 0u);
  EXPECT_EQ(quic.parts[0]->names, std::vector<std::string>{""});
}

TEST(Quic, BringsEverythingBothWaysThroughLossDoublingAndReordering) {
  for (uint64_t seed = 1; seed <= 5; ++seed) {
    QuicWorld quic(seed);
    quic.world.network().set_options({.delay_min = Duration::millis(1),
                                      .delay_max = Duration::millis(20),
                                      .datagrams_lost_per_million = 200'000,
                                      .datagrams_doubled_per_million = 50'000});
    QuicClientPart& client = quic.client(Duration::seconds(120));
    const std::string text = text_of_size(300'000);
    client.dial(quic.address(), quic_client_context(), text);
    ASSERT_TRUE(quic.until([&] { return client.talk && client.talk->heard.size() >= text.size(); }, Duration::seconds(600)))
        << "seed " << seed << ": " << client.why << ", heard " << (client.talk ? client.talk->heard.size() : 0);
    EXPECT_EQ(client.talk->heard, text);
  }
}

TEST(Quic, KeepsItsMemoryBoundedWhileNobodyReads) {
  QuicOptions options;
  options.receive_window_bytes = 64 << 10;
  options.send_buffer_bytes = 64 << 10;
  QuicWorld quic(2, 1, options);
  QuicClientPart& client = quic.client(Duration::seconds(10), options);
  client.dial(quic.address(), quic_client_context(), "a");
  ASSERT_TRUE(quic.until([&] { return client.talk && client.talk->heard == "a"; }));
  quic.parts[0]->talks.front().stream.pause_reading();
  const std::string text = text_of_size(1 << 20);
  client.talk->say(text);
  quic.world.run_for(Duration::seconds(20));
  // What the server took lies in its window, what the client sent in its buffer; the rest waits in the client's stream.
  EXPECT_GE(client.talk->stream.unsent_bytes() + (128 << 10), text.size());
  quic.parts[0]->talks.front().stream.resume_reading();
  ASSERT_TRUE(quic.until([&] { return client.talk->heard.size() == text.size() + 1; }, Duration::seconds(120)));
}

TEST(Quic, AsksForARetryOverItsLimitOfHandshakes) {
  QuicOptions options;
  options.retry_above = 0;
  QuicWorld quic(3, 2, options);
  QuicClientPart& client = quic.client();
  client.dial(quic.address(), quic_client_context(), "hello");
  ASSERT_TRUE(quic.until([&] { return client.talk && client.talk->heard == "hello"; })) << client.why;
  EXPECT_EQ(quic.sum().retries_sent_total, 1u);
}

TEST(Quic, EndsAtOnceWhatIsOverItsLimitOfEndingConnections) {
  for (const uint32_t most : {1u, 0u}) {
    QuicOptions options;
    options.ending_max = most;
    QuicWorld quic(25, 1, options);
    QuicClientPart& client = quic.client();
    client.dial(quic.address(), quic_client_context(nullptr, "h3"), "hello");
    ASSERT_TRUE(quic.until([&] { return client.is_answered; }));
    EXPECT_EQ(quic.parts[0]->endpoint.connection_count(), most) << "it answers late datagrams, or is gone";
    EXPECT_EQ(quic.parts[0]->endpoint.metrics().ended_at_once_total, 1 - most);
  }
}

TEST(Quic, RefusesAnotherProtocol) {
  QuicWorld quic(4);
  QuicClientPart& client = quic.client();
  client.dial(quic.address(), quic_client_context(nullptr, "h3"), "hello");
  ASSERT_TRUE(quic.until([&] { return client.is_answered; }));
  EXPECT_NE(client.why.find("TLS"), std::string::npos) << client.why;
  ASSERT_EQ(quic.parts[0]->refused.size(), 1u);
  EXPECT_NE(quic.parts[0]->refused[0].find("TLS"), std::string::npos) << quic.parts[0]->refused[0];
  EXPECT_EQ(quic.sum().handshakes_failed_total, 1u);
  ASSERT_TRUE(quic.until([&] { return quic.sum().connections == 0; }));
  EXPECT_EQ(quic.parts[0]->endpoint.route_count(), 0u);
}

TEST(Quic, AClientLeavesAServerItDoesNotTrust) {
  QuicWorld quic(5);
  for (const bool is_other_authority : {true, false}) {
    QuicClientPart& client = quic.client();
    client.dial(quic.address(),
                is_other_authority ? quic_client_context(nullptr, "mqtt", quic_device_identity()) : quic_client_context(),
                "hello", is_other_authority ? "server" : "somebody.else");
    ASSERT_TRUE(quic.until([&] { return client.is_answered; }));
    EXPECT_EQ(client.talk, nullptr);
    EXPECT_NE(client.why.find("TLS"), std::string::npos) << client.why;
  }
}

TEST(Quic, TakesTheNameFromTheClientsCertificate) {
  QuicWorld quic(6);
  quic.set_context(quic_server_context(TlsClients::required));
  QuicClientPart& client = quic.client();
  client.dial(quic.address(), quic_client_context(&quic_device_identity()), "hello");
  ASSERT_TRUE(quic.until([&] { return client.talk && client.talk->heard == "hello"; })) << client.why;
  EXPECT_EQ(quic.parts[0]->names, std::vector<std::string>{"device 7"});
}

TEST(Quic, DemandsAClientsCertificateThatItTrusts) {
  QuicWorld quic(7);
  quic.set_context(quic_server_context(TlsClients::required));
  for (const QuicIdentity* identity : {static_cast<const QuicIdentity*>(nullptr), &quic_server_identity()}) {
    QuicClientPart& client = quic.client();
    client.dial(quic.address(), quic_client_context(identity), "hello");
    // The client is through before the server has seen its certificate.
    ASSERT_TRUE(quic.until([&] { return client.is_answered && (!client.talk || client.talk->has_ended); }));
    if (client.talk) EXPECT_NE(client.talk->why.find("TLS"), std::string::npos) << client.talk->why;
  }
  EXPECT_EQ(quic.parts[0]->names.size(), 0u);
  EXPECT_EQ(quic.parts[0]->refused.size(), 2u);
}

TEST(Quic, LetsClientsInWithoutACertificateWhenItIsOptional) {
  QuicWorld quic(8);
  quic.set_context(quic_server_context(TlsClients::optional));
  QuicClientPart& client = quic.client();
  client.dial(quic.address(), quic_client_context(), "hello");
  ASSERT_TRUE(quic.until([&] { return client.talk && client.talk->heard == "hello"; })) << client.why;
  EXPECT_EQ(quic.parts[0]->names, std::vector<std::string>{""});
}

TEST(Quic, RefusesClientsOverTheLimit) {
  QuicWorld quic(9);
  quic.parts[0]->knocks_max = 1;
  QuicClientPart& first = quic.client();
  first.dial(quic.address(), quic_client_context(), "hello");
  ASSERT_TRUE(quic.until([&] { return first.talk && first.talk->heard == "hello"; }));
  QuicClientPart& second = quic.client();
  second.dial(quic.address(), quic_client_context(), "hello");
  ASSERT_TRUE(quic.until([&] { return second.is_answered; }));
  EXPECT_EQ(second.talk, nullptr);
  EXPECT_EQ(quic.parts[0]->endpoint.metrics().connections_refused_total, 1u);
}

TEST(Quic, GivesUpClientsThatOpenNoStreamInTime) {
  QuicWorld quic(10, 1, {}, Duration::seconds(2));
  QuicClientPart& client = quic.client();
  client.dial(quic.address(), quic_client_context(), "");  // a stream without bytes is none to the server
  ASSERT_TRUE(quic.until([&] { return client.talk != nullptr; }));
  ASSERT_TRUE(quic.until([&] { return client.talk->has_ended; }));
  EXPECT_EQ(quic.parts[0]->refused, std::vector<std::string>{"it took too long"});
  EXPECT_EQ(quic.sum().handshakes, 0);
}

TEST(Quic, GivesUpClientsThatAreSilentForTooLong) {
  QuicOptions options;
  options.idle_ms = 5'000;
  QuicWorld quic(11, 1, options);
  QuicClientPart& client = quic.client();
  client.dial(quic.address(), quic_client_context(), "hello");
  ASSERT_TRUE(quic.until([&] { return client.talk && client.talk->heard == "hello"; }));
  quic.world.network().partition(quic.server, quic.clients);
  ASSERT_TRUE(quic.until([&] { return quic.parts[0]->talks.front().has_ended; }));
  EXPECT_EQ(quic.sum().idle_total, 1u);
  quic.parts[0]->talks.clear();
  ASSERT_TRUE(quic.until([&] { return quic.sum().connections == 0; }));
}

TEST(Quic, SendsAllBeforeItCloses) {
  QuicWorld quic(12);
  quic.world.network().set_options(
      {.delay_min = Duration::millis(5), .delay_max = Duration::millis(10), .datagrams_lost_per_million = 50'000});
  QuicClientPart& client = quic.client();
  client.dial(quic.address(), quic_client_context(), "hello");
  ASSERT_TRUE(quic.until([&] { return client.talk && client.talk->heard == "hello"; }));
  const std::string text = text_of_size(200'000);
  QuicTalk& talk = quic.parts[0]->talks.front();
  talk.say(text);
  talk.stream.close(Duration::seconds(20));
  ASSERT_TRUE(quic.until([&] { return client.talk->has_ended; }));
  EXPECT_EQ(client.talk->end, StreamEnd::peer_closed);
  EXPECT_EQ(client.talk->heard, "hello" + text);
  client.talk.reset();
  ASSERT_TRUE(quic.until([&] { return talk.has_ended; }));
  EXPECT_EQ(talk.end, StreamEnd::closed);
  quic.parts[0]->talks.clear();
  ASSERT_TRUE(quic.until([&] { return quic.sum().connections == 0; }));
  EXPECT_EQ(quic.parts[0]->endpoint.route_count(), 0u);
  EXPECT_EQ(quic.sum().idle_total, 0u);
}

TEST(Quic, SendsWhatWasWrittenThoughItsSocketIsGone) {
  QuicWorld quic(13);
  quic.world.network().set_options(
      {.delay_min = Duration::millis(5), .delay_max = Duration::millis(10), .datagrams_lost_per_million = 50'000});
  QuicClientPart& client = quic.client();
  client.dial(quic.address(), quic_client_context(), "hello");
  ASSERT_TRUE(quic.until([&] { return client.talk && client.talk->heard == "hello"; }));
  const std::string text = text_of_size(100'000);
  quic.parts[0]->talks.front().say(text);
  quic.world.run_for(Duration::millis(1));  // from the stream's queue to the socket
  quic.parts[0]->talks.clear();
  ASSERT_TRUE(quic.until([&] { return client.talk->has_ended; }));
  EXPECT_EQ(client.talk->heard, "hello" + text);
}

TEST(Quic, AClientMayComeFromAnotherAddress) {
  for (const bool says_so : {false, true}) {
    QuicWorld quic(14, 4);
    QuicClientPart& client = quic.client();
    client.dial(quic.address(), quic_client_context(), "a");
    ASSERT_TRUE(quic.until([&] { return client.talk && client.talk->heard == "a"; }));
    quic.world.run_for(Duration::seconds(1));  // the handshake is confirmed
    std::string all = "a";
    for (char letter = 'b'; letter <= 'i'; ++letter) {
      ASSERT_TRUE(client.endpoint.change_address(says_so).ok());
      client.talk->say(std::string(1, letter));
      all += letter;
      ASSERT_TRUE(quic.until([&] { return client.talk->heard == all; })) << says_so << " " << letter << " " << client.talk->why;
      quic.world.run_for(Duration::seconds(5));
    }
    EXPECT_EQ(quic.sum().migrated_total, 8u) << says_so;
    // Of four cores not always the right one.
    EXPECT_GT(quic.sum().datagrams_passed_on_total, 0u) << says_so;
    EXPECT_EQ(quic.sum().handshakes_total, 1u);
    EXPECT_EQ(quic.sum().resets_sent_total, 0u);
  }
}

TEST(Quic, MovesToAnotherCoreWithAllThatIsUnderWay) {
  for (uint64_t seed = 15; seed < 20; ++seed) {
    QuicWorld quic(seed, 3);
    quic.world.network().set_options(
        {.delay_min = Duration::millis(1), .delay_max = Duration::millis(20), .datagrams_lost_per_million = 50'000});
    QuicClientPart& client = quic.client();
    const std::string text = text_of_size(100'000);
    client.dial(quic.address(), quic_client_context(), text);
    size_t from = 0;
    ASSERT_TRUE(quic.until([&] {
      for (size_t i = 0; i < 3; ++i) {
        if (!quic.parts[i]->talks.empty()) from = i;
      }
      return client.talk && client.talk->heard.size() > 20'000;
    }));
    const size_t to = (from + 1) % 3;
    QuicServerPart& old_home = *quic.parts[from];
    QuicServerPart& new_home = *quic.parts[to];
    DetachedStream moving = old_home.talks.front().stream.detach();
    old_home.talks.clear();
    old_home.core.send(static_cast<CoreIndex>(to), [&new_home, moving = std::move(moving)]() mutable {
      new_home.talks.emplace_back(new_home.streams, std::move(moving), true);
    });
    ASSERT_TRUE(quic.until([&] { return client.talk->heard.size() == text.size(); }, Duration::seconds(120))) << seed;
    EXPECT_EQ(client.talk->heard, text);
    EXPECT_GT(quic.sum().datagrams_passed_on_total, 0u);
    // From another address, the ids of both cores find it.
    std::string all = text;
    for (char letter = 'b'; letter <= 'e'; ++letter) {
      ASSERT_TRUE(client.endpoint.change_address(letter % 2 == 0).ok());
      client.talk->say(std::string(1, letter));
      all += letter;
      ASSERT_TRUE(quic.until([&] { return client.talk->heard == all; })) << letter;
      quic.world.run_for(Duration::seconds(3));
    }
    client.talk.reset();
    ASSERT_TRUE(quic.until([&] { return new_home.talks.front().has_ended; }));
    new_home.talks.clear();
    ASSERT_TRUE(quic.until([&] { return quic.sum().connections == 0; }));
    quic.world.run_for(Duration::seconds(1));
    for (auto& part : quic.parts) EXPECT_EQ(part->endpoint.route_count(), 0u);
  }
}

TEST(Quic, TellsClientsAfterARestartThatTheirConnectionIsGone) {
  QuicWorld quic(21);
  QuicClientPart& client = quic.client();
  client.dial(quic.address(), quic_client_context(), "hello");
  ASSERT_TRUE(quic.until([&] { return client.talk && client.talk->heard == "hello"; }));
  quic.world.network().partition(quic.server, quic.clients);
  quic.parts.clear();  // its goodbye is lost
  quic.world.run_for(Duration::seconds(1));
  quic.world.network().heal();
  quic.parts.push_back(std::make_unique<QuicServerPart>(quic.server.core(0), quic.group, QuicOptions{}, Duration::seconds(10)));
  ASSERT_TRUE(quic.parts[0]->endpoint.open({"0.0.0.0", QuicWorld::kPort}).ok());
  quic.set_context(quic_server_context());
  client.talk->say("are you there?");
  ASSERT_TRUE(quic.until([&] { return client.talk->has_ended; }));
  EXPECT_EQ(client.talk->why, "the peer does not know the connection any more");
  EXPECT_GE(quic.sum().resets_sent_total, 1u);
}

TEST(Quic, LetsNobodyInOnceItStopsAndGoesOnWithTheRest) {
  QuicWorld quic(22);
  QuicClientPart& client = quic.client();
  client.dial(quic.address(), quic_client_context(), "a");
  ASSERT_TRUE(quic.until([&] { return client.talk && client.talk->heard == "a"; }));
  quic.parts[0]->endpoint.stop_accepting();
  QuicClientPart& late = quic.client(Duration::seconds(2));
  late.dial(quic.address(), quic_client_context(), "a");
  ASSERT_TRUE(quic.until([&] { return late.is_answered; }));
  EXPECT_EQ(late.why, "it took too long");
  client.talk->say("b");
  ASSERT_TRUE(quic.until([&] { return client.talk->heard == "ab"; }));
}

// Datagrams of our own making, to see what is answered.
class RawPeer final : public runtime::DatagramEvents {
 public:
  explicit RawPeer(QuicWorld& quic) : quic_(quic) {
    auto opened = runtime::datagrams_of(quic.clients.core(0).net()).open_datagrams({"10.0.0.0", 0}, {});
    socket_ = opened.take();
    socket_->start(*this);
  }
  void send(const std::string& bytes, Duration then = Duration::millis(10)) {
    socket_->send({{}, quic_.address()}, as_bytes(bytes), bytes.size(), 0);
    quic_.world.run_for(then);
  }
  std::vector<std::string> answers;

 private:
  void on_datagram(const runtime::DatagramPath&, std::span<uint8_t> bytes, uint8_t) override {
    answers.emplace_back(as_text(bytes));
  }
  void on_writable() override {}
  QuicWorld& quic_;
  std::unique_ptr<runtime::DatagramSocket> socket_;
};

TEST(Quic, NamesItsVersionToWhoSpeaksAnother) {
  QuicWorld quic(23);
  RawPeer peer(quic);
  std::string packet = std::string("\xC0\x0A\x0A\x0A\x0A\x08", 6) + "serverid" + std::string("\x08", 1) + "clientid";
  peer.send(packet);  // too short to be answered
  EXPECT_TRUE(peer.answers.empty());
  packet.resize(1200, '\0');
  peer.send(packet);
  ASSERT_EQ(peer.answers.size(), 1u);
  EXPECT_EQ(peer.answers[0].substr(1),
            std::string("\0\0\0\0\x08", 5) + "clientid" + std::string("\x08", 1) + "serverid" + std::string("\0\0\0\x01", 4));
}

TEST(Quic, AnswersNoMoreThanItsLimitOfStrangers) {
  QuicWorld quic(24);
  RawPeer peer(quic);
  std::string packet(40, 'x');
  packet[0] = 0x40;
  packet[1] = 0;  // an id of core 0
  for (uint32_t i = 0; i < QuicEndpoint::kAnswersPerSecond + 20; ++i) peer.send(packet, Duration::micros(100));
  quic.world.run_for(Duration::millis(10));
  EXPECT_EQ(peer.answers.size(), QuicEndpoint::kAnswersPerSecond);
  EXPECT_EQ(quic.parts[0]->endpoint.metrics().answers_limited_total, 20u);
  for (const std::string& answer : peer.answers) EXPECT_LT(answer.size(), packet.size());
  peer.send("");
  peer.send("\xFF");
  EXPECT_GE(quic.parts[0]->endpoint.metrics().datagrams_malformed_total, 1u);
}

}  // namespace
}  // namespace robustmq::net
