// For tests and fuzzers: a connection with its driver's part played by hand. Pure.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/batch.h"
#include "base/ids.h"
#include "broker/menu/topics.h"
#include "protocol/kafka/connection.h"
#include "protocol/kafka/frames/apis.h"
#include "protocol/kafka/frames/headers.h"

namespace robustmq::kafka {

// What many tests ask with: a topic's id, a batch of one record, a cluster of this node alone.
inline Uuid uuid(uint8_t byte) {
  Uuid id;
  id.bytes.fill(byte);
  return id;
}
inline Bytes batch(std::string_view value = "value") {
  BatchBuilder builder;
  builder.begin_record(1'700'000'000'000, std::nullopt, as_bytes(value));
  builder.end_record();
  return builder.finish();
}
inline broker::ClusterFacts cluster() {
  broker::ClusterFacts facts;
  facts.cluster_id = "cluster-1";
  facts.nodes = {{7, "broker.example", 9092}};
  facts.controller = 7;
  return facts;
}

// A request as it goes over the wire.
template <class Request>
std::string request_bytes(const Request& request, int version, int32_t correlation_id, std::string_view client_id = "test") {
  RequestHeader header;
  header.request_api_key = Request::kApiKey;
  header.request_api_version = static_cast<int16_t>(version);
  header.correlation_id = correlation_id;
  header.client_id = client_id;
  const int header_version = version >= Request::kFlexibleFrom ? 2 : 1;
  const size_t size = header.size(header_version) + request.size(version);
  std::string bytes(4 + size, '\0');
  Writer writer(reinterpret_cast<uint8_t*>(bytes.data()), bytes.size());
  writer.i32(static_cast<int32_t>(size));
  header.encode(writer, header_version);
  request.encode(writer, version);
  return bytes;
}

// One response, decoded. Views live as long as it does.
template <class Response>
struct Answer {
  Bytes frame;
  int32_t correlation_id = 0;
  Response body;
  std::string fault;  // "" when it decoded whole
};

class ConnectionHarness {
 public:
  explicit ConnectionHarness(KafkaOptions options = {}, std::shared_ptr<const broker::QuotaBoard> quotas = nullptr)
      : options_(options), core_(options_, 1, 1) {
    protocol::LinkFacts facts{1, 1, "127.0.0.1:51234"};
    facts.quotas = std::move(quotas);
    connection_ = make_connection(options_, metrics_, core_, facts);
    run([&](Outbox& out) { connection_->on_open(out); });
  }

  // Bytes from the client; what the connection leaves comes again, in front of the next.
  void feed(std::string_view bytes) {
    input_ += bytes;
    feed_again();
  }
  void feed_again() {
    while (!input_.empty() && why_ == CloseWhy::none && !connection_->is_paused()) {
      const Bytes all = Bytes::copy_of(input_);
      size_t consumed = 0;
      run([&](Outbox& out) { consumed = connection_->on_bytes(all, out); });
      input_.erase(0, consumed);
      if (consumed == 0) break;
    }
  }
  void reply(CallId id, broker::Reply reply) {
    calls_.erase(id);
    run([&](Outbox& out) { connection_->on_reply(id, std::move(reply), out); });
    feed_again();
  }
  // Replies to the oldest call, which must be of this kind.
  template <class Request>
  Request take_call(CallId* id = nullptr) {
    if (calls_.empty()) return {};
    auto first = calls_.begin();
    if (id) *id = first->first;
    last_taken_ = first->first;
    Request* request = std::get_if<Request>(&first->second);
    Request taken = request ? std::move(*request) : Request{};
    if (!request) wrong_kind_ = true;
    calls_.erase(first);
    return taken;
  }
  void reply_to_taken(broker::Reply reply) { this->reply(last_taken_, std::move(reply)); }
  void pass(Duration time) {
    const Instant until = now_ + time;
    while (timer_ <= until && why_ == CloseWhy::none) {
      now_ = timer_;
      timer_ = Instant::never();
      run([&](Outbox& out) { connection_->on_timer(out); });
      feed_again();
    }
    now_ = until;
  }
  template <class F>
  void run(F&& input) {
    Outbox out;
    out.begin(now_, WallTime{1'700'000'000'000}, &last_call_, unsent_bytes, unsent_limit);
    input(out);
    if (out.has_timer()) timer_ = out.timer();
    for (auto& call : out.calls()) calls_.emplace(call.id, std::move(call.request));
    for (CallId id : out.cancelled()) {
      cancelled_.push_back(id);
      calls_.erase(id);
    }
    for (const Piece& piece : out.take_pieces()) {
      ++pieces_sent_;
      output_ += piece.is_stored() ? std::string(piece.size, '#') : std::string(piece.bytes.text());
    }
    if (out.is_closing() && why_ == CloseWhy::none) {
      why_ = out.close_why();
      detail_ = out.close_detail();
    }
  }

  // The next response, where it is there whole.
  bool has_answer() const { return output_.size() >= 4 && output_.size() >= 4 + next_size(); }
  template <class Response>
  Answer<Response> take(int version) {
    Answer<Response> answer;
    if (!has_answer()) {
      answer.fault = "no response";
      return answer;
    }
    answer.frame = Bytes::copy_of(std::string_view(output_).substr(4, next_size()));
    output_.erase(0, 4 + answer.frame.size());
    Reader reader(answer.frame, 0, decode_memory_max(answer.frame.size()));
    ResponseHeader header;
    header.decode(reader, Response::kApiKey != 18 && version >= Response::kFlexibleFrom ? 1 : 0);
    answer.correlation_id = header.correlation_id;
    answer.body.decode(reader, version);
    if (!reader.ok()) answer.fault = reader.fault();
    if (reader.ok() && reader.left() > 0) answer.fault = std::to_string(reader.left()) + " bytes left";
    return answer;
  }

  Instant now() const { return now_; }
  protocol::Connection& connection() { return *connection_; }
  KafkaOptions& options() { return options_; }
  KafkaMetrics& metrics() { return metrics_; }
  RequestBudget& budget() { return core_.budget; }
  CoreShare& core() { return core_; }
  std::map<CallId, broker::Request>& calls() { return calls_; }
  const std::vector<CallId>& cancelled() const { return cancelled_; }
  CloseWhy why() const { return why_; }
  const std::string& detail() const { return detail_; }
  const std::string& output() const { return output_; }
  void clear_output() { output_.clear(); }
  size_t pieces_sent() const { return pieces_sent_; }
  const std::string& input() const { return input_; }
  bool had_wrong_kind() const { return wrong_kind_; }

  uint64_t unsent_bytes = 0;
  uint64_t unsent_limit = 1 << 20;

 private:
  size_t next_size() const {
    size_t size = 0;
    for (int i = 0; i < 4; ++i) size = size << 8 | static_cast<uint8_t>(output_[static_cast<size_t>(i)]);
    return size;
  }

  KafkaOptions options_;
  KafkaMetrics metrics_;
  CoreShare core_;
  std::unique_ptr<protocol::Connection> connection_;
  Instant now_{Duration::seconds(100).ns};
  Instant timer_ = Instant::never();
  CallId last_call_ = 0;
  CallId last_taken_ = 0;
  std::string input_;
  std::string output_;
  size_t pieces_sent_ = 0;
  std::map<CallId, broker::Request> calls_;
  std::vector<CallId> cancelled_;
  CloseWhy why_ = CloseWhy::none;
  std::string detail_;
  bool wrong_kind_ = false;
};

}  // namespace robustmq::kafka
