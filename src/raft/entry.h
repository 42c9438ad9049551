// A Raft log's entries as stored, and the group's rows. The final format: replication and elections add none. Pure.
//
// An entry is a record batch (base/batch.h) of one record: base offset = index, leader epoch = term, timestamp = the stamp;
// the record's key is one byte, the kind; its value is the command (empty for no_op). Indexes begin at 0.
//
// Rows of group `g` in the key-value store (base/wire.h), g as 8 hex digits:
//   raft/g/hard                   HardState: term and vote, written before anything is done in the term
//   raft/g/snapshot               SnapshotRow: what the newest snapshot holds; written in one batch with its chunks
//   raft/g/snapshot/<index>/<n>   chunk n of the snapshot that ends at index, both as 16 and 8 hex digits
#pragma once

#include <cstdint>
#include <string>

#include "base/batch.h"
#include "base/bytes.h"
#include "base/ids.h"
#include "base/result.h"
#include "base/time.h"

namespace robustmq::raft {

using GroupId = uint32_t;
using Index = int64_t;
using Term = int32_t;

enum class EntryKind : uint8_t {
  no_op = 0,    // a new leader's first entry
  command = 1,  // for the machine
};

struct Entry {
  Index index = 0;
  Term term = 0;
  WallTime stamp;
  EntryKind kind = EntryKind::no_op;
  Bytes command;
};

Bytes encode_entry(const Entry& entry);
// Errors: corrupt_storage (not one record of this form), not_supported (a kind of a newer version).
Result<Entry> decode_entry(ByteSpan batch);

struct HardState {
  Term term = 0;
  NodeId vote = -1;  // who got this node's vote in the term; -1: nobody

  template <class V>
  static void describe(V& v) {
    v.field("term", &HardState::term);
    v.field("vote", &HardState::vote);
  }
};

struct SnapshotRow {
  Index index = -1;  // the last entry it holds; -1: none
  Term term = 0;     // of that entry
  int64_t stamp_ms = 0;
  uint32_t chunks = 0;
  uint32_t crc = 0;  // CRC-32C of all chunks together
  std::vector<NodeId> members;

  template <class V>
  static void describe(V& v) {
    v.field("index", &SnapshotRow::index);
    v.field("term", &SnapshotRow::term);
    v.field("stamp_ms", &SnapshotRow::stamp_ms);
    v.field("chunks", &SnapshotRow::chunks);
    v.field("crc", &SnapshotRow::crc);
    v.field("members", &SnapshotRow::members);
  }
};

std::string hard_key(GroupId group);
std::string snapshot_key(GroupId group);
std::string chunk_key(GroupId group, Index index, uint32_t chunk);
std::string chunks_end_key(GroupId group);  // past every chunk of the group

// The log that holds a group's entries, among the engine's logs. No topic has this id: it is no random UUID.
ShardId log_id_of(GroupId group);
bool is_raft_log(const ShardId& id);

}  // namespace robustmq::raft
