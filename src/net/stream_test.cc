// ByteStream on the simulated network, and once on the real one: framing under any cut, copies, back pressure, closing, moving.
#include "net/stream.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <random>
#include <string>

#include "runtime/posix/world.h"
#include "runtime/sim/net.h"
#include "runtime/sim/world.h"

namespace robustmq::net {
namespace {

using runtime::sim::SimNode;
using runtime::sim::SimWorld;

uint64_t fresh_stream_seed() {
  uint64_t seed = std::random_device{}();
  std::printf("seed %llu\n", static_cast<unsigned long long>(seed));
  return seed;
}

std::string text_of(size_t size, size_t salt = 0) {
  std::string text(size, ' ');
  for (size_t i = 0; i < size; ++i) text[i] = static_cast<char>('a' + (i * 7 + salt) % 23);
  return text;
}

std::string frame_of(const std::string& body) {
  uint32_t size = static_cast<uint32_t>(body.size());
  return std::string(reinterpret_cast<const char*>(&size), 4) + body;
}

// Reads frames (four bytes of length, then the body), or everything.
struct Reader final : StreamEvents {
  Reader(Streams& streams, std::unique_ptr<runtime::Socket> socket)
      : stream(std::make_unique<ByteStream>(streams, std::move(socket))) {
    stream->start(*this);
  }
  Reader(Streams& streams, DetachedStream detached) : stream(std::make_unique<ByteStream>(streams, std::move(detached))) {
    stream->start(*this);
  }
  size_t on_bytes(const Bytes& bytes) override {
    ++calls;
    if (!is_framed) {
      heard += bytes.text();
      return bytes.size();
    }
    size_t at = 0;
    while (bytes.size() - at >= 4) {
      uint32_t size;
      std::memcpy(&size, bytes.data() + at, 4);
      if (bytes.size() - at < 4 + size) {
        stream->want(4 + size);
        break;
      }
      frames.push_back(bytes.slice(at + 4, size));
      at += 4 + size;
      if (pause_after_each) {
        stream->pause_reading();
        if (resume_at_once) stream->resume_reading();
        break;
      }
    }
    return at;
  }
  void on_drained() override { ++drained; }
  void on_closed(StreamEnd why) override {
    ended = true;
    end = why;
    if (destroy_on_close) stream.reset();
  }
  std::unique_ptr<ByteStream> stream;
  bool is_framed = false, pause_after_each = false, resume_at_once = false, destroy_on_close = false, ended = false;
  StreamEnd end{};
  int calls = 0, drained = 0;
  std::string heard;
  std::vector<Bytes> frames;
};

struct Pair {
  explicit Pair(uint64_t seed, StreamLimits limits = {}) : world({.seed = seed}) {
    server_node = &world.add_node({.name = "server", .cores = 2});
    client_node = &world.add_node({.name = "client"});
    at_server = std::make_unique<Streams>(server_node->core(0), limits);
    at_server_other = std::make_unique<Streams>(server_node->core(1), limits);
    at_client = std::make_unique<Streams>(client_node->core(0));
    listener = server_node->core(0)
                   .net()
                   .listen({"server", 1}, {},
                           [this](std::unique_ptr<runtime::Socket> socket) {
                             server = std::make_unique<Reader>(*at_server, std::move(socket));
                           })
                   .take();
    client_node->core(0).net().connect({"server", 1}, [this](Result<std::unique_ptr<runtime::Socket>> socket) {
      client = std::make_unique<Reader>(*at_client, socket.take());
    });
    EXPECT_TRUE(world.run_until([this] { return client && server; }, Duration::seconds(1)));
  }
  template <class Done>
  bool until(Done done) {
    return world.run_until([&done] { return done(); }, Duration::seconds(600));
  }
  SimWorld world;
  SimNode* server_node;
  SimNode* client_node;
  std::unique_ptr<Streams> at_server, at_server_other, at_client;
  std::unique_ptr<runtime::Listener> listener;
  std::unique_ptr<Reader> server, client;
};

TEST(ByteStream, IsSmall) { EXPECT_LT(sizeof(ByteStream), 160u); }

TEST(ByteStream, CarriesFramesOfAnySizeWhateverTheCuts) {
  uint64_t seed = fresh_stream_seed();
  std::mt19937_64 random(seed);
  for (int round = 0; round < 20; ++round) {
    Pair pair(random());
    pair.world.network().set_options({.pipe_bytes_max = 1 + random() % 200'000, .cut_per_million = 200'000});
    pair.server->is_framed = true;
    pair.server->pause_after_each = round % 2 == 1;
    std::vector<std::string> sent;
    for (int i = 0; i < 30; ++i) {
      sent.push_back(text_of(random() % (size_t{1} << (random() % 19)), static_cast<size_t>(i)));
      pair.client->stream->send(Bytes::copy_of(frame_of(sent.back())));
    }
    ASSERT_TRUE(pair.until([&] {
      if (pair.server->stream->is_paused()) pair.server->stream->resume_reading();
      return pair.server->frames.size() == sent.size();
    }));
    for (size_t i = 0; i < sent.size(); ++i) ASSERT_EQ(pair.server->frames[i].text(), sent[i]);
    EXPECT_EQ(pair.server->stream->take_unread().size(), 0u);
    pair.server->frames.clear();
    pair.world.run_for(Duration::seconds(1));
    EXPECT_EQ(pair.at_server->counters().input_held_bytes, 0);
  }
}

TEST(ByteStream, CopiesALargeFrameAtMostOnce) {
  Pair pair(fresh_stream_seed());
  pair.world.network().set_options({.pipe_bytes_max = 1 << 20, .cut_per_million = 20'000});
  pair.server->is_framed = true;
  std::string body = text_of(3'000'000);
  pair.client->stream->send(Bytes::copy_of(frame_of(body)));
  ASSERT_TRUE(pair.until([&] { return pair.server->frames.size() == 1; }));
  EXPECT_EQ(pair.server->frames[0].text(), body);
  EXPECT_LE(pair.at_server->counters().input_copied_bytes_total, body.size());
}

TEST(ByteStream, DoesNotCopyLargeFramesOfEqualSize) {
  Pair pair(fresh_stream_seed());
  pair.world.network().set_options({.pipe_bytes_max = 1 << 20, .cut_per_million = 100'000});
  pair.server->is_framed = true;
  std::string body = text_of(70'000);
  for (int i = 0; i < 50; ++i) pair.client->stream->send(Bytes::copy_of(frame_of(body)));
  ASSERT_TRUE(pair.until([&] { return pair.server->frames.size() == 50; }));
  for (Bytes& frame : pair.server->frames) {
    ASSERT_EQ(frame.text(), body);
    EXPECT_LT(frame.pinned(), 2 * body.size());
  }
  EXPECT_LE(pair.at_server->counters().input_copied_bytes_total, 2 * body.size());
}

TEST(ByteStream, MemoryOfAFrameGrowsWithWhatArrived) {
  Pair pair(fresh_stream_seed());
  pair.server->is_framed = true;
  uint32_t size = 100 << 20;
  pair.client->stream->send(Bytes::copy_of(std::string(reinterpret_cast<char*>(&size), 4) + text_of(10'000)));
  pair.world.run_for(Duration::seconds(1));
  EXPECT_LE(pair.at_server->counters().input_held_bytes, 512 << 10);
  EXPECT_GT(pair.at_server->counters().input_held_bytes, 0);
  pair.server.reset();
  EXPECT_EQ(pair.at_server->counters().input_held_bytes, 0);
}

TEST(ByteStream, EndsOverTheInputBudget) {
  Pair pair(fresh_stream_seed(), {.input_held_bytes_max = 1 << 20});
  pair.server->is_framed = true;
  pair.client->stream->send(Bytes::copy_of(frame_of(text_of(3 << 20))));
  ASSERT_TRUE(pair.until([&] { return pair.server->ended; }));
  EXPECT_EQ(pair.server->end, StreamEnd::over_budget);
  EXPECT_EQ(pair.at_server->counters().over_budget_total, 1u);
  EXPECT_EQ(pair.at_server->counters().input_held_bytes, 0);
}

// What a paused consumer leaves counts, however much it is.
TEST(ByteStream, EndsOverTheInputBudgetWhilePaused) {
  for (const uint64_t budget : {40'000u, 20'000u}) {
    Pair pair(fresh_stream_seed(), {.input_held_bytes_max = budget});
    pair.world.network().set_options({.cut_per_million = 0});
    pair.server->is_framed = true;
    pair.server->pause_after_each = true;
    pair.server->stream->pause_reading();
    pair.client->stream->send(Bytes::copy_of(frame_of("small") + frame_of(text_of(30'000))));
    pair.world.run_for(Duration::seconds(1));
    pair.server->stream->resume_reading();
    pair.world.run_for(Duration::seconds(1));
    EXPECT_EQ(pair.server->frames.size(), 1u);
    EXPECT_LE(static_cast<uint64_t>(pair.at_server->counters().input_held_bytes), budget);
    EXPECT_EQ(pair.server->ended, budget < 30'000);
    if (budget < 30'000) EXPECT_EQ(pair.server->end, StreamEnd::over_budget);
  }
}

TEST(ByteStream, HandsOverTheRestWhenPausedAndResumedInsideOnBytes) {
  Pair pair(fresh_stream_seed());
  pair.server->is_framed = true;
  pair.server->pause_after_each = true;
  pair.server->resume_at_once = true;
  pair.client->stream->send(Bytes::copy_of(frame_of("one") + frame_of("two") + frame_of("three")));
  ASSERT_TRUE(pair.until([&] { return pair.server->frames.size() == 3; }));
}

TEST(ByteStream, ASlowReaderIsSeenInTheUnsentBytes) {
  Pair pair(fresh_stream_seed(), {.drain_mark_bytes = 100'000});
  pair.world.network().set_options({.pipe_bytes_max = 10'000});
  pair.client->stream->pause_reading();
  for (int i = 0; i < 100; ++i) pair.server->stream->send(Bytes::copy_of(text_of(2000)));
  EXPECT_TRUE(pair.server->stream->is_congested());
  pair.world.run_for(Duration::seconds(10));
  EXPECT_GE(pair.server->stream->unsent_bytes(), 190'000u);
  EXPECT_EQ(pair.server->drained, 0);
  pair.client->stream->resume_reading();
  ASSERT_TRUE(pair.until([&] { return pair.client->heard.size() == 200'000; }));
  EXPECT_EQ(pair.server->drained, 1);
  EXPECT_EQ(pair.server->stream->unsent_bytes(), 0u);
  EXPECT_FALSE(pair.server->stream->is_congested());
}

TEST(ByteStream, PutsSmallPiecesOfATurnIntoOneWrite) {
  Pair pair(fresh_stream_seed());
  std::string all;
  pair.server_node->core(0).post([&] {
    for (int i = 0; i < 100; ++i) {
      std::string text = text_of(static_cast<size_t>(i % 30 == 29 ? 5000 : 20), static_cast<size_t>(i));
      all += text;
      pair.server->stream->send(Bytes::copy_of(text));
    }
  });
  ASSERT_TRUE(pair.until([&] { return !all.empty() && pair.client->heard.size() == all.size(); }));
  EXPECT_EQ(pair.client->heard, all);
  EXPECT_EQ(pair.at_server->counters().writes_total, 1u);
}

TEST(ByteStream, CloseSendsEverythingFirst) {
  Pair pair(fresh_stream_seed());
  pair.world.network().set_options({.pipe_bytes_max = 5000});
  std::string text = text_of(100'000);
  pair.server->stream->send(Bytes::copy_of(text));
  pair.server->stream->close(Duration::seconds(60));
  pair.client->stream->send(Bytes::copy_of("late"));
  ASSERT_TRUE(pair.until([&] { return pair.client->ended; }));
  EXPECT_EQ(pair.client->heard, text);
  EXPECT_EQ(pair.client->end, StreamEnd::peer_closed);
  EXPECT_FALSE(pair.server->ended);
  pair.client.reset();
  ASSERT_TRUE(pair.until([&] { return pair.server->ended; }));
  EXPECT_EQ(pair.server->end, StreamEnd::closed);
  EXPECT_EQ(pair.server->heard, "");
}

TEST(ByteStream, CloseEndsAtItsLimit) {
  Pair pair(fresh_stream_seed());
  pair.world.network().set_options({.pipe_bytes_max = 5000});
  pair.client->stream->pause_reading();
  pair.server->stream->send(Bytes::copy_of(text_of(100'000)));
  pair.server->stream->close(Duration::seconds(5));
  Instant before = pair.world.now();
  ASSERT_TRUE(pair.until([&] { return pair.server->ended; }));
  EXPECT_EQ(pair.server->end, StreamEnd::close_timed_out);
  EXPECT_GE(pair.world.now() - before, Duration::seconds(5));
}

TEST(ByteStream, CloseNowDropsAndTellsOnce) {
  Pair pair(fresh_stream_seed());
  pair.server->destroy_on_close = true;
  pair.server->stream->send(Bytes::copy_of("x"));
  pair.server->stream->close_now();
  EXPECT_FALSE(pair.server->ended);
  pair.world.run_for(Duration::seconds(1));
  EXPECT_TRUE(pair.server->ended);
  EXPECT_EQ(pair.server->end, StreamEnd::closed);
  EXPECT_TRUE(pair.client->ended);
}

TEST(ByteStream, AResetIsAFailure) {
  Pair pair(fresh_stream_seed());
  pair.server->destroy_on_close = true;
  pair.world.network().reset_between(*pair.server_node, *pair.client_node);
  ASSERT_TRUE(pair.until([&] { return pair.server->ended; }));
  EXPECT_EQ(pair.server->end, StreamEnd::failed);
}

TEST(ByteStream, MovesToAnotherCoreWithAllItHolds) {
  Pair pair(fresh_stream_seed());
  pair.world.network().set_options({.pipe_bytes_max = 5000});
  pair.server->is_framed = true;
  pair.server->pause_after_each = true;
  pair.client->stream->send(Bytes::copy_of(frame_of("one") + frame_of("two") + frame_of("three")));
  std::string answer = text_of(50'000);
  pair.server->stream->send(Bytes::copy_of("small"));
  pair.server->stream->send(Bytes::copy_of(answer));
  ASSERT_TRUE(pair.until([&] { return pair.server->frames.size() == 1; }));
  std::unique_ptr<Reader> moved;
  pair.server_node->core(0).send(1, [&, detached = pair.server->stream->detach()]() mutable {
    moved = std::make_unique<Reader>(*pair.at_server_other, std::move(detached));
    moved->is_framed = true;
  });
  pair.server.reset();
  ASSERT_TRUE(pair.until([&] { return moved && moved->frames.size() == 2 && pair.client->heard.size() == 50'005; }));
  EXPECT_EQ(moved->frames[1].text(), "three");
  EXPECT_EQ(pair.client->heard, "small" + answer);
  EXPECT_EQ(pair.at_server->counters().streams_open, 0);
}

// Both ends on one real core.
TEST(ByteStream, WorksOnRealSockets) {
  runtime::posix::PosixWorld world({.cores = 1});
  std::unique_ptr<Streams> streams;
  std::unique_ptr<Reader> server, client;
  std::unique_ptr<runtime::Listener> listener;
  std::string body = text_of(300'000);
  std::function<void()> look;
  Status status = world.run(
      [&](runtime::Core& core) {
        streams = std::make_unique<Streams>(core);
        listener = core.net()
                       .listen({"127.0.0.1", 0}, {},
                               [&](std::unique_ptr<runtime::Socket> socket) {
                                 server = std::make_unique<Reader>(*streams, std::move(socket));
                                 server->is_framed = true;
                                 look();
                               })
                       .take();
        core.net().connect(listener->local(), [&](Result<std::unique_ptr<runtime::Socket>> socket) {
          client = std::make_unique<Reader>(*streams, socket.take());
          for (int i = 0; i < 40; ++i) client->stream->send(Bytes::copy_of(frame_of(body)));
          client->stream->close(Duration::seconds(30));
        });
        look = [&] {
          if (server->ended)
            world.stop();
          else
            core.post([&] { look(); });
        };
      },
      [&](runtime::Core&) {
        client.reset();
        listener.reset();
        server->stream.reset();
        streams.reset();
      });
  ASSERT_TRUE(status.ok());
  EXPECT_EQ(server->end, StreamEnd::peer_closed);
  ASSERT_EQ(server->frames.size(), 40u);
  for (Bytes& frame : server->frames) EXPECT_EQ(frame.text(), body);
}

}  // namespace
}  // namespace robustmq::net
