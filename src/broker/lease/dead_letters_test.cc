// Dead letters of share groups (KIP-1191): what is written where, what stands in the way, and what crashes leave.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <set>

#include "broker/gather.h"
#include "broker/lease/lease_rig.h"

namespace robustmq::broker::test {
namespace {

using runtime::sim::CrashKind;

struct Letter {
  std::string key, value;
  bool has_value = false;
  std::map<std::string, std::string> headers;
  std::string at(const std::string& name) const {
    const auto found = headers.find("__dlq.errors." + name);
    return found == headers.end() ? "(none)" : found->second;
  }
};

class DeadLettersTest : public LeaseTest {
 protected:
  using LeaseTest::LeaseTest;

  void add_letters_topic(const std::string& name, int32_t partitions = 1, bool takes = true) {
    CreateTopics request;
    request.topics.push_back({name, partitions, -1, {{"takes_dead_letters", takes ? "true" : "false"}}});
    EXPECT_EQ(rig.ask_for<CreatedTopics>(kafka(), std::move(request)).topics.at(0).code, Code::ok);
  }
  void change(const std::string& topic, const std::string& name, const std::string& value) {
    ConfigureTopics request;
    request.topics.push_back({topic, false, {{name, value}}});
    EXPECT_EQ(rig.ask_for<ConfiguredTopics>(kafka(), std::move(request)).topics.at(0).code, Code::ok);
  }
  std::vector<Letter> letters(const std::string& topic, int32_t partition = 0) {
    Fetch request;
    request.topics = {{topic, {}}};
    FetchPartition one;
    one.partition = partition;
    one.bytes_max = 64 << 20;
    request.partitions.push_back(one);
    request.bytes_max = 64 << 20;
    const FetchReply fetched = rig.ask_for<FetchReply>(kafka(), std::move(request));
    EXPECT_EQ(fetched.partitions.at(0).code, Code::ok);
    std::optional<Bytes> bytes;
    gather(rig.node.core(0), fetched.partitions.at(0).batches, [&](Result<Bytes> got) { bytes = got.take(); });
    EXPECT_TRUE(rig.world.run_until([&] { return bytes.has_value(); }, Duration::seconds(10)));
    std::vector<Letter> all;
    for (ByteSpan rest = bytes->span(); !rest.empty();) {
      const BatchView batch(rest.first(*BatchView::size_at(rest)));
      rest = rest.subspan(batch.total_size());
      RecordReader reader(batch, batch.records());
      RecordView record;
      while (reader.next(record)) {
        Letter& letter = all.emplace_back();
        if (record.key) letter.key = as_text(*record.key);
        letter.has_value = record.value.has_value();
        if (record.value) letter.value = as_text(*record.value);
        HeaderReader headers(record);
        HeaderView header;
        while (headers.next(header)) letter.headers.emplace(header.key, as_text(*header.value));
      }
    }
    return all;
  }
  int64_t waiting() {
    int64_t sum = 0;
    for (const auto& hall : rig.halls) sum += hall->lease_metrics().dead_letters_waiting;
    return sum;
  }
  uint64_t count(uint64_t LeaseMetrics::* member) {
    uint64_t sum = 0;
    for (const auto& hall : rig.halls) sum += hall->lease_metrics().*member;
    return sum;
  }
  Code reject(Client& client, Offset first, Offset last, int32_t partition = 0) {
    return settle(client, "a", {{first, last, What::reject}}, partition);
  }
};

TEST_F(DeadLettersTest, ARejectedRecordGetsALetterAndIsDoneThen) {
  begin(3);
  add_letters_topic("dlq.t", 2);
  Client& a = kafka();
  set(a, "share_dead_letter_topic", "dlq.t");
  produce(a, {"0", "1", "2"}, 2);
  EXPECT_EQ(records_of(leased(a, ask("a", 9, {2})).partitions.at(0)).size(), 3u);
  EXPECT_EQ(settle(a, "a", {{0, 1, What::reject}, {2, 2, What::accept}}, 2), Code::ok);
  rig.settle();
  EXPECT_TRUE(letters("dlq.t", 1).empty());
  const std::vector<Letter> all = letters("dlq.t", 0);
  ASSERT_EQ(all.size(), 2u) << "partition 2 of 2";
  EXPECT_EQ(all[1].at("topic"), "t");
  EXPECT_EQ(all[1].at("partition"), "2");
  EXPECT_EQ(all[0].at("offset"), "0");
  EXPECT_EQ(all[1].at("offset"), "1");
  EXPECT_EQ(all[1].at("group"), "g");
  EXPECT_EQ(all[1].at("delivery.count"), "1");
  EXPECT_EQ(all[1].at("message"), "Offset rejected by client.");
  EXPECT_FALSE(all[1].has_value) << "not copied unless asked for";
  EXPECT_EQ(count(&LeaseMetrics::dead_letters_written_total), 2u);
  EXPECT_EQ(waiting(), 0);
  EXPECT_TRUE(records_of(leased(a, ask("b", 9, {2})).partitions.at(0)).empty());
}

TEST_F(DeadLettersTest, TheLimitOfDeliveriesSaysSoAndCopiesWhatWasAskedFor) {
  begin();
  add_letters_topic("dlq.t");
  Client& a = kafka();
  set(a, "share_dead_letter_topic", "dlq.t");
  set(a, "share_dead_letter_copies", "true");
  set(a, "share_delivery_count_limit", "2");
  BatchBuilder builder;
  builder.begin_record(1000, as_bytes("k0"), as_bytes("v0"));
  builder.end_record();
  builder.begin_record(1000, std::nullopt, as_bytes("v1"));
  builder.add_header("own", as_bytes("not copied"));
  builder.end_record();
  Produce request;
  request.topics = {{"t", {}}};
  request.partitions.push_back({0, 0, builder.finish(), {}});
  rig.ask_for<Produced>(a, std::move(request));
  produce(a, {"v2"});
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(lease(a, "a", 9).size(), 3u);
    // Out of their order, so that they die in it.
    for (const Offset offset : {2, 0, 1}) EXPECT_EQ(settle(a, "a", {{offset, offset, What::release}}), Code::ok);
  }
  rig.settle();
  std::vector<Letter> all = letters("dlq.t");
  ASSERT_EQ(all.size(), 3u);
  std::sort(all.begin(), all.end(), [](const Letter& x, const Letter& y) { return x.at("offset") < y.at("offset"); });
  EXPECT_EQ(all[0].key + "=" + all[0].value, "k0=v0");
  EXPECT_EQ(all[1].key + "=" + all[1].value, "=v1");
  EXPECT_EQ(all[1].headers.size(), 6u);
  EXPECT_EQ(all[2].value, "v2");
  EXPECT_EQ(all[2].at("delivery.count"), "2");
  EXPECT_EQ(all[2].at("message"), "Offset delivery count exceeded the threshold.");
  EXPECT_EQ(described(a).start, 3);
}

TEST_F(DeadLettersTest, WhatCannotBeWrittenStaysDeadAndIsTriedAgain) {
  begin();
  Client& a = kafka();
  set(a, "share_dead_letter_topic", "dlq.t");
  produce(a, {"0", "1"});
  EXPECT_EQ(lease(a, "a", 2).size(), 2u);
  EXPECT_EQ(reject(a, 0, 0), Code::ok);
  EXPECT_EQ(accept(a, "a", 1, 1), Code::ok);
  rig.world.run_for(Duration::seconds(10));
  EXPECT_EQ(waiting(), 1) << "the topic is not there";
  EXPECT_GE(count(&LeaseMetrics::dead_letters_failed_total), 3u);
  EXPECT_EQ(described(a).start, 0) << "not done";
  produce(a, {"2"});
  EXPECT_EQ(offsets(lease(a, "b", 9)), Offsets{2}) << "the others go on, and nobody gets the dead one";
  add_letters_topic("dlq.t", 1, false);
  rig.world.run_for(Duration::seconds(40));
  EXPECT_EQ(waiting(), 1) << "the topic takes none";
  change("dlq.t", "takes_dead_letters", "true");
  rig.world.run_for(Duration::seconds(40));
  EXPECT_EQ(waiting(), 0);
  EXPECT_EQ(letters("dlq.t").size(), 1u);
  EXPECT_EQ(described(a).start, 2);
}

TEST_F(DeadLettersTest, TakesPersistentTopicsOnlyAndNoneThatIsCompactedWithoutKeys) {
  begin();
  rig.add_topic("dlq.m", 1, meta::Mode::memory);
  change("dlq.m", "takes_dead_letters", "true");
  Client& a = kafka();
  set(a, "share_dead_letter_topic", "dlq.m");
  produce(a, {"0"});
  EXPECT_EQ(lease(a, "a", 1).size(), 1u);
  EXPECT_EQ(reject(a, 0, 0), Code::ok);
  rig.world.run_for(Duration::seconds(2));
  EXPECT_EQ(waiting(), 1);
  add_letters_topic("dlq.c");
  change("dlq.c", "cleanup_policy", "compact");
  set(a, "share_dead_letter_topic", "dlq.c");
  rig.world.run_for(Duration::seconds(2));
  EXPECT_EQ(waiting(), 1);
  set(a, "share_dead_letter_topic", "");
  rig.world.run_for(Duration::seconds(2));
  EXPECT_EQ(waiting(), 0) << "nobody wants letters any more";
  EXPECT_EQ(described(a).start, 1);
}

TEST_F(DeadLettersTest, NamesMustSuit) {
  begin();
  Client& a = kafka();
  const auto code_of = [&](const std::string& name) {
    ConfigureGroups request;
    request.groups.push_back({"g", false, {{"share_dead_letter_topic", name}}});
    return rig.ask_for<ConfiguredGroups>(a, std::move(request)).groups.at(0).code;
  };
  EXPECT_EQ(code_of("t"), Code::invalid_config) << "the prefix";
  EXPECT_EQ(code_of("dlq./"), Code::invalid_config);
  EXPECT_EQ(code_of("dlq.t"), Code::ok);
}

TEST_F(DeadLettersTest, TheTopicIsMadeWhereTheNodeSaysSo) {
  rig.group_options.share_dead_letter_topics_made = true;
  begin(2);
  Client& a = kafka();
  set(a, "share_dead_letter_topic", "dlq.made");
  for (const int32_t partition : {0, 1}) {
    produce(a, {"x"}, partition);
    EXPECT_EQ(records_of(leased(a, ask("a", 9, {partition})).partitions.at(0)).size(), 1u);
  }
  SettleLeases both{"g", "a", {{"t", {}}}, {{0, 0, {{0, 0, What::reject}}}, {0, 1, {{0, 0, What::reject}}}}};
  EXPECT_EQ(rig.ask_for<LeasesSettled>(a, std::move(both)).settled, (std::vector<Code>{Code::ok, Code::ok}));
  rig.world.run_for(Duration::seconds(5));
  EXPECT_EQ(letters("dlq.made").size(), 2u);
  EXPECT_EQ(waiting(), 0);
}

TEST_F(DeadLettersTest, WithoutRoomForACopyTheLetterGoesAlone) {
  begin();
  add_letters_topic("dlq.t");
  change("dlq.t", "message_bytes_max", "1000");
  Client& a = kafka();
  set(a, "share_dead_letter_topic", "dlq.t");
  set(a, "share_dead_letter_copies", "true");
  produce(a, {std::string(5'000, 'x'), "small"});
  EXPECT_EQ(lease(a, "a", 2).size(), 2u);
  EXPECT_EQ(reject(a, 0, 1), Code::ok);
  rig.settle();
  const std::vector<Letter> all = letters("dlq.t");
  ASSERT_EQ(all.size(), 2u);
  EXPECT_FALSE(all[0].has_value);
  EXPECT_EQ(all[1].value, "small");
  EXPECT_EQ(count(&LeaseMetrics::dead_letters_without_copy_total), 1u);
}

TEST_F(DeadLettersTest, RetentionTakesTheCopyAndNotTheLetter) {
  begin();
  Client& a = kafka();
  set(a, "share_dead_letter_topic", "dlq.t");
  set(a, "share_dead_letter_copies", "true");
  produce(a, {"0", "1", "2"});
  EXPECT_EQ(lease(a, "a", 2).size(), 2u);
  EXPECT_EQ(reject(a, 0, 0), Code::ok);
  DeleteRecords request;
  request.topics = {{"t", {}}};
  request.partitions.push_back({0, 0, 2});
  EXPECT_EQ(rig.ask_for<DeletedRecords>(a, std::move(request)).partitions.at(0).code, Code::ok);
  EXPECT_EQ(offsets(lease(a, "b", 9)), Offsets{2});
  EXPECT_EQ(accept(a, "a", 1, 1), Code::ok) << "it is gone, and so is done";
  rig.restart(CrashKind::power);
  add_letters_topic("dlq.t");
  rig.world.run_for(Duration::seconds(40));
  const std::vector<Letter> all = letters("dlq.t");
  ASSERT_EQ(all.size(), 1u) << "without anybody who reads the group's records";
  EXPECT_EQ(all[0].at("offset"), "0");
  EXPECT_FALSE(all[0].has_value);
}

TEST_F(DeadLettersTest, ManyDeadLettersGoInParts) {
  begin();
  add_letters_topic("dlq.t");
  Client& a = kafka();
  set(a, "share_dead_letter_topic", "dlq.t");
  set(a, "share_dead_letter_copies", "true");
  for (int i = 0; i < 4; ++i) produce(a, std::vector<std::string>(400, std::string(1'000, static_cast<char>('a' + i))));
  EXPECT_EQ(lease(a, "a", 1'600).size(), 1'600u);
  EXPECT_EQ(reject(a, 0, 1'599), Code::ok);
  rig.world.run_for(Duration::seconds(5));
  const std::vector<Letter> all = letters("dlq.t");
  ASSERT_EQ(all.size(), 1'600u);
  for (size_t i = 0; i < all.size(); ++i) {
    EXPECT_EQ(all[i].at("offset"), std::to_string(i));
    EXPECT_EQ(all[i].value[0], static_cast<char>('a' + i / 400));
  }
}

// What was rejected, as far as that was answered, has its letter after crashes at any moment; never does one that was accepted.
TEST(DeadLettersCrash, NoLetterIsLost) {
  struct Run final : DeadLettersTest {
    explicit Run(uint64_t seed) : DeadLettersTest(3, seed) {}
    void TestBody() override {}
    void run(uint64_t seed, size_t& told, size_t& again) {
      std::mt19937_64 random(seed);
      begin();
      add_letters_topic("dlq.t");
      set(kafka(), "share_dead_letter_topic", "dlq.t");
      set(kafka(), "share_dead_letter_copies", "true");
      std::set<Offset> rejected, accepted;
      for (int life = 0; life < 6 && !HasFatalFailure(); ++life) {
        Client& a = kafka(static_cast<CoreIndex>(random() % 3));
        produce(a, std::vector<std::string>(5, "v"));
        for (const Record& record : lease(a, "a", 100)) {
          ASSERT_FALSE(rejected.contains(record.offset) || accepted.contains(record.offset)) << "done, and given again";
          const bool rejects = random() % 2 == 0;
          SettleLeases request{"g", "a", {{"t", {}}}, {{0, 0, {{record.offset, record.offset, What::accept}}}}};
          if (rejects) request.settled[0].ranges[0].what = What::reject;
          const auto code = std::make_shared<std::optional<Code>>();
          a.hall->execute(a.context, std::move(request), [code](Reply reply) {
            if (const auto* settled = std::get_if<LeasesSettled>(&reply)) *code = settled->settled.at(0);
          });
          rig.world.run_for(Duration::micros(static_cast<int64_t>(random() % 3'000)));
          if (*code == Code::ok) (rejects ? rejected : accepted).insert(record.offset);
          if (random() % 4 == 0) break;
        }
        rig.restart(random() % 2 ? CrashKind::power : CrashKind::process);
      }
      rig.world.run_for(Duration::seconds(5));
      std::multiset<Offset> lettered;
      for (const Letter& letter : letters("dlq.t")) {
        lettered.insert(std::stoll(letter.at("offset")));
        EXPECT_EQ(letter.value, "v");
      }
      for (const Offset offset : rejected) EXPECT_TRUE(lettered.contains(offset)) << offset << " was lost";
      for (const Offset offset : accepted) EXPECT_FALSE(lettered.contains(offset)) << offset << " was accepted";
      EXPECT_EQ(waiting(), 0);
      told += rejected.size();
      for (const Offset offset : std::set<Offset>(lettered.begin(), lettered.end())) again += lettered.count(offset) - 1;
    }
  };
  const char* const given = std::getenv("SEED");
  const uint64_t first = given ? std::strtoull(given, nullptr, 10) : 1;
  size_t told = 0, again = 0;
  for (uint64_t seed = first; seed < first + (given ? 1 : 20) && !::testing::Test::HasFailure(); ++seed) {
    SCOPED_TRACE("SEED=" + std::to_string(seed));
    Run(seed).run(seed, told, again);
  }
  std::printf("%zu rejected, %zu letters written twice\n", told, again);
  EXPECT_GT(told, 50u);
}

}  // namespace
}  // namespace robustmq::broker::test
