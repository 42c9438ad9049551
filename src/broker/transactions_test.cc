// Transactions over the halls of a simulated node: what readers, followers and stored sessions see of them. Crashes at any moment
// are in transactions_crash_test.cc.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>

#include "broker/transactions_rig.h"
#include "shard/marker.h"

namespace robustmq::broker::test {
namespace {

using runtime::sim::CrashKind;

TEST_F(TransactionsTest, CommitsOverPartitionsOfSeveralCores) {
  begin();
  Client& client = kafka(1);
  Producer producer{.tid = "a", .sequences = {}};
  ASSERT_EQ(init(client, producer), Code::ok);
  for (int32_t p = 0; p < 4; ++p) ASSERT_EQ(produce(client, producer, "t", p, {"x" + std::to_string(p)}), Code::ok);
  for (int32_t p = 0; p < 4; ++p) {
    EXPECT_TRUE(read(client, "t", p).empty());
    EXPECT_EQ(read(client, "t", p, false).size(), 1u);
  }
  ASSERT_EQ(end(client, producer, true), Code::ok);
  for (int32_t p = 0; p < 4; ++p) EXPECT_EQ(read(client, "t", p), Values{"x" + std::to_string(p)});
  EXPECT_EQ(producer.epoch, 1);
  ASSERT_EQ(produce(client, producer, "t", 0, {"y"}), Code::ok);
  ASSERT_EQ(end(client, producer, false), Code::ok);
  EXPECT_EQ(read(client, "t", 0), Values{"x0"});
  rig.settle();
  const auto& metrics = rig.halls[0]->transaction_metrics();
  EXPECT_EQ(metrics.begun_total, 2u);
  EXPECT_EQ(metrics.committed_total, 1u);
  EXPECT_EQ(metrics.open, 0);
}

TEST_F(TransactionsTest, Case29ReadersOfWhatIsCommittedSkipWhatWasAborted) {
  begin(1);
  Client& client = kafka();
  Producer a{.tid = "a", .sequences = {}};
  Producer b{.tid = "b", .sequences = {}};
  ASSERT_EQ(init(client, a), Code::ok);
  ASSERT_EQ(init(client, b), Code::ok);
  ASSERT_EQ(produce(client, a, "t", 0, {"a1"}), Code::ok);
  ASSERT_EQ(produce(client, b, "t", 0, {"b1"}), Code::ok);
  ASSERT_EQ(produce_plain(client, "t", 0, {"plain"}), Code::ok);
  ASSERT_EQ(produce(client, a, "t", 0, {"a2"}), Code::ok);
  ASSERT_EQ(end(client, b, false), Code::ok);
  EXPECT_TRUE(read(client, "t", 0).empty()) << "a is open in front of all";
  ASSERT_EQ(end(client, a, true), Code::ok);
  EXPECT_EQ(read(client, "t", 0), (Values{"a1", "plain", "a2"}));
  const FetchedPartition got = fetch(client, "t", 0, 0, false);
  EXPECT_TRUE(got.aborted.empty()) << "for read_uncommitted";
  EXPECT_EQ(got.last_stable, 6) << "markers have offsets, and come with the rest";
}

TEST_F(TransactionsTest, Case37LatestIsTheLastStableOffsetForReadersOfWhatIsCommitted) {
  begin(1);
  Client& client = kafka();
  Producer a{.tid = "a", .sequences = {}};
  ASSERT_EQ(init(client, a), Code::ok);
  ASSERT_EQ(produce_plain(client, "t", 0, {"1", "2"}), Code::ok);
  ASSERT_EQ(produce(client, a, "t", 0, {"3"}), Code::ok);
  EXPECT_EQ(latest(client, "t", 0, true), 2);
  EXPECT_EQ(latest(client, "t", 0, false), 3);
  DescribeProducers describe;
  describe.topics = {{"t", {}}};
  describe.partitions = {{0, 0}};
  const auto producers = rig.ask_for<DescribedProducers>(client, std::move(describe)).partitions.at(0).producers;
  ASSERT_EQ(producers.size(), 1u);
  EXPECT_EQ(producers[0].transaction_start, 2);
  ASSERT_EQ(end(client, a, true), Code::ok);
  EXPECT_EQ(latest(client, "t", 0, true), 4);
}

TEST_F(TransactionsTest, Case54ANewProducerFencesTheZombie) {
  begin(1);
  Client& client = kafka();
  Producer zombie{.tid = "a", .sequences = {}};
  ASSERT_EQ(init(client, zombie), Code::ok);
  ASSERT_EQ(produce(client, zombie, "t", 0, {"lost"}), Code::ok);
  Client& other = kafka(2);
  Producer next{.tid = "a", .sequences = {}};
  EXPECT_EQ(init(other, next), Code::concurrent_transactions);
  init_at_last(other, next);
  EXPECT_EQ(produce(client, zombie, "t", 0, {"late"}), Code::fenced_producer);
  EXPECT_EQ(end(client, zombie, true), Code::fenced_producer);
  ASSERT_EQ(produce(other, next, "t", 0, {"mine"}), Code::ok);
  ASSERT_EQ(end(other, next, true), Code::ok);
  EXPECT_EQ(read(client, "t", 0), Values{"mine"});
}

TEST_F(TransactionsTest, Case55OneBadTopicAndNoneIsAdded) {
  begin(2);
  Client& client = kafka();
  Producer a{.tid = "a", .sequences = {}};
  ASSERT_EQ(init(client, a), Code::ok);
  AddToTransaction add{a.of(), {{"t", {}}, {"missing", {}}}, {{0, 0}, {1, 0}, {0, 1}, {0, 9}}, false};
  EXPECT_EQ(rig.ask_for<AddedToTransaction>(client, add).partitions,
            (std::vector<Code>{Code::not_attempted, Code::unknown_topic, Code::not_attempted, Code::unknown_topic}));
  EXPECT_EQ(produce(client, a, "t", 0, {"x"}, false), Code::invalid_transaction_state) << "it was not added";
  a.sequences.clear();
  add.topics.pop_back();
  add.partitions = {{0, 0}};
  EXPECT_EQ(rig.ask_for<AddedToTransaction>(client, add).partitions, std::vector<Code>{Code::ok});
  EXPECT_EQ(produce(client, a, "t", 0, {"x"}, false), Code::ok);
  ProducerOf wrong = a.of();
  wrong.id += 1;
  EXPECT_EQ(rig.ask_for<AddedToTransaction>(client, AddToTransaction{wrong, {{"t", {}}}, {{0, 0}}, false}).partitions.at(0),
            Code::invalid_producer_mapping);
  EXPECT_EQ(rig.ask_for<TransactionReply>(client, AddOffsetsToTransaction{wrong, "g"}).code, Code::invalid_producer_mapping);
}

TEST_F(TransactionsTest, AnIdOfNoTopicIsThatAndTheRestGoesOn) {
  begin();
  Client& a = kafka(1);
  Producer producer{"tid"};
  ASSERT_EQ(init(a, producer), Code::ok);
  Produce request = produce_request(producer, "t", 0, {"goes on"});
  request.topics.push_back({"", Uuid::random(1, 2)});
  request.partitions.push_back({1, 0, batch_of({"lost"}, &producer, 0), {}});
  const auto reply = rig.ask_for<Produced>(a, std::move(request));
  EXPECT_EQ(reply.partitions.at(0).code, Code::ok);
  EXPECT_EQ(reply.partitions.at(1).code, Code::unknown_topic_id);
  Produce alone = produce_request(producer, "t", 0, {"lost"});
  alone.topics = {{"", Uuid::random(1, 3)}};
  EXPECT_EQ(rig.ask_for<Produced>(a, std::move(alone)).partitions.at(0).code, Code::unknown_topic_id);
  EXPECT_EQ(end(a, producer, true), Code::ok);
  EXPECT_EQ(read(a, "t", 0), Values{"goes on"});
}

TEST_F(TransactionsTest, Case56ACommitAfterATimeoutFails) {
  begin(1);
  Client& client = kafka();
  Producer a{.tid = "a", .sequences = {}};
  ASSERT_EQ(init(client, a, 500), Code::ok);
  ASSERT_EQ(produce(client, a, "t", 0, {"x"}), Code::ok);
  rig.world.run_for(Duration::millis(700));
  EXPECT_EQ(end(client, a, true), Code::fenced_producer);
  EXPECT_EQ(produce(client, a, "t", 0, {"y"}), Code::fenced_producer);
  EXPECT_TRUE(read(client, "t", 0).empty());
  EXPECT_EQ(rig.halls[0]->transaction_metrics().timed_out_total, 1u);
}

TEST_F(TransactionsTest, Case57AParkedReaderWakesWhenTheTransactionEnds) {
  begin(1);
  Client& client = kafka();
  Client& reader = kafka(1);
  Producer a{.tid = "a", .sequences = {}};
  ASSERT_EQ(init(client, a), Code::ok);
  ASSERT_EQ(produce(client, a, "t", 0, {"x"}), Code::ok);
  Fetch request;
  request.topics = {{"t", {}}};
  request.partitions.push_back({0, 0, 0, -1, 1 << 20, -1});
  request.read_committed = true;
  request.wait_max_ms = 30'000;
  std::optional<Reply> reply;
  reader.hall->execute(reader.context, std::move(request), [&](Reply answer) { reply = std::move(answer); });
  rig.settle();
  EXPECT_FALSE(reply.has_value());
  ASSERT_EQ(end(client, a, true), Code::ok);
  ASSERT_TRUE(rig.world.run_until([&] { return reply.has_value(); }, Duration::millis(100)));
  EXPECT_FALSE(std::get<FetchReply>(*reply).partitions[0].batches.empty());
}

TEST_F(TransactionsTest, UnknownProducersBeginTheirTransactionsAtSequence0) {
  begin(1);
  Client& client = kafka();
  Producer a{.tid = "a", .sequences = {}};
  ASSERT_EQ(init(client, a), Code::ok);
  a.sequences[{"t", 0}] = 5;
  EXPECT_EQ(produce(client, a, "t", 0, {"x"}), Code::out_of_order_sequence);
  EXPECT_EQ(produce(client, a, "t", 0, {"x"}, false), Code::ok) << "before KIP-890 any sequence will do";
}

TEST_F(TransactionsTest, DescribesAndListsTransactions) {
  begin(2);
  Client& client = kafka(1);
  Producer a{.tid = "a", .sequences = {}};
  ASSERT_EQ(init(client, a), Code::ok);
  ASSERT_EQ(produce(client, a, "t", 1, {"x"}), Code::ok);
  const auto described = rig.ask_for<DescribedTransactions>(client, DescribeTransactions{{"a", "nobody"}}).transactions;
  ASSERT_EQ(described.size(), 2u);
  EXPECT_EQ(described[0].state, "Ongoing");
  EXPECT_EQ(described[0].producer_id, a.id);
  EXPECT_EQ(described[0].timeout_ms, 60'000);
  EXPECT_EQ(described[0].partitions, (std::vector<std::pair<std::string, int32_t>>{{"t", 1}}));
  EXPECT_EQ(described[1].code, Code::transaction_not_found);
  EXPECT_EQ(rig.ask_for<ListedTransactions>(client, ListTransactions{"b.*"}).transactions.size(), 0u);
  EXPECT_EQ(rig.ask_for<ListedTransactions>(client, ListTransactions{"a.*"}).transactions.size(), 1u);
  EXPECT_EQ(rig.ask_for<ListedTransactions>(client, ListTransactions{"("}).code, Code::invalid_pattern);
}

TEST_F(TransactionsTest, AnOperatorEndsWhatHangs) {
  begin(1);
  Client& client = kafka(2);
  Producer a{.tid = "a", .sequences = {}};
  ASSERT_EQ(init(client, a), Code::ok);
  ASSERT_EQ(produce(client, a, "t", 0, {"x"}), Code::ok);
  WriteMarkers write;
  write.markers.push_back({a.id, a.epoch, false, {{"t", {}}, {"missing", {}}}, {{0, 0}, {1, 0}}});
  const auto written = rig.ask_for<WrittenMarkers>(client, std::move(write)).markers;
  ASSERT_EQ(written.size(), 1u);
  EXPECT_EQ(written[0], (std::vector<Code>{Code::ok, Code::unknown_topic}));
  EXPECT_EQ(latest(client, "t", 0, true), 2);
  EXPECT_TRUE(read(client, "t", 0).empty());
}

TEST_F(TransactionsTest, ADeletedTopicDoesNotHoldUpTheEnd) {
  begin(1);
  add_topic("other", 1);
  Client& client = kafka();
  Producer a{.tid = "a", .sequences = {}};
  ASSERT_EQ(init(client, a), Code::ok);
  ASSERT_EQ(produce(client, a, "t", 0, {"x"}), Code::ok);
  ASSERT_EQ(produce(client, a, "other", 0, {"x"}), Code::ok);
  rig.metas[0]->delete_topic(rig.metas[0]->find(kDefaultTenant, "other")->id,
                             [](const Status& status) { EXPECT_TRUE(status.ok()); });
  ASSERT_EQ(end(client, a, true), Code::ok);
  EXPECT_EQ(read(client, "t", 0), Values{"x"});
}

// ---- Offsets ----

class Case55Offsets : public TransactionsTest {
 protected:
  Code commit_in(Client& client, const Producer& producer, Offset offset, bool adds = true) {
    CommitInTransaction request{producer.of(), {}, adds};
    request.commit.group = "g";
    request.commit.topics = {{"t", {}}};
    request.commit.offsets = {{0, 0, offset, -1, "note"}};
    return rig.ask_for<CommittedOffsets>(client, std::move(request)).offsets.at(0);
  }
  FetchedOffsets::One fetched(Client& client, bool require_stable) {
    FetchOffsets request;
    request.group = "g";
    request.topics = {{"t", {}}};
    request.partitions = {{0, 0}};
    request.require_stable = require_stable;
    return rig.ask_for<FetchedOffsets>(client, std::move(request)).offsets.at(0);
  }
};

TEST_F(Case55Offsets, ShowWhenTheTransactionCommits) {
  begin(1);
  Client& client = kafka(1);
  Producer a{.tid = "a", .sequences = {}};
  ASSERT_EQ(init(client, a), Code::ok);
  EXPECT_EQ(commit_in(client, a, 5, false), Code::invalid_transaction_state) << "the group is not in it";
  ASSERT_EQ(rig.ask_for<TransactionReply>(client, AddOffsetsToTransaction{a.of(), "g"}).code, Code::ok);
  ASSERT_EQ(commit_in(client, a, 5, false), Code::ok);
  EXPECT_EQ(fetched(client, false).offset, -1);
  EXPECT_EQ(fetched(client, true).code, Code::unstable_offset);
  ASSERT_EQ(end(client, a, true), Code::ok);
  EXPECT_EQ(fetched(client, true).code, Code::ok);
  EXPECT_EQ(fetched(client, true).offset, 5);
  EXPECT_EQ(fetched(client, true).metadata, "note");
  ASSERT_EQ(commit_in(client, a, 9), Code::ok) << "joined by it";
  ASSERT_EQ(commit_in(client, a, 10), Code::ok);
  ASSERT_EQ(end(client, a, false), Code::ok);
  EXPECT_EQ(fetched(client, true).offset, 5);
  CommitInTransaction wrong{a.of(), {}, true};
  wrong.commit.group = "g";
  wrong.commit.generation = 3;
  wrong.commit.member_id = "nobody";
  wrong.commit.topics = {{"t", {}}};
  wrong.commit.offsets = {{0, 0, 7, -1, ""}};
  EXPECT_NE(rig.ask_for<CommittedOffsets>(client, std::move(wrong)).offsets.at(0), Code::ok);
}

TEST_F(Case55Offsets, ArePendingOverACrash) {
  begin(1);
  Client& client = kafka();
  Producer a{.tid = "a", .sequences = {}};
  ASSERT_EQ(init(client, a), Code::ok);
  ASSERT_EQ(commit_in(client, a, 5), Code::ok);
  rig.restart(CrashKind::power);
  Client& after = kafka(2);
  EXPECT_EQ(fetched(after, true).code, Code::unstable_offset);
  ASSERT_EQ(end(after, a, true), Code::ok) << "the same producer goes on";
  EXPECT_EQ(fetched(after, true).offset, 5);
  ASSERT_EQ(commit_in(after, a, 6), Code::ok);
  rig.restart(CrashKind::power);
  Client& last = kafka(1);
  Producer next{.tid = "a", .sequences = {}};
  init_at_last(last, next);
  EXPECT_EQ(fetched(last, true).offset, 5) << "aborted";
}

// ---- Followers ----

TEST_F(TransactionsTest, FollowersGetWhatIsCommittedInOrderAndNothingElse) {
  begin(1);
  Client& client = kafka();
  Client& follower = rig.connect("follower");
  rig.open(follower, {.client_id = "follower"});
  rig.follow(follower, "t", 1);
  Client& elsewhere = kafka(2);
  rig.follow(elsewhere, "t", 0);
  Producer a{.tid = "a", .sequences = {}};
  Producer b{.tid = "b", .sequences = {}};
  ASSERT_EQ(init(client, a), Code::ok);
  ASSERT_EQ(init(client, b), Code::ok);
  ASSERT_EQ(produce(client, a, "t", 0, {"a1"}), Code::ok);
  ASSERT_EQ(produce(client, b, "t", 0, {"b1"}), Code::ok);
  ASSERT_EQ(produce_plain(client, "t", 0, {"plain"}), Code::ok);
  ASSERT_EQ(produce(client, a, "t", 0, {"a2", "a3"}), Code::ok);
  rig.settle();
  EXPECT_EQ(follower.values(), Values{"plain"}) << "who is in no transaction does not wait for one";
  ASSERT_EQ(end(client, b, false), Code::ok);
  ASSERT_EQ(end(client, a, true), Code::ok);
  rig.settle();
  EXPECT_EQ(follower.values(), (Values{"plain", "a1", "a2", "a3"}));
  EXPECT_EQ(elsewhere.values(), follower.values());
  ASSERT_EQ(produce(client, a, "t", 0, {"a4"}), Code::ok);
  ASSERT_EQ(end(client, a, true), Code::ok);
  rig.settle();
  EXPECT_EQ(follower.values().back(), "a4");
}

TEST_F(TransactionsTest, StoredSessionsAreOwedWhatIsCommitted) {
  for (const meta::Mode mode : {meta::Mode::persistent, meta::Mode::memory}) {
    SCOPED_TRACE(mode == meta::Mode::memory ? "memory" : "persistent");
    if (rig.halls.empty()) rig.start();
    const std::string topic = mode == meta::Mode::memory ? "memory" : "t";
    add_topic(topic, 1, mode);
    const std::string id = "away-" + topic;
    Client& away = rig.connect(id);
    rig.resume(away, id);
    rig.follow(away, topic, 1);
    rig.close(away);
    Client& client = kafka();
    Producer a{.tid = "tid-" + topic, .sequences = {}};
    init_at_last(client, a);
    ASSERT_EQ(produce(client, a, topic, 0, {"aborted"}), Code::ok);
    ASSERT_EQ(end(client, a, false), Code::ok);
    ASSERT_EQ(produce(client, a, topic, 0, {"one", "two"}), Code::ok);
    ASSERT_EQ(end(client, a, true), Code::ok);
    rig.settle();
    Client& back = rig.connect(id);
    rig.resume(back, id);
    rig.settle();
    EXPECT_EQ(back.values(), (Values{"one", "two"}));
  }
}

TEST_F(TransactionsTest, ALightTopicTakesPartInATransaction) {
  rig.start();
  Client& follower = rig.connect("follower");
  rig.open(follower, {.client_id = "follower"});
  rig.follow(follower, "plant/one", 1);
  ASSERT_EQ(rig.publish(follower, "plant/one", "made"), Code::ok);
  Client& client = kafka(1);
  Producer a{.tid = "a", .sequences = {}};
  ASSERT_EQ(init(client, a), Code::ok);
  ASSERT_EQ(produce(client, a, "plant.one", 0, {"in"}), Code::ok);
  rig.settle();
  EXPECT_EQ(follower.values(), Values{"made"});
  ASSERT_EQ(end(client, a, true), Code::ok);
  rig.settle();
  EXPECT_EQ(follower.values(), (Values{"made", "in"}));
}

// ---- Crashes ----

TEST_F(TransactionsTest, AbortedTransactionsAreKnownAfterARestart) {
  begin(1);
  for (const bool is_sealed : {false, true}) {
    Client& client = kafka();
    Producer a{.tid = "a", .sequences = {}};
    init_at_last(client, a);
    ASSERT_EQ(produce(client, a, "t", 0, {"void"}), Code::ok);
    ASSERT_EQ(end(client, a, false), Code::ok);
    ASSERT_EQ(produce(client, a, "t", 0, {"open"}), Code::ok);
    if (is_sealed) {
      size_t sealed = 0;
      for (auto& hall : rig.halls) hall->seal([&](const Status&) { ++sealed; });
      ASSERT_TRUE(rig.world.run_until([&] { return sealed == rig.halls.size(); }, Duration::seconds(10)));
    }
    rig.restart(CrashKind::power);
    Client& reader = kafka(1);
    EXPECT_TRUE(read(reader, "t", 0).empty()) << "one is open";
    Producer next{.tid = "a", .sequences = {}};
    init_at_last(reader, next);
    EXPECT_TRUE(read(reader, "t", 0).empty()) << "aborted";
    EXPECT_EQ(latest(reader, "t", 0, true), latest(reader, "t", 0, false));
  }
}

TEST_F(TransactionsTest, AStreamIsReadWithoutWhatWasAborted) {
  begin(1);
  Client& client = kafka();
  Producer a{.tid = "a", .sequences = {}};
  init_at_last(client, a);
  Client& early = kafka(1);
  const auto read_all = [&](Client& reader) {
    const auto stream = std::make_shared<StreamRead>(StreamRead{"t", {{StreamRead::Start::At::earliest}}});
    rig.ask_for<Followed>(reader, Follow{{{.filter = {}, .share = {}, .stream = stream, .qos_max = 1}}});
  };
  read_all(early);
  ASSERT_EQ(produce_plain(client, "t", 0, {"plain"}), Code::ok);
  for (const char* value : {"aborted", "again"}) {
    ASSERT_EQ(produce(client, a, "t", 0, {value}), Code::ok);
    ASSERT_EQ(end(client, a, false), Code::ok);
  }
  ASSERT_EQ(produce(client, a, "t", 0, {"one", "two"}), Code::ok);
  rig.settle();
  EXPECT_EQ(early.values(), (Values{"plain"})) << "nothing at or past what is open";
  ASSERT_EQ(end(client, a, true), Code::ok);
  ASSERT_EQ(produce_plain(client, "t", 0, {"last"}), Code::ok);
  rig.settle();
  EXPECT_EQ(early.values(), (Values{"plain", "one", "two", "last"}));
  Client& late = kafka(2);
  read_all(late);
  rig.settle();
  EXPECT_EQ(late.values(), early.values());
}

}  // namespace
}  // namespace robustmq::broker::test
