// Sockets of the real world, on loopback: talking, files sent, listeners that cores share, descriptors that run out.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "runtime/net.h"
#include "runtime/posix/disk.h"
#include "runtime/posix/posix_rig.h"
#include "runtime/posix/read_ahead.h"
#include "runtime/posix/socket.h"

namespace robustmq::runtime::posix {
namespace {

struct Talker final : SocketEvents {
  Talker(std::unique_ptr<Socket> of, Callback<void(Talker&)> on_change_of = {})
      : socket(std::move(of)), on_change(std::move(on_change_of)) {
    socket->start(*this);
  }
  void say(Pieces pieces) {
    unsent = std::move(pieces);
    push();
  }
  void push() {
    while (!unsent.empty()) {
      IoResult result = socket->write(unsent, skip);
      if (result.kind == IoResult::Kind::failed) failed = true;
      if (result.kind != IoResult::Kind::moved) break;
      skip += result.bytes;
      while (!unsent.empty() && skip >= unsent[0].size) {
        skip -= unsent[0].size;
        unsent.erase(unsent.begin());
      }
    }
    if (!unsent.empty()) would_block = true;
    socket->want_write(!unsent.empty() && !failed);
    if (unsent.empty() && end_after) socket->close_write();
  }
  void on_writable() override { push(); }
  void on_readable() override {
    uint8_t into[50'000];
    IoResult result = socket->read(into);
    if (result.kind == IoResult::Kind::moved) heard.append(reinterpret_cast<char*>(into), result.bytes);
    if (result.kind == IoResult::Kind::end) ended = true;
    if (result.kind == IoResult::Kind::failed) failed = true;
    if (ended || failed) socket->want_read(false);
    if (on_change) on_change(*this);
  }
  std::unique_ptr<Socket> socket;
  Callback<void(Talker&)> on_change;
  Pieces unsent;
  size_t skip = 0;
  std::string heard;
  bool end_after = false, ended = false, failed = false, would_block = false;
};

std::string long_text(size_t size) {
  std::string text(size, ' ');
  for (size_t i = 0; i < size; ++i) text[i] = static_cast<char>('a' + i * 7 % 23);
  return text;
}

TEST(PosixSocket, IsSmall) { EXPECT_LE(sizeof(PosixSocket), 64u); }

// Writes a file back and drops it from memory. False where the file system keeps it, as one in memory does.
bool evict(const File& file, size_t size) {
  const int descriptor = static_cast<const PosixFile&>(file).descriptor();
  fdatasync(descriptor);
  posix_fadvise(descriptor, 0, 0, POSIX_FADV_DONTNEED);
  return resident_bytes(descriptor, 0, size) == 0;
}

Task<void> sends_a_file(Core* core, std::string* heard, bool* would_block, bool is_cold) {
  Result<FilePtr> opened = co_await open_file(core, "file", {.create = true});
  FilePtr file = opened.take();
  std::string text = long_text(16'000'000);
  std::vector<Bytes> pieces{Bytes::copy_of(text)};
  co_await run_steps(core, steps_of(DiskStep::write(file, 0, std::move(pieces))));
  EXPECT_EQ(resident_bytes(static_cast<const PosixFile&>(*file).descriptor(), 100, 15'000'000), 15'000'000u);
  EXPECT_EQ(resident_bytes(static_cast<const PosixFile&>(*file).descriptor(), 15'999'000, 1'000'000), 1'000'000u)
      << "past the end";
  if (is_cold && !evict(*file, text.size())) co_return;

  std::unique_ptr<Talker> server;
  auto listener = core->net().listen({"127.0.0.1", 0}, {}, [&](std::unique_ptr<Socket> socket) {
    server = std::make_unique<Talker>(std::move(socket));
    Pieces mix;
    mix.push_back(Piece::of(Bytes::copy_of("head")));
    mix.push_back(Piece::of(Bytes{}));
    mix.push_back(Piece::of(StoredRange{file, 100}, 15'000'000));
    mix.push_back(Piece::of(Bytes::copy_of("tail")));
    server->end_after = true;
    server->say(std::move(mix));
  });
  EXPECT_TRUE(listener.ok());
  auto socket = co_await completion<Result<std::unique_ptr<Socket>>>(
      [&](auto done) { core->net().connect((*listener)->local(), std::move(done)); });
  EXPECT_TRUE(socket.ok());
  EXPECT_EQ((*socket)->peer().to_string(), (*listener)->local().to_string());
  std::unique_ptr<Talker> client;
  co_await completion<int>([&](auto done) {
    client = std::make_unique<Talker>(socket.take(), [&, done = std::move(done)](Talker& talker) mutable {
      if (talker.ended) done(0);
    });
  });
  EXPECT_EQ(client->heard, "head" + text.substr(100, 15'000'000) + "tail");
  *heard = client->heard;
  *would_block = server->would_block;
  client->on_change.reset();
}

TEST(PosixSocket, SendsMemoryAndStoredRangesWithPartialWrites) {
  TempDirectory directory;
  std::string heard;
  bool would_block = false;
  run_on_core({.cores = 1, .data_directory = directory.path},
              [&](Core& core) { return sends_a_file(&core, &heard, &would_block, false); });
  EXPECT_TRUE(would_block);
}

TEST(PosixSocket, SendsWhatIsNotInMemoryWhenAWorkerHasReadIt) {
  TempDirectory directory;
  std::string heard;
  bool would_block = false;
  run_on_core({.cores = 1, .data_directory = directory.path},
              [&](Core& core) { return sends_a_file(&core, &heard, &would_block, true); });
  if (heard.empty()) GTEST_SKIP() << "the file system keeps its files in memory";
  EXPECT_TRUE(would_block);
}

Task<void> ends_while_it_waits(Core* core, bool* was_cold) {
  Result<FilePtr> opened = co_await open_file(core, "file", {.create = true});
  FilePtr file = opened.take();
  std::vector<Bytes> pieces{Bytes::copy_of(long_text(4'000'000))};
  co_await run_steps(core, steps_of(DiskStep::write(file, 0, std::move(pieces))));
  *was_cold = evict(*file, 4'000'000);
  int ends[2];
  EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends), 0);
  auto talker = std::make_unique<Talker>(std::make_unique<PosixSocket>(static_cast<PosixCore&>(*core), ends[0]));
  Pieces range;
  range.push_back(Piece::of(StoredRange{file, 0}, 4'000'000));
  talker->say(std::move(range));
  if (*was_cold) {
    EXPECT_TRUE(talker->would_block);
    EXPECT_LT(talker->skip, 4'000'000u) << "a look at a page may have begun to read the first ones";
    const Piece again = Piece::of(StoredRange{file, 0}, 1000);
    EXPECT_EQ(talker->socket->write({&again, 1}, 0).kind, IoResult::Kind::would_block) << "until the worker is done";
  }
  talker.reset();
  // What was asked of the worker comes back to nobody.
  Result<Bytes> read = co_await completion<Result<Bytes>>([&](auto done) { core->disk().read(file, 0, 10, std::move(done)); });
  EXPECT_TRUE(read.ok());
  close(ends[1]);
}

TEST(PosixSocket, MayEndWhileAWorkerReadsForIt) {
  TempDirectory directory;
  bool was_cold = false;
  run_on_core({.cores = 1, .data_directory = directory.path}, [&](Core& core) { return ends_while_it_waits(&core, &was_cold); });
}

TEST(PosixNet, CoresShareAnEndpointThatNobodyElseMayTake) {
  PosixWorld world({.cores = 2});
  std::vector<std::unique_ptr<Listener>> listeners(2);
  Endpoint at;
  std::vector<Core*> cores(2);
  Status status = world.run(
      [&](Core& core) {
        cores[core.index()] = &core;
        if (core.index() != 0) return;
        core.post([&] {
          auto first = cores[0]->net().listen({"127.0.0.1", 0}, {}, [](std::unique_ptr<Socket>) {});
          ASSERT_TRUE(first.ok());
          listeners[0] = first.take();
          at = listeners[0]->local();
          cores[0]->send(1, [&] {
            auto second = cores[1]->net().listen(at, {}, [](std::unique_ptr<Socket>) {});
            EXPECT_TRUE(second.ok());
            if (second.ok()) listeners[1] = second.take();
            // Another process is another world.
            PosixWorld other({.cores = 1});
            Status refused;
            static_cast<void>(other.run([&](Core& its_core) {
              auto third = its_core.net().listen(at, {}, [](std::unique_ptr<Socket>) {});
              EXPECT_EQ(third.code(), Code::already_exists);
              other.stop();
            }));
            world.stop();
          });
        });
      },
      [&](Core& core) { listeners[core.index()].reset(); });
  ASSERT_TRUE(status.ok());
}

Task<void> connects_to_nothing(Core* core) {
  auto listener = core->net().listen({"127.0.0.1", 0}, {}, [](std::unique_ptr<Socket>) {});
  Endpoint at = (*listener)->local();
  listener->reset();
  auto refused =
      co_await completion<Result<std::unique_ptr<Socket>>>([&](auto done) { core->net().connect(at, std::move(done)); });
  EXPECT_EQ(refused.code(), Code::connection_lost);
  at.host = "no-such-host.invalid";
  auto unknown =
      co_await completion<Result<std::unique_ptr<Socket>>>([&](auto done) { core->net().connect(at, std::move(done)); });
  EXPECT_EQ(unknown.code(), Code::connection_lost);
}

TEST(PosixNet, CoresShareAUnixSocketThatNobodyElseMayTakeAndWhoseFileGoesWithIt) {
  TempDirectory directory;
  const Endpoint at{directory.path + "/listen.sock", 0};
  {
    // As a process leaves it that was killed.
    sockaddr_un left{};
    left.sun_family = AF_UNIX;
    std::snprintf(left.sun_path, sizeof left.sun_path, "%s", at.host.c_str());
    const int descriptor = ::socket(AF_UNIX, SOCK_STREAM, 0);
    ASSERT_EQ(::bind(descriptor, reinterpret_cast<sockaddr*>(&left), sizeof left), 0);
    ::close(descriptor);
  }
  PosixWorld world({.cores = 2});
  std::atomic<int> served{0};
  std::vector<Core*> cores(2);
  std::vector<std::vector<std::unique_ptr<Talker>>> servers(2);
  std::vector<std::unique_ptr<Talker>> clients;
  std::vector<std::unique_ptr<Listener>> listeners(2);
  auto serve = [&](Core& core) {
    auto listener = core.net().listen(at, {}, [&, &mine = servers[core.index()]](std::unique_ptr<Socket> socket) {
      EXPECT_EQ(socket->peer().to_string(), "unix");
      mine.push_back(std::make_unique<Talker>(std::move(socket)));
      if (++served == 21) world.stop();  // the clients, and the look of the other process
    });
    ASSERT_TRUE(listener.ok()) << listener.error().to_string();
    listeners[core.index()] = listener.take();
    EXPECT_EQ(listeners[core.index()]->local().to_string(), at.host);
  };
  auto ask = [&] {
    for (int i = 0; i < 20; ++i) {
      cores[0]->net().connect(at, [&](Result<std::unique_ptr<Socket>> socket) {
        ASSERT_TRUE(socket.ok()) << socket.error().to_string();
        clients.push_back(std::make_unique<Talker>(socket.take()));
      });
    }
  };
  auto refuse_another_process = [&] {
    PosixWorld other({.cores = 1});
    static_cast<void>(other.run([&](Core& core) {
      EXPECT_EQ(core.net().listen(at, {}, [](std::unique_ptr<Socket>) {}).code(), Code::already_exists);
      other.stop();
    }));
  };
  Status status = world.run(
      [&](Core& core) {
        cores[core.index()] = &core;
        if (core.index() != 0) return;
        core.post([&] {
          serve(*cores[0]);
          cores[0]->send(1, [&] {
            serve(*cores[1]);
            refuse_another_process();
            cores[1]->send(0, [&] { ask(); });
          });
        });
      },
      [&](Core& core) {
        if (core.index() == 0) clients.clear();
        servers[core.index()].clear();
        listeners[core.index()].reset();
      });
  ASSERT_TRUE(status.ok());
  EXPECT_EQ(served, 21);
  EXPECT_FALSE(std::filesystem::exists(at.host));
}

TEST(PosixNet, ConnectFailsWithAReason) {
  run_on_core({.cores = 1}, [](Core& core) { return connects_to_nothing(&core); });
}

Task<void> connects_by_name(Core* core) {
  std::unique_ptr<Socket> accepted;
  auto listener = core->net().listen({"127.0.0.1", 0}, {}, [&](std::unique_ptr<Socket> socket) { accepted = std::move(socket); });
  Endpoint at = (*listener)->local();
  at.host = "localhost";
  auto socket =
      co_await completion<Result<std::unique_ptr<Socket>>>([&](auto done) { core->net().connect(at, std::move(done)); });
  EXPECT_TRUE(socket.ok()) << socket.error().detail;
}

TEST(PosixNet, ConnectsByName) {
  run_on_core({.cores = 1}, [](Core& core) { return connects_by_name(&core); });
}

TEST(PosixNet, ASocketMovesToAnotherCore) {
  PosixWorld world({.cores = 2});
  std::vector<Core*> cores(2);
  std::unique_ptr<Listener> listener;
  std::unique_ptr<Talker> server, client;
  Status status = world.run(
      [&](Core& core) {
        cores[core.index()] = &core;
        if (core.index() != 0) return;
        listener = core.net()
                       .listen({"127.0.0.1", 0}, {},
                               [&](std::unique_ptr<Socket> socket) {
                                 cores[0]->send(1, [&, detached = socket->detach()]() mutable {
                                   server =
                                       std::make_unique<Talker>(cores[1]->net().adopt(std::move(detached)), [](Talker& talker) {
                                         if (!talker.heard.empty()) talker.say({Piece::of(Bytes::copy_of("back"))});
                                       });
                                 });
                               })
                       .take();
        core.net().connect(listener->local(), [&](Result<std::unique_ptr<Socket>> socket) {
          client = std::make_unique<Talker>(socket.take(), [&](Talker& talker) {
            if (talker.heard == "back") world.stop();
          });
          client->say({Piece::of(Bytes::copy_of("there"))});
        });
      },
      [&](Core& core) {
        if (core.index() == 1) {
          server.reset();
        } else {
          client.reset();
          listener.reset();
        }
      });
  ASSERT_TRUE(status.ok());
}

Task<void> runs_out_of_descriptors(Core* core, int kept) {
  int refused = 0;
  std::vector<std::unique_ptr<Socket>> accepted;
  Callback<void()> on_event;
  ListenOptions options;
  options.kept_descriptors = kept;
  options.on_out_of_descriptors = [&] {
    ++refused;
    if (on_event) on_event();
  };
  auto listener = core->net().listen({"127.0.0.1", 0}, std::move(options), [&](std::unique_ptr<Socket> socket) {
    accepted.push_back(std::move(socket));
    if (on_event) on_event();
  });
  auto connect = [&] {
    return completion<Result<std::unique_ptr<Socket>>>(
        [&](auto done) { core->net().connect((*listener)->local(), std::move(done)); });
  };
  auto first = co_await connect();
  EXPECT_TRUE(first.ok());
  // The client takes the last descriptor, so its accepting side finds none.
  rlimit before;
  getrlimit(RLIMIT_NOFILE, &before);
  int lowest_free = dup(0);
  close(lowest_free);
  rlimit small{static_cast<rlim_t>(lowest_free + 1 + kept), before.rlim_max};
  setrlimit(RLIMIT_NOFILE, &small);
  size_t accepted_before = accepted.size();
  std::unique_ptr<Talker> client;
  auto second = co_await connect();
  EXPECT_TRUE(second.ok());
  if (second.ok()) {
    co_await completion<int>([&](auto done) {
      client = std::make_unique<Talker>(second.take(), [done = std::move(done)](Talker& talker) mutable {
        if (talker.ended || talker.failed) done(0);
      });
    });
    client->on_change.reset();
  }
  EXPECT_GE(refused, 1);
  EXPECT_EQ(accepted.size(), accepted_before);
  setrlimit(RLIMIT_NOFILE, &before);
  client.reset();
  // And goes on when there are some again.
  auto third = co_await connect();
  EXPECT_TRUE(third.ok());
  if (accepted.size() == accepted_before) {
    co_await completion<int>([&](auto done) { on_event = [done = std::move(done)]() mutable { done(0); }; });
    on_event.reset();
  }
  EXPECT_EQ(accepted.size(), accepted_before + 1);
}

TEST(PosixNet, RefusesConnectionsWithoutDescriptorsAndGoesOn) {
  run_on_core({.cores = 1}, [](Core& core) { return runs_out_of_descriptors(&core, 0); });
}

TEST(PosixNet, KeepsDescriptorsForFiles) {
  run_on_core({.cores = 1}, [](Core& core) { return runs_out_of_descriptors(&core, 2); });
}

}  // namespace
}  // namespace robustmq::runtime::posix
