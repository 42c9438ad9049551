// ScriptedLink: a machine with a driver, a clock and a broker that do what a test says. Used by tests only.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/batch.h"
#include "protocol/mqtt/connection.h"

namespace robustmq::mqtt {

// A record as a delivery shows it, with memory of its own.
struct TestRecord {
  Bytes owner;
  RecordView view;

  using Headers = std::vector<std::pair<std::string, std::string>>;
  static TestRecord make(const std::string& value, const Headers& headers, int64_t timestamp_ms, bool is_null = false) {
    Buffer bytes;
    bytes.append(value);
    for (const auto& [name, text] : headers) BatchBuilder::append_header(bytes, name, as_bytes(text));
    if (bytes.empty()) bytes.append_u8(0);
    TestRecord record;
    const size_t size = bytes.size();
    record.owner = bytes.take();
    if (!is_null) record.view.value = record.owner.span().first(value.size());
    record.view.raw_headers = headers.empty() ? ByteSpan{} : record.owner.span().subspan(value.size(), size - value.size());
    record.view.header_count = static_cast<int32_t>(headers.size());
    record.view.timestamp_ms = timestamp_ms;
    return record;
  }
};

class ScriptedLink {
 public:
  explicit ScriptedLink(MqttOptions chosen = {}, std::shared_ptr<const protocol::LinkLimits> limits = {})
      : ScriptedLink(chosen, protocol::LinkFacts{.limits = std::move(limits)}) {}
  // `facts`: but for what every scripted link has.
  ScriptedLink(MqttOptions chosen, protocol::LinkFacts facts) : options(chosen) {
    facts.id = 7;
    facts.seed = 0xABCDEF0123456789;
    facts.peer = "test";
    machine = make_connection(options, metrics, facts);
    input_turn([&] { machine->on_open(out); });
  }

  // Bytes arrive; the machine gets them as the driver would hand them over.
  void receive(ByteSpan bytes) {
    unread.append(bytes);
    hand_over();
  }
  void reply(protocol::CallId id, broker::Reply reply_to_give) {
    input_turn([&] { machine->on_reply(id, std::move(reply_to_give), out); });
    hand_over();
  }
  // How a delivery comes, beyond its QoS.
  struct How {
    bool retain_as_published = false;
    bool is_retained = false;
    uint16_t lease = 0;
    bool is_again = false;
    bool is_received = false;
    const std::vector<uint32_t>* ids = nullptr;
    broker::DeliveryScratch* scratch = nullptr;
  };
  void deliver(std::string_view topic, const TestRecord& record, uint8_t qos_max, const How& how) {
    broker::DeliveryScratch own;
    const broker::Delivery delivery{.topic = topic,
                                    .record = record.view,
                                    .owner = record.owner,
                                    .qos_max = qos_max,
                                    .retain_as_published = how.retain_as_published,
                                    .is_retained = how.is_retained,
                                    .lease = how.lease,
                                    .is_again = how.is_again,
                                    .is_received = how.is_received,
                                    .subscription_ids = how.ids,
                                    .scratch = how.scratch ? *how.scratch : own};
    input_turn([&] { machine->on_delivery(delivery, out); });
  }
  void deliver(std::string_view topic, const TestRecord& record, uint8_t qos_max) { deliver(topic, record, qos_max, How{}); }
  void notice(broker::Notice what) {
    input_turn([&] { machine->on_notice(what, out); });
  }
  void drained() {
    unsent = 0;
    input_turn([&] { machine->on_drained(out); });
    hand_over();
  }
  // Time passes; the timer comes if it is due.
  void pass(Duration time) {
    now = now + time;
    wall.ms += time.to_millis();
    while (now >= timer && why == protocol::CloseWhy::none) {
      timer = Instant::never();
      input_turn([&] { machine->on_timer(out); });
      hand_over();
    }
  }
  void peer_closes() {
    input_turn([&] { machine->on_peer_closed(out); });
  }
  bool is_closed() const { return why != protocol::CloseWhy::none; }

  MqttOptions options;
  MqttMetrics metrics;
  std::unique_ptr<protocol::Connection> machine;
  protocol::Outbox out;
  Instant now{1'000'000'000};
  WallTime wall{1'700'000'000'000};
  Instant timer = Instant::never();
  uint64_t unsent = 0;
  uint64_t unsent_limit = UINT64_MAX;
  bool one_byte_at_a_time = false;

  Buffer unread;
  // Bytes that were handed to on_bytes last: requests view them.
  Bytes in_hand;
  std::string sent;  // everything since the start
  std::deque<protocol::Outbox::Call> calls;
  protocol::CloseWhy why = protocol::CloseWhy::none;
  std::string detail;
  // Called after each input, before the views of the calls it made are gone.
  std::function<void()> after_turn;

 private:
  template <class Input>
  void input_turn(Input input) {
    out.clear();
    out.begin(now, wall, &last_call_, unsent, unsent_limit);
    input();
    if (out.has_timer()) timer = out.timer();
    for (protocol::Outbox::Call& call : out.calls()) calls.push_back(std::move(call));
    for (const Piece& piece : out.take_pieces()) sent += piece.bytes.text();
    if (why == protocol::CloseWhy::none && out.is_closing()) {
      why = out.close_why();
      detail = out.close_detail();
    }
    if (after_turn) after_turn();
  }

  void hand_over() {
    size_t shown = one_byte_at_a_time ? 0 : unread.size();
    while (!is_closed() && !machine->is_paused() && unread.size() > 0) {
      if (one_byte_at_a_time && shown < unread.size()) ++shown;
      in_hand = Bytes::copy_of(unread.span().first(shown));
      size_t used = 0;
      input_turn([&] { used = machine->on_bytes(in_hand, out); });
      Buffer rest;
      rest.append(unread.span().subspan(used));
      unread = std::move(rest);
      if (one_byte_at_a_time) {
        shown -= used;
        if (used == 0 && shown >= unread.size()) return;
      } else {
        shown = unread.size();
        if (used == 0) return;
      }
    }
  }

  protocol::CallId last_call_ = 0;
};

}  // namespace robustmq::mqtt
