// TransactionMachine: decides what becomes of transactions, and of the producers' epochs. Pure.
//
// A transactional id is Empty, then Ongoing from the first partition or group that is added; EndTxn, a timeout or a newer
// producer prepares its commit or abort; when every partition has its marker and every group its offsets it is complete, and the
// next one may begin. A row is written before its change is answered or acted on; from the prepared row on the outcome is
// decided, whatever crashes: what was not told of it is told after the next start.
//
// Epochs. A producer with an older epoch than its transactional id has is fenced. InitProducerId gives a new one; so does, with
// KIP-890, each EndTxn, and the markers then carry the new one, so that nothing of the transaction can come behind them. The last
// usable epoch is followed by a new producer id. A retry of what gave a new epoch is known by the last epoch and gets the same
// answer; after a timeout or a takeover there is no last epoch, so the older producer hears that it is fenced and never of a
// success. A producer that names its own epoch in InitProducerId while its transaction is open is no other one (KIP-360): the
// transaction is aborted as by EndTxn, and it goes on in the next epoch when it asks again.
//
// One row of an id is written at a time; requests that come meanwhile wait in order, at most kWaitingMax, more get
// concurrent_transactions, as any but a wrong one does while a transaction is being ended.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "base/time.h"
#include "broker/transaction/options.h"
#include "broker/transaction/row.h"

namespace robustmq::broker {

class TransactionMachine {
 public:
  using Key = std::pair<TenantId, std::string>;  // and the transactional id
  using Ticket = uint64_t;                       // names a request; 0: nobody waits

  struct Init {
    int32_t timeout_ms = 0;
    ProducerId id = -1;
    int16_t epoch = -1;
  };
  struct Add {
    ProducerId id = -1;
    int16_t epoch = -1;
    std::vector<TransactionPartition> partitions;
    std::vector<std::string> groups;
    bool verify_only = false;
  };
  struct End {
    ProducerId id = -1;
    int16_t epoch = -1;
    bool commits = false;
    bool bumps_epoch = false;
  };
  using Input = std::variant<Init, Add, End>;
  struct Answer {
    Ticket ticket = 0;
    Code code = Code::ok;
    ProducerId id = -1;
    int16_t epoch = -1;
    std::vector<Code> partitions;  // of a verification
  };
  // What is to be done, in this order of the members.
  struct Outputs {
    struct Write {
      Key key;
      std::optional<TransactionRow> row;  // nullopt: removed
    };
    std::vector<Write> writes;       // answered by written()
    std::vector<Key> ends;           // markers and offsets of a prepared row; answered by ended()
    std::vector<Key> ends_to_retry;  // the same after a pause
    std::vector<Answer> answers;
    bool empty() const { return writes.empty() && ends.empty() && ends_to_retry.empty() && answers.empty(); }
  };

  // Both outlive it.
  TransactionMachine(const TransactionOptions& options, TransactionMetrics& metrics) : options_(options), metrics_(metrics) {}

  // A row that was kept; before anything else.
  void load(const Key& key, TransactionRow row);
  // Producer ids that nobody else gets.
  void add_producer_ids(ProducerId first, int64_t count) { spare_ids_.push_back({first, first + count}); }
  bool wants_producer_ids() const { return spare_ids_.empty(); }

  void ask(const Key& key, Ticket ticket, Input input, WallTime now);
  void written(const Key& key, Code code, WallTime now);
  // Not ok: some of it could not be told; comes again.
  void ended(const Key& key, bool is_ok, WallTime now);
  // Aborts what is open too long, forgets what is not used. When to come again: next_due(), INT64_MAX for never.
  void tick(WallTime now);
  int64_t next_due() const { return due_.empty() ? INT64_MAX : due_.begin()->first; }

  Outputs take_outputs() { return std::exchange(outputs_, {}); }
  bool has_outputs() const { return !outputs_.empty(); }

  // nullptr: not known.
  const TransactionRow* find(const Key& key) const;
  template <class Use>
  void for_each(Use&& use) const {
    for (const auto& [key, entry] : entries_) {
      if (entry->is_kept) use(key, entry->row);
    }
  }

  static constexpr size_t kWaitingMax = 64;
  static constexpr int16_t kLastEpoch = INT16_MAX - 1;  // the last one a producer is given

 private:
  struct Entry {
    TransactionRow row;
    bool is_kept = false;  // some row of it was written
    // The write under way.
    bool is_writing = false;
    bool is_removing = false;
    TransactionRow next;
    Ticket writer = 0;        // who is answered when it is done
    Code answer = Code::ok;   // and with what
    Ticket ender = 0;         // waits for the end of the prepared transaction
    int64_t due = INT64_MAX;  // its place in due_
    // Of the row: what is in the transaction.
    std::set<std::pair<TopicId, int32_t>> partitions;
    std::set<std::string> groups;
    int64_t not_before = 0;  // a write failed: nothing is begun by itself until then
    std::deque<std::pair<Ticket, Input>> waiting;

    bool has(const TransactionPartition& wanted) const { return partitions.contains({wanted.id, wanted.partition}); }
    void note_parts();
  };

  void run(const Key& key, Entry& entry, Ticket ticket, const Input& input, WallTime now);
  void run_waiting(const Key& key, WallTime now);
  void on(const Key& key, Entry& entry, Ticket ticket, const Init& init, WallTime now);
  void on(const Key& key, Entry& entry, Ticket ticket, const Add& add, WallTime now);
  void on(const Key& key, Entry& entry, Ticket ticket, const End& end, WallTime now);
  void prepare(const Key& key, Entry& entry, Ticket ticket, const End& end, WallTime now);
  void fence(const Key& key, Entry& entry, Ticket ticket, WallTime now, bool is_own);
  void write(const Key& key, Entry& entry, TransactionRow next, Ticket writer, Code answer = Code::ok);
  void refuse(Ticket ticket, Code code);
  void answer_end(Entry& entry, const TransactionRow& complete);
  void schedule(const Key& key, Entry& entry);
  void count_state(const TransactionRow& row, int64_t sign);
  ProducerId take_spare();

  const TransactionOptions& options_;
  TransactionMetrics& metrics_;
  std::map<Key, std::unique_ptr<Entry>> entries_;
  std::set<std::pair<int64_t, Key>> due_;
  std::deque<std::pair<ProducerId, ProducerId>> spare_ids_;  // [first, end), not empty
  Outputs outputs_;
};

}  // namespace robustmq::broker
