// A shard on the segment engine and the simulated disk, with power cuts: what was acknowledged is there, in order, once, and
// idempotent producers that send again what was not answered store nothing twice.
#include <gtest/gtest.h>

#include <map>
#include <random>

#include "runtime/sim/disk.h"
#include "runtime/sim/world.h"
#include "shard/shard.h"
#include "storage/segment/engine.h"

namespace robustmq::shard {
namespace {

using runtime::sim::CrashKind;
using runtime::sim::SimNode;
using runtime::sim::SimWorld;

class ShardCrash : public ::testing::TestWithParam<int> {
 protected:
  void start() {
    is_open = false;
    failed = {};
    storage::StorageOptions options;
    options.journal_file_bytes = 1 << 16;
    storage::SegmentEngine::open(node.core(0), options, {}, [this](auto opened) {
      if (!opened.ok()) return fail(opened.error());
      engine = opened.take();
      storage::LogSettings settings;
      settings.segment_bytes = 1 << 14;
      engine->open(ShardId{Uuid::random(1, 2), 0}, settings, 0, [this](Result<storage::OpenedLog> log) {
        if (!log.ok()) return fail(log.error());
        shard = std::make_unique<Shard>(node.core(0), ShardId{Uuid::random(1, 2), 0}, log.take(), 0, ShardSettings{});
        shard->recover([this](Status status) {
          if (!status.ok()) return fail(status.error());
          is_open = true;
        });
      });
    });
    world.run_until([this] { return is_open || !failed.ok(); }, Duration::seconds(60));
    ASSERT_TRUE(failed.ok()) << failed.error().to_string();
    ASSERT_TRUE(is_open);
  }
  void fail(Error error) { failed = std::move(error); }
  void crash(CrashKind kind) {
    node.crash(kind);
    shard.reset();
    engine.reset();
    node.restart();
  }
  // Every committed batch, as (producer, sequence) by offset.
  std::vector<std::pair<ProducerId, int32_t>> read_all() {
    std::vector<std::pair<ProducerId, int32_t>> found;
    const ShardBounds bounds = shard->bounds();
    Offset at = bounds.log_start;
    while (at < bounds.high_watermark) {
      std::optional<Result<Fetched>> fetched;
      shard->fetch(at, 1 << 16, true, [&](Result<Fetched> result) { fetched = std::move(result); });
      world.run_until([&] { return fetched.has_value(); }, Duration::seconds(10));
      if (!fetched || !fetched->ok()) {
        ADD_FAILURE() << "at " << at << ": " << (fetched ? fetched->error().to_string() : "no answer");
        return found;
      }
      Buffer bytes;
      for (const Piece& piece : (*fetched)->pieces) {
        if (piece.is_stored()) {
          const auto* file = dynamic_cast<const runtime::sim::SimFile*>(piece.stored.source.get());
          bytes.append(file->read_now(piece.stored.position, piece.size).span());
        } else {
          bytes.append(piece.bytes.span());
        }
      }
      for (ByteSpan rest = bytes.span(); !rest.empty();) {
        const BatchView batch(rest.first(*BatchView::size_at(rest)));
        EXPECT_TRUE(batch.crc_is_right());
        EXPECT_EQ(batch.base_offset(), static_cast<Offset>(found.size()));
        found.emplace_back(batch.producer_id(), batch.base_sequence());
        rest = rest.subspan(batch.total_size());
      }
      at = (*fetched)->next;
    }
    return found;
  }

  SimWorld world{{.seed = static_cast<uint64_t>(GetParam())}};
  SimNode& node = world.add_node();
  std::unique_ptr<storage::SegmentEngine> engine;
  std::unique_ptr<Shard> shard;
  bool is_open = false;
  Status failed;
};

struct Client {
  int32_t acknowledged = 0;  // sequences below it are
  int32_t sent = 0;          // below it are sent in this life of the node
  int32_t last = 0;          // below it were ever sent
};

TEST_P(ShardCrash, StoresEachSequenceOnce) {
  std::mt19937 random(static_cast<uint32_t>(GetParam()));
  std::map<ProducerId, Client> clients;
  std::map<Offset, std::pair<ProducerId, int32_t>> answered;
  for (int round = 0; round < 8; ++round) {
    start();
    if (HasFatalFailure()) return;
    const auto found = read_all();
    std::map<ProducerId, int32_t> next;
    for (const auto& [producer, sequence] : found) EXPECT_EQ(sequence, next[producer]++) << "in round " << round;
    for (const auto& [offset, what] : answered) {
      ASSERT_LT(offset, static_cast<Offset>(found.size())) << "acknowledged and lost";
      EXPECT_EQ(found[offset], what);
    }
    for (auto& [id, client] : clients) {
      EXPECT_GE(next[id], client.acknowledged);
      EXPECT_LE(next[id], client.last);
      client.sent = client.acknowledged;  // sends again what was not answered
    }
    for (int step = 0; step < 150; ++step) {
      const ProducerId id = random() % 3;
      Client& client = clients[id];
      if (client.sent - client.acknowledged < kProducerBatches) {
        const int32_t sequence = client.sent++;
        client.last = std::max(client.last, client.sent);
        BatchBuilder builder;
        builder.begin_record(1000, std::nullopt, as_bytes(std::string(random() % 500, 'v')));
        builder.end_record();
        builder.set_producer(id, 0, sequence);
        shard->append(builder.finish(), [&, id, sequence](Result<Appended> result) {
          if (!result.ok()) {
            EXPECT_EQ(result.code(), Code::shutting_down) << result.error().to_string();
            return;
          }
          EXPECT_EQ(clients[id].acknowledged, sequence);
          clients[id].acknowledged = sequence + 1;
          answered[result->base_offset] = {id, sequence};
        });
      }
      if (random() % 60 == 0) shard->seal([](Status) {});
      world.run_for(Duration::micros(static_cast<int64_t>(random() % 300)));
    }
    crash(random() % 3 == 0 ? CrashKind::process : CrashKind::power);
  }
  EXPECT_GT(answered.size(), 200u);
}

INSTANTIATE_TEST_SUITE_P(Seeds, ShardCrash, ::testing::Range(1, 9));

}  // namespace
}  // namespace robustmq::shard
