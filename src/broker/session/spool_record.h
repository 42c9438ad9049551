// The records of a spool (ADR 0007). Pure.
//
// A message that lies nowhere else durable: key null, value its payload, headers `mqtt.topic`, then its own.
// A reference to a record of a stream: key topic id (16), partition (4), offset (8), leader epoch (4), big-endian; value null.
// A packet id alone (a QoS 2 message that no session waits for): value null, no `mqtt.topic`; with the key of a reference where
// the message lies in a stream.
// A voiding: key of a reference, header `mqtt.void`: what refers to that shard from that offset on, and lies before it in the
// spool, names nothing. Its offsets are given again in the same epoch.
// A batch of an idempotent producer that is owed whole: key of a reference to where it begins, header `mqtt.batch`.
//
// The spool's own headers stand in front, `mqtt.topic` is the last of them: `mqtt.packet` (see PacketMark), `mqtt.own` (client id
// of the stored session that published it), `mqtt.delayed`. Behind it come the message's, which clients choose.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/batch.h"
#include "base/ids.h"

namespace robustmq::broker {

constexpr std::string_view kPacketHeader = "mqtt.packet";
// What waited in the ledger (ADR 0013): its DelayedKey as text. Counts in what the broker itself publishes, and as the first
// header of a spool's record.
constexpr std::string_view kDelayedHeader = "mqtt.delayed";
// Of a record that was written again (spool_rewrite.cc), the first header: its offset in the spool (8, big-endian).
constexpr std::string_view kAtHeader = "mqtt.at";
constexpr std::string_view kVoidHeader = "mqtt.void";
constexpr std::string_view kBatchHeader = "mqtt.batch";
constexpr std::string_view kOwnHeader = "mqtt.own";

// A record of a stream. It is there only as the epoch says: an offset may be given again after a crash, an epoch is not.
struct SpoolRef {
  ShardId shard;
  Offset offset = 0;
  LeaderEpoch epoch = 0;
};

// A packet id that a stored session's client published at QoS 2: sequence (8, big-endian), packet id (2), client id. The sequence
// rises with every such publish of the session, so that a release is told from a later use of the id.
struct PacketMark {
  uint64_t sequence = 0;
  uint16_t packet_id = 0;
  std::string_view client_id;
};
std::string encode_packet(const PacketMark& mark);
std::optional<PacketMark> decode_packet(ByteSpan value);

// What a record of the spool says beside its payload.
struct SpoolFacts {
  std::optional<SpoolRef> ref;
  std::string_view topic;  // empty: nobody waits for it
  std::optional<PacketMark> packet;
  std::string_view own;
  std::string_view delayed;
  bool is_void = false;
  bool is_batch = false;
  std::optional<Offset> at;  // of a record that was written again
  uint8_t qos = 1;           // as of a record without it
  uint32_t expiry_s = 0;
};
SpoolFacts facts_of(const RecordView& record);

// What a message's record says. `packet` and `delayed` are the broker's only in records that it made: a client's may be anything.
struct MessageFacts {
  std::optional<PacketMark> packet;
  std::string_view delayed;  // the first there is
  uint8_t qos = 1;
  uint32_t expiry_s = 0;
};
MessageFacts message_facts_of(const RecordView& record);

// Adds the record of a message to a batch. What is empty is left out. With `ref` the payload stays where it lies.
struct SpooledAs {
  std::string_view topic;
  std::optional<SpoolRef> ref;
  std::string_view own;
  std::string_view delayed;
  std::optional<PacketMark> packet;
};
void append_spooled(BatchBuilder& to, const RecordView& message, const SpooledAs& as);

// Adds a record about a shard from an offset on: kVoidHeader or kBatchHeader says what.
void append_about(BatchBuilder& to, std::string_view header, const SpoolRef& from, int64_t now_ms);

// Adds a record of the spool as it is, with the offset that it keeps.
void append_moved(BatchBuilder& to, const RecordView& record, Offset at);

// True when a message stored at `timestamp_ms` is over at `now_ms`.
inline bool is_expired(uint32_t expiry_s, int64_t timestamp_ms, int64_t now_ms) {
  return expiry_s > 0 && now_ms >= timestamp_ms + int64_t{expiry_s} * 1000;
}

}  // namespace robustmq::broker
