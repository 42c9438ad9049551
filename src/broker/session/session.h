// Session: what a stored session is, in memory, on its home core. Pure.
#pragma once

#include <deque>
#include <map>
#include <string>
#include <vector>

#include "broker/broker.h"
#include "broker/packet_repeat.h"
#include "broker/session/leases.h"
#include "broker/session/spool.h"
#include "broker/session/stored.h"

namespace robustmq::broker {

struct SessionSubscription {
  FollowOne follow;
  std::vector<SinceRow> since;
};

// What a session's subscriptions together say of one message (MQTT5 3.3.4): one copy at the highest QoS, with all ids.
struct SessionMatch {
  bool is_wanted = false;
  uint8_t qos_max = 0;
  bool retain_as_published = false;
  std::vector<uint32_t> ids;
};

// Packet ids that the client published at QoS 2, until it releases them.
class SessionPackets {
 public:
  void begin(uint16_t packet_id, uint64_t sequence) {
    packets_[packet_id] = {sequence, false};
    last_ = sequence;
  }
  // The message is stored, or refused: then the id means nothing.
  void finish(uint16_t packet_id, bool is_stored) {
    const auto found = packets_.find(packet_id);
    if (found == packets_.end()) return;
    if (is_stored)
      found->second.is_stored = true;
    else
      packets_.erase(found);
  }
  void release(uint16_t packet_id) {
    const auto found = packets_.find(packet_id);
    if (found == packets_.end()) return;
    released_.push_back(found->second.sequence);
    packets_.erase(found);
  }
  // Of a row, and then of the spools, in any order.
  void restore(const ProgressRow& row);
  void restore(uint16_t packet_id, uint64_t sequence);
  void begin_at(uint64_t sequence) { last_ = covered_ = sequence; }
  uint64_t covered() const { return covered_; }  // by the row that was read
  // Marks that are settled, so that what they came with is no repeat of anything.
  PacketRepeat settled() const { return {covered_, released_}; }

  // Fills the row's part; the row covers everything up to the sequence that it returns.
  uint64_t write_to(ProgressRow& row);
  std::vector<uint16_t> received() const;  // in the order they were published
  bool has_under_way() const {
    for (const auto& [id, packet] : packets_) {
      if (!packet.is_stored) return true;
    }
    return false;
  }

 private:
  struct Packet {
    uint64_t sequence = 0;
    bool is_stored = false;
  };
  std::map<uint16_t, Packet> packets_;
  std::vector<uint64_t> released_;  // past what a row covers
  uint64_t last_ = 0;
  uint64_t covered_ = 0;  // by the row that was read
};

struct Session {
  std::string client_id;
  std::string user;  // whose it is, where that was proved; empty: anybody's
  uint32_t expiry_s = 0;
  int64_t left_at_ms = 0;       // 0: connected
  uint64_t first_sequence = 0;  // packet marks before it are an older session's
  Context* context = nullptr;   // of the connection that has it; nullptr: away
  uint64_t connection = 0;      // counts the connections it had, to tell answers for an older one
  bool is_restored = false;     // of an earlier start
  bool is_dirty = false;        // its progress is to be stored
  std::vector<SessionSubscription> subscriptions;
  std::vector<Offset> seen;  // by source: below it all is settled but for the leases
  Leases leases;
  SessionPackets packets;
  std::vector<uint64_t> packet_rows;  // sequences of packet ids that have a row of their own, until the progress covers them

  // While it is connected.
  struct Waiting {
    OwedMessage message;
    uint16_t lease = 0;
  };
  struct Live {
    struct Source {
      std::deque<OwedMessage> buffered;
      uint32_t used = 0;  // credit that goes back
    };
    std::vector<Source> sources;
    size_t next_source = 0;
    uint16_t inflight_max = 1;
    bool has_begun = false;
    bool is_ready = false;  // what was leased before has gone out again
    bool is_draining = false;
    bool is_writing = false;
    std::deque<Waiting> unsent;  // leased, and not sent before that is stored (QoS 2, and what comes behind it)
    // The last match, for topics that come in a row.
    std::string topic;
    SessionMatch match;
    bool has_match = false;
    bool has_no_local = false;
  };
  std::unique_ptr<Live> live;
  Callback<void()> when_quiet;  // no publish of an older connection is under way

  Offset seen_at(uint16_t source) const { return source < seen.size() ? seen[source] : 0; }
  void see(uint16_t source, Offset offset) {
    if (seen.size() <= source) seen.resize(source + size_t{1});
    seen[source] = std::max(seen[source], offset);
  }
  Offset position(uint16_t source) const {
    const auto lowest = leases.lowest(source);
    return lowest ? std::min(*lowest, seen_at(source)) : seen_at(source);
  }
  bool has_no_local() const {
    for (const SessionSubscription& one : subscriptions) {
      if (one.follow.no_local) return true;
    }
    return false;
  }
  SessionMatch match(const OwedMessage& message) const;
};

}  // namespace robustmq::broker
