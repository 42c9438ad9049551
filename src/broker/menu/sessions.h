// The menu: who follows what, and a client's lasting presence. Topics and filters are in MQTT's spelling. Pure.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"

namespace robustmq::broker {

// ---- Follow: live fan-out by interest ----

// What of the retained messages a new follower is sent (MQTT5 3.8.3.1).
enum class RetainHandling : uint8_t { always, if_new, never };

// What a stream keeps, read from somewhere on, in place of what is published from now on.
struct StreamRead {
  struct Start {
    enum class At : uint8_t { latest, earliest, offset, time };
    At at = At::latest;
    int64_t value = 0;       // offset; time: ms since 1970
    int32_t partition = -1;  // -1: each that no other start names
  };
  std::string name;           // of the stream; "/" and a filter: of the rule with that filter
  std::vector<Start> starts;  // of what none names: latest
};

// The group whose subscriptions are of queues where BrokerOptions::queues_available says so. Their filter is `NAME` or
// `NAME/FILTER`, of a stream by its name, or `/FILTER`, of the rule with that filter (MQTT: `$queue/...`).
constexpr std::string_view kQueueShare = "$queue";

struct FollowOne {
  std::string filter;  // a valid MQTT topic filter, without what names the group; of a stream: what of it, empty: all
  std::string share;   // the shared subscription's group; empty: not shared; kQueueShare, where there are queues: one of them
  std::shared_ptr<const StreamRead> stream;  // null: live
  uint8_t qos_max = 0;
  bool no_local = false;
  bool retain_as_published = false;
  RetainHandling retain_handling = RetainHandling::always;
  uint32_t subscription_id = 0;  // 0: none
  bool may_make = false;         // of a queue or a stream with a filter: it is made over that where there is none of its name
};
struct Follow {
  std::vector<FollowOne> filters;
};
struct FollowResult {
  Code code = Code::ok;
  bool is_new = true;
  std::string detail;  // why not, where there is more to say than the code does
};
// Comes when every core that may publish knows the interest.
struct Followed {
  std::vector<FollowResult> results;
};
struct Unfollow {
  struct One {
    std::string filter;
    std::string share;
    std::string stream;  // empty: live
  };
  std::vector<One> filters;
};
struct Unfollowed {
  std::vector<bool> existed;
};

// ---- Session: a client's lasting presence; the same id again takes the older connection over ----

// Published when the connection ends without EndSession, or later (MQTT5 3.1.2.5).
struct Will {
  std::string topic;
  Bytes payload;
  Bytes raw_headers;
  int32_t header_count = 0;
  uint8_t qos = 0;
  bool retain = false;
  uint32_t expiry_s = 0;  // 0: never
  uint32_t delay_s = 0;   // at most the session's expiry
};

constexpr uint32_t kSessionNeverExpires = UINT32_MAX;

struct OpenSession {
  std::string client_id;
  bool clean_start = true;  // what an older session of this id holds is dropped, and its will sent
  uint32_t expiry_s = 0;    // after the connection's end; 0: the session ends with it, and nothing of it is stored but the will
  uint16_t inflight_max = 20;  // most leased deliveries that are not settled (MQTT's Receive Maximum)
  std::optional<Will> will;
  std::string user;    // who the client says it is; where it has proved who it is, that counts
  std::string prefix;  // of all topics of the client, which does not see it: put before automatic subscriptions too
  std::optional<std::string> password;
};
// Comes when no other connection has the session and nothing of an older one is under way. A present session's leased
// deliveries come again behind it, in their order.
struct SessionOpened {
  bool is_present = false;
  uint32_t expiry_s = 0;           // as granted
  std::vector<uint16_t> received;  // packet ids published at QoS 2 and not yet released
};

// The client's goodbye. Without it, the end of a connection publishes the will.
struct EndSession {
  bool without_will = true;
  std::optional<uint32_t> expiry_s;  // replaces the session's
};
struct SessionEnded {};

// Packet ids of QoS 2 publishes that the client has released: each may name a new message. Durable when answered.
struct Release {
  std::vector<uint16_t> packet_ids;
};
struct Released {};

// Leases are packet ids up to this; those above it are the connection's own, for deliveries that have no lease.
constexpr uint16_t kLeaseMax = 32'767;
// Leases from here on are of shared subscriptions, in any session, and those from the second on of queues: they end with the
// connection.
constexpr uint16_t kSharedLeaseMin = 49'152;
constexpr uint16_t kQueueLeaseMin = 57'344;

// What became of leased deliveries (Delivery::lease).
struct Settle {
  enum class Outcome : uint8_t {
    received,  // QoS 2: the client owns it; never delivered again. Answered when that is durable
    done,      // over
    refused,   // the client can never have it: a shared one goes to another member, else as `done`
  };
  struct One {
    uint16_t lease = 0;
    Outcome outcome = Outcome::done;
  };
  std::vector<One> leases;
};
struct Settled {
  std::vector<Code> leases;  // in order; not_found: no such lease
};

}  // namespace robustmq::broker
