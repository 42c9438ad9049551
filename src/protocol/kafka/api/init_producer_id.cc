// InitProducerId 0-5: ids for idempotent producers. Pure.
//
// A transactional id is refused with TRANSACTIONAL_ID_AUTHORIZATION_FAILED: the Java client and librdkafka take it as fatal,
// while they would try others again or for ever.
#include "protocol/kafka/frames/init_producer_id.h"
#include "protocol/kafka/api/makers.h"

namespace robustmq::kafka {

namespace {

class InitProducerIdExchange final : public ExchangeOf<InitProducerIdRequest> {
 public:
  using ExchangeOf::ExchangeOf;

  void start(Outbox& out) override {
    if (request_.transactional_id) {
      return refuse(request_.transactional_id->empty() ? KafkaError::invalid_request
                                                       : KafkaError::transactional_id_authorization_failed);
    }
    if ((request_.producer_id == -1) != (request_.producer_epoch == -1)) return refuse(KafkaError::invalid_request);
    call(out, broker::AllocateProducerId{});
  }

 protected:
  void on_replies(std::vector<broker::Reply>& replies, Outbox&) override {
    Code code;
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
