#include "raft/entry.h"

#include <cstdio>

namespace robustmq::raft {
namespace {

std::string hex(uint64_t value, int digits) {
  char text[17];
  std::snprintf(text, sizeof text, "%0*llx", digits, static_cast<unsigned long long>(value));
  return text;
}

std::string group_key(GroupId group, const char* rest) { return "raft/" + hex(group, 8) + "/" + rest; }

constexpr Uuid kRaftTopic{{'r', 'a', 'f', 't'}};

}  // namespace

Bytes encode_entry(const Entry& entry) {
  const uint8_t kind = static_cast<uint8_t>(entry.kind);
  BatchBuilder builder;
  builder.begin_record(entry.stamp.ms, ByteSpan(&kind, 1), entry.command.span());
  builder.end_record();
  Bytes batch = builder.finish();
  patch_batch(batch, entry.index, entry.term);
  return batch;
}

Result<Entry> decode_entry(ByteSpan batch) {
  const BatchView view(batch);
  if (!BatchView::check_shape(batch).ok() || !view.crc_is_right() || view.compression() != Compression::none ||
      view.record_count() != 1 || view.last_offset_delta() != 0)
    return Error{Code::corrupt_storage, "an entry of a Raft log is not a batch of one record"};
  RecordReader records(view, view.records());
  RecordView record;
  if (!records.next(record) || records.bytes_left() != 0 || !record.key || record.key->size() != 1 || !record.value)
    return Error{Code::corrupt_storage, "an entry of a Raft log has no kind or no value"};
  const uint8_t kind = (*record.key)[0];
  if (kind > static_cast<uint8_t>(EntryKind::command))
    return Error{Code::not_supported, "an entry of kind " + std::to_string(kind) + " in a Raft log, written by a newer version"};
  return Entry{view.base_offset(), view.leader_epoch(), WallTime{record.timestamp_ms}, static_cast<EntryKind>(kind),
               Bytes::copy_of(*record.value)};
}

std::string hard_key(GroupId group) { return group_key(group, "hard"); }
std::string snapshot_key(GroupId group) { return group_key(group, "snapshot"); }
std::string chunk_key(GroupId group, Index index, uint32_t chunk) {
  return group_key(group, "snapshot/") + hex(static_cast<uint64_t>(index), 16) + "/" + hex(chunk, 8);
}
std::string chunks_end_key(GroupId group) { return group_key(group, "snapshot0"); }  // '0' follows '/'

ShardId log_id_of(GroupId group) { return {kRaftTopic, static_cast<int32_t>(group)}; }
bool is_raft_log(const ShardId& id) { return id.topic == kRaftTopic; }

}  // namespace robustmq::raft
