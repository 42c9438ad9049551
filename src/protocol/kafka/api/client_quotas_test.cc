// DescribeClientQuotas and AlterClientQuotas: what goes to the broker, what comes back, and what is refused as Kafka refuses it.
#include <gtest/gtest.h>

#include "protocol/kafka/errors.h"
#include "protocol/kafka/frames/all.h"
#include "protocol/kafka/testing.h"

namespace robustmq::kafka {
namespace {

using K = KafkaError;
using broker::QuotaEntity;
using broker::QuotaKind;
using Part = broker::QuotaPart;
using How = broker::DescribeQuotas::Match::How;
using Entry = AlterClientQuotasRequest::EntryData;

TEST(Case67AlterClientQuotas, AsksForEachEntryAndAnswersIt) {
  for (int version = 0; version <= 1; ++version) {
    ConnectionHarness link;
    AlterClientQuotasRequest request;
    request.validate_only = version == 1;
    request.entries.push_back(Entry{{{"user", "u"}, {"client-id", std::nullopt}},
                                    {{"producer_byte_rate", 1000, false}, {"request_percentage", 0, true}}});
    request.entries.push_back(Entry{{{"ip", "192.0.2.1"}}, {{"connection_creation_rate", 5, false}}});
    request.entries.push_back(Entry{{{"ip", std::nullopt}}, {{"connection_creation_rate", 6, false}}});
    request.entries.push_back(Entry{{}, {{"producer_byte_rate", 1, false}}});
    link.feed(request_bytes(request, version, 1));
    const auto asked = link.take_call<broker::AlterQuotas>();
    EXPECT_EQ(asked.validate_only, version == 1);
    ASSERT_EQ(asked.entries.size(), 4u);
    EXPECT_EQ(asked.entries[0].entity, (QuotaEntity{Part::of("u"), Part::of_any(), {}}));
    ASSERT_EQ(asked.entries[0].changes.size(), 2u);
    EXPECT_EQ(asked.entries[0].changes[0], (std::pair<QuotaKind, std::optional<double>>(QuotaKind::produce, 1000)));
    EXPECT_EQ(asked.entries[0].changes[1], (std::pair<QuotaKind, std::optional<double>>(QuotaKind::request, std::nullopt)));
    EXPECT_EQ(asked.entries[1].entity, (QuotaEntity{{}, {}, Part::of("192.0.2.1")}));
    EXPECT_EQ(asked.entries[3].entity, QuotaEntity{});
    link.reply_to_taken(broker::AlteredQuotas{{{},
                                               {Code::quota_exceeded, "full"},
                                               {Code::storage_full, {}},
                                               {Code::invalid_argument, "Invalid empty client quota entity"}}});
    const auto answer = link.take<AlterClientQuotasResponse>(version);
    EXPECT_EQ(answer.fault, "");
    ASSERT_EQ(answer.body.entries.size(), 4u);
    const K errors[] = {K::none, K::policy_violation, K::kafka_storage_error, K::invalid_request};
    for (size_t i = 0; i < 4; ++i) {
      EXPECT_EQ(answer.body.entries[i].error_code, wire(errors[i])) << i;
      EXPECT_EQ(answer.body.entries[i].error_message.has_value(), i > 0) << i;
      EXPECT_EQ(answer.body.entries[i].entity.size(), request.entries[i].entity.size());
    }
    EXPECT_EQ(answer.body.entries[0].entity[1].entity_name, std::nullopt) << "the default";
  }
}

TEST(Case67AlterClientQuotas, RefusesWhatHasNoPlaceWithoutAsking) {
  ConnectionHarness link;
  AlterClientQuotasRequest request;
  request.entries.push_back(Entry{{{"group", "g"}}, {{"producer_byte_rate", 1, false}}});
  request.entries.push_back(Entry{{{"user", "u"}, {"user", "v"}}, {{"producer_byte_rate", 1, false}}});
  request.entries.push_back(Entry{{{"user", "u"}}, {{"leader.replication.throttled.rate", 1, false}}});
  link.feed(request_bytes(request, 1, 1));
  EXPECT_TRUE(link.calls().empty());
  const auto answer = link.take<AlterClientQuotasResponse>(1);
  ASSERT_EQ(answer.body.entries.size(), 3u);
  for (const auto& row : answer.body.entries) EXPECT_EQ(row.error_code, wire(K::invalid_request));
  EXPECT_EQ(answer.body.entries[0].error_message, "Unhandled client quota entity type: group");
  EXPECT_EQ(answer.body.entries[1].error_message, "Invalid client quota entity, duplicate entity entry user");
  EXPECT_EQ(answer.body.entries[2].error_message, "Invalid configuration key leader.replication.throttled.rate");
}

TEST(Case67AlterClientQuotas, RefusesAnOperationNamedTwiceAndPassesOverRemovingWhatIsNone) {
  ConnectionHarness link;
  AlterClientQuotasRequest request;
  request.entries.push_back(Entry{{{"user", "u"}}, {{"producer_byte_rate", 1, false}, {"producer_byte_rate", 2, true}}});
  request.entries.push_back(Entry{{{"user", "v"}}, {{"nosuch", 1, true}, {"producer_byte_rate", 2, false}}});
  link.feed(request_bytes(request, 1, 1));
  const auto asked = link.take_call<broker::AlterQuotas>();
  ASSERT_EQ(asked.entries.size(), 1u);
  ASSERT_EQ(asked.entries[0].changes.size(), 1u);
  EXPECT_EQ(asked.entries[0].changes[0].second, 2.0);
  link.reply_to_taken(broker::AlteredQuotas{{{}}});
  const auto answer = link.take<AlterClientQuotasResponse>(1);
  EXPECT_EQ(answer.body.entries.at(0).error_code, wire(K::invalid_request));
  EXPECT_EQ(answer.body.entries.at(1).error_code, 0);
}

TEST(Case67DescribeClientQuotas, AsksByItsComponents) {
  for (int version = 0; version <= 1; ++version) {
    ConnectionHarness link;
    DescribeClientQuotasRequest request;
    request.strict = true;
    request.components.push_back({"user", 0, "u"});
    request.components.push_back({"client-id", 1, std::nullopt});
    link.feed(request_bytes(request, version, 1));
    const auto asked = link.take_call<broker::DescribeQuotas>();
    EXPECT_TRUE(asked.strict);
    EXPECT_EQ(asked.user.how, How::exact);
    EXPECT_EQ(asked.user.name, "u");
    EXPECT_EQ(asked.client_id.how, How::any);
    EXPECT_EQ(asked.host.how, How::not_asked);
    link.reply_to_taken(
        broker::DescribedQuotas{{{{Part::of("u"), Part::of_any(), {}}, {{QuotaKind::fetch, 2.0}, {QuotaKind::mutation, 0.5}}}}});
    const auto answer = link.take<DescribeClientQuotasResponse>(version);
    EXPECT_EQ(answer.fault, "");
    EXPECT_EQ(answer.body.error_code, 0);
    ASSERT_TRUE(answer.body.entries.has_value());
    ASSERT_EQ(answer.body.entries->size(), 1u);
    const auto& entry = answer.body.entries->at(0);
    ASSERT_EQ(entry.entity.size(), 2u);
    EXPECT_EQ(entry.entity[0].entity_type, "user");
    EXPECT_EQ(entry.entity[0].entity_name, "u");
    EXPECT_EQ(entry.entity[1].entity_type, "client-id");
    EXPECT_EQ(entry.entity[1].entity_name, std::nullopt);
    ASSERT_EQ(entry.values.size(), 2u);
    EXPECT_EQ(entry.values[0].key, "consumer_byte_rate");
    EXPECT_EQ(entry.values[1].key, "controller_mutation_rate");
    EXPECT_EQ(entry.values[1].value, 0.5);
  }
}

TEST(Case67DescribeClientQuotas, RefusesFiltersThatAreNone) {
  using Component = DescribeClientQuotasRequest::ComponentData;
  const std::pair<std::vector<Component>, K> cases[] = {{{{"", 0, "u"}}, K::invalid_request},
                                                        {{{"group", 0, "g"}}, K::unsupported_version},
                                                        {{{"user", 0, "u"}, {"user", 0, "v"}}, K::invalid_request},
                                                        {{{"user", 0, std::nullopt}}, K::invalid_request},
                                                        {{{"user", 1, "u"}}, K::invalid_request},
                                                        {{{"user", 2, "u"}}, K::invalid_request},
                                                        {{{"user", 3, std::nullopt}}, K::invalid_request},
                                                        {{{"user", 0, "u"}, {"ip", 2, std::nullopt}}, K::invalid_request}};
  for (const auto& [components, error] : cases) {
    ConnectionHarness link;
    DescribeClientQuotasRequest request;
    request.components = components;
    link.feed(request_bytes(request, 1, 1));
    EXPECT_TRUE(link.calls().empty());
    const auto answer = link.take<DescribeClientQuotasResponse>(1);
    EXPECT_EQ(answer.body.error_code, wire(error));
    EXPECT_TRUE(answer.body.error_message.has_value());
    EXPECT_FALSE(answer.body.entries.has_value());
  }
}

}  // namespace
}  // namespace robustmq::kafka
