// The rows of a session (storage/kv.h) and their keys. Pure.
//
// Keys: "session/", tenant (4, big-endian), length of the client id (2, big-endian), client id, then one byte for what it is:
//   's'           the session itself: SessionRow
//   't'           what it was handed and has settled: ProgressRow
//   'u' filter    a subscription: SubscriptionRow; a shared one is under "$share/<group>/<filter>"
//   'v' sequence  (8, big-endian) a packet id published at QoS 2 whose message is a row itself, in one write with it: PacketRow
// So a session's rows lie together, itself first, and go with one range delete.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/describe.h"
#include "base/ids.h"
#include "base/result.h"
#include "broker/menu/request.h"

namespace robustmq::broker {

struct SessionRow {
  uint32_t expiry_s = 0;
  int64_t left_at_ms = 0;       // wall time at which the client went; 0: connected when this was written
  uint64_t first_sequence = 0;  // packet marks (spool_record.h) up to this are an older session's
  std::string user;             // whose it is, where that was proved; empty: anybody's

  template <class V>
  static void describe(V& v) {
    v.field("expiry_s", &SessionRow::expiry_s, {});
    v.field("left_at_ms", &SessionRow::left_at_ms, {});
    v.field("first_sequence", &SessionRow::first_sequence, {});
    v.field("user", &SessionRow::user, {});
  }
};

// From where on a subscription is owed the messages of one source.
struct SinceRow {
  uint16_t source = 0;
  int64_t offset = 0;

  template <class V>
  static void describe(V& v) {
    v.field("source", &SinceRow::source, {});
    v.field("offset", &SinceRow::offset, {});
  }
};

struct SubscriptionRow {
  uint8_t qos_max = 0;
  bool no_local = false;
  bool retain_as_published = false;
  uint8_t retain_handling = 0;
  uint32_t subscription_id = 0;
  std::vector<SinceRow> since;

  template <class V>
  static void describe(V& v) {
    using S = SubscriptionRow;
    v.field("qos_max", &S::qos_max, {});
    v.field("no_local", &S::no_local, {});
    v.field("retain_as_published", &S::retain_as_published, {});
    v.field("retain_handling", &S::retain_handling, {});
    v.field("subscription_id", &S::subscription_id, {});
    v.field("since", &S::since, {});
  }
};

// Of a source, everything below `seen` is settled but for the leases that name an offset in it.
struct SeenRow {
  uint16_t source = 0;
  int64_t seen = 0;

  template <class V>
  static void describe(V& v) {
    v.field("source", &SeenRow::source, {});
    v.field("seen", &SeenRow::seen, {});
  }
};
struct LeaseRow {
  uint16_t id = 0;
  uint8_t qos = 1;
  bool is_received = false;
  uint16_t source = 0;
  int64_t offset = 0;

  template <class V>
  static void describe(V& v) {
    v.field("id", &LeaseRow::id, {});
    v.field("qos", &LeaseRow::qos, {});
    v.field("is_received", &LeaseRow::is_received, {});
    v.field("source", &LeaseRow::source, {});
    v.field("offset", &LeaseRow::offset, {});
  }
};
struct PacketRow {
  uint16_t packet_id = 0;
  uint64_t sequence = 0;

  template <class V>
  static void describe(V& v) {
    v.field("packet_id", &PacketRow::packet_id, {});
    v.field("sequence", &PacketRow::sequence, {});
  }
};
// Of packet ids published at QoS 2: up to `sequence` those not released are the ones listed; beyond it the spools name them, but
// for those in `released`.
struct ProgressRow {
  std::vector<SeenRow> seen;
  std::vector<LeaseRow> leases;  // in the order they were handed out
  uint64_t sequence = 0;
  std::vector<PacketRow> packets;
  std::vector<uint64_t> released;

  template <class V>
  static void describe(V& v) {
    using P = ProgressRow;
    v.field("seen", &P::seen, {});
    v.field("leases", &P::leases, {});
    v.field("sequence", &P::sequence, {});
    v.field("packets", &P::packets, {});
    v.field("released", &P::released, {});
  }
};

constexpr std::string_view kSessionRows = "session/";

enum class SessionRowKind : uint8_t { session = 's', progress = 't', subscription = 'u', packet = 'v' };

// The front that all keys of a session share, and the keys.
std::string session_prefix(TenantId tenant, std::string_view client_id);
std::string session_key(TenantId tenant, std::string_view client_id);
std::string progress_key(TenantId tenant, std::string_view client_id);
std::string packet_key(TenantId tenant, std::string_view client_id, uint64_t sequence);
std::string subscription_key(TenantId tenant, std::string_view client_id, std::string_view filter, std::string_view share);

struct SessionKey {
  TenantId tenant = 0;
  std::string client_id;
  SessionRowKind kind = SessionRowKind::session;
  std::string filter;  // of a subscription
  std::string share;
};
// Error: malformed.
Result<SessionKey> parse_session_key(std::string_view key);

SubscriptionRow row_of(const FollowOne& follow);
FollowOne follow_of(const SessionKey& key, const SubscriptionRow& row);

}  // namespace robustmq::broker
