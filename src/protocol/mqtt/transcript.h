// Transcripts: what a machine is given and does, line by line. The language:
//   option: name value           before the first packet
//   answers in: v5               how the server's packets are read where no CONNECT of 5.0 says it
//   C: CONNECT v5 id=a           the client sends a packet (packet_text.h), or bytes in hex
//   C+: ...                      the same, but it arrives together with the next C:
//   S: PINGRESP                  the server has sent this packet next
//   B: publish a=hi[mqtt.qos=1]? the broker is asked next; `?` wants a reply, `#7` is the kept packet id; several messages with
//   `;` R: 2 published ok,internal   the broker answers its second call D: topic=a qos=1 payload=x h:name=value ids=1,2 rap
//   waited=1500   the broker delivers a record; also retained,
//                                lease=3, again, received
//   R: 1 challenge DATA, R: 2 authenticated USER DATA, R: 1 login_refused wrong      the broker on a login
//   open: CONNECT v5 id=a | present expiry=60 received=1,2      client and broker agree; what that looks like is another's test
//   N: taken_over                T: 5000 milliseconds pass         congested: 1          X: the peer closes
//   end: protocol_error why      the connection closes; the rest of the line is a part of the detail
// What the machine does must be said in full before the next input.
// Used by tests only.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/describe.h"
#include "protocol/mqtt/packet_text.h"
#include "protocol/mqtt/scripted_link.h"

namespace robustmq::mqtt {

using packet_text::escaped;

struct SetOption {
  MqttOptions& options;
  std::string_view name;
  std::string value;
  bool found = false;
  void field(std::string_view field_name, std::string MqttOptions::* member, FieldFacts = {}) {
    if (field_name != name) return;
    options.*member = value;
    found = true;
  }
  template <class T>
  void field(std::string_view field_name, T MqttOptions::* member, FieldFacts = {}) {
    if (field_name != name) return;
    options.*member = static_cast<T>(std::stoull(value));
    found = true;
  }
};

inline std::string text_of(const broker::Message& message) {
  std::string text = escaped(message.topic) + "=" + escaped(as_text(message.payload)) + "[";
  RecordView view;
  view.raw_headers = message.raw_headers;
  view.header_count = message.header_count;
  HeaderReader reader(view);
  bool is_first = true;
  std::map<std::string_view, std::string_view> seen;
  for (HeaderView header; reader.next(header); is_first = false) {
    if (header.value) seen.emplace(header.key, as_text(*header.value));
    text += (is_first ? "" : ",") + escaped(header.key) + "=" + (header.value ? escaped(as_text(*header.value)) : "null");
  }
  // What the broker reads of a message and what the record will say must be the same.
  const std::string_view expiry = seen["mqtt.message_expiry_s"];
  if (reader.is_malformed() || seen["mqtt.qos"] != std::to_string(message.qos) ||
      (seen["mqtt.retain"] == "1") != message.retain ||
      (expiry.empty()  ? "0"
       : expiry == "0" ? "1"
                       : expiry) != std::to_string(message.expiry_s) ||
      message.wants_reply != (message.qos > 0)) {
    text += " but the message says otherwise";
  }
  text += "]";
  if (message.packet_id) text += "#" + std::to_string(message.packet_id);
  return text + (message.wants_reply ? "?" : "");
}

inline std::string text_of(const broker::OpenSession& open) {
  std::string text = "open " + escaped(open.client_id);
  if (!open.clean_start) text += " clean=0";
  if (open.expiry_s) text += " expiry=" + std::to_string(open.expiry_s);
  if (!open.user.empty()) text += " user=" + escaped(open.user);
  if (open.password) text += " pass=" + escaped(*open.password);
  if (open.inflight_max != MqttOptions{}.inflight_max) text += " inflight=" + std::to_string(open.inflight_max);
  if (open.will) {
    const broker::Will& will = *open.will;
    text += " will " + text_of(broker::Message{.topic = will.topic,
                                               .payload = will.payload.span(),
                                               .raw_headers = will.raw_headers.span(),
                                               .header_count = will.header_count,
                                               .wants_reply = will.qos > 0,
                                               .qos = will.qos,
                                               .retain = will.retain,
                                               .expiry_s = will.expiry_s});
    if (will.delay_s) text += " delay=" + std::to_string(will.delay_s);
  }
  return text;
}

// `{name partition:at=value ...}`
inline std::string text_of_stream(const broker::StreamRead* read) {
  if (!read) return {};
  std::string text = "{" + escaped(read->name);
  for (const broker::StreamRead::Start& start : read->starts) {
    static constexpr const char* kAt[] = {"latest", "earliest", "offset", "time"};
    text += " " + (start.partition < 0 ? "" : std::to_string(start.partition) + ":") + kAt[static_cast<int>(start.at)] + "=" +
            std::to_string(start.value);
  }
  return text + "}";
}

inline std::string text_of(const broker::Request& request) {
  std::string text;
  if (const auto* open = std::get_if<broker::OpenSession>(&request)) return text_of(*open);
  if (const auto* login = std::get_if<broker::Authenticate>(&request)) {
    return "authenticate " + escaped(login->mechanism) + (login->is_first ? " first" : "") + " data=" + escaped(login->data);
  }
  if (const auto* publish = std::get_if<broker::Publish>(&request)) {
    for (const broker::Message& message : publish->messages) text += (text.empty() ? "publish " : "; ") + text_of(message);
  } else if (const auto* follow = std::get_if<broker::Follow>(&request)) {
    text = "follow";
    for (const broker::FollowOne& one : follow->filters) {
      text += " " + text_of_stream(one.stream.get()) + (one.share.empty() ? "" : "[" + escaped(one.share) + "]") +
              escaped(one.filter) + ":" + std::to_string(one.qos_max) + (one.no_local ? ":nl" : "") +
              (one.retain_as_published ? ":rap" : "") + (one.may_make ? ":make" : "");
      if (one.retain_handling != broker::RetainHandling::always)
        text += ":rh" + std::to_string(static_cast<int>(one.retain_handling));
      if (one.subscription_id) text += ":id" + std::to_string(one.subscription_id);
    }
  } else if (const auto* unfollow = std::get_if<broker::Unfollow>(&request)) {
    text = "unfollow";
    for (const broker::Unfollow::One& one : unfollow->filters)
      text += " " + (one.stream.empty() ? "" : "{" + escaped(one.stream) + "}") +
              (one.share.empty() ? "" : "[" + escaped(one.share) + "]") + escaped(one.filter);
  } else if (const auto* settle = std::get_if<broker::Settle>(&request)) {
    text = "settle";
    for (const broker::Settle::One& one : settle->leases)
      text += " " + std::to_string(one.lease) +
              (one.outcome == broker::Settle::Outcome::done      ? "=done"
               : one.outcome == broker::Settle::Outcome::refused ? "=refused"
                                                                 : "=received");
  } else if (const auto* release = std::get_if<broker::Release>(&request)) {
    text = "release";
    for (const uint16_t id : release->packet_ids) text += " " + std::to_string(id);
  } else if (const auto* goodbye = std::get_if<broker::EndSession>(&request)) {
    text = "end_session";
    if (goodbye->without_will) text += " without_will";
    if (goodbye->expiry_s) text += " expiry=" + std::to_string(*goodbye->expiry_s);
  }
  return text;
}

inline Code code_of(const std::string& name) {
  for (int i = 0; i < 200; ++i) {
    if (code_name(static_cast<Code>(i)) == name) return static_cast<Code>(i);
  }
  return Code::internal;
}

class Transcript {
 public:
  Transcript(std::string name, std::vector<std::string> lines) : name_(std::move(name)), lines_(std::move(lines)) {}

  void run() {
    for (number_ = 1; number_ <= lines_.size() && failures_.empty(); ++number_) {
      const std::string& line = lines_[number_ - 1];
      if (line.empty() || line[0] == '#') continue;
      const size_t colon = line.find(':');
      if (colon == std::string::npos) {
        fail("no colon");
        break;
      }
      const std::string verb = line.substr(0, colon);
      const std::string rest = colon + 2 <= line.size() ? line.substr(colon + 2) : "";
      step(verb, rest);
    }
    if (failures_.empty() && !done_.empty()) fail("not said: " + done_.front());
  }
  // What was wrong; the first ends the run.
  const std::vector<std::string>& failures() const { return failures_; }

 private:
  void fail(const std::string& why) { failures_.push_back(name_ + ":" + std::to_string(number_) + ": " + why); }

  void step(const std::string& verb, const std::string& rest) {
    if (verb == "S" || verb == "B" || verb == "end") return expect(verb, rest);
    if (!done_.empty()) return fail("not said: " + done_.front());
    if (verb == "option") return set_option(rest);
    if (verb == "answers in") {
      version_ = Version::v5;
      return;
    }
    if (!link_) start();
    if (verb == "C" || verb == "C+") return client_sends(rest, verb == "C+");
    if (verb == "R") return broker_answers(rest);
    if (verb == "open") return open(rest);
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
    fail("no such verb");
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
    if (done_.empty()) return fail("nothing more happened");
    const std::string& next = done_.front();
    if (verb == "end") {
      const size_t space = rest.find(' ');
      if (!next.starts_with("end " + rest.substr(0, space))) fail(next);
      if (space != std::string::npos && next.find(rest.substr(space + 1)) == std::string::npos) fail(next);
    } else if (next != verb + " " + rest) {
      fail(next);
    }
    done_.erase(done_.begin());
  }

  void set_option(const std::string& rest) {
    const size_t space = rest.find(' ');
    const std::string name = rest.substr(0, space);
    SetOption set{options_, name, rest.substr(space + 1)};
    MqttOptions::describe(set);
    if (!set.found) fail("no option " + name);
  }

  void client_sends(const std::string& rest, bool with_next) {
    if (rest.starts_with("CONNECT v5")) version_ = Version::v5;
    Buffer bytes;
    if (!packet_text::bytes_of_hex(rest, bytes) && !packet_text::encode_line(rest, version_, bytes)) return fail("no packet");
    held_back_ += as_text(bytes.span());
    if (with_next) return;
    const std::string all = std::exchange(held_back_, {});
    link_->receive(as_bytes(all));
  }

  void broker_answers(const std::string& rest) {
    const std::vector<std::string> parts = packet_text::split(rest, ' ');
    if (parts.size() < 2) return fail("what is answered?");
    const size_t index = std::stoul(parts[0]) - 1;
    if (index >= ids_.size()) return fail("no such call yet");
    broker::Reply reply;
    if (parts[1] == "opened") {
      reply = opened_of(rest);
    } else if (parts[1] == "challenge") {
      reply = broker::Authenticated{.is_done = false, .data = packet_text::unescaped(parts[2]), .user = {}};
    } else if (parts[1] == "authenticated") {
      reply = broker::Authenticated{
          .is_done = true, .data = parts.size() > 3 ? packet_text::unescaped(parts[3]) : "", .user = parts[2]};
    } else if (parts[1] == "login_refused") {
      using Why = broker::LoginRefused::Why;
      const std::map<std::string, Why> whys = {{"wrong", Why::wrong},
                                               {"missing", Why::missing},
                                               {"mechanism", Why::mechanism},
                                               {"busy", Why::busy},
                                               {"not_own", Why::not_own}};
      reply = broker::LoginRefused{whys.at(parts[2])};
    } else if (parts[1] == "settled") {
      broker::Settled settled;
      for (const std::string& code : packet_text::split(parts[2], ',')) settled.leases.push_back(code_of(code));
      reply = std::move(settled);
    } else if (parts[1] == "released") {
      reply = broker::Released{};
    } else if (parts[1] == "published") {
      broker::Published published;
      for (const std::string& code : packet_text::split(parts.size() > 2 ? parts[2] : "", ',')) {
        published.results.push_back(code == "nobody" ? broker::PublishResult{Code::ok, false}
                                                     : broker::PublishResult{code_of(code)});
      }
      reply = std::move(published);
    } else if (parts[1] == "followed") {
      broker::Followed followed;
      for (const std::string& code : packet_text::split(parts[2], ',')) {
        const size_t why = std::min(code.find('~'), code.size());  // CODE~DETAIL
        followed.results.push_back(
            {code_of(code.substr(0, why)), true, packet_text::unescaped(code.substr(std::min(why + 1, code.size())))});
      }
      reply = std::move(followed);
    } else if (parts[1] == "unfollowed") {
      broker::Unfollowed unfollowed;
      for (const std::string& existed : packet_text::split(parts[2], ',')) unfollowed.existed.push_back(existed == "1");
      reply = std::move(unfollowed);
    } else {
      if (parts[1] != "error") return fail("no such answer");
      reply = Error{code_of(parts[2]), ""};
    }
    link_->reply(ids_[index], std::move(reply));
  }

  static broker::SessionOpened opened_of(const std::string& text) {
    broker::SessionOpened opened;
    for (const packet_text::Word& word : packet_text::words_of(text)) {
      if (word.key == "present") opened.is_present = true;
      if (word.key == "expiry") opened.expiry_s = word.number();
      if (word.key != "received") continue;
      for (const std::string& id : packet_text::split(word.value, ','))
        opened.received.push_back(static_cast<uint16_t>(std::stoul(id)));
    }
    return opened;
  }

  void open(const std::string& rest) {
    const size_t bar = rest.find('|');
    client_sends(rest.substr(0, bar), false);
    if (done_.size() != 1) return fail("no session is asked for");
    link_->reply(ids_.back(), opened_of(bar == std::string::npos ? "" : rest.substr(bar + 1)));
    if (done_.size() != 2 || !done_[1].starts_with("S CONNACK code=0x00")) return fail(done_.back());
    done_.clear();
  }

  void broker_delivers(const std::string& rest) {
    std::string topic, payload;
    TestRecord::Headers headers;
    std::vector<uint32_t> ids;
    uint8_t qos = 0;
    ScriptedLink::How how;
    bool is_null = false;
    int64_t waited_ms = 0;
    for (const packet_text::Word& word : packet_text::words_of(rest)) {
      if (word.key == "topic") topic = word.value;
      if (word.key == "payload") payload = word.value;
      if (word.key == "null") is_null = true;
      if (word.key == "qos") qos = static_cast<uint8_t>(word.number());
      if (word.key == "rap") how.retain_as_published = true;
      if (word.key == "retained") how.is_retained = true;
      if (word.key == "lease") how.lease = static_cast<uint16_t>(word.number());
      if (word.key == "again") how.is_again = true;
      if (word.key == "received") how.is_received = true;
      if (word.key == "waited") waited_ms = word.number();
      if (word.key.starts_with("h:")) headers.emplace_back(word.key.substr(2), word.value);
      if (word.key == "ids") {
        for (const std::string& id : packet_text::split(word.value, ',')) ids.push_back(static_cast<uint32_t>(std::stoul(id)));
      }
    }
    const TestRecord record = TestRecord::make(payload, headers, link_->wall.ms - waited_ms, is_null);
    how.ids = ids.empty() ? nullptr : &ids;
    link_->deliver(topic, record, qos, how);
  }

  std::string name_;
  std::vector<std::string> lines_;
  size_t number_ = 0;
  MqttOptions options_;
  Version version_ = Version::v3_1_1;
  std::unique_ptr<ScriptedLink> link_;
  std::string held_back_;
  std::vector<std::string> done_;  // by the last input, and not said yet
  std::vector<std::string> failures_;
  std::vector<protocol::CallId> ids_;
  size_t noted_calls_ = 0;
  size_t noted_bytes_ = 0;
  bool is_end_noted_ = false;
};

}  // namespace robustmq::mqtt
