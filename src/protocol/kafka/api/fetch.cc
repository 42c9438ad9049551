// Fetch 4-18: stored batches, sent as they are stored; with sessions (KIP-227) and the check for diverged logs (KIP-595). Pure.
//
// A fetch in a session is answered with the partitions that have news: records, an error, or other bounds than told last.
// Under read_committed nothing at or past the last stable offset comes, and what was aborted is named, by first offset.
#include <algorithm>
#include <map>

#include "protocol/kafka/api/makers.h"
#include "protocol/kafka/fetch_sessions.h"
#include "protocol/kafka/frames/fetch.h"

namespace robustmq::kafka {

namespace {

constexpr int32_t kFullEpoch = 0;    // a full fetch that asks for a session
constexpr int32_t kFinalEpoch = -1;  // of a request without a session, or that ends one
constexpr int kFirstVersionWithIds = 13;
constexpr int kFirstVersionWithLeaders = 16;

class FetchExchange final : public ExchangeOf<FetchRequest> {
 public:
  using ExchangeOf::ExchangeOf;

  void start(Outbox& out) override {
    now_ = out.now();
    if (const KafkaError error = take_wanted(); error != KafkaError::none) {
      response_.error_code = wire(error);
      return answer(response_);
    }
    if (is_throttled()) return;
    broker::Fetch fetch;
    std::map<std::pair<std::string_view, TopicId>, int32_t> topics;
    bool has_refused = false;
    for (Wanted& wanted : wanted_) {
      const FetchSessionPartition& one = wanted.partition;
      if (version() >= kFirstVersionWithIds && one.id.is_zero()) {
        wanted.refusal = Code::unknown_topic_id;
        has_refused = true;
        continue;
      }
      const auto [at, is_new] = topics.try_emplace({one.topic, one.id}, static_cast<int32_t>(fetch.topics.size()));
      if (is_new) fetch.topics.push_back({one.topic, one.id});
      fetch.partitions.push_back(
          {at->second, one.partition, one.from, one.current_leader_epoch, std::max(one.bytes_max, 0), one.last_fetched_epoch});
    }
    if (fetch.partitions.empty()) return finish(nullptr);
    fetch.bytes_max = std::clamp(request_.max_bytes, 0, bytes_max());
    fetch.bytes_min = std::clamp(request_.min_bytes, 0, fetch.bytes_max);
    fetch.read_committed = request_.isolation_level == kReadCommitted;
    if (!has_refused) {
      fetch.wait_max_ms = static_cast<int32_t>(std::clamp<int64_t>(request_.max_wait_ms, 0, link_.options.fetch_wait_max_ms));
    }
    call(out, std::move(fetch));
  }

 protected:
  void on_replies(std::vector<broker::Reply>& replies, Outbox& out) override {
    Code code;
    if (wants_leader_) return finish(reply_as<broker::ClusterFacts>(replies[0], code));
    broker::FetchReply* reply = reply_as<broker::FetchReply>(replies[0], code);
    size_t next = 0;
    for (Wanted& wanted : wanted_) {
      if (wanted.refusal != Code::ok) continue;
      if (!reply || next >= reply->partitions.size()) {
        wanted.refusal = reply ? Code::internal : code;
        continue;
      }
      wanted.result = std::move(reply->partitions[next++]);
      wants_leader_ |= version() >= kFirstVersionWithLeaders && is_about_leader(wire_error(wanted.result.code));
    }
    if (wants_leader_) return call(out, broker::DescribeCluster{});
    finish(nullptr);
  }

 private:
  struct Wanted {
    FetchSessionPartition partition;
    Code refusal = Code::ok;  // why the broker was not asked, or gave nothing
    broker::FetchedPartition result;
  };

  // While its quota is overdrawn a fetch is answered at once, and empty: as in Kafka an incremental one goes on in its session,
  // and a full one opens none.
  bool is_throttled() {
    const Delay owed = link_.quotas.owed(QuotaKind::fetch, now_);
    if (owed.until <= now_) return false;
    delay_by(owed);
    if (is_incremental_ && session_) response_.session_id = session_->id();
    answer(response_);
    return true;
  }
  // Not more at once than what the quota saves up.
  int32_t bytes_max() const {
    const QuotaBucket* bucket = link_.quotas.bucket(QuotaKind::fetch);
    const double worth = bucket ? std::max(bucket->worth(), 1.0) : INT32_MAX;
    return worth < link_.options.fetch_bytes_max ? static_cast<int32_t>(worth) : link_.options.fetch_bytes_max;
  }

  bool uses_ids() const { return version() >= kFirstVersionWithIds; }

  // What is to be fetched: what the request names, or what its session holds.
  KafkaError take_wanted() {
    FetchSessions& sessions = link_.core.fetch_sessions;
    const bool is_full = request_.session_epoch == kFullEpoch || request_.session_epoch == kFinalEpoch;
    if (is_full) {
      if (request_.session_id != 0) sessions.end(request_.session_id);
      if (request_.session_epoch == kFullEpoch && version() >= 7) session_ = std::make_shared<FetchSession>();
    } else {
      FetchSessions::Found found = sessions.find(request_.session_id, request_.session_epoch, uses_ids(), now_);
      if (found.error != KafkaError::none) return found.error;
      session_ = std::move(found.session);
      is_incremental_ = true;
    }
    for (const auto& topic : request_.topics) {
      for (const auto& partition : topic.partitions) {
        FetchSessionPartition one;
        one.topic = topic.topic;
        one.id = topic.topic_id;
        one.partition = partition.partition;
        one.from = partition.fetch_offset;
        one.current_leader_epoch = partition.current_leader_epoch;
        one.last_fetched_epoch = partition.last_fetched_epoch;
        one.bytes_max = partition.partition_max_bytes;
        if (session_) session_->put(one);
        if (!is_incremental_) wanted_.push_back({std::move(one)});
      }
    }
    if (!is_incremental_) return KafkaError::none;
    for (const auto& topic : request_.forgotten_topics_data) {
      for (int32_t partition : topic.partitions) session_->forget({std::string(topic.topic), topic.topic_id, partition});
    }
    sessions.recount(*session_);
    if (session_->size() == 0) {  // nothing is left to follow
      sessions.end(session_->id());
      session_.reset();
      return KafkaError::none;
    }
    for (const FetchSessionPartition& one : session_->partitions()) wanted_.push_back({one});
    return KafkaError::none;
  }

  // With the cluster where a row names its leader.
  void finish(const broker::ClusterFacts* cluster) {
    if (session_ && !is_incremental_) {
      const bool is_open = link_.core.fetch_sessions.open(session_, uses_ids(), now_);
      ++(is_open ? link_.metrics.fetch_sessions_opened_total : link_.metrics.fetch_sessions_refused_total);
      if (!is_open) session_.reset();
    }
    if (session_) response_.session_id = session_->id();
    const NodeId leader = wants_leader_ ? add_leader(response_, cluster) : -1;
    for (Wanted& wanted : wanted_) {
      const int16_t error = wire_error(wanted.refusal != Code::ok ? wanted.refusal : wanted.result.code);
      if (!is_news(wanted, error)) continue;
      add_row(wanted, error, leader);
    }
    link_.metrics.fetched_bytes_total += records_bytes_;
    take(QuotaKind::fetch, static_cast<double>(records_bytes_));
    answer(response_, records_bytes_);
  }

  // Whether the client is told of it; what it is told is kept.
  bool is_news(const Wanted& wanted, int16_t error) {
    if (!session_) return true;
    const FetchSession::Key key{wanted.partition.topic, wanted.partition.id, wanted.partition.partition};
    FetchSessionPartition* known = session_->find(key);
    if (!known) return !is_incremental_;
    const broker::FetchedPartition& result = wanted.result;
    const bool has_records = !result.batches.empty();
    const bool is_new = !is_incremental_ || has_records || error != 0 || result.diverging_epoch >= 0 ||
                        known->high_watermark != result.high_watermark || known->log_start != result.log_start;
    // After an error the bounds are told again, whatever they are.
    known->high_watermark = error == 0 ? result.high_watermark : -1;
    known->log_start = error == 0 ? result.log_start : -1;
    if (has_records) session_->move_last(key);
    return is_new;
  }

  void add_row(Wanted& wanted, int16_t error, NodeId leader) {
    auto& topics = response_.responses;
    const bool continues =
        !topics.empty() && topics.back().topic == wanted.partition.topic && topics.back().topic_id == wanted.partition.id;
    if (!continues) {
      auto& topic = topics.emplace_back();
      topic.topic = wanted.partition.topic;
      topic.topic_id = wanted.partition.id;
    }
    auto& row = topics.back().partitions.emplace_back();
    row.partition_index = wanted.partition.partition;
    row.error_code = error;
    row.high_watermark = wanted.result.high_watermark;
    row.last_stable_offset = wanted.result.last_stable;
    row.log_start_offset = wanted.result.log_start;
    row.aborted_transactions.reset();
    if (request_.isolation_level == kReadCommitted) {
      auto& aborted = row.aborted_transactions.emplace();
      if (!wanted.result.batches.empty()) {
        for (const broker::AbortedTransaction& each : wanted.result.aborted) aborted.push_back({each.producer, each.first});
      }
    }
    if (version() >= 12 && wanted.result.diverging_epoch >= 0)
      row.diverging_epoch = {wanted.result.diverging_epoch, wanted.result.diverging_end};
    if (wants_leader_ && is_about_leader(error)) row.current_leader = {leader, wanted.result.leader_epoch};
    row.records = Records{std::move(wanted.result.batches)};
    records_bytes_ += row.records->size();
  }

  FetchResponse response_;
  std::vector<Wanted> wanted_;  // what texts of the response point into
  std::shared_ptr<FetchSession> session_;
  bool is_incremental_ = false;
  Instant now_{};
  uint64_t records_bytes_ = 0;
  bool wants_leader_ = false;
};

}  // namespace

Made make_fetch(Link& link, RequestFacts facts) { return std::make_unique<FetchExchange>(link, std::move(facts)); }

}  // namespace robustmq::kafka
