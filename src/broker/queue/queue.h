// Queue: who was given which messages of one shard, and what became of them. Pure: inputs and time in, outputs out.
//
// A message is an offset of the shard. It is in one of five states:
//
//   available --lease--> leased --accept--> done
//       ^  ^               | release, fail, lease over, consumer gone (counts rise)
//       |  +---------------+--> waiting (not before a time) --> available
//       +-- its group is free       reject, limit of deliveries, expired, too many --> dead --> done
//
// The state is kept as ranges [first, last] that share everything, in an ordered map from `first`; a message with a group key or
// annotations is a range of its own. So the cost grows with what waits in different ways or is in flight, not with the log: a
// backlog of any length that nobody touched is one range, and done messages in front of the first open one are forgotten.
//
// Order. The highest lane first, in a lane the lowest offset first: what comes back goes back to its place. Messages of a group
// are leased in the order of their offsets; while one of them is leased no later lease gets any other (one lease may take
// several in order), and one that waits holds back those behind it.
//
// Volatile and durable. Leases, consumers and credit are volatile; states, counts, not-before times and annotations are durable:
// each change of them is a Delta, which the owner writes. restore(snapshot) and replay(delta) make the queue again, with what was
// leased available. Which deliveries began is not durable, only how they ended. Facts of messages that came after the snapshot
// are in the log: the owner gives them again with arrive() from next_arrival() on, and nothing is leased before that is done.
//
// Invariants:
//  1. A message has at most one holder. 2. No message is lost: each offset from start() to end() is in one state, and leaves only
//  by accept, by purge, trim or seek, or dead with an output. 3. start() falls by seek() alone. 4. The durable part follows from
//  the snapshot and the deltas. 5. Outputs follow from inputs alone: containers are ordered.
//
// Limits: QueueOptions. Errors are codes; nothing here fails half-way: a refused input changes nothing.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "base/ids.h"
#include "base/result.h"
#include "base/time.h"
#include "broker/queue/options.h"

namespace robustmq::queue {

using ConsumerId = uint64_t;
using LeaseId = uint64_t;   // one a grant; never given twice by one Queue object
using FilterId = uint32_t;  // the owner's name of a filter; 0: none
constexpr int kLanes = 32;  // priorities, the highest number first

enum class State : uint8_t { available, waiting, leased, dead, done };
enum class Outcome : uint8_t {
  accept,
  release,  // not tried: the delivery counts, no failure
  fail,     // tried
  reject,   // dies
  unread,   // nobody looked at it: counts as no delivery
};
enum class DeathCause : uint8_t { none, rejected, expired, overflow, delivery_limit };

struct Now {
  Instant instant;  // leases
  WallTime wall;    // not before, expiry
};

// Messages that came, in order.
struct Arrival {
  Offset first = 0;
  Offset last = 0;  // inclusive
  uint8_t lane = 0;
  std::string group = {};     // not empty: one message, first == last
  WallTime not_before = {0};  // 0: at once
  WallTime expires = {0};     // 0: never
};

struct ConsumerFacts {
  ConsumerId id = 0;
  int32_t priority = 0;       // the higher first
  bool is_exclusive = false;  // alone, or not at all
  FilterId filter = 0;        // given to Reader::look
  int64_t in_flight_max = INT64_MAX;
};

// What the owner knows of a message when a filter or a limit in bytes asks.
struct Look {
  enum class Verdict : uint8_t {
    take,
    skip,    // not for this filter; others may have it
    gone,    // for nobody: done
    unread,  // not in memory: looked() when it is
  };
  Verdict verdict = Verdict::take;
  uint32_t bytes = 0;
};
class Reader {
 public:
  virtual Look look(FilterId filter, Offset offset) = 0;

 protected:
  ~Reader() = default;
};

struct LeaseRequest {
  ConsumerId consumer = 0;
  int64_t messages_max = 1;
  int64_t bytes_max = INT64_MAX;  // at least one message is given
  int64_t lease_ms = 0;           // 0: the queue's
  bool is_waiting = false;        // nothing there: the first that comes, once
  Offset below = INT64_MAX;       // nothing at or past it; does not hold for a lease that waits
};

// What became of leased messages.
struct Settlement {
  ConsumerId consumer = 0;
  Offset first = 0;
  Offset last = 0;
  Outcome outcome = Outcome::accept;
  LeaseId lease = 0;             // not 0: of this lease only
  WallTime not_before = {0};     // release, fail
  std::string annotations = {};  // release, fail: replaces, for first == last
};

// Messages in the same state. Also what browse() shows.
struct View {
  Offset first = 0;
  Offset last = 0;
  State state = State::available;
  uint16_t acquired = 0;  // deliveries that ended
  uint16_t failed = 0;    // of them, failed ones
  uint8_t lane = 0;
  DeathCause cause = DeathCause::none;
  WallTime not_before = {0};
  WallTime expires = {0};
  ConsumerId holder = 0;
  LeaseId lease = 0;
  std::string_view group = {};  // views live until the next input
  std::string_view annotations = {};
};

// A durable change; to be written in order.
struct Delta {
  enum class Kind : uint8_t { open, dead, done, reset, pause, resume };
  Kind kind = Kind::open;
  Offset first = 0;  // reset: where it begins anew
  Offset last = 0;
  uint16_t acquired = 0;
  uint16_t failed = 0;
  uint8_t cause = 0;
  int64_t not_before_ms = 0;
  std::string annotations = {};

  template <class V>
  static void describe(V& v) {
    v.field("kind", &Delta::kind);
    v.field("first", &Delta::first);
    v.field("last", &Delta::last);
    v.field("acquired", &Delta::acquired);
    v.field("failed", &Delta::failed);
    v.field("cause", &Delta::cause);
    v.field("not_before_ms", &Delta::not_before_ms);
    v.field("annotations", &Delta::annotations);
  }
};

struct Outputs {
  struct Grant {
    ConsumerId consumer = 0;
    LeaseId lease = 0;
    Offset first = 0;
    Offset last = 0;
    uint16_t acquired = 1;  // this delivery included
    uint16_t failed = 0;
  };
  struct Death {
    Offset first = 0;
    Offset last = 0;
    DeathCause cause = DeathCause::none;
    uint16_t acquired = 0;
    uint16_t failed = 0;
  };
  struct Drained {
    ConsumerId consumer = 0;
    int64_t unused = 0;  // credit that is void
  };
  std::vector<Grant> grants;
  std::vector<Death> deaths;
  std::vector<Drained> drained;
  std::vector<Delta> deltas;
  std::optional<ConsumerId> activated;  // single active: whose turn it is
  std::optional<Offset> unread;         // Reader::look knew nothing of it
  bool has_more = false;                // the scan's budget is over: call tick() in another turn
  bool empty() const {
    return grants.empty() && deaths.empty() && drained.empty() && deltas.empty() && !activated && !unread && !has_more;
  }
};

class Queue {
 public:
  // A queue over the offsets from `start` on. What is referred to outlives it; `reader` may be nullptr: everything is taken, and
  // limits in bytes do not hold.
  Queue(const QueueOptions& options, QueueMetrics& metrics, Reader* reader, Offset start);
  Queue(const Queue&) = delete;
  ~Queue();
  // Error: malformed, not_supported (a newer format), quota_exceeded (over a limit of `options`).
  static Result<std::unique_ptr<Queue>> restore(const QueueOptions& options, QueueMetrics& metrics, Reader* reader,
                                                ByteSpan snapshot, Now now);
  // A delta written since the snapshot, in order, before any other input. Error: malformed.
  Status replay(const Delta& delta, Now now);

  // ---- Inputs. `now` never falls. Outputs gather in outputs() ----

  // Messages from next_arrival() on. Offsets passed over do not exist, and are done. invalid_argument; quota_exceeded: a table is
  // full, to be given again later.
  Code arrive(const Arrival& arrival, Now now);
  // Offsets from next_arrival() up to `upto` do not exist, as far as nothing has arrived there.
  void skip(Offset upto, Now now);
  // How many messages may be appended (INT64_MAX: any number).
  int64_t room() const;

  // already_exists: the id, or an exclusive consumer, or others where this one wants to be alone; quota_exceeded.
  Code add_consumer(const ConsumerFacts& facts, Now now);
  // What it holds is released, failed or unread. Unknown ids are nothing.
  void remove_consumer(ConsumerId id, Outcome outcome, Now now);

  // Pull. Returns how many messages were granted (in outputs().grants). not_found: no such consumer.
  Result<int64_t> lease(const LeaseRequest& request, Now now);
  // Push: the consumer stands with a credit of `messages` (in place of what it had), which each grant uses up. Drain: what is
  // there is given, then the credit is void and outputs().drained says so.
  Code credit(ConsumerId consumer, int64_t messages, bool is_drain, Now now);

  // One code a settlement: not_found when any message of it is not leased by that consumer (under that lease); then none of it
  // is settled. invalid_argument, too_large (annotations).
  std::vector<Code> settle(const std::vector<Settlement>& settlements, Now now);
  // Their lease ends `lease_ms` from now. Codes as for settle().
  Code renew(ConsumerId consumer, Offset first, Offset last, int64_t lease_ms, LeaseId lease, Now now);
  // All of it is leased by that consumer (under that lease; 0: any).
  bool holds(ConsumerId consumer, Offset first, Offset last, LeaseId lease = 0) const;

  // No lease, no change: from `from` on, at most `views_max` ranges, open, leased and dead ones.
  std::vector<View> browse(Offset from, size_t views_max) const;
  // Begins anew at `to`, which may lie behind or before: all state and all leases end.
  void seek(Offset to, Now now);
  // Open messages below `upto` are done; leased ones stay with their holders. Returns how many.
  int64_t purge(Offset upto, Now now);
  // The log no longer has what is below `upto`: done, leased or not. Dead messages that wait for confirm_dead() go on to.
  void trim(Offset upto, Now now);
  void pause();
  void resume(Now now);
  // Dead messages lie elsewhere now. not_found: some of them is not dead.
  Code confirm_dead(Offset first, Offset last, Now now);
  // What Reader::look did not know it knows now.
  void looked(Now now);
  void tick(Now now);

  Outputs& outputs() { return outputs_; }
  // When tick() is wanted; never() when not.
  Instant next_timer(Now now) const;

  // ---- State ----
  Offset start() const { return start_; }  // the first that is not done
  // The first that is ready, whatever its lane; nullopt: none is.
  std::optional<Offset> first_ready() const;
  Offset end() const { return end_; }  // behind the last one known
  Offset next_arrival() const { return arrived_; }
  int64_t count(State state) const { return counts_[static_cast<size_t>(state)]; }
  size_t range_count() const { return ranges_.size(); }
  size_t consumer_count() const { return consumers_.size(); }
  // Messages that it holds; 0 for who is not known.
  int64_t in_flight_of(ConsumerId id) const {
    const auto found = consumers_.find(id);
    return found == consumers_.end() ? 0 : found->second.in_flight;
  }
  bool is_paused() const { return is_paused_; }
  std::optional<ConsumerId> active() const { return active_; }

  // The durable part. Equal durable states give equal bytes and equal fingerprints, after tick() at the same time.
  Bytes snapshot() const;
  uint64_t fingerprint() const;

 private:
  struct Group;
  struct Extra {
    Group* group = nullptr;
    std::string annotations;
  };
  struct Range {
    Offset last = 0;
    State state = State::available;
    uint8_t lane = 0;
    uint16_t acquired = 0;
    uint16_t failed = 0;
    DeathCause cause = DeathCause::none;
    WallTime not_before{0};
    WallTime expires{0};
    Instant lease_end{};
    ConsumerId holder = 0;
    LeaseId lease = 0;
    std::unique_ptr<Extra> extra;
    bool is_open() const { return state == State::available || state == State::waiting; }
  };
  using Ranges = std::map<Offset, Range>;
  // Messages of one key that are not done; a group without any is forgotten.
  struct Group {
    std::string_view name;     // the key in groups_
    std::set<Offset> pending;  // open, in order
    int64_t leased = 0;
    LeaseId lock = 0;      // the lease that holds it, while leased > 0
    Offset ready = kNone;  // in ready_ under this offset, or kNone
    uint8_t ready_lane = 0;
    int64_t size = 0;  // ranges that name it
  };
  // Order of being served: priority, then who was served longest ago.
  struct Turn {
    int32_t priority = 0;
    uint64_t served = 0;
    ConsumerId id = 0;
    bool operator<(const Turn& other) const {
      if (priority != other.priority) return priority > other.priority;
      return served != other.served ? served < other.served : id < other.id;
    }
  };
  struct Consumer {
    ConsumerFacts facts;
    uint64_t order = 0;
    uint64_t served = 0;
    int64_t credit = 0;
    int64_t bytes_max = INT64_MAX;  // of the waiting lease
    int64_t lease_ms = 0;
    bool is_once = false;  // the credit is a waiting lease
    bool is_draining = false;
    int64_t in_flight = 0;
    std::set<Offset> held;  // first offsets of its ranges
    bool is_hungry = false;
    Turn turn;  // its key in FilterState::hungry
  };
  struct FilterState {
    int64_t consumers = 0;
    std::set<Turn> hungry;
    std::array<Offset, kLanes> cursor;  // what was ready before it does not suit
    bool is_starved = false;            // nothing suits until something becomes ready
  };
  struct Standby {
    int32_t priority = 0;
    uint64_t order = 0;
    ConsumerId id = 0;
    bool operator<(const Standby& other) const {
      return priority != other.priority ? priority > other.priority : order < other.order;
    }
  };
  static constexpr Offset kNone = -1;

  // queue.cc
  void index(Offset first, Range& range);
  void unindex(Offset first, Range& range);
  Ranges::iterator split(Offset at);
  void merge(Offset from, Offset upto);
  template <class Change>
  void change(Offset first, Offset last, Change&& change);
  void forget_done();
  void refresh(Group& group);
  void make_ready(Offset first, uint8_t lane);
  void begin(Now now);
  void note(Delta delta);
  void note_open(Offset first, const Range& range);
  void die(Offset first, Range& range, DeathCause cause);
  void finish(Offset first, Range& range);
  void become_done(Range& range);
  void append(Offset last, Range range);
  void come_back(Offset first, Range& range, Outcome outcome, WallTime not_before, Now now);
  Code check_arrival(const Arrival& arrival) const;
  void place(const Arrival& arrival, Now now);
  void pass_over(Offset upto);
  void drop_head();
  void clear(Offset start);
  void annotate(Range& range, const std::string& annotations);
  void join_group(Range& range, const std::string& name);
  void lose_extra(Range& range);

  // queue_lease.cc
  void dispatch(Now now);
  bool has_ready() const;
  bool may_lease() const;
  int64_t take(Consumer& consumer, int64_t messages_max, int64_t bytes_max, int64_t lease_ms, Offset below, Now now);
  void grant(Consumer& consumer, Offset first, Offset last, Instant lease_end);
  Instant lease_end(int64_t lease_ms, Now now) const;
  bool is_eligible(const Consumer& consumer) const;
  void refresh(Consumer& consumer);
  void activate();
  void finish_drains();

  // queue_store.cc
  Status load(ByteSpan snapshot, Now now);

  const QueueOptions& options_;
  QueueMetrics& metrics_;
  Reader* reader_;
  Offset start_;
  Offset arrived_;
  Offset end_;
  bool is_paused_ = false;
  Ranges ranges_;
  std::array<int64_t, 5> counts_{};
  int64_t extras_ = 0;
  std::map<std::string, Group, std::less<>> groups_;
  std::array<std::set<Offset>, kLanes> ready_;     // first offsets of available ranges and of the heads of free groups
  uint32_t ready_lanes_ = 0;                       // bit l: ready_[l] is not empty
  std::set<std::pair<int64_t, Offset>> wall_due_;  // not-before and expiry of open ranges
  std::set<std::pair<Instant, Offset>> lease_due_;
  std::map<ConsumerId, Consumer> consumers_;
  std::map<FilterId, FilterState> filters_;
  int64_t hungry_ = 0;
  std::set<ConsumerId> draining_;
  bool owes_deaths_ = false;   // after a restore: the dead are told of again
  std::set<Standby> standby_;  // single active: all consumers
  std::optional<ConsumerId> active_;
  bool has_exclusive_ = false;
  uint64_t orders_ = 0;
  uint64_t servings_ = 0;
  LeaseId last_lease_ = 0;
  LeaseId batch_ = 0;                 // the lease being filled
  std::vector<Group*> batch_groups_;  // groups that it took from
  int64_t scan_left_ = 0;
  Outputs outputs_;
};

}  // namespace robustmq::queue
