// The transaction machine: Kafka's cases, and random clients with crashes, failures and timeouts against what was promised them.
#include "broker/transaction/machine.h"

#include <gtest/gtest.h>

#include <map>
#include <random>

namespace robustmq::broker {
namespace {

using Machine = TransactionMachine;
using State = TransactionState;

const Machine::Key kKey{0, "t"};

TransactionPartition partition_of(int32_t number) { return {"topic", Uuid::random(1, 2), number, false}; }

// The machine with its shell played by hand.
class Rig {
 public:
  explicit Rig(TransactionOptions options_in = {}) : options(options_in) { make(); }

  // Carries out everything, as long as nothing is held back.
  void pump() {
    while (machine->has_outputs()) {
      Machine::Outputs outputs = machine->take_outputs();
      for (auto& write : outputs.writes) writes.push_back(std::move(write));
      for (auto& key : outputs.ends) ends.push_back(std::move(key));
      for (auto& key : outputs.ends_to_retry) retries.push_back(std::move(key));
      for (auto& answer : outputs.answers) answers[answer.ticket] = answer;
      if (!holds_writes) finish_writes();
      if (!holds_ends) finish_ends();
    }
  }
  void finish_writes(Code code = Code::ok) {
    for (auto& write : std::exchange(writes, {})) {
      if (code == Code::ok) store(write);
      machine->written(write.key, code, now);
    }
    if (code == Code::ok || machine->has_outputs()) pump();
  }
  void store(const Machine::Outputs::Write& write) {
    if (write.row)
      kept[write.key] = *write.row;
    else
      kept.erase(write.key);
  }
  void finish_ends(bool is_ok = true) {
    for (const auto& key : std::exchange(ends, {})) machine->ended(key, is_ok, now);
    pump();
  }
  void restart() {
    writes.clear();
    ends.clear();
    retries.clear();
    make();
    pump();
  }

  Machine::Ticket ask(Machine::Input input) {
    machine->ask(kKey, ++last_ticket, std::move(input), now);
    pump();
    return last_ticket;
  }
  Machine::Answer answer(Machine::Input input) {
    const Machine::Ticket ticket = ask(std::move(input));
    EXPECT_TRUE(answers.contains(ticket)) << "no answer";
    return answers[ticket];
  }
  Code add(ProducerId id, int16_t epoch, int32_t number) {
    return answer(Machine::Add{id, epoch, {partition_of(number)}, {}, false}).code;
  }
  Machine::Answer init(ProducerId id = -1, int16_t epoch = -1) { return answer(Machine::Init{1000, id, epoch}); }
  Machine::Answer end(ProducerId id, int16_t epoch, bool commits, bool bumps) {
    return answer(Machine::End{id, epoch, commits, bumps});
  }
  const TransactionRow& row() const { return *machine->find(kKey); }

  TransactionOptions options;
  TransactionMetrics metrics;
  std::unique_ptr<Machine> machine;
  WallTime now{1'000'000};
  std::map<Machine::Key, TransactionRow> kept;
  std::vector<Machine::Outputs::Write> writes;
  std::vector<Machine::Key> ends;
  std::vector<Machine::Key> retries;
  std::map<Machine::Ticket, Machine::Answer> answers;
  Machine::Ticket last_ticket = 0;
  bool holds_writes = false;
  bool holds_ends = false;
  ProducerId next_ids = 100;

 private:
  void make() {
    metrics = {};
    machine = std::make_unique<Machine>(options, metrics);
    for (const auto& [key, row] : kept) machine->load(key, row);
    machine->add_producer_ids(next_ids, 100'000);
    next_ids += 100'000;
  }
};

TEST(TransactionMachine, CommitsOneTransactionAfterTheOther) {
  Rig rig;
  const auto producer = rig.init();
  ASSERT_EQ(producer.code, Code::ok);
  EXPECT_EQ(producer.epoch, 0);
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(rig.add(producer.id, 0, 1), Code::ok);
    EXPECT_EQ(rig.row().state, State::ongoing);
    EXPECT_EQ(rig.end(producer.id, 0, i % 2 == 0, false).code, Code::ok);
    EXPECT_EQ(rig.row().state, i % 2 == 0 ? State::complete_commit : State::complete_abort);
    EXPECT_TRUE(rig.row().partitions.empty());
  }
  EXPECT_EQ(rig.metrics.begun_total, 3u);
  EXPECT_EQ(rig.metrics.committed_total, 2u);
  EXPECT_EQ(rig.metrics.aborted_total, 1u);
  EXPECT_EQ(rig.metrics.open, 0);
}

TEST(Case54TransactionMachine, InitAbortsWhatIsOpenAndIsToldToComeAgain) {
  Rig rig;
  const auto first = rig.init();
  ASSERT_EQ(rig.add(first.id, first.epoch, 1), Code::ok);
  rig.holds_ends = true;
  EXPECT_EQ(rig.init().code, Code::concurrent_transactions);
  EXPECT_EQ(rig.row().state, State::prepare_abort);
  EXPECT_EQ(rig.init().code, Code::concurrent_transactions) << "until it is aborted";
  EXPECT_EQ(rig.end(first.id, first.epoch, true, false).code, Code::fenced_producer);
  rig.holds_ends = false;
  rig.finish_ends();
  const auto second = rig.init();
  ASSERT_EQ(second.code, Code::ok);
  EXPECT_EQ(second.id, first.id);
  EXPECT_EQ(second.epoch, first.epoch + 2) << "one for the fence, one for the new producer";
  EXPECT_EQ(rig.add(first.id, first.epoch, 1), Code::fenced_producer);
}

TEST(Case54TransactionMachine, AProducerThatBeginsAnewInItsOwnTransactionGoesOnInTheNextEpoch) {
  Rig rig;
  const auto first = rig.init();
  ASSERT_EQ(rig.add(first.id, first.epoch, 1), Code::ok);
  EXPECT_EQ(rig.init(first.id, first.epoch).code, Code::concurrent_transactions);
  EXPECT_EQ(rig.row().state, State::complete_abort);
  EXPECT_EQ(rig.end(first.id, first.epoch, true, true).code, Code::invalid_transaction_state) << "never of a success";
  rig.restart();
  const auto again = rig.init(first.id, first.epoch);
  ASSERT_EQ(again.code, Code::ok);
  EXPECT_EQ(again.id, first.id);
  EXPECT_EQ(again.epoch, first.epoch + 1);
  EXPECT_EQ(rig.add(first.id, first.epoch, 1), Code::fenced_producer) << "what it sent before";
  ASSERT_EQ(rig.add(again.id, again.epoch, 2), Code::ok);
  EXPECT_EQ(rig.init(first.id, first.epoch).code, Code::fenced_producer) << "it has gone on since";
  EXPECT_EQ(rig.end(again.id, again.epoch, true, false).code, Code::ok);
}

TEST(Case54TransactionMachine, AProducerThatBeginsAnewInItsLastEpochGetsAnotherId) {
  Rig rig;
  const auto first = rig.init();
  rig.kept[kKey].epoch = Machine::kLastEpoch;
  rig.restart();
  ASSERT_EQ(rig.add(first.id, Machine::kLastEpoch, 1), Code::ok);
  EXPECT_EQ(rig.init(first.id, Machine::kLastEpoch).code, Code::concurrent_transactions);
  const auto again = rig.init(first.id, Machine::kLastEpoch);
  ASSERT_EQ(again.code, Code::ok);
  EXPECT_NE(again.id, first.id);
  EXPECT_EQ(again.epoch, 0);
}

TEST(Case54TransactionMachine, TimeoutsAreBounded) {
  Rig rig;
  EXPECT_EQ(rig.answer(Machine::Init{rig.options.timeout_max_ms + 1, -1, -1}).code, Code::invalid_transaction_timeout);
  EXPECT_EQ(rig.answer(Machine::Init{0, -1, -1}).code, Code::invalid_transaction_timeout);
  EXPECT_EQ(rig.answer(Machine::Init{rig.options.timeout_max_ms, -1, -1}).code, Code::ok);
}

TEST(Case54TransactionMachine, UsedUpEpochsAreFollowedByAnotherProducerId) {
  Rig rig;
  const auto first = rig.init();
  rig.kept[kKey].epoch = Machine::kLastEpoch;
  rig.restart();
  const auto next = rig.init();
  EXPECT_NE(next.id, first.id);
  EXPECT_EQ(next.epoch, 0);
  // With KIP-890 the end of a transaction may be what uses them up.
  rig.kept[kKey].epoch = Machine::kLastEpoch;
  rig.restart();
  ASSERT_EQ(rig.add(next.id, Machine::kLastEpoch, 1), Code::ok);
  const auto ended = rig.end(next.id, Machine::kLastEpoch, true, true);
  EXPECT_EQ(ended.code, Code::ok);
  EXPECT_NE(ended.id, next.id);
  EXPECT_EQ(ended.epoch, 0);
  const auto again = rig.end(next.id, Machine::kLastEpoch, true, true);
  EXPECT_EQ(again.code, Code::ok) << "a retry of it";
  EXPECT_EQ(again.id, ended.id);
  EXPECT_EQ(rig.add(ended.id, 0, 2), Code::ok);
}

TEST(Case54TransactionMachine, AProducerWithItsNextIdWaitsForTheEndOfTheLastOne) {
  Rig rig;
  const auto first = rig.init();
  rig.kept[kKey].epoch = Machine::kLastEpoch;
  rig.restart();
  ASSERT_EQ(rig.add(first.id, Machine::kLastEpoch, 1), Code::ok);
  rig.holds_ends = true;
  const Machine::Ticket ending = rig.ask(Machine::End{first.id, Machine::kLastEpoch, true, true});
  rig.finish_ends(false);  // a partition could not be told
  ASSERT_TRUE(rig.answers.contains(ending));
  const Machine::Answer next = rig.answers[ending];
  ASSERT_NE(next.id, first.id);
  EXPECT_EQ(rig.add(next.id, 0, 1), Code::concurrent_transactions);
  EXPECT_EQ(rig.init(next.id, 0).code, Code::concurrent_transactions);
  EXPECT_EQ(rig.end(next.id, 0, false, true).code, Code::concurrent_transactions);
  rig.ends = std::exchange(rig.retries, {});
  rig.holds_ends = false;
  rig.finish_ends();
  EXPECT_EQ(rig.add(next.id, 0, 1), Code::ok);
}

TEST(TransactionMachine, AProducerThatKnowsItsEpochMayAskAgain) {
  Rig rig;
  const auto first = rig.init();
  const auto bumped = rig.init(first.id, first.epoch);
  EXPECT_EQ(bumped.epoch, first.epoch + 1);
  EXPECT_EQ(rig.init(first.id, first.epoch).epoch, bumped.epoch) << "a retry";
  const auto taken_over = rig.init();
  EXPECT_EQ(taken_over.epoch, bumped.epoch + 1);
  EXPECT_EQ(rig.init(first.id, bumped.epoch).code, Code::fenced_producer);
  EXPECT_EQ(rig.init(first.id + 1, 0).code, Code::fenced_producer) << "another producer's id";
  // It may not abort what the newer producer has open either.
  ASSERT_EQ(rig.add(taken_over.id, taken_over.epoch, 1), Code::ok);
  EXPECT_EQ(rig.init(first.id, bumped.epoch).code, Code::fenced_producer);
  EXPECT_EQ(rig.row().state, State::ongoing);
}

TEST(Case55TransactionMachine, AWrongPairOfIdsIsRefused) {
  Rig rig;
  EXPECT_EQ(rig.add(1, 0, 1), Code::invalid_producer_mapping) << "no such id";
  const auto producer = rig.init();
  EXPECT_EQ(rig.add(producer.id + 1, 0, 1), Code::invalid_producer_mapping);
  EXPECT_EQ(rig.add(producer.id, 1, 1), Code::fenced_producer);
  EXPECT_EQ(rig.end(producer.id + 1, 0, true, false).code, Code::invalid_producer_mapping);
}

TEST(Case55TransactionMachine, AVerificationAddsNothing) {
  Rig rig;
  const auto producer = rig.init();
  ASSERT_EQ(rig.add(producer.id, 0, 1), Code::ok);
  const auto checked = rig.answer(Machine::Add{producer.id, 0, {partition_of(1), partition_of(2)}, {}, true});
  EXPECT_EQ(checked.partitions, (std::vector<Code>{Code::ok, Code::invalid_transaction_state}));
  EXPECT_EQ(rig.answer(Machine::Add{producer.id, 0, {}, {"group"}, true}).code, Code::invalid_transaction_state);
  EXPECT_EQ(rig.row().partitions.size(), 1u);
  ASSERT_EQ(rig.answer(Machine::Add{producer.id, 0, {}, {"group"}, false}).code, Code::ok);
  EXPECT_EQ(rig.answer(Machine::Add{producer.id, 0, {}, {"group"}, true}).code, Code::ok);
}

TEST(Case56TransactionMachine, ARetryOfTheEndSucceeds) {
  Rig rig;
  const auto producer = rig.init();
  // Before KIP-890: the same epoch.
  ASSERT_EQ(rig.add(producer.id, 0, 1), Code::ok);
  ASSERT_EQ(rig.end(producer.id, 0, true, false).code, Code::ok);
  EXPECT_EQ(rig.end(producer.id, 0, true, false).code, Code::ok);
  EXPECT_EQ(rig.end(producer.id, 0, false, false).code, Code::invalid_transaction_state);
  // With it: the one before.
  ASSERT_EQ(rig.add(producer.id, 0, 1), Code::ok);
  const auto ended = rig.end(producer.id, 0, true, true);
  EXPECT_EQ(ended.epoch, 1);
  EXPECT_EQ(rig.end(producer.id, 0, true, true).epoch, 1);
  EXPECT_EQ(rig.end(producer.id, 0, false, true).code, Code::invalid_transaction_state) << "it has committed";
  EXPECT_EQ(rig.add(producer.id, 0, 1), Code::fenced_producer);
  EXPECT_EQ(rig.add(producer.id, 1, 1), Code::ok);
  EXPECT_EQ(rig.end(producer.id, 0, true, true).code, Code::fenced_producer) << "the next one has begun";
}

TEST(Case56TransactionMachine, AnEmptyTransactionCommitsInNeitherVersion) {
  Rig rig;
  const auto producer = rig.init();
  EXPECT_EQ(rig.end(producer.id, 0, true, false).code, Code::invalid_transaction_state);
  EXPECT_EQ(rig.end(producer.id, 0, false, false).code, Code::invalid_transaction_state);
  EXPECT_EQ(rig.end(producer.id, 0, true, true).code, Code::invalid_transaction_state);
  const auto aborted = rig.end(producer.id, 0, false, true);
  EXPECT_EQ(aborted.code, Code::ok);
  EXPECT_EQ(aborted.epoch, 1);
  const auto again = rig.end(producer.id, 1, false, true);
  EXPECT_EQ(again.code, Code::ok) << "once more, and not a retry";
  EXPECT_EQ(again.epoch, 2);
}

TEST(Case56TransactionMachine, ACommitAfterATimeoutNeverSucceeds) {
  for (const bool bumps : {false, true}) {
    for (const bool commits : {false, true}) {
      Rig rig;
      const auto producer = rig.init();
      ASSERT_EQ(rig.add(producer.id, 0, 1), Code::ok);
      rig.now.ms += 999;
      rig.machine->tick(rig.now);
      rig.pump();
      EXPECT_EQ(rig.row().state, State::ongoing);
      rig.now.ms += 1;
      EXPECT_LE(rig.machine->next_due(), rig.now.ms);
      rig.machine->tick(rig.now);
      rig.pump();
      EXPECT_EQ(rig.row().state, State::complete_abort);
      EXPECT_EQ(rig.metrics.timed_out_total, 1u);
      EXPECT_EQ(rig.end(producer.id, 0, commits, bumps).code, Code::fenced_producer);
    }
  }
}

TEST(TransactionMachine, IsConcurrentWhileItEnds) {
  Rig rig;
  const auto producer = rig.init();
  ASSERT_EQ(rig.add(producer.id, 0, 1), Code::ok);
  rig.holds_ends = true;
  const auto ticket = rig.ask(Machine::End{producer.id, 0, true, false});
  EXPECT_FALSE(rig.answers.contains(ticket)) << "not before it is told everywhere";
  EXPECT_EQ(rig.add(producer.id, 0, 2), Code::concurrent_transactions);
  EXPECT_EQ(rig.end(producer.id, 0, true, false).code, Code::concurrent_transactions);
  EXPECT_EQ(rig.end(producer.id, 0, false, false).code, Code::invalid_transaction_state);
  rig.holds_ends = false;
  rig.finish_ends();
  EXPECT_EQ(rig.answers[ticket].code, Code::ok);
  EXPECT_EQ(rig.add(producer.id, 0, 2), Code::ok);
}

TEST(Case58TransactionMachine, WhatCannotBeToldEverywhereIsDecidedAllTheSame) {
  Rig rig;
  const auto producer = rig.init();
  ASSERT_EQ(rig.add(producer.id, 0, 1), Code::ok);
  rig.holds_ends = true;
  const auto ticket = rig.ask(Machine::End{producer.id, 0, true, true});
  rig.finish_ends(false);
  EXPECT_EQ(rig.answers[ticket].code, Code::ok);
  EXPECT_EQ(rig.answers[ticket].epoch, 1);
  ASSERT_EQ(rig.retries.size(), 1u);
  EXPECT_EQ(rig.row().state, State::prepare_commit);
  rig.machine->ended(kKey, true, rig.now);
  rig.pump();
  EXPECT_EQ(rig.row().state, State::complete_commit);
}

TEST(TransactionMachine, RequestsWaitForTheRowThatIsWritten) {
  Rig rig;
  const auto producer = rig.init();
  rig.holds_writes = true;
  std::vector<Machine::Ticket> tickets;
  for (int32_t i = 0; i < 5; ++i) tickets.push_back(rig.ask(Machine::Add{producer.id, 0, {partition_of(i)}, {}, false}));
  tickets.push_back(rig.ask(Machine::End{producer.id, 0, true, false}));
  EXPECT_EQ(rig.answers.size(), 1u);
  rig.holds_writes = false;
  rig.finish_writes();
  for (const auto ticket : tickets) EXPECT_EQ(rig.answers[ticket].code, Code::ok);
  EXPECT_EQ(rig.row().state, State::complete_commit);
  // Not without end.
  rig.holds_writes = true;
  for (size_t i = 0; i <= Machine::kWaitingMax + 1; ++i)
    tickets.push_back(rig.ask(Machine::Add{producer.id, 0, {partition_of(1)}, {}, false}));
  EXPECT_EQ(rig.answers[tickets.back()].code, Code::concurrent_transactions);
}

TEST(TransactionMachine, AWriteThatFailsChangesNothing) {
  Rig rig;
  const auto producer = rig.init();
  rig.holds_writes = true;
  const auto ticket = rig.ask(Machine::Add{producer.id, 0, {partition_of(1)}, {}, false});
  rig.finish_writes(Code::storage_full);
  EXPECT_EQ(rig.answers[ticket].code, Code::storage_full);
  EXPECT_EQ(rig.row().state, State::empty);
  EXPECT_EQ(rig.metrics.open, 0);
}

TEST(TransactionMachine, WhatCannotBeWrittenIsTriedAgainAfterAPause) {
  Rig rig;
  const auto producer = rig.init();
  ASSERT_EQ(rig.add(producer.id, 0, 1), Code::ok);
  rig.holds_writes = true;
  rig.now.ms += 2000;  // past the timeout
  int writes = 0;
  for (int i = 0; i < 3; ++i) {
    ASSERT_LE(rig.machine->next_due(), rig.now.ms);
    rig.machine->tick(rig.now);
    rig.pump();
    writes += static_cast<int>(rig.writes.size());
    rig.finish_writes(Code::storage_full);
    EXPECT_EQ(rig.machine->next_due(), rig.now.ms + rig.options.retry_ms);
    rig.machine->tick(rig.now);
    EXPECT_FALSE(rig.machine->has_outputs());
    rig.now.ms += rig.options.retry_ms;
  }
  EXPECT_EQ(writes, 3);
  rig.holds_writes = false;
  rig.machine->tick(rig.now);
  rig.pump();
  EXPECT_EQ(rig.row().state, State::complete_abort);
  // So is the end of an id that is not used.
  rig.holds_writes = true;
  rig.now.ms += rig.options.id_expiration_ms;
  rig.machine->tick(rig.now);
  rig.pump();
  rig.finish_writes(Code::storage_full);
  EXPECT_EQ(rig.machine->next_due(), rig.now.ms + rig.options.retry_ms);
}

TEST(TransactionMachine, BoundsItsIdsAndTheirParts) {
  TransactionOptions options;
  options.ids_max = 1;
  options.partitions_max = 2;
  Rig rig(options);
  const auto producer = rig.init();
  rig.machine->ask({0, "other"}, 999, Machine::Init{1000, -1, -1}, rig.now);
  rig.pump();
  EXPECT_EQ(rig.answers[999].code, Code::quota_exceeded);
  EXPECT_EQ(rig.metrics.ids_refused_total, 1u);
  ASSERT_EQ(rig.add(producer.id, 0, 1), Code::ok);
  ASSERT_EQ(rig.add(producer.id, 0, 2), Code::ok);
  EXPECT_EQ(rig.add(producer.id, 0, 3), Code::quota_exceeded);
  EXPECT_EQ(rig.add(producer.id, 0, 2), Code::ok) << "it is in it";
  // More than may be in one are refused before anything is looked at, whether they are in it or not.
  const std::vector<TransactionPartition> many(3, partition_of(1));
  EXPECT_EQ(rig.answer(Machine::Add{producer.id, 0, many, {}, true}).code, Code::quota_exceeded);
  EXPECT_EQ(rig.answer(Machine::Add{producer.id, 0, many, {}, false}).code, Code::quota_exceeded);
  EXPECT_EQ(rig.answer(Machine::Add{producer.id, 0, {many[0], many[1]}, {}, true}).partitions,
            (std::vector<Code>{Code::ok, Code::ok}));
}

TEST(TransactionMachine, ForgetsIdsThatAreNotUsed) {
  Rig rig;
  const auto producer = rig.init();
  ASSERT_EQ(rig.add(producer.id, 0, 1), Code::ok);
  ASSERT_EQ(rig.end(producer.id, 0, true, false).code, Code::ok);
  rig.now.ms += rig.options.id_expiration_ms;
  rig.machine->tick(rig.now);
  rig.pump();
  EXPECT_EQ(rig.machine->find(kKey), nullptr);
  EXPECT_TRUE(rig.kept.empty());
  EXPECT_EQ(rig.add(producer.id, 0, 1), Code::invalid_producer_mapping);
  EXPECT_EQ(rig.metrics.ids, 0);
}

TEST(TransactionMachine, GoesOnWithWhatWasPreparedAfterACrash) {
  Rig rig;
  const auto producer = rig.init();
  ASSERT_EQ(rig.add(producer.id, 0, 1), Code::ok);
  rig.holds_ends = true;
  rig.ask(Machine::End{producer.id, 0, true, true});
  rig.holds_ends = false;
  rig.restart();
  EXPECT_EQ(rig.row().state, State::complete_commit);
  const auto again = rig.end(producer.id, 0, true, true);
  EXPECT_EQ(again.code, Code::ok);
  EXPECT_EQ(again.epoch, 1);
}

// Two producers of one id, each with a version of its own, among crashes, failed writes and ends, and time. Each transaction has
// partitions of its own number, so its markers say what became of it: one outcome, the one that was promised.
TEST(TransactionMachine, KeepsItsPromisesToRandomClients) {
  for (uint32_t seed = 1; seed <= 200; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937 random(seed);
    Rig rig;
    rig.holds_writes = rig.holds_ends = true;
    struct Client {
      bool bumps = false;
      ProducerId id = -1;
      int16_t epoch = -1;
      int32_t number = 0;  // of its transaction; 0: none
      int32_t adding = 0;  // of a partition whose addition is not answered: it is asked again
      bool begins_anew = false;
      int ending = 0;  // 1 commits, -1 aborts: asked and not answered
    };
    Client clients[2];
    clients[0].bumps = random() % 2;
    clients[1].bumps = random() % 2;
    int32_t last_number = 0;
    std::map<int32_t, bool> promised;
    std::map<int32_t, bool> outcome;
    int newest = -1;  // who was given the id last
    int good_ends = 0;
    const auto note_end = [&](const Machine::Key& key) {
      const TransactionRow* row = rig.machine->find(key);
      if (!row || !row->is_prepared()) return;
      for (const TransactionPartition& each : row->partitions) {
        const bool commits = row->state == State::prepare_commit;
        const auto [at, is_new] = outcome.try_emplace(each.partition, commits);
        ASSERT_EQ(at->second, commits) << "transaction " << each.partition << " ended both ways";
      }
    };
    // Finishes everything that waits, or loses it.
    const auto settle = [&](bool may_fail) {
      for (int turn = 0; turn < 50 && (!rig.writes.empty() || !rig.ends.empty() || !rig.retries.empty()); ++turn) {
        if (may_fail && random() % 12 == 0) {  // a crash; what was being written is there, or not
          for (const auto& write : rig.writes) {
            if (random() % 2) rig.store(write);
          }
          rig.restart();
          continue;
        }
        if (!rig.writes.empty()) {
          rig.finish_writes(may_fail && random() % 15 == 0 ? Code::storage_full : Code::ok);
        } else if (!rig.ends.empty()) {
          for (const auto& key : rig.ends) note_end(key);
          if (::testing::Test::HasFatalFailure()) return;
          rig.finish_ends(!may_fail || random() % 6 != 0);
        } else {
          rig.ends = std::exchange(rig.retries, {});
        }
      }
    };
    const auto ask = [&](Machine::Input input, bool may_fail) -> std::optional<Machine::Answer> {
      const auto ticket = rig.ask(std::move(input));
      settle(may_fail);
      const auto found = rig.answers.find(ticket);
      return found == rig.answers.end() ? std::nullopt : std::optional(found->second);
    };
    const auto act = [&](int who, bool may_fail) {
      Client& client = clients[who];
      if (client.id < 0) {
        const auto answer = ask(Machine::Init{1000, -1, -1}, may_fail);
        if (!answer || answer->code != Code::ok) return;
        client.id = answer->id;
        client.epoch = answer->epoch;
        client.number = client.adding = client.ending = 0;
        newest = who;
        return;
      }
      if (client.begins_anew || (client.ending == 0 && random() % 12 == 0)) {
        // Begins anew under its own epoch, as clients do behind an error: what is open is aborted, by its own will.
        const auto answer = ask(Machine::Init{1000, client.id, client.epoch}, may_fail);
        if (answer && answer->code == Code::ok) {
          EXPECT_EQ(newest, who) << "an older producer was let in";
          client.id = answer->id;
          client.epoch = answer->epoch;
          client.number = client.adding = 0;
        } else if (answer && answer->code == Code::fenced_producer) {
          client.id = -1;
        }
        client.begins_anew = client.id >= 0 && (!answer || answer->code != Code::ok);
        return;
      }
      const bool adds = client.ending == 0 && (client.number == 0 || client.adding != 0 || random() % 2);
      if (adds) {
        const int32_t number = client.adding != 0 ? client.adding : client.number == 0 ? ++last_number : client.number;
        client.adding = number;
        const auto answer = ask(Machine::Add{client.id, client.epoch, {partition_of(number)}, {}, false}, may_fail);
        if (!answer) return;
        if (answer->code == Code::ok) {
          EXPECT_EQ(newest, who) << "an older producer was let in";
          EXPECT_FALSE(outcome.contains(number)) << "added to what has ended";
          client.number = number;
          client.adding = 0;
        } else if (answer->code == Code::fenced_producer || answer->code == Code::invalid_producer_mapping) {
          client.id = -1;
        }
        return;
      }
      if (client.ending == 0) client.ending = random() % 2 ? 1 : -1;
      const bool commits = client.ending > 0;
      const auto answer = ask(Machine::End{client.id, client.epoch, commits, client.bumps}, may_fail);
      if (!answer) return;
      if (answer->code == Code::ok) {
        promised[client.number] = commits;
        ++good_ends;
        if (client.bumps) {
          client.id = answer->id;
          client.epoch = answer->epoch;
        }
        client.number = client.ending = 0;
      } else if (answer->code == Code::fenced_producer || answer->code == Code::invalid_producer_mapping) {
        client.id = -1;
      } else {
        EXPECT_NE(answer->code, Code::invalid_transaction_state);
      }
    };
    for (int step = 0; step < 300; ++step) {
      const int who = random() % 8 == 0 ? 1 - std::max(newest, 0) : std::max(newest, 0);
      act(who, true);
      if (HasFatalFailure()) return;
      if (random() % 20 == 0) {
        rig.now.ms += random() % 3 == 0 ? 1500 : 200;
        rig.machine->tick(rig.now);
        rig.pump();
        settle(true);
      }
    }
    // Healed: what is open ends.
    settle(false);
    rig.now.ms += 2000;
    rig.machine->tick(rig.now);
    rig.pump();
    settle(false);
    if (rig.machine->find(kKey)) EXPECT_FALSE(rig.row().is_open());
    for (const auto& [number, commits] : promised) {
      ASSERT_TRUE(outcome.contains(number)) << "transaction " << number;
      EXPECT_EQ(outcome[number], commits) << "transaction " << number;
    }
    EXPECT_GT(good_ends, 10);
  }
}

}  // namespace
}  // namespace robustmq::broker
