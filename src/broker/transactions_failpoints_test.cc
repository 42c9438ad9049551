// A transaction over two topics and a group's offsets, cut at each of its failpoints, one after the other: all of it is there, or
// nothing. Where the outcome was decided when it was cut, it is that.
#include <gtest/gtest.h>

#include <cstdio>
#include <set>
#include <string>
#include <vector>

#include "base/failpoint.h"
#include "broker/transactions_rig.h"

namespace robustmq::broker::test {
namespace {

using runtime::sim::CrashKind;

// Where the run is to be cut: at the failpoint that is come by as the number `failpoint_cut`.
int failpoints_met = 0;
int failpoint_cut = -1;
bool is_failpoint_met = false;
std::vector<std::string> failpoints_seen;

class FailpointRun : public TransactionsTest {
 public:
  FailpointRun() : TransactionsTest(3) {}
  void TestBody() override {}
  ~FailpointRun() override { set_hook(false); }

  void set_hook(bool is_on) {
#ifndef ROBUSTMQ_NO_FAILPOINTS
    failpoint_hook = is_on ? +[](std::string_view name, std::string_view more) {
      if (is_failpoint_met) return;
      failpoints_seen.push_back(std::string(name) + std::string(more));
      is_failpoint_met = failpoints_met++ == failpoint_cut;
    } : nullptr;
#else
    (void)is_on;
#endif
  }

  // Cut at that point, or not at all where it has fewer. Returns whether it was cut.
  bool run(int cut, bool commits, CrashKind kind) {
    begin(2);
    add_topic("u", 1);
    Client& client = kafka(1);
    Producer a{.tid = "a", .sequences = {}};
    EXPECT_EQ(init(client, a), Code::ok);
    failpoints_met = 0;
    failpoint_cut = cut;
    is_failpoint_met = false;
    failpoints_seen.clear();
    set_hook(true);
    std::optional<Code> ended;
    const auto step = [&](Request request) {
      if (is_failpoint_met) return;
      bool is_done = false;
      client.hall->execute(client.context, std::move(request), [&](const Reply& reply) {
        is_done = true;
        if (const auto* done = std::get_if<EndedTransaction>(&reply)) ended = done->code;
      });
      EXPECT_TRUE(rig.world.run_until([&] { return is_done || is_failpoint_met; }, Duration::seconds(30)));
    };
    step(produce_request(a, "t", 0, {"t0"}));
    step(produce_request(a, "t", 1, {"t1"}));
    step(produce_request(a, "u", 0, {"u0"}));
    CommitInTransaction offsets{a.of(), {}, true};
    offsets.commit.group = "g";
    offsets.commit.topics = {{"t", {}}};
    offsets.commit.offsets = {{0, 0, 7, -1, ""}};
    step(std::move(offsets));
    step(EndTransaction{a.of(), commits, true});
    // The end goes on behind the answer.
    for (int i = 0; i < 100 && !is_failpoint_met; ++i) rig.world.run_for(Duration::millis(1));
    const bool was_cut = is_failpoint_met;
    const bool was_answered = ended == Code::ok;
    set_hook(false);
    rig.restart(kind);
    Client& after = kafka(2);
    Producer next{.tid = "a", .sequences = {}};
    init_at_last(after, next);
    rig.settle();
    const size_t there = read(after, "t", 0).size() + read(after, "t", 1).size() + read(after, "u", 0).size();
    FetchOffsets request;
    request.group = "g";
    request.topics = {{"t", {}}};
    request.partitions = {{0, 0}};
    request.require_stable = true;
    const auto offset = rig.ask_for<FetchedOffsets>(after, std::move(request)).offsets.at(0);
    EXPECT_EQ(offset.code, Code::ok);
    EXPECT_TRUE(there == 0 || there == 3) << there << " of 3 records";
    EXPECT_EQ(offset.offset, there == 3 ? 7 : -1) << "the offsets are not as the records";
    bool is_decided = was_answered;
    for (const std::string& point : failpoints_seen) is_decided |= point == "transaction_row_PrepareCommit";
    if (is_decided && commits) EXPECT_EQ(there, 3u);
    if (!commits) EXPECT_EQ(there, 0u);
    return was_cut;
  }
};

TEST(TransactionFailpoints, AllOrNothingAtEachOfThem) {
  if (!kHasFailpoints) GTEST_SKIP() << "this build has none";
  for (const CrashKind kind : {CrashKind::power, CrashKind::process}) {
    for (const bool commits : {true, false}) {
      std::set<std::string> met;
      int cut = 0;
      for (bool goes_on = true; goes_on && !::testing::Test::HasFailure(); ++cut) {
        FailpointRun run;
        SCOPED_TRACE((commits ? "commit, cut " : "abort, cut ") + std::to_string(cut));
        goes_on = run.run(cut, commits, kind);
        if (goes_on) met.insert(failpoints_seen.back());
        if (::testing::Test::HasFailure()) std::printf("cut at %s\n", failpoints_seen.back().c_str());
      }
      std::printf("%d cuts at %zu points\n", cut - 1, met.size());
      std::vector<std::string> wanted = {"transaction_write_Ongoing", "transaction_row_Ongoing",    "transaction_appended",
                                         "transaction_marker",        "transaction_marker_written", "transaction_offsets_pending",
                                         "transaction_offsets_shown", "transaction_end_answered"};
      for (const char* state : commits ? std::initializer_list<const char*>{"PrepareCommit", "CompleteCommit"}
                                       : std::initializer_list<const char*>{"PrepareAbort", "CompleteAbort"}) {
        wanted.push_back(std::string("transaction_write_") + state);
        wanted.push_back(std::string("transaction_row_") + state);
      }
      for (const std::string& point : wanted) EXPECT_TRUE(met.contains(point)) << point;
    }
  }
}

}  // namespace
}  // namespace robustmq::broker::test
