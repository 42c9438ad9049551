// FetchSessions: what the node remembers of incremental fetches (KIP-227): which partitions a consumer follows, and what of each
// it was told last. Pure.
//
// A full fetch (epoch 0) opens a session and is answered with its id; then each request names the id and the next epoch, carries
// only what changed, and is answered with the partitions that have news. Epoch -1 ends a session, or is a fetch without one; a
// full fetch that names an id ends that session first. A request that names no session of this core is
// FETCH_SESSION_ID_NOT_FOUND, one with another epoch INVALID_FETCH_SESSION_EPOCH, one that switches between names and ids
// FETCH_SESSION_TOPIC_ID_ERROR: upon each the client begins anew.
//
// Limits: sessions, and partitions of all of them together. When one is reached a new session takes the place of one that was
// idle for `idle_ms` (the one idle longest), else of a smaller one (the smallest), else the fetch is answered without a session.
#pragma once

#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/ids.h"
#include "base/time.h"
#include "protocol/kafka/errors.h"

namespace robustmq::kafka {

// The epoch of a session's request behind one of this epoch (KIP-227; share sessions count alike).
inline int32_t epoch_after(int32_t epoch) { return epoch == INT32_MAX ? 1 : epoch + 1; }

struct FetchSessionLimits {
  size_t sessions_max = 1000;
  size_t partitions_max = 100'000;
  Duration idle = Duration::millis(120'000);
};

// A partition as a session knows it. By id from Fetch 13 on, else by name.
struct FetchSessionPartition {
  std::string topic;
  TopicId id;
  int32_t partition = 0;
  Offset from = 0;
  LeaderEpoch current_leader_epoch = -1;
  LeaderEpoch last_fetched_epoch = -1;
  int32_t bytes_max = 0;
  // As last told.
  Offset high_watermark = -1;
  Offset last_stable = -1;
  Offset log_start = -1;
};

class FetchSession {
 public:
  struct Key {
    std::string topic;
    TopicId id;
    int32_t partition = 0;
    auto operator<=>(const Key&) const = default;
  };
  using Partitions = std::list<FetchSessionPartition>;

  int32_t id() const { return id_; }
  bool uses_ids() const { return uses_ids_; }
  // In the order in which they are fetched: what was given last comes last, so that none starves.
  const Partitions& partitions() const { return partitions_; }
  size_t size() const { return partitions_.size(); }

  // What the client wants of a partition now; adds it when it is new.
  void put(FetchSessionPartition wanted);
  void forget(const Key& key);
  FetchSessionPartition* find(const Key& key);
  // Bytes of it were given.
  void move_last(const Key& key);

 private:
  friend class FetchSessions;
  int32_t id_ = 0;
  int32_t next_epoch_ = 1;
  bool uses_ids_ = false;
  Instant used_at_{};
  size_t counted_ = 0;  // partitions that the limit knows of
  Partitions partitions_;
  std::map<Key, Partitions::iterator> by_key_;
};

// One a core.
class FetchSessions {
 public:
  explicit FetchSessions(FetchSessionLimits limits, uint64_t seed = 0) : limits_(limits), random_(seed) {}

  struct Found {
    std::shared_ptr<FetchSession> session;
    KafkaError error = KafkaError::none;
  };
  // The session of an incremental request, which takes its turn: the next request has the next epoch.
  Found find(int32_t id, int32_t epoch, bool uses_ids, Instant now);
  // Takes the session in: it has its id then, and its first request had epoch 0. False: there is no place for it.
  bool open(const std::shared_ptr<FetchSession>& session, bool uses_ids, Instant now);
  void end(int32_t id);
  // The partitions of the session changed.
  void recount(FetchSession& session);

  size_t size() const { return sessions_.size(); }
  size_t partitions() const { return partitions_; }
  uint64_t evicted() const { return evicted_; }

 private:
  bool make_room(size_t partitions, Instant now);

  FetchSessionLimits limits_;
  uint64_t random_;
  std::map<int32_t, std::shared_ptr<FetchSession>> sessions_;
  size_t partitions_ = 0;
  uint64_t evicted_ = 0;
};

}  // namespace robustmq::kafka
