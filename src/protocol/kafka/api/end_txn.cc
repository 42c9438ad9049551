// AddOffsetsToTxn 0-4, EndTxn 0-5. Pure.
//
// From version 5 on (KIP-890) the answer of EndTxn has the epoch, or the producer id, that the producer goes on with.
#include "protocol/kafka/frames/end_txn.h"

#include "protocol/kafka/api/makers.h"
#include "protocol/kafka/frames/add_offsets_to_txn.h"

namespace robustmq::kafka {

namespace {

constexpr int kFirstEndWithFenced = 2;
constexpr int kFirstVersionThatBumps = 5;

class AddOffsetsToTxnExchange final : public ExchangeOf<AddOffsetsToTxnRequest> {
 public:
  using ExchangeOf::ExchangeOf;

  void start(Outbox& out) override {
    call(out,
         broker::AddOffsetsToTransaction{{std::string(request_.transactional_id), request_.producer_id, request_.producer_epoch},
                                         std::string(request_.group_id)});
  }

 protected:
  void on_replies(std::vector<broker::Reply>& replies, Outbox&) override {
    Code code;
    if (const auto* reply = reply_as<broker::TransactionReply>(replies[0], code)) code = reply->code;
    AddOffsetsToTxnResponse response;
    response.error_code = wire(transaction_error_of(code, version() >= kFirstEndWithFenced));
    answer(response);
  }
};

class EndTxnExchange final : public ExchangeOf<EndTxnRequest> {
 public:
  using ExchangeOf::ExchangeOf;

  void start(Outbox& out) override {
    call(out, broker::EndTransaction{{std::string(request_.transactional_id), request_.producer_id, request_.producer_epoch},
                                     request_.committed,
                                     version() >= kFirstVersionThatBumps});
  }

 protected:
  void on_replies(std::vector<broker::Reply>& replies, Outbox&) override {
    Code code;
    const auto* ended = reply_as<broker::EndedTransaction>(replies[0], code);
    if (ended) code = ended->code;
    EndTxnResponse response;
    response.error_code = wire(transaction_error_of(code, version() >= kFirstEndWithFenced));
    if (ended && code == Code::ok) {
      response.producer_id = ended->id;
      response.producer_epoch = ended->epoch;
    }
    answer(response);
  }
};

}  // namespace

Made make_add_offsets_to_txn(Link& link, RequestFacts facts) {
  return std::make_unique<AddOffsetsToTxnExchange>(link, std::move(facts));
}
Made make_end_txn(Link& link, RequestFacts facts) { return std::make_unique<EndTxnExchange>(link, std::move(facts)); }

}  // namespace robustmq::kafka
