// A Kafka client's link: framing, request headers, the order of answers, limits. Pure.
#include "protocol/kafka/connection.h"

#include <deque>

#include "protocol/kafka/api/exchange.h"
#include "protocol/kafka/frames/apis.h"
#include "protocol/kafka/frames/headers.h"

namespace robustmq::kafka {

namespace {

constexpr size_t kSizeField = 4;
constexpr size_t kKeyAndVersion = 4;
constexpr size_t kHeaderMin = 8;  // key, version, correlation id
constexpr int16_t kProduceKey = 0;
constexpr int16_t kFetchKey = 1;
constexpr int16_t kShareFetchKey = 78;
constexpr int16_t kApiVersionsKey = 18;
constexpr size_t kSmallResponse = 1024;    // copied into the outbox's buffer
constexpr size_t kWantedAtOnce = 1 << 20;  // of a longer frame, as much again as came, thrice: its memory grows with what arrived
constexpr size_t kShortFirst = 4096;       // a longer first request has the time of a frame
constexpr Duration kBudgetRetry = Duration::millis(10);
constexpr Duration kSlowReaderCheck = Duration::seconds(30);

int32_t int32_at(const uint8_t* at) {
  return static_cast<int32_t>(uint32_t{at[0]} << 24 | uint32_t{at[1]} << 16 | uint32_t{at[2]} << 8 | at[3]);
}
int16_t int16_at(const uint8_t* at) { return static_cast<int16_t>(at[0] << 8 | at[1]); }

// Whether a request of this API and version is answered: those that are served, and any newer ApiVersions (with an error).
bool is_answered(int16_t key, int16_t version) {
  const ApiFacts* api = api_of(key);
  if (!api || version < api->version_min) return false;
  return version <= api->version_max || key == kApiVersionsKey;
}

class KafkaConnection final : public protocol::Connection {
 public:
  KafkaConnection(const KafkaOptions& options, KafkaMetrics& metrics, CoreShare& core, const protocol::LinkFacts& facts)
      : options_(options), metrics_(metrics), budget_(core.budget), facts_(facts), link_{options_, metrics_, core, facts_} {}
  ~KafkaConnection() override {
    charge(0);
    budget_.leave(this);
  }

  void on_open(Outbox& out) override {
    active_at_ = out.now();
    deadline_ = out.now() + Duration::millis(options_.first_request_timeout_ms);
    arm(out, deadline_);
    if (!link_.quotas.limits_hosts()) return;
    is_entering_ = true;
    entering_call_ = out.call(broker::CountConnection{});
  }

  size_t on_bytes(const Bytes& bytes, Outbox& out) override {
    if (is_closed_) return bytes.size();
    if (is_entering_) return 0;
    link_.now = out.now();
    active_at_ = out.now();
    wanted_ = 0;
    size_t at = 0;
    while (!is_closed_ && !is_muted_ && queue_.size() < static_cast<size_t>(options_.requests_in_flight_max)) {
      const size_t taken = take_frame(bytes, at, out);
      if (taken == 0) break;
      at += taken;
      advance(out);
    }
    if (is_closed_) return bytes.size();
    const size_t rest = bytes.size() - at;
    watch_frame(rest, at > 0, out);
    unconsumed_ = rest;
    charge_all();
    weigh(out);
    return at;
  }

  size_t bytes_wanted() const override { return wanted_; }
  bool is_paused() const override {
    return is_closed_ || is_entering_ || is_muted_ || is_over_budget_ ||
           queue_.size() >= static_cast<size_t>(options_.requests_in_flight_max);
  }

  void on_reply(CallId id, broker::Reply reply, Outbox& out) override {
    if (is_closed_) return;
    link_.now = out.now();
    if (is_entering_ && id == entering_call_) return enter(reply, out);
    if (is_asking_ && id == quotas_call_) return take_quotas(reply, out);
    for (size_t i = 0; i < started_; ++i) {
      if (!queue_[i]->owns(id)) continue;
      queue_[i]->on_reply(id, std::move(reply), out);
      break;
    }
    go_on(out);
  }

  void on_delivery(const broker::Delivery&, Outbox&) override {}
  void on_notice(broker::Notice notice, Outbox& out) override {
    if (notice == broker::Notice::stopping) end(out, CloseWhy::stopping, "the node stops");
  }
  void on_drained(Outbox& out) override {
    if (is_closed_) return;
    link_.now = out.now();
    unsent_before_ = 0;
    advance(out);
    if (is_closed_) return;
    charge_all();
  }

  void on_timer(Outbox& out) override {
    armed_ = Instant::never();
    if (is_closed_) return;
    link_.now = out.now();
    if (refused_until_ <= out.now()) return end(out, CloseWhy::over_limit, "connection_creation_rate of its host is used up");
    if (is_muted_ && muted_until_ <= out.now()) {
      unmute(out);
      if (is_closed_) return;
    }
    if (is_over_budget_) weigh(out);
    if (deadline_ <= out.now()) {
      return end(out, CloseWhy::timed_out, has_request_ ? "a request did not arrive whole in time" : "no request in time");
    }
    if (out.is_congested()) {
      if (out.unsent_bytes() == unsent_before_) return end(out, CloseWhy::slow_reader, "responses are not read");
      unsent_before_ = out.unsent_bytes();
      arm(out, out.now() + kSlowReaderCheck);
    }
    const Instant idle_at = active_at_ + Duration::millis(options_.idle_timeout_ms);
    if (queue_.empty() && !is_muted_ && !out.is_congested() && idle_at <= out.now()) return end(out, CloseWhy::timed_out, "idle");
    arm(out, deadline_);
    if (is_muted_) arm(out, muted_until_);
    arm(out, refused_until_);
    arm(out, idle_at <= out.now() ? out.now() + Duration::millis(options_.idle_timeout_ms) : idle_at);
  }

  void on_peer_closed(Outbox& out) override {
    if (!is_closed_) leave(out);
    is_closed_ = true;
  }

 private:
  // Takes the frame at `at` where it is whole. Returns its size with the size field; 0: not whole, or closed.
  size_t take_frame(const Bytes& bytes, size_t at, Outbox& out) {
    const size_t there = bytes.size() - at;
    if (there < kSizeField) return 0;
    const uint8_t* head = bytes.data() + at;
    const int32_t size = int32_at(head);
    if (size < static_cast<int32_t>(kHeaderMin)) {
      ++metrics_.requests_malformed_total;
      end(out, CloseWhy::protocol_error, "a request's size is " + std::to_string(size));
      return 0;
    }
    if (size > options_.request_bytes_max) {
      ++metrics_.requests_malformed_total;
      end(out, CloseWhy::over_limit,
          "a request has " + std::to_string(size) + " bytes, the limit is " + std::to_string(options_.request_bytes_max));
      return 0;
    }
    if (there < kSizeField + kKeyAndVersion) return 0;
    const int16_t key = int16_at(head + 4), version = int16_at(head + 6);
    if (!is_answered(key, version)) {
      ++metrics_.requests_not_supported_total;
      end(out, CloseWhy::not_supported,
          "API key " + std::to_string(key) + " version " + std::to_string(version) + " is not served");
      return 0;
    }
    const size_t whole = kSizeField + static_cast<size_t>(size);
    if (there < whole) {
      wanted_ = std::min(whole, std::max(4 * there, kWantedAtOnce));
      return 0;
    }
    RequestFacts facts;
    facts.key = key;
    facts.version = version;
    facts.frame = bytes.slice(at + kSizeField, static_cast<size_t>(size));
    if (const char* fault = read_header(facts)) {
      malformed(facts, fault, out);
      return 0;
    }
    has_request_ = true;
    ++metrics_.requests_total;
    metrics_.request_bytes_total += whole;
    queue_.push_back(make_exchange(link_, std::move(facts)));
    return whole;
  }

  static const char* read_header(RequestFacts& facts) {
    const ApiFacts& api = *api_of(facts.key);
    facts.correlation_id = int32_at(facts.frame.data() + 4);
    if (facts.version > api.version_max) return nullptr;  // ApiVersions: nothing more of it is read
    const bool is_flexible = facts.version >= api.flexible_from;
    Reader reader(facts.frame, 0, 0);
    RequestHeader header;
    header.decode(reader, is_flexible ? 2 : 1);
    facts.client_id = header.client_id.value_or(std::string_view{});
    facts.body_at = facts.frame.size() - reader.left();
    // The response header of ApiVersions is never flexible: a client that does not know the version must be able to read it.
    facts.is_response_flexible = facts.key != kApiVersionsKey && facts.version >= api.response_flexible_from;
    return reader.fault();
  }

  // Sends what is answered, in order, and starts what may start.
  void advance(Outbox& out) {
    while (!is_closed_) {
      while (started_ > 0 && queue_.front()->is_done()) {
        if (const char* fault = queue_.front()->fault())
          return end(out, CloseWhy::over_limit, std::string(api_of(queue_.front()->facts().key)->name) + ": " + fault);
        send(*queue_.front(), out);
        mute(queue_.front()->delay(), out);
        if (queue_.front()->facts().key == kProduceKey) --produces_;
        queue_.pop_front();
        --started_;
      }
      if (started_ == queue_.size() || is_muted_ || out.is_congested() || out.is_closing()) break;
      Exchange& next = *queue_[started_];
      const bool is_produce = next.facts().key == kProduceKey;
      if (started_ > 0 && !(is_produce && produces_ == started_)) break;
      if (!knows_quotas(next, out)) break;
      if (const char* fault = next.decode()) return malformed(next.facts(), fault, out);
      ++started_;
      if (is_produce) ++produces_;
      next.start(out);
      mute(next.delay(), out);
    }
    if (!is_closed_ && out.is_closing()) {
      leave(out);
      is_closed_ = true;
      return;
    }
    if (out.is_congested()) arm(out, out.now() + kSlowReaderCheck);
  }

  void send(Exchange& exchange, Outbox& out) {
    Pieces pieces = exchange.take_response();
    if (pieces.empty()) return;
    ++metrics_.responses_total;
    metrics_.response_bytes_total += size_of(pieces);
    if (pieces.size() == 1 && !pieces[0].is_stored() && pieces[0].size <= kSmallResponse) {
      out.out().append(pieces[0].bytes.span());
    } else {
      out.send(std::move(pieces));
    }
  }

  // Begins or ends the watch over a request that is not there whole.
  void watch_frame(size_t rest, bool took_any, Outbox& out) {
    if (!has_request_) {
      // The first one has the login's time, unless it is long and begins rightly.
      if (rest > kShortFirst && !has_long_first_) {
        has_long_first_ = true;
        deadline_ = out.now() + Duration::millis(options_.frame_timeout_ms);
      }
    } else if (rest == 0 || is_full() || is_muted_) {
      deadline_ = Instant::never();
    } else if (took_any || deadline_ == Instant::never()) {
      deadline_ = out.now() + Duration::millis(options_.frame_timeout_ms);
    }
    arm(out, std::min(deadline_, active_at_ + Duration::millis(options_.idle_timeout_ms)));
  }
  bool is_full() const { return queue_.size() >= static_cast<size_t>(options_.requests_in_flight_max); }

  void malformed(const RequestFacts& facts, const char* fault, Outbox& out) {
    ++metrics_.requests_malformed_total;
    end(out, CloseWhy::protocol_error,
        std::string(api_of(facts.key)->name) + " version " + std::to_string(facts.version) + ": " + fault);
  }

  void end(Outbox& out, CloseWhy why, std::string detail) {
    leave(out);
    out.close(why, std::move(detail));
    is_closed_ = true;
  }
  // Nobody waits any more. Parked fetches are called off; what changes something takes effect.
  void leave(Outbox& out) {
    for (size_t i = 0; i < started_; ++i) {
      if (queue_[i]->facts().key != kFetchKey && queue_[i]->facts().key != kShareFetchKey) continue;
      for (CallId id : queue_[i]->open_calls()) out.cancel(id);
    }
    // The exchanges stay until the connection goes: one of them may be on the stack.
    charge(0);
    budget_.leave(this);
    is_over_budget_ = false;
  }

  // ---- quotas ----

  bool is_timed() const override { return link_.quotas.is_timed(); }
  void on_spent(Duration time) override { link_.quotas.spend(link_.now, time); }

  // The answer to whether its host's quota lets this connection in. Who is not let in waits, and is then ended.
  void enter(const broker::Reply& reply, Outbox& out) {
    const auto* counted = std::get_if<broker::CountedConnection>(&reply);
    if (!counted) return end(out, CloseWhy::over_limit, "its host's connections could not be counted");
    if (counted->wait <= Duration{}) {
      is_entering_ = false;
      return;
    }
    metrics_.count_throttled(QuotaKind::connection, counted->wait);
    deadline_ = Instant::never();
    refused_until_ = out.now() + counted->wait;
    arm(out, refused_until_);
  }

  // Whether the buckets of a request that is to begin are known; else asks for them.
  bool knows_quotas(const Exchange& next, Outbox& out) {
    if (is_asking_) return false;
    if (link_.quotas.is_known(next.facts().client_id)) return true;
    is_asking_ = true;
    quotas_call_ = out.call(link_.quotas.ask(next.facts().client_id));
    return false;
  }
  void take_quotas(broker::Reply& reply, Outbox& out) {
    is_asking_ = false;
    auto* found = std::get_if<broker::FoundQuotas>(&reply);
    if (!found) return end(out, CloseWhy::over_limit, "the quotas of its client could not be counted");
    link_.quotas.take(std::move(*found));
    go_on(out);
  }

  // Nothing more is read, and nothing begun, until a delay is over (KIP-219).
  void mute(const Delay& delay, Outbox& out) {
    if (delay.until <= out.now() || (is_muted_ && delay.until <= muted_until_)) return;
    is_muted_ = true;
    muted_until_ = delay.until;
    if (has_request_) deadline_ = Instant::never();
    arm(out, muted_until_);
  }
  void unmute(Outbox& out) {
    is_muted_ = false;
    active_at_ = out.now();
    if (unconsumed_ > 0 && !is_full()) deadline_ = out.now() + Duration::millis(options_.frame_timeout_ms);
    go_on(out);
  }
  void go_on(Outbox& out) {
    active_at_ = out.now();
    advance(out);
    if (is_closed_) return;
    charge_all();
    weigh(out);
  }

  // ---- the budget of the core ----

  void charge(uint64_t bytes) {
    budget_.change(charged_, bytes);
    charged_ = bytes;
  }
  void charge_all() {
    uint64_t bytes = unconsumed_;
    for (const auto& exchange : queue_) bytes += exchange->facts().frame.size();
    charge(bytes);
  }
  // Over the budget, who waits for the rest of a request is not read until memory came back; one may go on.
  void weigh(Outbox& out) {
    const bool wants_more = unconsumed_ > 0;
    if (!wants_more) budget_.leave(this);
    const bool was_over = is_over_budget_;
    is_over_budget_ = wants_more && budget_.is_over() && !budget_.may_go_over(this);
    if (is_over_budget_) {
      if (!was_over) ++metrics_.requests_over_memory_total;
      deadline_ = has_request_ ? Instant::never() : deadline_;
      arm(out, out.now() + kBudgetRetry);
    } else if (was_over && wants_more && deadline_ == Instant::never()) {
      deadline_ = out.now() + Duration::millis(options_.frame_timeout_ms);
      arm(out, deadline_);
    }
  }

  void arm(Outbox& out, Instant due) {
    if (due >= armed_) return;
    armed_ = due;
    out.arm(due);
  }

  const KafkaOptions& options_;
  KafkaMetrics& metrics_;
  RequestBudget& budget_;
  const protocol::LinkFacts facts_;
  Link link_;

  std::deque<std::unique_ptr<Exchange>> queue_;  // in the order of the requests; the first `started_` of them are begun
  size_t started_ = 0;
  size_t produces_ = 0;  // of the started ones
  bool is_closed_ = false;
  bool has_request_ = false;  // one was read whole
  bool has_long_first_ = false;
  size_t wanted_ = 0;

  uint64_t unconsumed_ = 0;  // bytes of a request that is not there whole, as last seen
  uint64_t charged_ = 0;
  bool is_over_budget_ = false;

  bool is_entering_ = false;  // its host's quota has not let it in
  CallId entering_call_ = 0;
  Instant refused_until_ = Instant::never();
  bool is_asking_ = false;  // for the quotas of the next request's client
  CallId quotas_call_ = 0;
  bool is_muted_ = false;
  Instant muted_until_{};

  Instant active_at_{};
  Instant deadline_ = Instant::never();  // for the request that is arriving
  Instant armed_ = Instant::never();
  uint64_t unsent_before_ = 0;
};

}  // namespace

std::unique_ptr<protocol::Connection> make_connection(const KafkaOptions& options, KafkaMetrics& metrics, CoreShare& core,
                                                      const protocol::LinkFacts& link) {
  return std::make_unique<KafkaConnection>(options, metrics, core, link);
}

}  // namespace robustmq::kafka
