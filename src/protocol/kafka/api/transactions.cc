// DescribeTransactions 0, ListTransactions 0-2. Pure.
#include <algorithm>

#include "protocol/kafka/api/makers.h"
#include "protocol/kafka/frames/describe_transactions.h"
#include "protocol/kafka/frames/list_transactions.h"

namespace robustmq::kafka {

namespace {

// Of Kafka; not all of them are seen here.
constexpr std::string_view kStates[] = {"Empty",          "Ongoing",       "PrepareCommit", "PrepareAbort",
                                        "CompleteCommit", "CompleteAbort", "Dead",          "PrepareEpochFence"};

template <class Range, class Value>
bool is_in(const Range& range, const Value& value) {
  return std::find(std::begin(range), std::end(range), value) != std::end(range);
}

class DescribeTransactionsExchange final : public ExchangeOf<DescribeTransactionsRequest> {
 public:
  using ExchangeOf::ExchangeOf;

  void start(Outbox& out) override {
    if (request_.transactional_ids.empty()) return answer(DescribeTransactionsResponse{});
    request_.transactional_ids = each_once(std::move(request_.transactional_ids));
    broker::DescribeTransactions describe;
    for (const std::string_view id : request_.transactional_ids) describe.ids.emplace_back(id);
    call(out, std::move(describe));
  }

 protected:
  void on_replies(std::vector<broker::Reply>& replies, Outbox&) override {
    Code whole;
    const auto* described = reply_as<broker::DescribedTransactions>(replies[0], whole);
    DescribeTransactionsResponse response;
    for (size_t i = 0; i < request_.transactional_ids.size(); ++i) {
      auto& row = response.transaction_states.emplace_back();
      row.transactional_id = request_.transactional_ids[i];
      row.transaction_start_time_ms = -1;
      const broker::DescribedTransaction* found =
          described && i < described->transactions.size() ? &described->transactions[i] : nullptr;
      const Code code = found ? found->code : described ? Code::internal : whole;
      row.error_code = wire(transaction_error_of(code, true));
      if (code != Code::ok) continue;
      row.transaction_state = found->state;
      row.transaction_timeout_ms = found->timeout_ms;
      row.transaction_start_time_ms = found->started_ms;
      row.producer_id = found->producer_id;
      row.producer_epoch = found->epoch;
      for (const auto& [topic, partition] : found->partitions) {
        if (row.topics.empty() || row.topics.back().topic != topic) row.topics.emplace_back().topic = topic;
        row.topics.back().partitions.push_back(partition);
      }
    }
    answer(response);
  }
};

class ListTransactionsExchange final : public ExchangeOf<ListTransactionsRequest> {
 public:
  using ExchangeOf::ExchangeOf;

  void start(Outbox& out) override {
    now_ms_ = out.wall_now().ms;
    call(out, broker::ListTransactions{std::string(request_.transactional_id_pattern.value_or(""))});
  }

 protected:
  void on_replies(std::vector<broker::Reply>& replies, Outbox&) override {
    Code code;
    const auto* listed = reply_as<broker::ListedTransactions>(replies[0], code);
    if (listed) code = listed->code;
    ListTransactionsResponse response;
    response.error_code = wire(transaction_error_of(code, true));
    for (const std::string_view state : request_.state_filters) {
      if (!is_in(kStates, state)) response.unknown_state_filters.push_back(state);
    }
    if (code != Code::ok) return answer(response);
    for (const broker::DescribedTransaction& each : listed->transactions) {
      if (!request_.state_filters.empty() && !is_in(request_.state_filters, std::string_view(each.state))) continue;
      if (!request_.producer_id_filters.empty() && !is_in(request_.producer_id_filters, each.producer_id)) continue;
      const bool is_long = each.started_ms >= 0 && now_ms_ - each.started_ms > request_.duration_filter;
      if (request_.duration_filter >= 0 && !is_long) continue;
      response.transaction_states.push_back({each.transactional_id, each.producer_id, each.state});
    }
    answer(response);
  }

 private:
  int64_t now_ms_ = 0;
};

}  // namespace

Made make_describe_transactions(Link& link, RequestFacts facts) {
  return std::make_unique<DescribeTransactionsExchange>(link, std::move(facts));
}
Made make_list_transactions(Link& link, RequestFacts facts) {
  return std::make_unique<ListTransactionsExchange>(link, std::move(facts));
}

}  // namespace robustmq::kafka
