// ShareSessions: the share sessions of one connection (KIP-932): which partitions a member of a share group reads, and which
// request of it comes next. Pure.
//
// A ShareFetch with epoch 0 opens a member's session, or opens it anew; each later request of the session, fetch or
// acknowledgement, has the next epoch and names what changed; epoch -1 ends it. A request for a session that is not here is
// SHARE_SESSION_NOT_FOUND, one with another epoch INVALID_SHARE_SESSION_EPOCH: upon each the client begins anew. A session ends
// with its connection.
//
// Limit: sessions of a core; one more is SHARE_SESSION_LIMIT_REACHED.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/ids.h"
#include "protocol/kafka/errors.h"

namespace robustmq::kafka {

// What the connections of a core count together.
struct ShareSessionPlaces {
  size_t sessions_max = 2000;
  size_t sessions = 0;
};

class ShareSession {
 public:
  // In the order in which they were added.
  const std::vector<ShardId>& partitions() const { return partitions_; }
  void add(const ShardId& partition);
  void forget(const ShardId& partition);
  // The partitions as this request fetches them: each one comes first in its turn.
  std::vector<ShardId> in_turn() const;
  int32_t next_epoch() const { return next_epoch_; }

 private:
  friend class ShareSessions;
  int32_t next_epoch_ = 1;
  std::vector<ShardId> partitions_;
};

class ShareSessions {
 public:
  explicit ShareSessions(ShareSessionPlaces& places) : places_(places) {}
  ~ShareSessions() { places_.sessions -= sessions_.size(); }
  ShareSessions(const ShareSessions&) = delete;

  static constexpr int32_t kOpenEpoch = 0;
  static constexpr int32_t kFinalEpoch = -1;

  struct Found {
    ShareSession* session = nullptr;
    KafkaError error = KafkaError::none;
  };
  // Epoch 0 opens; another one takes its turn: the next request has the next epoch. A final one changes nothing: end() follows.
  Found take(std::string_view group, std::string_view member, int32_t epoch);
  void end(std::string_view group, std::string_view member);
  size_t size() const { return sessions_.size(); }

 private:
  using Key = std::pair<std::string, std::string>;
  ShareSessionPlaces& places_;
  std::map<Key, ShareSession> sessions_;
};

}  // namespace robustmq::kafka
