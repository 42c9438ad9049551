// The machine under any input in any order: bytes (valid packets and garbage, cut anywhere), replies in any order, deliveries,
// notices, time, a full socket. What must hold is checked after each turn.
// Input: a stream of commands, a byte each with its arguments behind it.
#include <cstdlib>
#include <map>
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
    "PUBLISH topic=t qos=2 id=4 dup",
    "PUBLISH topic=t/u qos=2 id=5 user:a=b topic_alias=1",
    "PUBLISH topic= qos=1 id=6 topic_alias=1",
    "PUBLISH topic=u/v topic_alias=1",
    "PUBLISH topic=t qos=1 id=4",
    "CONNECT v5 id=d clean=0 session_expiry=60 topic_alias_maximum=2 receive_maximum=2",
    "CONNECT v3.1.1 id=e clean=0",
    "PUBREL id=4",
    "PUBREL id=5",
    "PUBREL id=7",
    "PUBREC id=1",
    "PUBREC id=2",
    "PUBREC id=3 reason=0x80",
    "PUBREC id=32768",
    "PUBCOMP id=1",
    "PUBCOMP id=2",
    "PUBCOMP id=32768",
    "PUBACK id=32768",
    "PUBACK id=49152",
    "PUBREC id=49153",
    "PUBCOMP id=49153",
    "DISCONNECT session_expiry=5",
    "PUBLISH topic=t retain",
    "PUBACK id=1",
    "PUBACK id=2",
    "PUBACK id=3 reason=0x97",
    "PUBREL id=1",
    "PUBREC id=9",
    "PUBCOMP id=9",
    "SUBSCRIBE id=5 filter=a/#:1 filter=$share/g/a:0 filter=+x:0",
    "SUBSCRIBE id=6 filter=b:2:nl:rap:rh1 subscription_id=7",
    "UNSUBSCRIBE id=7 filter=a/# filter=x",
    "PINGREQ",
    "DISCONNECT",
    "DISCONNECT reason=0x04",
    "AUTH",
    "SUBACK id=1 codes=00",
    "CONNECT v5 id=f authentication_method=M authentication_data=x",
    "CONNECT v5 id=g clean=0 session_expiry=60 will=w:bye authentication_method=M",
    "AUTH reason=0x18 authentication_method=M authentication_data=y",
    "AUTH reason=0x19 authentication_method=M authentication_data=z",
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
    options.topic_alias_max = 2;
    options.shared_available = true;
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
        // From here on the client's side of things is not known any more.
        if (command & 0xC0) is_client_known_ = false;
        if (link_.unread.size() > 0 || link_.machine->is_paused()) is_client_known_ = false;
        if (is_client_known_) note_client(bytes.span());
        if (command & 0x80) bytes.data()[bytes.size() - 1] ^= static_cast<uint8_t>(command >> 4 & 7);
        link_.receive(bytes.span().first(command & 0x40 ? input_.byte() % (bytes.size() + 1) : bytes.size()));
        return;
      }
      case 3: {
        const std::string raw = input_.text(100);
        is_client_known_ = false;
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
      if (const auto* open = std::get_if<broker::OpenSession>(&call.request)) reply = opened(*open, how);
      if (const auto* follow = std::get_if<broker::Follow>(&call.request)) {
        reply = broker::Followed{std::vector<broker::FollowResult>(follow->filters.size(), {code})};
      }
      if (const auto* unfollow = std::get_if<broker::Unfollow>(&call.request)) {
        reply = broker::Unfollowed{std::vector<bool>(unfollow->filters.size(), how & 2)};
      }
      if (std::holds_alternative<broker::Publish>(call.request)) {
        reply = broker::Published{std::vector<broker::PublishResult>(how % 5, {code, (how & 2) != 0})};
      }
      if (const auto* settle = std::get_if<broker::Settle>(&call.request))
        reply = broker::Settled{std::vector<Code>(settle->leases.size(), code)};
      if (std::holds_alternative<broker::Release>(call.request)) reply = broker::Released{};
      if (std::holds_alternative<broker::Authenticate>(call.request)) {
        reply = broker::Authenticated{.is_done = (how & 2) != 0, .data = how & 4 ? "data" : "", .user = "user"};
        if (how & 1) reply = broker::LoginRefused{static_cast<broker::LoginRefused::Why>(how % 5)};
      }
      if (std::holds_alternative<broker::EndSession>(call.request)) reply = broker::SessionEnded{};
    }
    if (how >= 250 && std::holds_alternative<broker::OpenSession>(call.request))
      reply = broker::LoginRefused{static_cast<broker::LoginRefused::Why>(how % 5)};
    link_.reply(call.id, std::move(reply));
  }

  // A session that lasts, or does not; with packet ids that an earlier connection published.
  broker::SessionOpened opened(const broker::OpenSession& open, uint8_t how) {
    broker::SessionOpened session;
    if (open.expiry_s > 0 && how & 2) session.expiry_s = how & 4 ? open.expiry_s : 7;
    if (!open.clean_start && how & 8) {
      session.is_present = true;
      session.received = {5, 7};
      for (const uint16_t id : session.received) kept_.insert(id);
    }
    inflight_max_ = open.inflight_max;
    is_durable_ = session.expiry_s > 0 || session.is_present;
    return session;
  }

  // The broker's own side: the next free lease, or 0. Those of shared subscriptions are there in any session.
  uint16_t take_lease(bool is_received, bool is_shared) {
    if ((!is_durable_ && !is_shared) || leases_.size() >= inflight_max_) return 0;
    const uint16_t first = is_shared ? broker::kSharedLeaseMin : uint16_t{1};
    for (uint16_t lease = first; lease < first + 9; ++lease) {
      if (leases_.emplace(lease, is_received).second) return lease;
    }
    return 0;
  }

  void deliver(uint8_t command) {
    TestRecord::Headers headers;
    if (command & 0x80) {
      headers.emplace_back("mqtt.qos", command & 0x40 ? "1" : "0");
    } else if (command & 0x40) {
      headers.emplace_back("mqtt.qos", "2");
    }
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
    const uint8_t qos = input_.byte();
    const bool is_shared = qos & 0x04;
    const bool is_received = !is_shared && qos & 0x80;
    const uint16_t lease = qos & 0x40 ? take_lease(is_received, is_shared) : uint16_t{0};
    link_.deliver(qos & 0x20 ? "t/long/topic" : "t/x", record, qos % 3,
                  {.retain_as_published = (command & 0x20) != 0,
                   .is_retained = (qos & 0x10) != 0,
                   .lease = lease,
                   .is_again = lease != 0 && !is_shared && (qos & 0x08) != 0,
                   .is_received = lease != 0 && is_received,
                   .ids = command & 0x10 ? &ids : nullptr,
                   .scratch = &scratch_});
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
      if (const auto* connack = std::get_if<Connack>(&packet)) {
        require(++connacks_ == 1);
        is_accepted_ = connack->code == 0;
      } else if (const auto* auth = std::get_if<Auth>(&packet)) {
        // Asks for more before CONNACK, and says that it is done only after it.
        require(connacks_ == (auth->reason == ReasonCode::success) || (connacks_ == 1 && is_accepted_));
      } else {
        require(connacks_ == 1);
      }
      if (const auto* publish = std::get_if<Publish>(&packet)) {
        // No id names two messages at a time, and no more are under way than the client allows.
        if (publish->qos > 0 && is_client_known_) require(under_way_.insert(publish->packet_id).second);
        require(!is_client_known_ || under_way_.size() <= 4);
      }
      seen_ += frame.size;
      fresh = fresh.subspan(frame.size);
    }
    require(link_.metrics.queued_messages >= 0 && link_.metrics.queued_messages <= 5 + 9);
    for (const protocol::Outbox::Call& call : link_.calls) {
      const auto* publish = std::get_if<broker::Publish>(&call.request);
      if (!publish) continue;
      require(!publish->messages.empty() && publish->messages.size() <= 3);
    }
    // Views are read here, as the broker does within the turn.
    for (const protocol::Outbox::Call& call : link_.calls) {
      if (call.id <= calls_seen_) continue;
      if (const auto* publish = std::get_if<broker::Publish>(&call.request)) {
        for (const broker::Message& message : publish->messages) check_message(message);
      }
      if (const auto* settle = std::get_if<broker::Settle>(&call.request)) check_settle(*settle);
      if (const auto* release = std::get_if<broker::Release>(&call.request)) {
        for (const uint16_t id : release->packet_ids) require(kept_.erase(id) == 1);
      }
      // A goodbye is said of what outlives the connection, or of a CONNECT that came to nothing.
      if (std::holds_alternative<broker::EndSession>(call.request)) require(is_durable_ || has_will_ || !is_accepted_);
      if (const auto* open = std::get_if<broker::OpenSession>(&call.request)) has_will_ = open->will.has_value();
    }
    if (!link_.calls.empty()) calls_seen_ = std::max(calls_seen_, link_.calls.back().id);
  }

  // A lease is received at most once and done once.
  void check_settle(const broker::Settle& settle) {
    require(!settle.leases.empty());
    for (const broker::Settle::One& one : settle.leases) {
      const auto found = leases_.find(one.lease);
      require(found != leases_.end());
      if (one.outcome != broker::Settle::Outcome::received) {
        leases_.erase(found);
      } else {
        require(!found->second);
        found->second = true;
      }
    }
  }

  // The client says that it has a message: its id may come again.
  void note_client(ByteSpan bytes) {
    Frame frame;
    require(frame_at(bytes, frame) == FrameState::whole);
    Ack ack;
    if (frame.type != PacketType::puback && frame.type != PacketType::pubrec && frame.type != PacketType::pubcomp) return;
    require(!decode_ack(frame, version_, ack));
    if (frame.type != PacketType::pubrec || is_failure(ack.reason)) under_way_.erase(ack.packet_id);
  }

  void check_message(const broker::Message& message) {
    // Handed on once until it is released. What failed may come again; answers are not followed here.
    require(message.packet_id == 0 || (is_durable_ && message.qos == 2));
    if (message.packet_id != 0) kept_.insert(message.packet_id);
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
  bool is_client_known_ = true;
  std::set<uint16_t> under_way_;     // packet ids of messages that the client has not ended
  std::map<uint16_t, bool> leases_;  // handed out and not done; true: received
  std::set<uint16_t> kept_;          // packet ids published and not released
  bool is_durable_ = false;
  bool has_will_ = false;
  bool is_accepted_ = false;  // by its CONNACK
  uint32_t inflight_max_ = 0;
  size_t seen_ = 0;
  protocol::CallId calls_seen_ = 0;
  int connacks_ = 0;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  Play(bytes, size).run();
  return 0;
}
