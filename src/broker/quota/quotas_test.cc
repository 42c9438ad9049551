// Quotas of a node: stored, known to every core, looked up, counted; on nodes of one and of three cores.
#include "broker/quota/quotas.h"

#include <gtest/gtest.h>

#include "broker/hall_rig.h"

namespace robustmq::broker {
namespace {

using Part = QuotaPart;
using How = DescribeQuotas::Match::How;

const QuotaEntity kClientA{{}, Part::of("a"), {}};
const QuotaEntity kAnyClient{{}, Part::of_any(), {}};
const QuotaEntity kHost{{}, {}, Part::of("::ffff:192.0.2.7")};

Code set_quota(HallRig& rig, RigClient& client, const QuotaEntity& entity, QuotaKind kind, std::optional<double> value) {
  AlterQuotas alter;
  alter.entries.push_back({entity, {{kind, value}}});
  return rig.ask_for<AlteredQuotas>(client, std::move(alter)).entries.at(0).code;
}
FoundQuotas find_quotas(HallRig& rig, RigClient& client, std::string client_id) {
  return rig.ask_for<FoundQuotas>(client, FindQuotas{std::move(client_id)});
}
double rate_of(const FoundQuotas& found, QuotaKind kind) {
  const auto& bucket = found.buckets[static_cast<size_t>(kind)];
  return bucket ? bucket->per_second() : 0;
}

class Case67Quotas : public testing::TestWithParam<int> {};

TEST_P(Case67Quotas, AreInForceOnEveryCoreWhenAnswered) {
  HallRig rig(GetParam());
  rig.start();
  EXPECT_EQ(rig.board->changes.load(), 0u) << "without quotas nobody asks";
  RigClient& admin = rig.client(1);
  EXPECT_EQ(set_quota(rig, admin, kAnyClient, QuotaKind::produce, 1000), Code::ok);
  EXPECT_TRUE(rig.board->limits_clients);
  EXPECT_FALSE(rig.board->limits_hosts);
  const uint64_t before = rig.board->changes;
  FoundQuotas held[3];
  for (size_t core = 0; core < 3; ++core) {
    held[core] = find_quotas(rig, rig.client(core), "a");
    EXPECT_EQ(held[core].changes, before);
    EXPECT_EQ(held[core].buckets[0], held[0].buckets[0]) << "the cores share the bucket";
  }
  EXPECT_NE(find_quotas(rig, admin, "b").buckets[0], held[0].buckets[0]) << "a default is each one's own";
  held[0].buckets[0]->take(rig.node.core(0).now(), 20'000);
  EXPECT_EQ(set_quota(rig, admin, kClientA, QuotaKind::produce, 500), Code::ok);
  EXPECT_GT(rig.board->changes, before);
  const FoundQuotas after = find_quotas(rig, rig.client(2), "a");
  EXPECT_EQ(rate_of(after, QuotaKind::produce), 500);
  EXPECT_EQ(after.buckets[0], held[0].buckets[0]) << "what was used counts on";
  EXPECT_EQ(set_quota(rig, admin, kClientA, QuotaKind::produce, std::nullopt), Code::ok);
  EXPECT_EQ(set_quota(rig, admin, kAnyClient, QuotaKind::produce, std::nullopt), Code::ok);
  EXPECT_FALSE(rig.board->limits_clients);
  EXPECT_EQ(rate_of(find_quotas(rig, admin, "a"), QuotaKind::produce), 0);
}

TEST_P(Case67Quotas, OutliveACrash) {
  for (const auto kind : {runtime::sim::CrashKind::process, runtime::sim::CrashKind::power}) {
    HallRig rig(GetParam());
    rig.start();
    RigClient& admin = rig.client(0);
    const QuotaEntity both{Part::of(std::string("u\0x", 3)), Part::of_any(), {}};
    EXPECT_EQ(set_quota(rig, admin, kClientA, QuotaKind::fetch, 4096), Code::ok);
    EXPECT_EQ(set_quota(rig, admin, kClientA, QuotaKind::request, 12.5), Code::ok);
    EXPECT_EQ(set_quota(rig, admin, both, QuotaKind::mutation, 0.5), Code::ok);
    EXPECT_EQ(set_quota(rig, admin, kHost, QuotaKind::connection, 3), Code::ok);
    EXPECT_EQ(set_quota(rig, admin, kAnyClient, QuotaKind::fetch, 1), Code::ok);
    EXPECT_EQ(set_quota(rig, admin, kAnyClient, QuotaKind::fetch, std::nullopt), Code::ok);
    const auto before = rig.ask_for<DescribedQuotas>(admin, DescribeQuotas{});
    ASSERT_EQ(before.entries.size(), 3u);
    rig.crash(kind);
    rig.start();
    const auto after = rig.ask_for<DescribedQuotas>(rig.client(1), DescribeQuotas{});
    ASSERT_EQ(after.entries.size(), 3u);
    for (size_t i = 0; i < 3; ++i) {
      EXPECT_EQ(after.entries[i].entity, before.entries[i].entity);
      EXPECT_EQ(after.entries[i].values, before.entries[i].values);
    }
    EXPECT_TRUE(rig.board->limits_clients);
    EXPECT_TRUE(rig.board->limits_hosts);
    EXPECT_EQ(rate_of(find_quotas(rig, rig.client(1), "a"), QuotaKind::request), 12.5);
  }
}

TEST_P(Case67Quotas, UseTheUserThatTheConnectionHas) {
  HallRig rig(GetParam());
  rig.start();
  RigClient& somebody = rig.client(1);
  somebody.context.principal.name = "somebody";
  RigClient& nobody = rig.client(2);
  EXPECT_EQ(set_quota(rig, nobody, {Part::of("somebody"), {}, {}}, QuotaKind::produce, 7), Code::ok);
  EXPECT_EQ(set_quota(rig, nobody, {Part::of("ANONYMOUS"), {}, {}}, QuotaKind::produce, 8), Code::ok);
  EXPECT_EQ(rate_of(find_quotas(rig, somebody, "x"), QuotaKind::produce), 7);
  EXPECT_EQ(find_quotas(rig, somebody, "x").buckets[0], find_quotas(rig, somebody, "y").buckets[0]) << "a user's clients share";
  EXPECT_EQ(rate_of(find_quotas(rig, nobody, "x"), QuotaKind::produce), 8);
}

TEST_P(Case67Quotas, CountConnectionsOfAHost) {
  HallRig rig(GetParam());
  rig.quota.window_num = 3;
  rig.start();
  EXPECT_EQ(set_quota(rig, rig.client(0), kHost, QuotaKind::connection, 2), Code::ok);
  const auto wait = [&](size_t core, const char* host) {
    RigClient& client = rig.client(core);
    client.context.host = host;
    return rig.ask_for<CountedConnection>(client, CountConnection{}).wait;
  };
  int let_in = 0;
  for (size_t i = 0; i < 20; ++i) let_in += wait(i, "192.0.2.7") == Duration{};
  EXPECT_EQ(let_in, 5) << "two windows' worth, and the one that overdraws it";
  EXPECT_LE(wait(1, "192.0.2.7"), Duration::seconds(2));
  EXPECT_EQ(wait(2, "192.0.2.8"), Duration{});
  const Instant from = rig.node.core(0).now();
  for (; let_in < 25; rig.settle(Duration::millis(20))) let_in += wait(1, "192.0.2.7") == Duration{};
  const double seconds = static_cast<double>((rig.node.core(0).now() - from).ns) / 1e9;
  EXPECT_NEAR(20 / seconds, 2, 0.2) << "who is not let in is not counted";
}

INSTANTIATE_TEST_SUITE_P(Cores, Case67Quotas, testing::Values(1, 3));

TEST(Quotas, AnswerEachEntryAndChangeNothingThatIsOnlyAsked) {
  HallRig rig(1);
  rig.quota.entities_max = 2;
  rig.start();
  RigClient& admin = rig.client(0);
  AlterQuotas alter;
  alter.entries.push_back({kClientA, {{QuotaKind::produce, 10}, {QuotaKind::connection, 1}}});  // all or none
  alter.entries.push_back({kAnyClient, {{QuotaKind::produce, 10}}});
  alter.entries.push_back({kAnyClient, {{QuotaKind::fetch, 11}}});
  alter.entries.push_back({kHost, {{QuotaKind::connection, 1}}});
  alter.entries.push_back({kClientA, {{QuotaKind::produce, 12}}});
  alter.validate_only = true;
  const Code codes[] = {Code::invalid_argument, Code::ok, Code::ok, Code::ok, Code::quota_exceeded};
  for (const bool is_asked_only : {true, false}) {
    AlterQuotas again{alter.entries, is_asked_only};
    const auto altered = rig.ask_for<AlteredQuotas>(admin, std::move(again));
    ASSERT_EQ(altered.entries.size(), 5u);
    for (size_t i = 0; i < 5; ++i) EXPECT_EQ(altered.entries[i].code, codes[i]) << i;
    EXPECT_EQ(rig.rows("quota/"), is_asked_only ? 0u : 2u);
  }
  const auto described = rig.ask_for<DescribedQuotas>(admin, DescribeQuotas{{}, {How::any, {}}, {}, true});
  ASSERT_EQ(described.entries.size(), 1u);
  EXPECT_EQ(described.entries[0].values.size(), 2u);
  EXPECT_EQ(rig.hall(0).quota_metrics().refused_entities_total, 2u);
  EXPECT_EQ(rig.hall(0).quota_metrics().entities, 2);
}

TEST(Quotas, WhatCouldNotBeStoredDoesNotHold) {
  HallRig rig(3);
  rig.start();
  rig.kv().is_full = true;
  EXPECT_EQ(set_quota(rig, rig.client(1), kClientA, QuotaKind::produce, 1), Code::storage_full);
  EXPECT_FALSE(rig.board->limits_clients);
  EXPECT_EQ(rig.hall(0).quota_metrics().row_failures_total, 1u);
  rig.kv().is_full = false;
  EXPECT_EQ(set_quota(rig, rig.client(1), kClientA, QuotaKind::produce, 1), Code::ok);
}

TEST(Quotas, ChangesThatComeTogetherAreAllKept) {
  HallRig rig(3);
  rig.start();
  int answered = 0;
  for (size_t i = 0; i < 12; ++i) {
    AlterQuotas alter;
    alter.entries.push_back({kClientA, {{static_cast<QuotaKind>(i % 4), 1.0 + static_cast<double>(i)}}});
    RigClient& client = rig.client(i);
    client.hall->execute(client.context, std::move(alter), [&](const Reply&) { ++answered; });
  }
  ASSERT_TRUE(rig.world.run_until([&] { return answered == 12; }, Duration::seconds(10)));
  const auto described = rig.ask_for<DescribedQuotas>(rig.client(0), DescribeQuotas{});
  ASSERT_EQ(described.entries.size(), 1u);
  EXPECT_EQ(described.entries[0].values.size(), 4u) << "none was lost to another that was under way";
}

TEST(Quotas, ForgetBucketsThatAreFullAndUnused) {
  HallRig rig(1);
  rig.quota.buckets_max = 3;
  rig.start();
  EXPECT_EQ(set_quota(rig, rig.client(0), kAnyClient, QuotaKind::produce, 10), Code::ok);
  const FoundQuotas held = find_quotas(rig, rig.client(0), "held");
  find_quotas(rig, rig.client(0), "used").buckets[0]->take(rig.node.core(0).now(), 10'000);
  find_quotas(rig, rig.client(0), "left");
  EXPECT_EQ(rig.hall(0).quota_metrics().buckets, 3);
  rig.settle(Duration::seconds(2));
  EXPECT_TRUE(find_quotas(rig, rig.client(0), "next").buckets[0]) << "in the place of the one that was left";
  EXPECT_TRUE(std::holds_alternative<Error>(rig.ask(rig.client(0), FindQuotas{"more"})));
  EXPECT_EQ(rig.hall(0).quota_metrics().refused_buckets_total, 1u);
  EXPECT_GT(find_quotas(rig, rig.client(0), "used").buckets[0]->owed(rig.node.core(0).now()), Duration{})
      << "coming back does not give more";
}

}  // namespace
}  // namespace robustmq::broker
