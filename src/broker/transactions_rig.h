// What tests of transactions share: producers with their sequences, over the halls of a simulated node.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "broker/session/session_rig.h"
#include "shard/marker.h"

namespace robustmq::broker::test {

struct Producer {
  std::string tid;
  ProducerId id = -1;
  int16_t epoch = -1;
  std::map<std::pair<std::string, int32_t>, int32_t> sequences;  // by partition
  ProducerOf of() const { return {tid, id, epoch}; }
};

class TransactionsTest : public ::testing::Test {
 protected:
  explicit TransactionsTest(CoreIndex cores = 3, uint64_t seed = 11) : rig(cores, seed) {}

  void begin(int32_t partitions = 4, meta::Mode mode = meta::Mode::persistent) {
    rig.start();
    add_topic("t", partitions, mode);
  }
  void add_topic(std::string name, int32_t partitions, meta::Mode mode = meta::Mode::persistent) {
    rig.add_topic(std::move(name), partitions, mode);
  }
  Client& kafka(CoreIndex core = 0) { return rig.kafka(core); }
  Code init(Client& client, Producer& producer, int32_t timeout_ms = 60'000) {
    const auto reply = rig.ask_for<InitedProducer>(client, InitProducer{producer.tid, timeout_ms, -1, -1});
    if (reply.code == Code::ok) {
      producer.id = reply.id;
      producer.epoch = reply.epoch;
      producer.sequences.clear();
    }
    return reply.code;
  }
  // Comes again while a transaction of the id is being aborted.
  void init_at_last(Client& client, Producer& producer, int32_t timeout_ms = 60'000) {
    Code code = Code::concurrent_transactions;
    for (int i = 0; i < 100 && code == Code::concurrent_transactions; ++i) {
      code = init(client, producer, timeout_ms);
      if (code != Code::ok) rig.settle();
    }
    ASSERT_EQ(code, Code::ok);
  }
  static Bytes batch_of(const std::vector<std::string>& values, const Producer* producer, int32_t sequence) {
    BatchBuilder builder;
    for (const std::string& value : values) {
      builder.begin_record(1000, std::nullopt, as_bytes(value));
      builder.end_record();
    }
    if (!producer) return builder.finish();
    builder.set_producer(producer->id, producer->epoch, sequence);
    Bytes batch = builder.finish();
    uint8_t* at = batch.patchable();
    at[22] |= 0x10;
    renew_batch_crc(at, batch.size());
    return batch;
  }
  Produce produce_request(Producer& producer, const std::string& topic, int32_t partition, const std::vector<std::string>& values,
                          bool adds = true) {
    int32_t& sequence = producer.sequences[{topic, partition}];
    Produce request;
    request.topics = {{topic, {}}};
    request.partitions.push_back({0, partition, batch_of(values, &producer, sequence), {}});
    request.transactional_id = producer.tid;
    request.adds_partitions = adds;
    sequence += static_cast<int32_t>(values.size());
    return request;
  }
  Code produce(Client& client, Producer& producer, const std::string& topic, int32_t partition,
               const std::vector<std::string>& values, bool adds = true) {
    return rig.ask_for<Produced>(client, produce_request(producer, topic, partition, values, adds)).partitions.at(0).code;
  }
  Code produce_plain(Client& client, const std::string& topic, int32_t partition, const std::vector<std::string>& values) {
    Produce request;
    request.topics = {{topic, {}}};
    request.partitions.push_back({0, partition, batch_of(values, nullptr, -1), {}});
    return rig.ask_for<Produced>(client, std::move(request)).partitions.at(0).code;
  }
  Code end(Client& client, Producer& producer, bool commits, bool bumps = true) {
    const auto reply = rig.ask_for<EndedTransaction>(client, EndTransaction{producer.of(), commits, bumps});
    if (reply.code == Code::ok && bumps) {
      producer.id = reply.id;
      producer.epoch = reply.epoch;
      producer.sequences.clear();
    }
    return reply.code;
  }
  FetchedPartition fetch(Client& client, const std::string& topic, int32_t partition, Offset from, bool committed,
                         int32_t wait_ms = 0) {
    Fetch request;
    request.topics = {{topic, {}}};
    request.partitions.push_back({0, partition, from, -1, 1 << 20, -1});
    request.read_committed = committed;
    request.wait_max_ms = wait_ms;
    return std::move(rig.ask_for<FetchReply>(client, std::move(request)).partitions.at(0));
  }
  static Bytes bytes_of(const Pieces& pieces) {
    Buffer bytes;
    for (const Piece& piece : pieces) {
      if (piece.is_stored()) {
        const auto* file = dynamic_cast<const runtime::sim::SimFile*>(piece.stored.source.get());
        bytes.append(file->read_now(piece.stored.position, piece.size).span());
      } else {
        bytes.append(piece.bytes.span());
      }
    }
    return bytes.take();
  }
  // As a client reads what is committed: by the list of what was aborted.
  std::vector<std::string> read(Client& client, const std::string& topic, int32_t partition, bool committed = true) {
    std::vector<std::string> values;
    for (Offset at = 0; true;) {
      const FetchedPartition got = fetch(client, topic, partition, at, committed);
      EXPECT_EQ(got.code, Code::ok);
      if (got.batches.empty()) {
        EXPECT_EQ(at, committed ? got.last_stable : got.high_watermark);
        return values;
      }
      EXPECT_TRUE(std::is_sorted(got.aborted.begin(), got.aborted.end(), [](auto& a, auto& b) { return a.first < b.first; }));
      const Bytes bytes = bytes_of(got.batches);
      std::map<ProducerId, bool> is_void;
      size_t next = 0;
      for (ByteSpan rest = bytes.span(); !rest.empty();) {
        const BatchView batch(rest.first(*BatchView::size_at(rest)));
        rest = rest.subspan(batch.total_size());
        at = batch.next_offset();
        for (; next < got.aborted.size() && got.aborted[next].first <= batch.last_offset(); ++next)
          is_void[got.aborted[next].producer] = true;
        if (batch.is_control()) {
          is_void[batch.producer_id()] = false;
          continue;
        }
        if (batch.is_transactional() && is_void[batch.producer_id()]) continue;
        RecordReader records(batch, batch.records());
        RecordView record;
        while (records.next(record)) values.emplace_back(as_text(*record.value));
      }
    }
  }
  Offset latest(Client& client, const std::string& topic, int32_t partition, bool committed) {
    ListOffsets request;
    request.topics = {{topic, {}}};
    request.partitions.push_back({0, partition, -1, ListOffsetsPartition::What::latest, 0, -1});
    request.read_committed = committed;
    return rig.ask_for<ListedOffsets>(client, std::move(request)).partitions.at(0).offset;
  }

  using Values = std::vector<std::string>;
  SessionRig rig;
};

}  // namespace robustmq::broker::test
