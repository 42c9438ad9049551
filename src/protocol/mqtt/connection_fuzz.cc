// The machine under any input in any order: bytes (valid packets and garbage, cut anywhere), replies in any order, deliveries,
// notices, time, a full socket. What must hold is checked after each turn.
// Input: a stream of commands, a byte each with its arguments behind it.
#include <cstdlib>
#include <set>

#include "protocol/mqtt/codec.h"
#include "protocol/mqtt/packet_text.h"
#include "protocol/mqtt/scripted_link.h"

using namespace robustmq;
using namespace robustmq::mqtt;

namespace {

void require(bool holds) {
  if (!holds) std::abort();
}

class Input {
 public:
  Input(const uint8_t* bytes, size_t size) : rest_(bytes, size) {}
  bool empty() const { return rest_.empty(); }
  uint8_t byte() {
    if (rest_.empty()) return 0;
    const uint8_t value = rest_[0];
    rest_ = rest_.subspan(1);
    return value;
  }
  std::string text(size_t most) {
    const size_t length = std::min<size_t>(byte() % (most + 1), rest_.size());
    std::string value(as_text(rest_.first(length)));
    rest_ = rest_.subspan(length);
    return value;
  }

 private:
  ByteSpan rest_;
};

const char* const kPackets[] = {
    "CONNECT v5 id=a ka=5 receive_maximum=3 will=w:bye",
    "CONNECT v3.1.1 id=b will=w:bye will_qos=1",
    "CONNECT v5 id= maximum_packet_size=40 session_expiry=9 request_problem_information=0",
    "CONNECT v3.1 id=c",
    "PUBLISH topic=t payload=x",
    "PUBLISH topic=t qos=1 id=1 payload=x",
    "PUBLISH topic=t qos=1 id=2 payload=y user:a=b content_type=c",
    "PUBLISH topic=$x qos=1 id=3",
    "PUBLISH topic=t qos=2 id=4",
    "PUBLISH topic=t retain",
    "PUBACK id=1",
    "PUBACK id=2",
    "PUBACK id=3 reason=0x97",
    "PUBREL id=1",
    "PUBREC id=9",
    "PUBCOMP id=9",
    "SUBSCRIBE id=5 filter=a/#:1 filter=$share/g/a:0 filter=+x:0",
    "SUBSCRIBE id=6 filter=b:2:nl:rap subscription_id=7",
    "UNSUBSCRIBE id=7 filter=a/# filter=x",
    "PINGREQ",
    "DISCONNECT",
    "DISCONNECT reason=0x04",
    "AUTH",
    "SUBACK id=1 codes=00",
};

class Play {
 public:
  Play(const uint8_t* bytes, size_t size) : input_(bytes, size), link_(options()) {
    link_.after_turn = [this] { check_turn(); };
  }

  void run() {
    while (!input_.empty()) step();
    link_.peer_closes();
    require(link_.is_closed());
    require(link_.metrics.queued_messages == 0 && link_.metrics.queued_bytes == 0);
  }

 private:
  static MqttOptions options() {
    MqttOptions options;
    options.receive_maximum = 4;
    options.inflight_max = 4;
    options.requests_max = 2;
    options.queue_messages_max = 5;
    options.packet_bytes_max = 300;
    options.connect_bytes_max = 200;
    options.publish_batch_messages = 3;
    return options;
  }

  void step() {
    const uint8_t command = input_.byte();
    switch (command % 10) {
      case 0:
      case 1:
      case 2: {
        const char* packet = kPackets[input_.byte() % std::size(kPackets)];
        if (std::string_view(packet).starts_with("CONNECT v5")) version_ = Version::v5;
        Buffer bytes;
        require(packet_text::encode_line(packet, version_, bytes));
        if (command & 0x80) bytes.data()[bytes.size() - 1] ^= static_cast<uint8_t>(command >> 4 & 7);
        link_.receive(bytes.span().first(command & 0x40 ? input_.byte() % (bytes.size() + 1) : bytes.size()));
        return;
      }
      case 3: {
        const std::string raw = input_.text(100);
        link_.receive(as_bytes(raw));
        return;
      }
      case 4:
      case 5:
        answer();
        return;
      case 6:
        deliver(command);
        return;
      case 7:
        link_.pass(Duration::millis(input_.byte() * 50));
        return;
      case 8:
        if (command & 0x80) {
          link_.unsent_limit = 100;
          link_.unsent = command & 0x40 ? 200 : 0;
        } else {
          link_.drained();
        }
        return;
      case 9:
        if (command == 249) {
          link_.notice(broker::Notice::taken_over);
        } else if (command == 239) {
          link_.notice(broker::Notice::stopping);
        } else {
          link_.one_byte_at_a_time = command & 0x80;
        }
        return;
    }
  }

  void answer() {
    if (link_.calls.empty()) return;
    const size_t index = input_.byte() % link_.calls.size();
    protocol::Outbox::Call call = std::move(link_.calls[index]);
    link_.calls.erase(link_.calls.begin() + static_cast<ptrdiff_t>(index));
    const uint8_t how = input_.byte();
    const Code code = how & 1 ? static_cast<Code>(how % 40) : Code::ok;
    broker::Reply reply = Error{code == Code::ok ? Code::overloaded : code, ""};
    if (how < 230) {
      if (std::holds_alternative<broker::OpenSession>(call.request)) reply = broker::SessionOpened{};
      if (const auto* follow = std::get_if<broker::Follow>(&call.request)) {
        reply = broker::Followed{std::vector<broker::FollowResult>(follow->filters.size(), {code})};
      }
      if (const auto* unfollow = std::get_if<broker::Unfollow>(&call.request)) {
        reply = broker::Unfollowed{std::vector<bool>(unfollow->filters.size(), how & 2)};
      }
      if (std::holds_alternative<broker::Publish>(call.request)) {
        reply = broker::Published{std::vector<broker::PublishResult>(how % 5, {code, (how & 2) != 0})};
      }
    }
    link_.reply(call.id, std::move(reply));
  }

  void deliver(uint8_t command) {
    TestRecord::Headers headers;
    if (command & 0x80) headers.emplace_back("mqtt.qos", command & 0x40 ? "1" : "0");
    for (int i = command >> 4 & 3; i > 0; --i) {
      static const char* const kNames[] = {"mqtt.message_expiry_s",
                                           "mqtt.content_type",
                                           "mqtt.response_topic",
                                           "mqtt.payload_format",
                                           "mqtt.user.x",
                                           "x",
                                           "mqtt.x",
                                           ""};
      const char* name = kNames[input_.byte() % std::size(kNames)];
      headers.emplace_back(name, input_.text(8));
    }
    const TestRecord record = TestRecord::make(input_.text(30), headers, link_.wall.ms - input_.byte() * 10);
    const std::vector<uint32_t> ids = {1, 200};
    link_.deliver("t/x", record, input_.byte() % 3,
                  {.retain_as_published = (command & 0x20) != 0, .ids = command & 0x10 ? &ids : nullptr, .scratch = &scratch_});
    // The same record again, as to a second and a third follower of this client's kind.
    for (int i = 0; i < 2 && command & 8; ++i) link_.deliver("t/x", record, 1, {.scratch = &scratch_});
    scratch_ = {};
  }

  // Whatever came in: packets only, CONNACK first and once, packet ids in order of use, bounds kept.
  void check_turn() {
    ByteSpan fresh = as_bytes(std::string_view(link_.sent).substr(seen_));
    while (!fresh.empty()) {
      Frame frame;
      require(frame_at(fresh, frame) == FrameState::whole);
      Packet packet;
      const Version version = connacks_ == 0 && frame.body.size() == 2 ? Version::v3_1_1 : answered_in_;
      if (connacks_ == 0) answered_in_ = version;
      require(!decode(frame, answered_in_, Side::server, packet));
      if (std::holds_alternative<Connack>(packet)) {
        require(++connacks_ == 1);
      } else {
        require(connacks_ == 1);
      }
      seen_ += frame.size;
      fresh = fresh.subspan(frame.size);
    }
    require(link_.metrics.queued_messages >= 0 && link_.metrics.queued_messages <= 5);
    for (const protocol::Outbox::Call& call : link_.calls) {
      const auto* publish = std::get_if<broker::Publish>(&call.request);
      if (!publish) continue;
      require(!publish->messages.empty() && publish->messages.size() <= 3);
    }
    // Views are read here, as the broker does within the turn.
    for (const protocol::Outbox::Call& call : link_.calls) {
      const auto* publish = std::get_if<broker::Publish>(&call.request);
      if (!publish || call.id <= calls_seen_) continue;
      for (const broker::Message& message : publish->messages) check_message(message);
    }
    if (!link_.calls.empty()) calls_seen_ = std::max(calls_seen_, link_.calls.back().id);
  }

  static void check_message(const broker::Message& message) {
    RecordView view;
    view.raw_headers = message.raw_headers;
    view.header_count = message.header_count;
    HeaderReader reader(view);
    int32_t count = 0;
    for (HeaderView header; reader.next(header);) ++count;
    require(!reader.is_malformed() && count == message.header_count);
    require(!message.topic.empty() && message.topic[0] != '$');
    size_t sum = 0;
    for (const uint8_t byte : message.payload) sum += byte;
    require(sum <= message.payload.size() * 255);
  }

  Input input_;
  ScriptedLink link_;
  Version version_ = Version::v3_1_1;
  Version answered_in_ = Version::v5;
  broker::DeliveryScratch scratch_;
  size_t seen_ = 0;
  protocol::CallId calls_seen_ = 0;
  int connacks_ = 0;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  Play(bytes, size).run();
  return 0;
}
