// The pure machine by its actions, and a group over a log and rows that the test completes, crashes and fills.
#include <gtest/gtest.h>

#include <random>

#include "base/hash.h"
#include "base/wire.h"
#include "raft/group.h"
#include "raft/test_store.h"

namespace robustmq::raft {
namespace {

using test::TestCore;
using test::TestKv;
using test::TestLog;
using test::TestStore;

TEST(Entry, IsABatchOfOneRecord) {
  const Entry entry{42, 7, {123456}, EntryKind::command, Bytes::copy_of("do it")};
  const Bytes batch = encode_entry(entry);
  EXPECT_TRUE(BatchView::check_shape(batch).ok());
  EXPECT_EQ(BatchView(batch).base_offset(), 42);
  EXPECT_EQ(BatchView(batch).leader_epoch(), 7);
  const Result<Entry> again = decode_entry(batch);
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(again->index, 42);
  EXPECT_EQ(again->term, 7);
  EXPECT_EQ(again->stamp.ms, 123456);
  EXPECT_EQ(again->command.text(), "do it");
  for (size_t length = 0; length < batch.size(); ++length) EXPECT_FALSE(decode_entry(batch.slice(0, length)).ok());
  for (size_t at = 16; at < batch.size(); ++at) {
    Bytes damaged = Bytes::copy_of(batch.span());
    damaged.patchable()[at] ^= 0x10;
    EXPECT_FALSE(decode_entry(damaged).ok()) << at;
  }
}

TEST(Raft, BeginsATermBeforeAnythingElse) {
  Raft raft;
  Actions actions;
  ASSERT_TRUE(raft.start({.self = 1, .members = {1}, .hard = {.term = 3, .vote = 1}}, actions).ok());
  ASSERT_EQ(actions.size(), 1u);
  EXPECT_EQ(std::get<PersistHardState>(actions[0]).hard.term, 4);
  actions.clear();
  raft.step(Propose{9, Bytes::copy_of("x"), {50}}, actions);
  EXPECT_TRUE(actions.empty()) << "nothing is appended before the term is persisted";
  raft.step(HardStatePersisted{4}, actions);
  ASSERT_EQ(actions.size(), 1u);
  const auto& append = std::get<AppendEntries>(actions[0]);
  ASSERT_EQ(append.entries.size(), 2u);
  EXPECT_EQ(append.entries[0].kind, EntryKind::no_op);
  EXPECT_EQ(append.entries[1].index, 1);
  EXPECT_EQ(append.entries[1].term, 4);
  actions.clear();
  raft.step(EntriesPersisted{1}, actions);
  ASSERT_EQ(actions.size(), 3u);
  EXPECT_EQ(std::get<ApplyEntry>(actions[0]).entry.kind, EntryKind::no_op);
  EXPECT_TRUE(std::holds_alternative<BecameLeader>(actions[1]));
  EXPECT_EQ(std::get<ApplyEntry>(actions[2]).proposal, 9u);
}

TEST(Raft, CommitsEarlierTermsOnlyWithItsOwn) {
  Raft raft;
  Actions actions;
  Started started{.self = 1, .members = {1}, .hard = {.term = 3}};
  started.entries = {{0, 2, {10}, EntryKind::command, Bytes::copy_of("old")}};
  ASSERT_TRUE(raft.start(std::move(started), actions).ok());
  EXPECT_EQ(raft.committed(), -1);
  raft.step(HardStatePersisted{4}, actions);
  EXPECT_EQ(raft.committed(), -1);
  raft.step(EntriesPersisted{1}, actions);
  EXPECT_EQ(raft.committed(), 1);
}

TEST(Raft, SharesOneAppendAndNeverLetsAStampFall) {
  Raft raft;
  Actions actions;
  ASSERT_TRUE(raft.start({.self = 1, .members = {1}, .snapshot = {.index = 4, .stamp_ms = 100, .members = {1}}}, actions).ok());
  raft.step(HardStatePersisted{1}, actions);
  for (uint64_t i = 1; i <= 3; ++i) raft.step(Propose{i, {}, {100 - static_cast<int64_t>(i)}}, actions);
  actions.clear();
  raft.step(EntriesPersisted{5}, actions);
  const auto& append = std::get<AppendEntries>(actions.back());
  ASSERT_EQ(append.entries.size(), 3u);
  for (const Entry& entry : append.entries) EXPECT_EQ(entry.stamp.ms, 100);
  actions.clear();
  raft.step(AppendRefused{}, actions);
  EXPECT_EQ(actions.size(), 3u);
  EXPECT_EQ(std::get<RefuseProposal>(actions[0]).error.code, Code::storage_full);
  EXPECT_EQ(raft.last(), 5);
}

TEST(Raft, RefusesMoreMembersByName) {
  Raft raft;
  Actions actions;
  EXPECT_EQ(raft.start({.self = 1, .members = {1, 2}}, actions).code(), Code::not_supported);
}

// Remembers the commands and stamps it was given.
class ListMachine final : public Machine {
 public:
  Bytes apply(ByteSpan command, WallTime stamped) override {
    EXPECT_GE(stamped, last);
    last = stamped;
    commands.push_back(std::string(as_text(command)));
    return Bytes::copy_of("done " + commands.back());
  }
  Bytes snapshot() const override {
    std::string text;
    for (const std::string& command : commands) text += command + "\n";
    return Bytes::copy_of(text);
  }
  Status restore(ByteSpan snapshot) override {
    commands.clear();
    std::string_view text = as_text(snapshot);
    for (size_t end; (end = text.find('\n')) != text.npos; text.remove_prefix(end + 1))
      commands.emplace_back(text.substr(0, end));
    return {};
  }
  uint64_t fingerprint() const override { return hash64(snapshot()); }

  std::vector<std::string> commands;
  WallTime last;
};

class GroupTest : public ::testing::Test {
 protected:
  ~GroupTest() override { group.reset(); }  // answers what waits
  Status open() {
    group.reset();
    machine = std::make_unique<ListMachine>();
    kv = std::make_unique<TestKv>(store);
    group = std::make_unique<RaftGroup>(core, std::make_unique<TestLog>(store), *kv, *machine, options);
    Status status = Code::timed_out;
    group->start([&](Status result) { status = std::move(result); });
    store->complete_all();
    return status;
  }
  // The process ends: what was not completed has no effect, or has and nobody was told.
  void crash(size_t kept) {
    group.reset();
    for (size_t i = 0; i < kept && store->complete(); ++i) continue;
    store->under_way.clear();
  }
  size_t propose(std::string text) {
    const size_t i = answers.size();
    answers.emplace_back();
    group->propose(Bytes::copy_of(text), [this, i](Result<Bytes> result) { answers[i] = std::move(result); });
    return i;
  }
  Code code(size_t i) { return answers[i] ? answers[i]->code() : Code::timed_out; }

  TestCore core;
  GroupOptions options;
  std::shared_ptr<TestStore> store = std::make_shared<TestStore>();
  std::unique_ptr<ListMachine> machine;
  std::unique_ptr<TestKv> kv;
  std::unique_ptr<RaftGroup> group;
  std::deque<std::optional<Result<Bytes>>> answers;
};

TEST_F(GroupTest, AnswersWithTheMachinesReplyOnceItIsStored) {
  ASSERT_TRUE(open().ok());
  const size_t a = propose("a");
  EXPECT_EQ(code(a), Code::timed_out);
  EXPECT_TRUE(machine->commands.empty());
  store->complete_all();
  EXPECT_EQ(answers[a]->value().text(), "done a");
}

TEST_F(GroupTest, SharesAppends) {
  ASSERT_TRUE(open().ok());
  const uint64_t before = store->appends;
  for (int i = 0; i < 100; ++i) propose(std::to_string(i));
  store->complete_all();
  EXPECT_EQ(store->appends, before + 2);
  EXPECT_EQ(machine->commands.size(), 100u);
}

TEST_F(GroupTest, RestoresFromSnapshotAndLog) {
  options.snapshot_bytes = 2000;
  options.chunk_bytes = 64;
  ASSERT_TRUE(open().ok());
  for (int i = 0; i < 200; ++i) {
    propose(std::to_string(i));
    store->complete_all();
  }
  EXPECT_GT(group->metrics().snapshots_total, 3u);
  EXPECT_GT(store->start, 100);
  const uint64_t fingerprint = machine->fingerprint();
  const Term term = group->term();
  ASSERT_TRUE(open().ok());
  EXPECT_EQ(machine->fingerprint(), fingerprint);
  EXPECT_EQ(group->term(), term + 1);
  store->rows.rbegin()->second[0] ^= 1;  // a chunk
  EXPECT_FALSE(open().ok());
}

TEST_F(GroupTest, RefusesWhatAFullDiskCannotTakeAndGoesOn) {
  ASSERT_TRUE(open().ok());
  const size_t a = propose("a"), b = propose("b");
  store->complete(Code::storage_full);
  EXPECT_EQ(code(a), Code::storage_full);
  store->complete_all();
  EXPECT_EQ(code(b), Code::ok);
  EXPECT_EQ(machine->commands, (std::vector<std::string>{"b"}));
  EXPECT_FALSE(group->has_failed());
  const size_t c = propose("c");
  store->complete(Code::storage_failed);
  EXPECT_EQ(code(c), Code::storage_failed);
  EXPECT_EQ(code(propose("d")), Code::storage_failed);
}

TEST_F(GroupTest, MayBeDestroyedByAnAnswer) {
  ASSERT_TRUE(open().ok());
  group->propose(Bytes::copy_of("x"), [&](Result<Bytes>) { group.reset(); });
  const size_t other = propose("y");
  store->complete_all();
  EXPECT_EQ(group, nullptr);
  EXPECT_EQ(code(other), Code::shutting_down);
}

TEST_F(GroupTest, AppliesInOrderWhenAnswersProposeMore) {
  ASSERT_TRUE(open().ok());
  store->is_inline = true;
  group->propose(Bytes::copy_of("1"), [&](Result<Bytes>) { propose("3"); });
  propose("4");
  EXPECT_EQ(machine->commands, (std::vector<std::string>{"1", "3", "4"}));
}

// Random proposals, completions, crashes and full disks: everything acknowledged is there, in order, once.
TEST_F(GroupTest, KeepsWhatWasAcknowledgedWhateverHappens) {
  const auto seed = std::random_device()();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  options.snapshot_bytes = 1500;
  options.chunk_bytes = 100;
  ASSERT_TRUE(open().ok());
  for (int step = 0; step < 5000; ++step) {
    core.wall.ms += static_cast<int64_t>(random() % 20) - 8;
    switch (random() % 10) {
      case 0:
        if (random() % 5 == 0) {
          crash(random() % 3);
          ASSERT_TRUE(open().ok());
        }
        break;
      case 1:
        if (random() % 4 == 0) store->complete(Code::storage_full);
        break;
      case 2:
      case 3:
      case 4:
        propose(std::to_string(answers.size()));
        break;
      default:
        store->complete();
    }
  }
  store->complete_all();
  const std::vector<std::string> live = machine->commands;
  ASSERT_TRUE(open().ok());
  EXPECT_EQ(machine->commands, live);
  int last = -1;
  size_t acknowledged = 0;
  std::vector<bool> is_there(answers.size());
  for (const std::string& command : live) {
    EXPECT_GT(std::stoi(command), last);
    last = std::stoi(command);
    is_there[last] = true;
  }
  for (size_t i = 0; i < answers.size(); ++i) {
    if (code(i) == Code::ok) EXPECT_TRUE(is_there[i]) << i;
    if (code(i) == Code::storage_full) EXPECT_FALSE(is_there[i]) << i;
    acknowledged += code(i) == Code::ok;
  }
  EXPECT_GT(acknowledged, 100u);
}

}  // namespace
}  // namespace robustmq::raft
