// InitProducerId 0-5: ids for idempotent and for transactional producers. Pure.
#include "protocol/kafka/frames/init_producer_id.h"
#include "protocol/kafka/api/makers.h"

namespace robustmq::kafka {

namespace {

constexpr int kFirstInitWithFenced = 4;

class InitProducerIdExchange final : public ExchangeOf<InitProducerIdRequest> {
 public:
  using ExchangeOf::ExchangeOf;

  void start(Outbox& out) override {
    if (request_.transactional_id && request_.transactional_id->empty()) return refuse(KafkaError::invalid_request);
    if ((request_.producer_id == -1) != (request_.producer_epoch == -1)) return refuse(KafkaError::invalid_request);
    if (!request_.transactional_id) return call(out, broker::AllocateProducerId{});
    call(out, broker::InitProducer{std::string(*request_.transactional_id), request_.transaction_timeout_ms, request_.producer_id,
                                   request_.producer_epoch});
  }

 protected:
  void on_replies(std::vector<broker::Reply>& replies, Outbox&) override {
    Code code;
    if (request_.transactional_id) {
      const auto* inited = reply_as<broker::InitedProducer>(replies[0], code);
      if (inited) code = inited->code;
      if (code != Code::ok) return refuse(transaction_error_of(code, version() >= kFirstInitWithFenced));
      InitProducerIdResponse response;
      response.producer_id = inited->id;
      response.producer_epoch = inited->epoch;
      return answer(response);
    }
    broker::AllocatedProducerId* allocated = reply_as<broker::AllocatedProducerId>(replies[0], code);
    if (!allocated) return refuse(group_error_of(code));
    InitProducerIdResponse response;
    response.producer_id = allocated->id;
    response.producer_epoch = allocated->epoch;
    answer(response);
  }

 private:
  void refuse(KafkaError error) {
    InitProducerIdResponse response;
    response.error_code = wire(error);
    response.producer_epoch = -1;
    answer(response);
  }
};

}  // namespace

Made make_init_producer_id(Link& link, RequestFacts facts) {
  return std::make_unique<InitProducerIdExchange>(link, std::move(facts));
}

}  // namespace robustmq::kafka
