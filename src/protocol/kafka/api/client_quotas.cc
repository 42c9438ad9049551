// DescribeClientQuotas 0-1 and AlterClientQuotas 0-1: there are none, and none can be set. Pure.
#include "protocol/kafka/api/makers.h"
#include "protocol/kafka/frames/alter_client_quotas.h"
#include "protocol/kafka/frames/describe_client_quotas.h"

namespace robustmq::kafka {

namespace {

class DescribeClientQuotasExchange final : public ExchangeOf<DescribeClientQuotasRequest> {
 public:
  using ExchangeOf::ExchangeOf;
  void start(Outbox&) override {
    DescribeClientQuotasResponse response;
    response.error_message.reset();
    response.entries.emplace();
    answer(response);
  }

 protected:
  void on_replies(std::vector<broker::Reply>&, Outbox&) override {}
};

class AlterClientQuotasExchange final : public ExchangeOf<AlterClientQuotasRequest> {
 public:
  using ExchangeOf::ExchangeOf;
  void start(Outbox&) override {
    AlterClientQuotasResponse response;
    for (const auto& entry : request_.entries) {
      auto& row = response.entries.emplace_back();
      row.error_code = wire(KafkaError::invalid_request);
      row.error_message = "client quotas are not supported";
      for (const auto& part : entry.entity) row.entity.push_back({part.entity_type, part.entity_name});
    }
    answer(response);
  }

 protected:
  void on_replies(std::vector<broker::Reply>&, Outbox&) override {}
};

}  // namespace

Made make_describe_client_quotas(Link& link, RequestFacts facts) {
  return std::make_unique<DescribeClientQuotasExchange>(link, std::move(facts));
}
Made make_alter_client_quotas(Link& link, RequestFacts facts) {
  return std::make_unique<AlterClientQuotasExchange>(link, std::move(facts));
}

}  // namespace robustmq::kafka
