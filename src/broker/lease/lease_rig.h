// What tests of queues share: a share group "g" over the topic "t", through the halls of a simulated node.
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "broker/session/session_rig.h"

namespace robustmq::broker::test {

struct Record {
  Offset offset = 0;
  std::string value;
  int deliveries = 0;
};

inline Bytes batch_of(const std::vector<std::string>& values) {
  BatchBuilder builder;
  for (const std::string& value : values) {
    builder.begin_record(1000, std::nullopt, as_bytes(value));
    builder.end_record();
  }
  return builder.finish();
}

class LeaseTest : public ::testing::Test {
 protected:
  explicit LeaseTest(CoreIndex cores = 3, uint64_t seed = 11) : rig(cores, seed) {}

  void begin(int32_t partitions = 1, meta::Mode mode = meta::Mode::persistent) {
    rig.start();
    rig.add_topic("t", partitions, mode);
    Client& client = rig.kafka();
    join(client, "first");
    set(client, "share_auto_offset_reset", "earliest");
  }
  Client& kafka(CoreIndex core = 0) { return rig.kafka(core); }
  ConsumerHeartbeatReply beat(Client& client, const std::string& member, int32_t epoch, const std::string& group = "g") {
    HeartbeatShare request;
    request.group = group;
    request.member_id = member;
    request.member_epoch = epoch;
    if (epoch == 0) request.topics = {"t"};
    return rig.ask_for<ConsumerHeartbeatReply>(client, std::move(request));
  }
  void join(Client& client, const std::string& member, const std::string& group = "g") {
    EXPECT_EQ(beat(client, member, 0, group).code, Code::ok);
  }
  void set(Client& client, const std::string& name, const std::string& value) {
    ConfigureGroups request;
    request.groups.push_back({"g", false, {{name, value}}});
    EXPECT_EQ(rig.ask_for<ConfiguredGroups>(client, std::move(request)).groups.at(0).code, Code::ok) << name;
    rig.settle();
  }
  Offset produce(Client& client, const std::vector<std::string>& values, int32_t partition = 0) {
    Produce request;
    request.topics = {{"t", {}}};
    request.partitions.push_back({0, partition, batch_of(values), {}});
    const ProducedPartition row = rig.ask_for<Produced>(client, std::move(request)).partitions.at(0);
    EXPECT_EQ(row.code, Code::ok);
    return row.base_offset;
  }
  static LeaseRecords ask(const std::string& member, int64_t most, std::vector<int32_t> partitions = {0}, int32_t wait_ms = 0) {
    LeaseRecords request;
    request.queue = "g";
    request.consumer = member;
    request.topics = {{"t", {}}};
    for (const int32_t partition : partitions) request.partitions.push_back({0, partition});
    request.messages_max = most;
    request.wait_max_ms = wait_ms;
    return request;
  }
  static std::vector<Record> records_of(const LeasedPartition& row) {
    std::vector<Record> records;
    EXPECT_EQ(row.code, Code::ok);
    Buffer bytes;
    for (const Piece& piece : row.batches) bytes.append(piece.bytes.span());
    const Bytes all = bytes.take();
    std::map<Offset, std::string> values;
    for (ByteSpan rest = all.span(); !rest.empty();) {
      const BatchView batch(rest.first(*BatchView::size_at(rest)));
      rest = rest.subspan(batch.total_size());
      EXPECT_FALSE(batch.is_control());
      RecordReader reader(batch, batch.records());
      RecordView record;
      while (reader.next(record)) {
        EXPECT_TRUE(values.emplace(record.offset, std::string(as_text(*record.value))).second) << "a batch came twice";
      }
    }
    for (const LeasedRange& range : row.ranges) {
      for (Offset offset = range.first; offset <= range.last; ++offset) {
        const auto found = values.find(offset);
        EXPECT_NE(found, values.end()) << offset;
        records.push_back({offset, found == values.end() ? "" : found->second, range.deliveries});
      }
    }
    return records;
  }
  LeasedRecords leased(Client& client, LeaseRecords request) { return rig.ask_for<LeasedRecords>(client, std::move(request)); }
  std::vector<Record> lease(Client& client, const std::string& member, int64_t most, int32_t wait_ms = 0) {
    return records_of(leased(client, ask(member, most, {0}, wait_ms)).partitions.at(0));
  }
  static std::vector<Offset> offsets(const std::vector<Record>& records) {
    std::vector<Offset> all;
    for (const Record& record : records) all.push_back(record.offset);
    return all;
  }
  Code settle(Client& client, const std::string& member, std::vector<SettleRange> ranges, int32_t partition = 0) {
    SettleLeases request;
    request.queue = "g";
    request.consumer = member;
    request.topics = {{"t", {}}};
    request.settled.push_back({0, partition, std::move(ranges)});
    return rig.ask_for<LeasesSettled>(client, std::move(request)).settled.at(0);
  }
  Code accept(Client& client, const std::string& member, Offset first, Offset last) {
    return settle(client, member, {{first, last, What::accept}});
  }
  DescribedShareOffsets::Partition described(Client& client) {
    DescribeShareOffsets request;
    request.groups.push_back({"g", true, {}, {}});
    const auto reply = rig.ask_for<DescribedShareOffsets>(client, std::move(request));
    EXPECT_EQ(reply.groups.at(0).code, Code::ok);
    return reply.groups.at(0).partitions.empty() ? DescribedShareOffsets::Partition{} : reply.groups.at(0).partitions.at(0);
  }
  size_t rows() {
    size_t count = 0;
    rig.kv->scan("queue/", "queue0", SIZE_MAX, [&](Result<storage::KvRows> found) { count = found->size(); });
    return count;
  }

  using What = SettleRange::What;
  using Offsets = std::vector<Offset>;
  SessionRig rig;
};

}  // namespace robustmq::broker::test
