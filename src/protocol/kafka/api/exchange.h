// Exchange: one request being answered. Pure.
//
// The connection makes one of each request, calls start(), hands it the broker's replies and sends its response when its turn
// has come. An exchange calls the broker in rounds: when all calls of a round are answered, on_replies() has them in order.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "broker/menu/request.h"
#include "protocol/connection.h"
#include "protocol/kafka/client_quotas.h"
#include "protocol/kafka/core_share.h"
#include "protocol/kafka/errors.h"
#include "protocol/kafka/frames/wire.h"
#include "protocol/kafka/names.h"
#include "protocol/kafka/options.h"
#include "protocol/kafka/share_sessions.h"

namespace robustmq::kafka {

using protocol::CallId;
using protocol::CloseWhy;
using protocol::Outbox;

// What all exchanges of a connection share.
struct Link {
  const KafkaOptions& options;
  KafkaMetrics& metrics;
  CoreShare& core;
  const protocol::LinkFacts& facts;
  ShareSessions share_sessions{core.share_sessions};
  LinkQuotas quotas{facts.quotas, metrics};
  Instant now{};  // of this input
};

struct RequestFacts {
  int16_t key = 0;
  int16_t version = 0;
  int32_t correlation_id = 0;
  std::string_view client_id;  // null counts as empty; a view into `frame`
  size_t body_at = 0;
  bool is_response_flexible = false;  // its header has tagged fields
  Bytes frame;                        // without the size field
};

class Exchange {
 public:
  Exchange(Link& link, RequestFacts facts) : link_(link), facts_(std::move(facts)) {}
  Exchange(const Exchange&) = delete;
  virtual ~Exchange() = default;

  // Decodes the body; a fault's name where it is malformed.
  virtual const char* decode() = 0;
  // Begins: calls, or answers at once.
  virtual void start(Outbox& out) = 0;

  const RequestFacts& facts() const { return facts_; }
  int version() const { return facts_.version; }
  bool is_done() const { return is_done_; }
  // What keeps it from being answered; the connection ends. nullptr: nothing does.
  const char* fault() const { return fault_; }
  Pieces take_response() { return std::move(response_); }
  // How long quotas delay what comes behind it.
  const Delay& delay() const { return delay_; }
  bool owns(CallId id) const;
  void on_reply(CallId id, broker::Reply reply, Outbox& out);
  // Calls that are not answered yet.
  std::vector<CallId> open_calls() const;

 protected:
  // All replies of a round, in the order of the calls. Makes another round of calls, or answers.
  virtual void on_replies(std::vector<broker::Reply>& replies, Outbox& out) = 0;

  void call(Outbox& out, broker::Request request) { calls_.push_back({out.call(std::move(request)), std::nullopt}); }
  // The response; `records_bytes` of it are Records, which are sent as they are.
  template <class M>
  void answer(M&& message, uint64_t records_bytes = 0) {
    answer_as(message, facts_.version, records_bytes);
  }
  template <class M>
  void answer_as(M&& message, int version, uint64_t records_bytes = 0) {
    delay_by(link_.quotas.owed(QuotaKind::request, link_.now));
    if constexpr (requires { message.throttle_time_ms; }) message.throttle_time_ms = delay_.told_ms(link_.now);
    const size_t head = 4 + 4 + (facts_.is_response_flexible ? 1 : 0);
    const size_t size = head + message.size(version);
    if (size - records_bytes > static_cast<size_t>(link_.options.response_bytes_max) || size > INT32_MAX) {
      is_done_ = true;
      fault_ = "the response is over response_bytes_max";
      return;
    }
    Buffer buffer(size - records_bytes);
    Writer writer(buffer.extend(size - records_bytes), size - records_bytes);
    writer.i32(static_cast<int32_t>(size - 4));
    writer.i32(facts_.correlation_id);
    if (facts_.is_response_flexible) writer.uvarint(0);
    message.encode(writer, version);
    finish(buffer.take(), writer);
  }
  // acks=0.
  void answer_nothing() {
    delay_by(link_.quotas.owed(QuotaKind::request, link_.now));
    is_done_ = true;
  }

  // ---- quotas ----
  void delay_by(const Delay& delay) { delay_.add(delay); }
  // Takes from a quota what this request did.
  void take(QuotaKind kind, double count) { delay_by(link_.quotas.take(kind, link_.now, count)); }
  // Whether so many partitions may be made or deleted (KIP-599). A strict one is refused while the quota is overdrawn, and is
  // not delayed by what it does itself; another is done in any case.
  bool may_mutate(bool is_strict, double partitions);
  static constexpr std::string_view kOverMutationRate = "The quota controller_mutation_rate is exceeded.";

  Link& link_;
  const RequestFacts facts_;

 private:
  void tell_own_address(broker::Reply& reply) const;
  struct Call {
    CallId id;
    std::optional<broker::Reply> reply;
  };
  void finish(Bytes head, const Writer& writer);

  Call* find(CallId id);

  std::vector<Call> calls_;  // ids rise
  size_t replies_ = 0;
  bool is_done_ = false;
  const char* fault_ = nullptr;
  Delay delay_;
  Pieces response_;
};

// An exchange with its request decoded. Views in `request_` live as long as the exchange.
template <class Request>
class ExchangeOf : public Exchange {
 public:
  using Exchange::Exchange;
  const char* decode() override {
    Reader reader(facts_.frame, facts_.body_at, decode_memory_max(facts_.frame.size()));
    request_.decode(reader, facts_.version);
    return reader.fault();
  }

 protected:
  Request request_;
};

// The reply where it is of this kind; else nullptr, and `code` says why.
template <class T>
T* reply_as(broker::Reply& reply, Code& code) {
  code = Code::ok;
  if (T* value = std::get_if<T>(&reply)) return value;
  const Error* error = std::get_if<Error>(&reply);
  code = error ? error->code : Code::internal;
  if (code == Code::ok) code = Code::internal;
  return nullptr;
}

// Calls in one round: what a request names of which each is a call of its own is refused beyond that.
constexpr size_t kCallsMax = 10'000;

// Each once, in the order in which they are named first: so a response is not longer than what there is.
std::vector<std::string_view> each_once(std::vector<std::string_view> names);

// nullopt for an empty text.
inline std::optional<std::string_view> text_or_null(std::string_view text) {
  return text.empty() ? std::nullopt : std::optional(text);
}
inline std::optional<std::string> copy_of(const std::optional<std::string_view>& text) {
  return text ? std::optional<std::string>(*text) : std::nullopt;
}
inline std::optional<std::string_view> view_of(const std::optional<std::string>& text) {
  return text ? std::optional<std::string_view>(*text) : std::nullopt;
}

// Whether a row with this error may name the leader (KIP-951).
constexpr bool is_about_leader(int16_t error) {
  return error == wire(KafkaError::not_leader_or_follower) || error == wire(KafkaError::fenced_leader_epoch);
}
// Adds the leader's endpoint; gives its id, -1 where none is known.
template <class Response>
NodeId add_leader(Response& response, const broker::ClusterFacts* cluster) {
  if (!cluster || cluster->nodes.empty()) return -1;
  const auto& leader = cluster->nodes.front();
  response.node_endpoints.push_back({leader.id, leader.kafka_host, leader.kafka_port, std::nullopt});
  return leader.id;
}

// The value that a topic was given of a setting without effect; nullptr: none.
inline const std::string* kept_value(const broker::TopicFacts& facts, const KeptTopicSetting& kept) {
  for (const auto& setting : facts.settings) {
    const std::string_view name = setting.name;
    if (name.starts_with(kKeptPrefix) && name.substr(kKeptPrefix.size()) == kept.kafka_name) return &setting.value;
  }
  return nullptr;
}

// "Authorised operations" when they were not asked for or cannot be told.
constexpr int32_t kNoOperations = INT32_MIN;

// One maker an API; api/exchange.cc lists them by key.
std::unique_ptr<Exchange> make_exchange(Link& link, RequestFacts facts);

}  // namespace robustmq::kafka
