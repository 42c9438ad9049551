// Offsets that are committed in transactions, in their coordinator: their limits, and who is newer.
#include <gtest/gtest.h>

#include "broker/group/coordinator_rig.h"

namespace robustmq::broker {
namespace {

class PendingTest : public CoordinatorTest {
 public:
  static constexpr ProducerId kProducer = 7;

  Code commit_in(CommitOffsets request, ProducerId producer = kProducer) {
    std::optional<Reply> reply;
    coordinator_->commit_in_transaction(kDefaultTenant, producer, std::move(request),
                                        [&](Reply answer) { reply = std::move(answer); });
    return reply ? std::get<CommittedOffsets>(*reply).offsets.at(0) : Code::timed_out;
  }
  Code end(bool commits, const std::string& group = "g", ProducerId producer = kProducer) {
    std::optional<Status> status;
    coordinator_->end_transaction(kDefaultTenant, group, producer, commits, [&](Status result) { status = std::move(result); });
    return status ? status->code() : Code::timed_out;
  }
};

TEST_F(PendingTest, ANewerCommitOutsideTheTransactionStays) {
  for (const bool is_restarted : {false, true}) {
    ASSERT_EQ(commit_in(commit(5)), Code::ok);
    ASSERT_EQ(committed(commit(9)), Code::ok);
    if (is_restarted) restart();
    ASSERT_EQ(end(true), Code::ok);
    EXPECT_EQ(fetched().offset, 9);
    // An older one does not.
    ASSERT_EQ(commit_in(commit(6)), Code::ok);
    if (is_restarted) restart();
    ASSERT_EQ(end(true), Code::ok);
    EXPECT_EQ(fetched().offset, 6);
  }
  EXPECT_TRUE(kv_.rows.lower_bound("group.pending/") == kv_.rows.lower_bound("group.pending0"));
}

TEST_F(PendingTest, AnEndComesAgainWhileANewerCommitIsBeingWritten) {
  ASSERT_EQ(commit_in(commit(5)), Code::ok);
  kv_.is_inline = false;
  const auto newer = ask_later(commit(9));
  EXPECT_EQ(end(true), Code::overloaded);
  kv_.fails_with = Code::storage_full;
  kv_.finish();
  ASSERT_TRUE(newer->has_value());
  kv_.fails_with = Code::ok;
  kv_.is_inline = true;
  EXPECT_EQ(end(true), Code::ok);
  EXPECT_EQ(fetched().offset, 5) << "the other one came to nothing";
}

TEST_F(PendingTest, CountWithTheCommittedOnes) {
  options_.offsets_max = 2;
  restart();
  ASSERT_EQ(committed(commit(1, "t", 0)), Code::ok);
  ASSERT_EQ(commit_in(commit(1, "t", 1)), Code::ok);
  EXPECT_EQ(commit_in(commit(1, "t", 2)), Code::quota_exceeded);
  ASSERT_EQ(end(false), Code::ok);
  EXPECT_EQ(commit_in(commit(1, "t", 2)), Code::ok);
  restart();
  EXPECT_EQ(commit_in(commit(1, "t", 1)), Code::quota_exceeded) << "also those that were there";
  EXPECT_EQ(end(true), Code::ok);
}

TEST_F(PendingTest, AGroupHasAPlaceFromItsFirstOffsetOn) {
  options_.groups_max = 1;
  restart();
  ASSERT_EQ(commit_in(commit(1, "t", 0, "g")), Code::ok);
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(commit_in(commit(1, "t", 0, "h"), 8), Code::quota_exceeded);
    EXPECT_EQ(committed(commit(1, "t", 0, "h")), Code::quota_exceeded);
    restart();
  }
  ASSERT_EQ(end(false), Code::ok);
  EXPECT_EQ(commit_in(commit(1, "t", 0, "h"), 8), Code::ok) << "nothing is left of the other one";
}

TEST_F(PendingTest, AMemberCommitsWhileItsGenerationWaitsForTheLeader) {
  const JoinedGroup joined = ask<JoinedGroup>(join());
  CommitOffsets request = commit(5);
  request.member_id = joined.member_id;
  request.generation = joined.generation;
  EXPECT_EQ(committed(request), Code::rebalance_in_progress);
  EXPECT_EQ(commit_in(request), Code::ok) << "as in Kafka";
  request.generation = joined.generation + 1;
  EXPECT_EQ(commit_in(request), Code::illegal_generation);
}

}  // namespace
}  // namespace robustmq::broker
