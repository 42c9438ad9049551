// DescribeClientQuotas 0-1 and AlterClientQuotas 0-1: Kafka's names for entities and kinds of quotas, and its errors. Pure.
//
// An entity has one to two parts, each once: "user" and "client-id", or "ip" alone; a null name is the default. Of each entity
// all operations are done or none; one that is named twice is refused, and removing what is no quota does nothing.
#include <map>
#include <optional>
#include <set>

#include "protocol/kafka/api/makers.h"
#include "protocol/kafka/frames/alter_client_quotas.h"
#include "protocol/kafka/frames/describe_client_quotas.h"

namespace robustmq::kafka {

namespace {

using broker::QuotaEntity;
using broker::QuotaPart;
using Match = broker::DescribeQuotas::Match;

constexpr std::string_view kUserPart = "user";
constexpr std::string_view kClientPart = "client-id";
constexpr std::string_view kHostPart = "ip";
constexpr int8_t kMatchExact = 0;
constexpr int8_t kMatchDefault = 1;
constexpr int8_t kMatchSpecified = 2;

constexpr std::pair<QuotaKind, std::string_view> kKindNames[] = {{QuotaKind::produce, "producer_byte_rate"},
                                                                 {QuotaKind::fetch, "consumer_byte_rate"},
                                                                 {QuotaKind::request, "request_percentage"},
                                                                 {QuotaKind::mutation, "controller_mutation_rate"},
                                                                 {QuotaKind::connection, "connection_creation_rate"}};

std::optional<QuotaKind> kind_of(std::string_view name) {
  for (const auto& [kind, known] : kKindNames) {
    if (known == name) return kind;
  }
  return std::nullopt;
}

// The part of this type; nullptr: there is no such type.
template <class Whole>
auto* part_of(Whole& whole, std::string_view type) {
  if (type == kUserPart) return &whole.user;
  if (type == kClientPart) return &whole.client_id;
  return type == kHostPart ? &whole.host : nullptr;
}

class DescribeClientQuotasExchange final : public ExchangeOf<DescribeClientQuotasRequest> {
 public:
  using ExchangeOf::ExchangeOf;

  void start(Outbox& out) override {
    broker::DescribeQuotas wanted;
    wanted.strict = request_.strict;
    for (const auto& component : request_.components) {
      if (component.entity_type.empty()) return refuse(KafkaError::invalid_request, "Invalid empty entity type.");
      Match* match = part_of(wanted, component.entity_type);
      if (!match) return refuse(KafkaError::unsupported_version, "Unsupported entity type.");
      if (match->how != Match::How::not_asked)
        return refuse(KafkaError::invalid_request, "An entity type cannot appear more than once in the filter.");
      if (const char* problem = read(component, *match)) return refuse(KafkaError::invalid_request, problem);
    }
    const bool has_client = wanted.user.how != Match::How::not_asked || wanted.client_id.how != Match::How::not_asked;
    if (has_client && wanted.host.how != Match::How::not_asked) {
      return refuse(KafkaError::invalid_request,
                    "Invalid entity filter component combination. IP filter component should not be used with user or clientId "
                    "filter component.");
    }
    call(out, std::move(wanted));
  }

 protected:
  void on_replies(std::vector<broker::Reply>& replies, Outbox&) override {
    Code code;
    const auto* described = reply_as<broker::DescribedQuotas>(replies[0], code);
    if (!described) return refuse(kafka_error_of(code), code_text(code));
    DescribeClientQuotasResponse response;
    response.error_message.reset();
    response.entries.emplace();
    for (const auto& one : described->entries) {
      auto& entry = response.entries->emplace_back();
      for (const auto& [type, part] : {std::pair(kUserPart, &one.entity.user), std::pair(kClientPart, &one.entity.client_id),
                                       std::pair(kHostPart, &one.entity.host)}) {
        if (part->is == QuotaPart::Is::absent) continue;
        const bool is_default = part->is == QuotaPart::Is::any;
        entry.entity.push_back({type, is_default ? std::nullopt : std::optional<std::string_view>(part->name)});
      }
      for (const auto& [kind, value] : one.values) entry.values.push_back({kKindNames[static_cast<size_t>(kind)].second, value});
    }
    answer(response);
  }

 private:
  static const char* read(const DescribeClientQuotasRequest::ComponentData& component, Match& match) {
    switch (component.match_type) {
      case kMatchExact:
        if (!component.match) return "Request specified MATCH_TYPE_EXACT, but set match string to null.";
        match = {Match::How::exact, std::string(*component.match)};
        return nullptr;
      case kMatchDefault:
        if (component.match) return "Request specified MATCH_TYPE_DEFAULT, but also specified a match string.";
        match.how = Match::How::any;
        return nullptr;
      case kMatchSpecified:
        if (component.match) return "Request specified MATCH_TYPE_SPECIFIED, but also specified a match string.";
        match.how = Match::How::specified;
        return nullptr;
      default:
        return "Unknown match type.";
    }
  }

  void refuse(KafkaError error, std::string_view text) {
    DescribeClientQuotasResponse response;
    response.error_code = wire(error);
    response.error_message = text;
    response.entries.reset();
    answer(response);
  }
};

class AlterClientQuotasExchange final : public ExchangeOf<AlterClientQuotasRequest> {
 public:
  using ExchangeOf::ExchangeOf;

  void start(Outbox& out) override {
    broker::AlterQuotas alter;
    alter.validate_only = request_.validate_only;
    rows_.resize(request_.entries.size());
    for (size_t i = 0; i < rows_.size(); ++i) {
      broker::AlterQuotas::One one;
      rows_[i] = read(request_.entries[i], one);
      if (rows_[i].error != KafkaError::none) continue;
      sent_.push_back(i);
      alter.entries.push_back(std::move(one));
    }
    if (sent_.empty()) return finish();
    call(out, std::move(alter));
  }

 protected:
  void on_replies(std::vector<broker::Reply>& replies, Outbox&) override {
    Code code;
    auto* altered = reply_as<broker::AlteredQuotas>(replies[0], code);
    for (size_t i = 0; i < sent_.size(); ++i) {
      broker::AlteredQuotas::One row{code, {}};
      if (altered)
        row = i < altered->entries.size() ? std::move(altered->entries[i]) : broker::AlteredQuotas::One{Code::internal, {}};
      if (row.code == Code::ok) continue;
      rows_[sent_[i]] = {error_of(row.code), row.detail.empty() ? std::string(code_text(row.code)) : std::move(row.detail)};
    }
    finish();
  }

 private:
  struct Row {
    KafkaError error = KafkaError::none;
    std::string text;
  };

  static KafkaError error_of(Code code) {
    if (code == Code::invalid_argument) return KafkaError::invalid_request;
    return code == Code::quota_exceeded ? KafkaError::policy_violation : kafka_error_of(code);
  }

  static Row read(const AlterClientQuotasRequest::EntryData& entry, broker::AlterQuotas::One& one) {
    for (const auto& data : entry.entity) {
      QuotaPart* part = part_of(one.entity, data.entity_type);
      if (!part) return {KafkaError::invalid_request, "Unhandled client quota entity type: " + std::string(data.entity_type)};
      if (part->is != QuotaPart::Is::absent)
        return {KafkaError::invalid_request,
                "Invalid client quota entity, duplicate entity entry " + std::string(data.entity_type)};
      *part = data.entity_name ? QuotaPart::of(std::string(*data.entity_name)) : QuotaPart::of_any();
    }
    std::map<QuotaKind, std::optional<double>> changes;
    std::set<std::string_view> named;
    for (const auto& op : entry.ops) {
      if (!named.insert(op.key).second) return {KafkaError::invalid_request, "Duplicate quota key " + std::string(op.key)};
      const std::optional<QuotaKind> kind = kind_of(op.key);
      if (!kind && op.remove) continue;
      if (!kind) return {KafkaError::invalid_request, "Invalid configuration key " + std::string(op.key)};
      changes[*kind] = op.remove ? std::nullopt : std::optional(op.value);
    }
    one.changes.assign(changes.begin(), changes.end());
    return {};
  }

  void finish() {
    AlterClientQuotasResponse response;
    for (size_t i = 0; i < rows_.size(); ++i) {
      auto& row = response.entries.emplace_back();
      row.error_code = wire(rows_[i].error);
      row.error_message = rows_[i].error == KafkaError::none ? std::nullopt : std::optional<std::string_view>(rows_[i].text);
      for (const auto& part : request_.entries[i].entity) row.entity.push_back({part.entity_type, part.entity_name});
    }
    answer(response);
  }

  std::vector<Row> rows_;     // by entry of the request
  std::vector<size_t> sent_;  // which of them the broker was asked for
};

}  // namespace

Made make_describe_client_quotas(Link& link, RequestFacts facts) {
  return std::make_unique<DescribeClientQuotasExchange>(link, std::move(facts));
}
Made make_alter_client_quotas(Link& link, RequestFacts facts) {
  return std::make_unique<AlterClientQuotasExchange>(link, std::move(facts));
}

}  // namespace robustmq::kafka
