// Spool: one source of what stored sessions are owed (ADR 0007): its log, who waits for what of it, and the handing out. Lives on
// its core.
//
// A message that some stored session waits for is written here, or, where a stream keeps it durable, a reference to it, in the
// journal before the stream's own batch: so after a crash no stream has a message that its spool does not know, and a reference
// whose message was lost shows by its epoch. Spool n is on core n modulo the cores; messages go to the spool of the core's own
// number, others (of a time with more cores) are only read.
//
// One way out: a connected session is a reader. When something is committed, and when credit comes back, its next owed messages
// are looked up (memory first, else the log) and handed over in order, as far as its credit goes.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/batch.h"
#include "broker/rows.h"
#include "broker/session/batch_cache.h"
#include "broker/session/moved.h"
#include "broker/session/options.h"
#include "broker/session/owed.h"
#include "broker/session/owed_batches.h"
#include "broker/session/spool_record.h"
#include "broker/streams.h"
#include "meta/meta.h"
#include "runtime/core.h"
#include "runtime/timer.h"
#include "shard/shard.h"

namespace robustmq::broker {

// The logs of the spools, by partition. Everyone else who lists an engine's logs passes over them.
extern const TopicId kSpoolTopic;
inline bool is_spool_log(const ShardId& id) { return id.topic == kSpoolTopic; }

// What was to be read is not there and never will be. Any other error may be over at the next try.
constexpr bool is_gone(Code code) {
  return code == Code::offset_out_of_range || code == Code::unknown_topic || code == Code::corrupt_storage;
}

// A message for one session, as values that may cross cores.
struct OwedMessage {
  Offset offset = 0;  // in the spool
  std::string topic;
  Bytes owner;
  RecordView record;
  uint8_t qos = 1;
  uint32_t expiry_s = 0;
  bool is_own = false;  // published by the session's own client
};
struct Handed {
  std::string client_id;
  uint64_t connection = 0;
  uint16_t source = 0;
  std::vector<OwedMessage> messages;
};

// A session's connection, as a spool knows it.
struct Attachment {
  std::string client_id;
  CoreIndex home = 0;
  uint64_t connection = 0;
  uint64_t connection_id = 0;
  bool has_no_local = false;
  uint32_t credit = 0;
  Offset from = 0;  // what lies below it was settled or is leased
};

// What a packet mark says, as a value.
struct PacketPair {
  std::string client_id;
  uint16_t packet_id = 0;
  uint64_t sequence = 0;
};

// Where a spool's outputs go; the spools' shell carries them to the session's core.
class SpoolEvents {
 public:
  virtual void on_handed(CoreIndex home, Handed handed) = 0;
  virtual void on_over_limit(CoreIndex home, std::string client_id, uint64_t connection) = 0;
  // Which of these, all of one shard on another core, name a record that it has.
  virtual void check_elsewhere(CoreIndex home, std::vector<SpoolRef> refs, Callback<void(Result<std::vector<bool>>)> done) = 0;
  // Batches of a stream whose shard lives on another core, from the one that holds `offset` on.
  virtual void read_elsewhere(CoreIndex home, const ShardId& shard, Offset offset, Callback<void(Result<Bytes>)> done) = 0;

 protected:
  ~SpoolEvents() = default;
};

struct SpoolSetup {
  runtime::Core& core;
  Rows& rows;
  Streams& streams;
  meta::Meta& meta;
  storage::Engine& engine;  // a durable one
  const SessionOptions& options;
  SessionMetrics& metrics;
  BatchCache& cache;
  SpoolEvents& events;
};

class Spool final : private runtime::Deferred {
 public:
  Spool(const SpoolSetup& setup, uint16_t number);
  ~Spool();

  // Opens the log, reads who waits (the sessions' rows) and what for (the log). `pairs`: packet ids found in it, whose messages
  // are stored: that of a reference may have been lost with its stream's batch. What is damaged is passed over and counted.
  void open(Callback<void(Result<std::vector<PacketPair>>)> done);

  // ---- Messages ----
  // Takes a message that a session waits for, or that has a packet mark. False: neither. With `ref` it stays where it is.
  // `origin`: as broker/origin.h says.
  bool add(std::string_view topic, const RecordView& record, uint64_t origin, const std::optional<SpoolRef>& ref);
  // What was taken last is all that is owed of an idempotent producer's batch that begins there.
  void end_batch(const SpoolRef& begin);
  // The ticket of such a batch; nullopt: the spool does not have it.
  std::optional<uint64_t> find_batch(const SpoolRef& begin) const { return batches_.find(begin); }
  // What refers to the shard from that offset on, so far, names nothing: its batches failed, and their offsets are given again.
  void add_void(const SpoolRef& from);
  // Writes what was taken, now (else at the end of the turn).
  void flush();
  // Names everything taken so far.
  uint64_t ticket() const { return issued_ + (entries_.empty() ? 0 : 1); }
  enum class Outcome : uint8_t { under_way, stored, failed };
  Outcome outcome_of(uint64_t ticket) const {
    if (ticket > stored_) return Outcome::under_way;
    return failed_.contains(ticket) ? Outcome::failed : Outcome::stored;
  }
  void when_stored(uint64_t ticket, Callback<void(Status)> done);

  // References into a stream are under way until its batch is committed, or has failed.
  void begin_reference(const ShardId& shard, Offset base);
  void finish_reference(const ShardId& shard, Offset base, const Bytes* batch);  // nullptr: failed

  // ---- Sessions ----
  // Subscribes; gives the offset that the subscription begins at.
  Offset enroll(const Attachment& session, const std::string& filter);
  void withdraw(std::string_view client_id, std::string_view filter);
  void forget(std::string_view client_id);
  void attach(const Attachment& session);
  // `from`: as in an attachment.
  void detach(std::string_view client_id, uint64_t connection, Offset from);
  void grant(std::string_view client_id, uint64_t connection, uint32_t credit);
  // Nothing below `position` is owed to the session any more.
  void settle(std::string_view client_id, Offset position);
  // The session's packet ids up to this sequence are stored elsewhere.
  void unpin(std::string_view client_id, uint64_t sequence);
  // Messages of the ledger that lie here (their DelayedKeys as text), until it has forgotten them: so after a
  // crash it knows what was published already (ADR 0013).
  struct FromLedger {
    std::string topic;
    std::string key;
  };
  std::vector<FromLedger> take_found() { return std::exchange(found_, {}); }  // those that were there at the start
  void forget_from_ledger(const std::vector<std::string>& keys) {
    for (const std::string& key : keys) from_ledger_.erase(key);
  }
  // The messages at these offsets once more, in order; those that are gone are left out.
  void read_again(std::string client_id, std::vector<Offset> offsets, Callback<void(std::vector<OwedMessage>)> done);

  // Holds the sessions' bounds, and drops what nobody waits for any more.
  void tidy();

  // Where, in each shard of a stream, what somebody is still owed begins: as of the last tidy(), with what came since.
  const std::map<ShardId, Offset>& kept() const { return kept_; }
  Offset kept_from(const ShardId& shard) const {
    const auto found = kept_.find(shard);
    return found == kept_.end() ? INT64_MAX : found->second;
  }
  // Batches of a stream's shard, which lives here, also below its start.
  static void read_stream(runtime::Core& core, Streams& streams, meta::Meta& meta, const ShardId& shard, Offset offset,
                          Callback<void(Result<Bytes>)> done);
  // Which of these, all of one shard that lives here, name a record that it has.
  static void check_stream(Streams& streams, meta::Meta& meta, const std::vector<SpoolRef>& refs,
                           Callback<void(Result<std::vector<bool>>)> done);

  uint16_t number() const { return number_; }
  const ShardId& id() const { return id_; }
  Owed& owed() { return owed_; }
  Offset end() const { return shard_->bounds().log_end; }
  uint64_t size_bytes() const { return shard_->bounds().size_bytes; }
  Offset start() const { return shard_->bounds().log_start; }

 private:
  struct Entry {
    std::shared_ptr<const OwedFilters> filters;  // nullptr: a packet mark alone
    uint64_t bytes = 0;
    std::optional<PacketPair> pair;
    std::string delayed;
    std::optional<SpoolRef> batch;  // see end_batch
  };
  // A packet mark that the start found.
  struct FoundPair {
    PacketPair pair;
    std::optional<SpoolRef> ref;
    Offset at = 0;
  };
  // A copy that the start found, of a message whose first place is gone.
  struct FoundMoved {
    Offset at = 0;
    Offset place = 0;
    std::shared_ptr<const OwedFilters> filters;
    uint64_t bytes = 0;
    std::optional<SpoolRef> ref;
  };
  // Whole batches of the spool's log.
  struct Batches {
    Bytes bytes;
    Offset next = 0;
  };
  // What looking for a message found.
  enum class Look : uint8_t { found, gone, not_here, not_committed };

  void run_deferred() override { flush(); }
  void on_stored(uint64_t ticket, const Bytes& batch, std::vector<Entry> entries, const Result<shard::Appended>& appended);
  void load_rows(std::string from, Callback<void(Status)> done);
  Status load_row(std::string_view key, std::string_view value);
  void replay_from(Offset from, Callback<void(Status)> done);
  void replay(ByteSpan batch);
  void pass_over(Offset damaged, Callback<void(Status)> done);
  void find_readable(Offset bad, Offset step, Offset good, Callback<void(Result<Offset>)> done);
  void check_pairs(Callback<void(Result<std::vector<PacketPair>>)> done);
  // The reference at `at` was voided.
  bool is_void(const SpoolRef& ref, Offset at) const;
  void note(OwedReader& reader, const CachedBatchPtr& held = nullptr);
  void pump_noted();
  // `held`: a batch of the spool that counts as one in the cache.
  void pump(OwedReader& reader, const CachedBatchPtr& held);
  void on_loaded(const std::string& client_id, uint64_t connection, Offset at, const ShardId& missing, const CachedBatchPtr& held,
                 const Status& status);
  // With not_here, `missing` is where to read.
  Look look(std::string_view client_id, Offset offset, const CachedBatchPtr& held, OwedMessage& message, ShardId& missing,
            Offset& missing_offset) const;
  CachedBatchPtr held_batch(Offset offset) const;
  // Reads batches from `offset` of a log into the cache; the one that holds it is there at least until `done` returns.
  void load(const ShardId& shard, Offset offset, Callback<void(Status)> done);
  void take_bytes(const ShardId& shard, const Bytes& bytes);
  // Tries again what could not be read, after a pause.
  void retry_later(Callback<void()> again);
  void on_retry();
  // A message at `at` refers to this one.
  void note_reference(const OwedFilters& filters, const SpoolRef& ref, Offset at);
  void bound(OwedReader& reader);
  void read_log(Offset from, uint64_t bytes_max, Callback<void(Result<Batches>)> done);
  void finish_replay();
  // Where in the log the message at `offset` lies; nullopt: it is gone.
  std::optional<Offset> place_of(Offset offset) const {
    return offset < below_ ? moved_.find(offset) : std::optional<Offset>(offset);
  }
  // spool_rewrite.cc
  bool is_worth_rewriting();
  bool is_wanted(const SpoolFacts& facts, const RecordView& record, Offset at);
  void rewrite_from(Offset from, uint64_t left);
  void rewrite(const Batches& batches, uint64_t left);
  void enter(Entry entry);
  struct ReadingAgain;
  void read_next_again(std::shared_ptr<ReadingAgain> reading);

  runtime::Core& core_;
  Rows& rows_;
  Streams& streams_;
  meta::Meta& meta_;
  storage::Engine& engine_;
  const SessionOptions& options_;
  SessionMetrics& metrics_;
  BatchCache& cache_;
  SpoolEvents& events_;
  uint16_t number_;
  ShardId id_;
  std::unique_ptr<shard::Shard> shard_;
  Owed owed_;

  BatchBuilder builder_;  // of this turn
  std::vector<Entry> entries_;
  uint64_t issued_ = 0;
  uint64_t stored_ = 0;              // tickets up to this are stored or have failed
  std::map<uint64_t, Code> failed_;  // the latest
  std::deque<std::pair<uint64_t, Callback<void(Status)>>> waiting_;

  std::map<ShardId, std::set<Offset>> references_;           // bases of batches under way
  std::map<std::pair<ShardId, Offset>, Offset> void_until_;  // references below this end of the spool name nothing
  OwedBatches batches_;
  std::set<std::string, std::less<>> waiting_for_stream_;
  std::map<ShardId, Offset> kept_;

  std::unordered_map<uint64_t, std::string> own_;  // by connection id: connected sessions with a No Local subscription
  std::unordered_map<std::string, std::map<uint64_t, Offset>, TextHash, std::equal_to<>> pinned_;  // packet marks by session

  std::map<std::string, Offset, std::less<>> from_ledger_;
  std::vector<FromLedger> found_;

  Moved moved_;
  Offset below_ = 0;  // what lies below it is gone, or moved
  std::vector<FoundMoved> found_moved_;
  std::vector<FoundPair> found_pairs_;
  bool is_rewriting_ = false;

  struct Noted {
    std::string client_id;
    CachedBatchPtr held;
  };
  std::vector<Noted> noted_;
  bool is_pumping_ = false;
  std::vector<Callback<void()>> retries_;
  runtime::Timer retry_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace robustmq::broker
