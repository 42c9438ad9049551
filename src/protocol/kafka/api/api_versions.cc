// ApiVersions 0-4: what is served, from the table of the frames. Pure.
//
// A version that is too new is answered in version 0's layout with UNSUPPORTED_VERSION and the row of this API alone, so that the
// client comes again with one that is there. Features (features.h) are named from version 3 on; those that may be off only from
// version 4 on, because older clients do not take the 0.
#include "protocol/kafka/frames/api_versions.h"
#include "protocol/kafka/api/features.h"
#include "protocol/kafka/api/makers.h"
#include "protocol/kafka/frames/apis.h"

namespace robustmq::kafka {

namespace {

bool is_alphanumeric(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'); }

// Letters and digits at both ends, between them also '-' and '.'.
bool is_software_name(std::string_view name) {
  if (name.empty() || !is_alphanumeric(name.front()) || !is_alphanumeric(name.back())) return false;
  for (char c : name) {
    if (!is_alphanumeric(c) && c != '-' && c != '.') return false;
  }
  return true;
}

class ApiVersionsExchange final : public ExchangeOf<ApiVersionsRequest> {
 public:
  using ExchangeOf::ExchangeOf;
  const char* decode() override { return is_too_new() ? nullptr : ExchangeOf::decode(); }

  void start(Outbox&) override {
    ApiVersionsResponse response;
    if (is_too_new()) {
      response.error_code = wire(KafkaError::unsupported_version);
      const ApiFacts& own = *api_of(ApiVersionsRequest::kApiKey);
      response.api_keys.push_back({own.key, own.advertised_min, own.advertised_max});
      return answer_as(response, 0);
    }
    if (version() >= 3 &&
        !(is_software_name(request_.client_software_name) && is_software_name(request_.client_software_version))) {
      response.error_code = wire(KafkaError::invalid_request);
      return answer(response);
    }
    for (const ApiFacts& api : kApis) response.api_keys.push_back({api.key, api.advertised_min, api.advertised_max});
    for (const Feature& feature : kFeatures) {
      if (version() >= 4 || feature.min > 0) response.supported_features.push_back({feature.name, feature.min, feature.max});
      response.finalized_features.push_back({feature.name, feature.level, feature.level});
    }
    response.finalized_features_epoch = kFeaturesEpoch;
    answer(response);
  }

 protected:
  void on_replies(std::vector<broker::Reply>&, Outbox&) override {}

 private:
  bool is_too_new() const { return version() > ApiVersionsRequest::kVersionMax; }
};

}  // namespace

Made make_api_versions(Link& link, RequestFacts facts) { return std::make_unique<ApiVersionsExchange>(link, std::move(facts)); }

}  // namespace robustmq::kafka
