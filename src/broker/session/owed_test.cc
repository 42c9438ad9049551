// Owed lists, leases and packet ids against plain models, with random steps; the seed is printed.
#include "broker/session/owed.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <set>

#include "base/topic_names.h"
#include "broker/session/batch_cache.h"
#include "broker/session/leases.h"
#include "broker/session/moved.h"
#include "broker/session/session.h"

namespace robustmq::broker {
namespace {

TEST(Runs, JoinsNeighboursAndCountsFromAnyOffset) {
  Runs runs;
  for (Offset offset : {3, 4, 5, 9, 10, 20}) runs.add(offset, 10);
  EXPECT_EQ(runs.entry_count(), 3u);
  EXPECT_EQ(runs.next(0), 3);
  EXPECT_EQ(runs.next(4), 4);
  EXPECT_EQ(runs.next(6), 9);
  EXPECT_EQ(runs.next(21), std::nullopt);
  EXPECT_EQ(runs.count_from(0), 6u);
  EXPECT_EQ(runs.count_from(4), 5u);
  EXPECT_EQ(runs.count_from(7), 3u);
  EXPECT_EQ(runs.bytes_from(10), 20u);
  runs.trim(10);
  EXPECT_EQ(runs.next(0), 9);
  EXPECT_EQ(runs.count_from(0), 3u);
}

TEST(RefMarks, BeginAtOrBelowEverythingThatIsLeft) {
  const uint64_t seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937_64 random(seed);
  struct Ref {
    Offset at;
    Offset in_shard;
  };
  std::map<ShardId, std::vector<Ref>> model;
  std::map<ShardId, Offset> next;
  RefMarks marks;
  Offset at = 0;
  Offset floor = 0;
  for (int step = 0; step < 4000; ++step) {
    const ShardId shard{{}, static_cast<int32_t>(random() % 3)};
    if (random() % 1000 == 0) next[shard] = std::max<Offset>(0, next[shard] - 20);  // appends that failed
    marks.add(shard, at, next[shard]);
    model[shard].push_back({at, next[shard]});
    ++next[shard];
    at += 1 + static_cast<Offset>(random() % 3);
    if (random() % 100 != 0) continue;
    floor = std::min(at, floor + static_cast<Offset>(random() % 500));
    marks.trim(floor);
    std::map<ShardId, Offset> lowest;
    for (auto& [id, refs] : model) {
      std::erase_if(refs, [&](const Ref& ref) { return ref.at < floor; });
      for (const Ref& ref : refs) lowest[id] = std::min(lowest.try_emplace(id, ref.in_shard).first->second, ref.in_shard);
    }
    std::map<ShardId, Offset> found;
    marks.for_each([&](const ShardId& id, Offset in_shard) { found[id] = in_shard; });
    ASSERT_EQ(found.size(), lowest.size());
    for (const auto& [id, offset] : lowest) {
      ASSERT_LE(found[id], offset);
      ASSERT_GE(found[id], offset - 2 * RefMarks::kEvery);
    }
  }
  marks.trim(at);
  EXPECT_TRUE(marks.empty());
}

TEST(Moved, FindsEachAtItsLastPlace) {
  const uint64_t seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937_64 random(seed);
  Moved moved;
  std::map<Offset, Offset> model;
  Offset place = 1000;
  for (int step = 0; step < 3000; ++step) {
    const auto offset = static_cast<Offset>(random() % 300);
    const uint64_t what = random() % 20;
    if (what == 0) {
      moved.forget(offset);
      model.erase(offset);
    } else {
      // Runs of neighbours, with holes.
      for (Offset at = offset; at < offset + static_cast<Offset>(what); at += 1 + static_cast<Offset>(random() % 8 == 0)) {
        moved.set(at, place);
        model[at] = place++;
      }
    }
    for (Offset at = 0; at < 330; ++at) {
      const auto found = model.find(at);
      ASSERT_EQ(moved.find(at), found == model.end() ? std::nullopt : std::optional<Offset>(found->second)) << at;
    }
  }
  moved.trim(400);
  EXPECT_TRUE(moved.empty());
}

// The model keeps for each reader the set of offsets it is owed.
TEST(Owed, OwesEachReaderWhatTheModelSays) {
  const uint64_t seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937_64 random(seed);
  const std::vector<std::string> filters = {"a", "b", "+", "#", "a/+", "a/b", "c/#"};
  const std::vector<std::string> topics = {"a", "b", "a/b", "c", "c/d"};
  for (int round = 0; round < 40; ++round) {
    Owed owed;
    struct Model {
      std::map<std::string, Offset> since;
      std::vector<std::pair<Offset, std::string>> messages;  // all there ever were
      Offset position = 0;
    };
    std::map<std::string, Model> model;
    std::vector<std::pair<Offset, std::string>> log;
    Offset end = 0;
    Offset trimmed = 0;
    for (int step = 0; step < 300; ++step) {
      const std::string id = "s" + std::to_string(random() % 5);
      const uint64_t what = random() % 10;
      if (what == 0) {
        const std::string& filter = filters[random() % filters.size()];
        owed.enroll(owed.reader(id), filter, end);
        model[id].since.try_emplace(filter, end);
      } else if (what == 1) {
        const std::string& filter = filters[random() % filters.size()];
        if (OwedReader* reader = owed.find(id)) owed.withdraw(*reader, filter);
        if (model.contains(id)) model[id].since.erase(filter);
      } else if (what == 2 && random() % 5 == 0) {
        owed.forget(id);
        model.erase(id);
      } else if (what == 3) {
        if (OwedReader* reader = owed.find(id)) {
          const Offset to = reader->position + static_cast<Offset>(random() % 5);
          reader->position = reader->cursor = std::min(to, end);
          model[id].position = reader->position;
        }
      } else if (what == 4) {
        const Offset floor = owed.floor(end);
        trimmed = std::max(trimmed, floor);
        owed.trim(floor);
      } else {
        const std::string& topic = topics[random() % topics.size()];
        if (const auto matching = owed.filters_of(topic)) {
          for (const auto& filter : *matching) filter->runs.add(end, 7);
        }
        log.emplace_back(end, topic);
        ++end;
      }
      for (auto& [client, one] : model) {
        std::vector<Offset> expected;
        for (const auto& [offset, topic] : log) {
          if (offset < one.position) continue;
          const bool is_owed = std::any_of(one.since.begin(), one.since.end(), [&, at = offset, &name = topic](const auto& sub) {
            return at >= sub.second && filter_matches(sub.first, name);
          });
          if (is_owed) expected.push_back(offset);
        }
        OwedReader* reader = owed.find(client);
        ASSERT_NE(reader, nullptr);
        std::vector<Offset> got;
        for (auto at = Owed::next(*reader, reader->cursor); at; at = Owed::next(*reader, *at + 1)) got.push_back(*at);
        ASSERT_EQ(got, expected) << client << " at step " << step << " of round " << round;
        // What was given up was owed to nobody.
        if (!expected.empty()) {
          ASSERT_GE(expected.front(), trimmed);
        }
      }
    }
  }
}

TEST(Owed, DropsTheOldestOrTheNewestPastTheBounds) {
  Owed owed;
  OwedReader& oldest = owed.reader("oldest");
  OwedReader& newest = owed.reader("newest");
  owed.enroll(oldest, "t", 0);
  owed.enroll(newest, "t", 0);
  const auto add = [&](Offset from, Offset to) {
    for (Offset offset = from; offset < to; ++offset) (*owed.filters_of("t"))[0]->runs.add(offset, 100);
  };
  const auto all_of = [](const OwedReader& reader) {
    std::vector<Offset> got;
    for (auto at = Owed::next(reader, reader.cursor); at; at = Owed::next(reader, *at + 1)) got.push_back(*at);
    return got;
  };
  add(0, 10);
  const OwedBounds bounds{.messages_max = 3};
  EXPECT_EQ(Owed::drop_oldest(oldest, 10, bounds), 7u);
  EXPECT_EQ(all_of(oldest), (std::vector<Offset>{7, 8, 9}));
  EXPECT_EQ(Owed::drop_oldest(oldest, 10, bounds), 0u);
  EXPECT_EQ(Owed::drop_newest(newest, 10, bounds), 7u);
  EXPECT_EQ(all_of(newest), (std::vector<Offset>{0, 1, 2}));
  // It stays full: what comes now is dropped too.
  add(10, 12);
  EXPECT_EQ(Owed::drop_newest(newest, 12, bounds), 2u);
  EXPECT_EQ(all_of(newest), (std::vector<Offset>{0, 1, 2}));
  // Drained, it takes new ones again.
  newest.cursor = newest.position = 3;
  add(12, 14);
  EXPECT_EQ(Owed::drop_newest(newest, 14, bounds), 0u);
  EXPECT_EQ(all_of(newest), (std::vector<Offset>{12, 13}));
  // By bytes.
  EXPECT_EQ(Owed::drop_oldest(newest, 14, {.bytes_max = 150}), 1u);
  EXPECT_EQ(all_of(newest), (std::vector<Offset>{13}));
}

TEST(Leases, GivesIdsInTurnAndPassesOverThoseInUse) {
  Leases leases;
  EXPECT_EQ(leases.take(1, 0, 10), 1);
  EXPECT_EQ(leases.take(2, 0, 11), 2);
  EXPECT_TRUE(leases.end(1));
  EXPECT_FALSE(leases.end(1));
  for (uint32_t i = 3; i <= kLeaseMax; ++i) {
    EXPECT_EQ(leases.take(1, 0, 10 + i), i);
    EXPECT_TRUE(leases.end(static_cast<uint16_t>(i)));
  }
  EXPECT_EQ(leases.take(1, 0, 50'000), 1);
  EXPECT_EQ(leases.take(1, 0, 50'001), 3);  // 2 is in use
  EXPECT_EQ(leases.lowest(0), 11);
  EXPECT_EQ(leases.lowest(1), std::nullopt);
}

TEST(Leases, HasNoMoreThanItsIds) {
  Leases leases;
  for (uint32_t i = 1; i <= kLeaseMax; ++i) EXPECT_EQ(leases.take(1, 0, i), i);
  EXPECT_EQ(leases.take(1, 0, 99), 0);
  leases.end(7);
  EXPECT_EQ(leases.take(1, 0, 99), 7);
}

// A crash at any moment: what the row and the spools' marks say together is what was published and not released.
TEST(SessionPackets, AreTheSameAfterACrashAtAnyMoment) {
  const uint64_t seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937_64 random(seed);
  for (int round = 0; round < 200; ++round) {
    SessionPackets packets;
    packets.begin_at(100);
    uint64_t sequence = 100;
    ProgressRow stored;
    stored.sequence = 100;
    std::vector<std::pair<uint16_t, uint64_t>> marks;  // in the spools
    std::map<uint16_t, uint64_t> published;            // stored and not released
    std::map<uint16_t, uint64_t> under_way;
    for (int step = 0; step < 60; ++step) {
      const auto id = static_cast<uint16_t>(1 + random() % 6);
      switch (random() % 4) {
        case 0:
          if (!published.contains(id) && !under_way.contains(id)) {
            packets.begin(id, ++sequence);
            under_way[id] = sequence;
          }
          break;
        case 1:
          if (under_way.contains(id)) {
            const bool is_stored = random() % 4 != 0;
            packets.finish(id, is_stored);
            if (is_stored) {
              marks.emplace_back(id, under_way[id]);
              published[id] = under_way[id];
            }
            under_way.erase(id);
          }
          break;
        case 2:
          if (published.contains(id)) {  // answered when the row is stored
            packets.release(id);
            published.erase(id);
            stored = {};
            packets.write_to(stored);
          }
          break;
        default:
          stored = {};
          const uint64_t covered = packets.write_to(stored);
          // Marks that the row covers may go.
          if (random() % 2) std::erase_if(marks, [&](const auto& mark) { return mark.second <= covered; });
      }
      SessionPackets again;
      again.begin_at(100);
      again.restore(stored);
      for (const auto& [packet_id, number] : marks) again.restore(packet_id, number);
      std::vector<uint16_t> expected;
      for (const auto& [packet_id, number] : published) expected.push_back(packet_id);
      std::vector<uint16_t> got = again.received();
      std::sort(got.begin(), got.end());
      ASSERT_EQ(got, expected) << "round " << round << " step " << step;
    }
  }
}

TEST(BatchCache, CountsWhatABatchIsWhenItIsOpened) {
  const ShardId shard{};
  const auto batch = [](Offset base, int records, size_t size) {
    BatchBuilder builder;
    for (int i = 0; i < records; ++i) {
      builder.begin_record(1, std::nullopt, as_bytes(std::string(size, 'x')));
      builder.end_record();
    }
    Bytes made = builder.finish();
    patch_batch(made, base, 1);
    return made;
  };
  // Small records: their views are larger than they are.
  BatchCache cache(4 << 20);
  for (Offset base = 0; base < 200'000; base += 10'000) ASSERT_TRUE(cache.add(shard, batch(base, 10'000, 0)));
  EXPECT_LE(cache.bytes(), 6u << 20);
  EXPECT_EQ(cache.find(shard, 0), nullptr);
  EXPECT_EQ(cache.find(shard, 150'000), nullptr);
  ASSERT_NE(cache.find(shard, 199'999), nullptr);
  // A slice does not keep what was read with it.
  Buffer many;
  for (Offset base = 0; base < 100; ++base) many.append(batch(base, 1, 10'000).span());
  const Bytes read = many.take();
  BatchCache other(4 << 20);
  ASSERT_TRUE(other.add(shard, read.slice(0, *BatchView::size_at(read.span()))));
  EXPECT_LT(other.bytes(), 30'000u);
  EXPECT_LT(other.find(shard, 0)->owner.pinned(), 30'000u);
}

}  // namespace
}  // namespace robustmq::broker
