// Transactions: the coordinator of the node's transactions. One a node in this version; lives on core 0, where the rows are.
//
// The thin shell of TransactionMachine (transaction/machine.h): keeps its rows, writes the markers and the offsets of what it
// ended, carries time to it.
//
// Row key: "kafka.transaction/", big-endian tenant (4), the transactional id. Value: TransactionRow in the wire codec.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "broker/broker.h"
#include "broker/markers.h"
#include "broker/rows.h"
#include "broker/transaction/machine.h"
#include "meta/meta.h"
#include "runtime/timer.h"

namespace robustmq::broker {

class GroupCoordinator;

class Transactions {
 public:
  // All of them outlive it. `groups`: nullptr in tests: there are no consumer groups.
  Transactions(runtime::Core& core, Rows& rows, meta::Meta& meta, Markers& markers, GroupCoordinator* groups,
               const TransactionOptions& options, TransactionMetrics& metrics);
  ~Transactions();
  Transactions(const Transactions&) = delete;

  // Reads the rows. Until start() every request gets Error coordinator_loading.
  void load(Callback<void(Status)> done);
  // All cores' shards can be opened: ends what was being ended, and watches the time.
  void start();

  // True for the requests below.
  static bool takes(const Request& request);
  // One of InitProducer, AddToTransaction, AddOffsetsToTransaction, EndTransaction, CommitInTransaction, DescribeTransactions,
  // ListTransactions. A TopicRef with name and id both set is a light topic, as for consumer groups.
  void execute(TenantId tenant, Request request, ReplyTo done);

  // Whether batches of the producer may be appended to these partitions now: `done` with a code for each. What is appended from
  // this core in `done` comes before the markers that end the transaction.
  using Checked = Callback<void(std::vector<Code>)>;
  void check(TenantId tenant, const ProducerOf& producer, std::vector<TransactionPartition> partitions, bool adds, Checked done);

 private:
  using Key = TransactionMachine::Key;
  using Answer = TransactionMachine::Answer;
  using Answered = Callback<void(Answer)>;

  void ask(const Key& key, TransactionMachine::Input input, Answered done);
  void ask_now(const Key& key, TransactionMachine::Input input, Answered done);
  void carry_out();
  void end(const Key& key);
  void on_timer();
  void arm();
  void add(TenantId tenant, const AddToTransaction& request, ReplyTo done);
  void commit(TenantId tenant, CommitInTransaction request, ReplyTo done);
  std::optional<TransactionPartition> resolve(TenantId tenant, const TopicRef& ref, int32_t partition) const;
  DescribedTransaction describe(const std::string& id, const TransactionRow& row) const;
  void load_from(std::string from, Callback<void(Status)> done);

  runtime::Core& core_;
  Rows& rows_;
  meta::Meta& meta_;
  Markers& markers_;
  GroupCoordinator* groups_;
  const TransactionOptions& options_;
  TransactionMachine machine_;
  bool is_started_ = false;
  bool is_waiting_for_ids_ = false;
  struct Waiting {
    Key key;
    TransactionMachine::Input input;
    Answered done;
  };
  std::vector<Waiting> waiting_for_ids_;
  std::map<TransactionMachine::Ticket, Answered> answers_;
  TransactionMachine::Ticket last_ticket_ = 0;
  std::map<Key, Instant> retries_;
  runtime::Timer timer_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace robustmq::broker
