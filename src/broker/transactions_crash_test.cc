// Transactions through crashes at any moment: all of one is there, or nothing.
#include <gtest/gtest.h>

#include <algorithm>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "broker/transactions_rig.h"

namespace robustmq::broker::test {
namespace {

using runtime::sim::CrashKind;

// A transaction over partitions of all cores, cut by a crash at a random moment: all of it is there or nothing, as was answered,
// and the id goes on. A stored session gets what is committed.
TEST(TransactionCrash, AllOrNothingWhereverItIsCut) {
  class Run : public TransactionsTest {
   public:
    explicit Run(uint64_t seed) : TransactionsTest(3, seed) {}
    void TestBody() override {}
    void run(uint32_t seed, int& decided, int& undone) {
      std::mt19937 random(seed);
      begin(4);
      Client& away = rig.connect("away");
      rig.resume(away, "away", 1000);
      rig.follow(away, "t", 1);
      rig.close(away);
      std::vector<Values> expected(4);
      Values all;
      std::string story;
      for (int round = 0; round < 6; ++round) {
        const std::string text = "r" + std::to_string(round);
        Client& client = kafka(static_cast<CoreIndex>(random() % 3));
        Producer producer{.tid = "a", .sequences = {}};
        ASSERT_NO_FATAL_FAILURE(init_at_last(client, producer));
        const bool bumps = random() % 2;
        const bool commits = random() % 4 != 0;
        int produced = 0;
        std::optional<Code> ended;
        for (int32_t p = 0; p < 4; ++p) {
          client.hall->execute(client.context, produce_request(producer, "t", p, {text + "-" + std::to_string(p)}),
                               [&](const Reply& reply) {
                                 const auto* done = std::get_if<Produced>(&reply);
                                 produced += done && done->partitions[0].code == Code::ok;
                               });
        }
        const auto go_until = [&](auto&& is_over) {
          for (int i = 0; i < 2000 && !is_over(); ++i) {
            if (random() % 60 == 0) return false;  // cut here
            rig.world.run_for(Duration::micros(static_cast<int64_t>(random() % 150)));
          }
          return true;
        };
        bool is_cut = !go_until([&] { return produced == 4; });
        if (!is_cut) {
          client.hall->execute(client.context, EndTransaction{producer.of(), commits, bumps}, [&](const Reply& reply) {
            const auto* done = std::get_if<EndedTransaction>(&reply);
            ended = done ? done->code : Code::shutting_down;
          });
          is_cut = !go_until([&] { return ended.has_value(); });
        }
        const bool was_answered = ended == Code::ok;
        rig.restart(random() % 2 ? CrashKind::power : CrashKind::process);
        Client& after = kafka(static_cast<CoreIndex>(random() % 3));
        Producer next{.tid = "a", .sequences = {}};
        ASSERT_NO_FATAL_FAILURE(init_at_last(after, next));
        rig.settle();
        int there = 0;
        for (int32_t p = 0; p < 4; ++p) {
          const Values values = read(after, "t", p);
          ASSERT_EQ(latest(after, "t", p, true), latest(after, "t", p, false)) << "nothing is open";
          const bool is_new = values.size() == expected[static_cast<size_t>(p)].size() + 1;
          there += is_new;
          if (is_new) expected[static_cast<size_t>(p)].push_back(text + "-" + std::to_string(p));
          ASSERT_EQ(values, expected[static_cast<size_t>(p)]);
        }
        ASSERT_TRUE(there == 0 || there == 4) << there << " of 4 in round " << round;
        if (was_answered) ASSERT_EQ(there == 4, commits) << "otherwise than was answered, in round " << round;
        if (!commits) ASSERT_EQ(there, 0);
        ++(there == 4 ? decided : undone);
        story += text + (is_cut ? " cut" : " done") + (commits ? " commit" : " abort") + (there == 4 ? " there\n" : "\n");
      }
      for (const Values& values : expected) all.insert(all.end(), values.begin(), values.end());
      Client& back = rig.connect("away");
      rig.resume(back, "away", 1000);
      rig.world.run_for(Duration::seconds(2));
      Values got = back.values();
      std::sort(got.begin(), got.end());
      // A crash while it is handed out may bring it again.
      got.erase(std::unique(got.begin(), got.end()), got.end());
      std::sort(all.begin(), all.end());
      EXPECT_EQ(got, all) << story;
    }
  };
  int decided = 0;
  int undone = 0;
  for (uint32_t seed = 1; seed <= 25; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Run run(seed);
    run.run(seed, decided, undone);
    if (::testing::Test::HasFatalFailure()) return;
  }
  EXPECT_GT(decided, 20);
  EXPECT_GT(undone, 20);
}

}  // namespace
}  // namespace robustmq::broker::test
