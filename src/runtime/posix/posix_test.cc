// The real world: messages between cores, timers, disk, sockets on loopback, signals.
#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "runtime/core.h"
#include "runtime/disk.h"
#include "runtime/net.h"
#include "runtime/posix/helper.h"
#include "runtime/posix/socket.h"
#include "runtime/posix/world.h"
#include "runtime/task.h"

namespace robustmq::runtime::posix {
namespace {

struct TempDirectory {
  TempDirectory() {
    char name[] = "/tmp/robustmq_test_XXXXXX";
    path = mkdtemp(name);
  }
  ~TempDirectory() { std::filesystem::remove_all(path); }
  std::string path;
};

Task<void> then_stop(Task<void> work, PosixWorld* world) {
  co_await std::move(work);
  world->stop();
}

// Runs one task on core 0 of a world and stops it.
template <class Body>
void run_on_core(PosixOptions options, Body body) {
  PosixWorld world(std::move(options));
  TaskScope scope;
  Status status = world.run([&](Core& core) {
    if (core.index() == 0) scope.spawn(then_stop(body(core), &world));
  });
  ASSERT_TRUE(status.ok()) << status.error().detail;
}

struct Alarm {
  explicit Alarm(Callback<void()> of) : work(std::move(of)), timer([](void* self) { static_cast<Alarm*>(self)->work(); }, this) {}
  Callback<void()> work;
  Timer timer;
};

// ---- cores ----

struct Traffic {
  std::vector<int> next_from;  // by sending core
  int received = 0;
  bool in_order = true;
};

TEST(PosixCore, MessagesArriveInOrderFromEveryCore) {
  constexpr int kMessages = 20'000;
  constexpr CoreIndex kCores = 3;
  PosixWorld world({.cores = kCores, .ring_messages = 64});
  std::vector<Traffic> traffic(kCores);
  std::atomic<int> finished{0};
  Status status = world.run([&](Core& core) {
    traffic[core.index()].next_from.resize(kCores);
    core.post([&world, &traffic, &finished, &core] {
      for (int i = 0; i < kMessages; ++i) {
        for (CoreIndex to = 0; to < kCores; ++to) {
          core.send(to, [&world, &traffic, &finished, from = core.index(), to, i] {
            Traffic& mine = traffic[to];
            mine.in_order = mine.in_order && mine.next_from[from]++ == i;
            if (++mine.received == kMessages * kCores && finished.fetch_add(1) + 1 == kCores) world.stop();
          });
        }
      }
    });
  });
  ASSERT_TRUE(status.ok());
  for (Traffic& one : traffic) {
    EXPECT_TRUE(one.in_order);
    EXPECT_EQ(one.received, kMessages * kCores);
  }
}

TEST(PosixCore, WakesASleepingCore) {
  PosixWorld world({.cores = 2});
  int bounces = 0;
  std::function<void(Core&)> bounce;
  std::vector<Core*> cores(2);
  bounce = [&](Core& core) {
    if (++bounces == 2000) {
      world.stop();
      return;
    }
    CoreIndex to = 1 - core.index();
    core.send(to, [&, to] { bounce(*cores[to]); });
  };
  Status status = world.run([&](Core& core) {
    cores[core.index()] = &core;
    if (core.index() == 0) core.post([&] { bounce(core); });
  });
  ASSERT_TRUE(status.ok());
  EXPECT_EQ(bounces, 2000);
}

// Core 0 sends only once core 1 has had time to fall asleep; whose thread the message ran on tells whether the turn was borrowed.
TEST(PosixCore, ASleepingCoreIsRunByTheSenderAndStillFiresWhatThatArmed) {
  PosixWorld world({.cores = 2});
  std::vector<Core*> cores(2);
  std::unique_ptr<Alarm> start;
  std::unique_ptr<Alarm> armed;
  std::thread::id sender, ran_on, fired_on;
  Status status = world.run([&](Core& core) {
    cores[core.index()] = &core;
    if (core.index() != 0) return;
    start = std::make_unique<Alarm>([&] {
      sender = std::this_thread::get_id();
      core.send(1, [&] {
        ran_on = std::this_thread::get_id();
        armed = std::make_unique<Alarm>([&] {
          fired_on = std::this_thread::get_id();
          world.stop();
        });
        cores[1]->arm(armed->timer, cores[1]->now() + Duration::millis(1));
      });
    });
    core.arm(start->timer, core.now() + Duration::millis(50));
  });
  ASSERT_TRUE(status.ok());
  EXPECT_EQ(ran_on, sender);
  EXPECT_NE(fired_on, sender);
}

TEST(PosixCore, WorkPostedInABorrowedTurnRuns) {
  PosixWorld world({.cores = 3});
  std::vector<Core*> cores(3);
  std::atomic<int> rounds{0};
  std::function<void(Core&)> round = [&](Core& core) {
    if (++rounds == 3000) return world.stop();
    const CoreIndex to = static_cast<CoreIndex>((core.index() + 1) % 3);
    core.send(to, [&, to] { cores[to]->post([&, to] { round(*cores[to]); }); });
  };
  Status status = world.run([&](Core& core) {
    cores[core.index()] = &core;
    if (core.index() == 0) core.post([&] { round(core); });
  });
  ASSERT_TRUE(status.ok());
  EXPECT_EQ(rounds, 3000);
}

TEST(PosixCore, IsCongestedWhileItsListsAreLong) {
  PosixWorld world({.cores = 2, .ring_messages = 16, .unsent_messages_max = 100});
  bool was_congested = false;
  std::atomic<int> arrived{0};
  std::unique_ptr<Alarm> alarm;
  Status status = world.run([&](Core& core) {
    if (core.index() != 0) return;
    alarm = std::make_unique<Alarm>([&] {
      if (arrived == 1000 && !core.is_congested())
        world.stop();
      else
        core.arm(alarm->timer, core.now() + Duration::millis(1));
    });
    core.post([&] {
      for (int i = 0; i < 1000; ++i) core.send(1, [&] { ++arrived; });
      was_congested = core.is_congested();
      core.arm(alarm->timer, core.now());
    });
  });
  ASSERT_TRUE(status.ok());
  EXPECT_TRUE(was_congested);
  EXPECT_EQ(arrived, 1000);
}

TEST(PosixCore, TimersAreNeverEarly) {
  PosixWorld world({.cores = 1});
  Instant due{}, fired{};
  std::unique_ptr<Alarm> alarm;
  Status status = world.run([&](Core& core) {
    due = core.now() + Duration::millis(20);
    alarm = std::make_unique<Alarm>([&] {
      fired = core.now();
      world.stop();
    });
    core.arm(alarm->timer, due);
  });
  ASSERT_TRUE(status.ok());
  EXPECT_GE(fired, due);
}

TEST(PosixCore, TheWallClockAndRandomNumbersAreThere) {
  PosixWorld world({.cores = 1});
  Status status = world.run([&](Core& core) {
    EXPECT_GT(core.wall_now().ms, 1'600'000'000'000);
    std::vector<uint64_t> drawn(100);
    for (uint64_t& number : drawn) number = core.random();
    std::sort(drawn.begin(), drawn.end());
    EXPECT_EQ(std::unique(drawn.begin(), drawn.end()), drawn.end());
    world.stop();
  });
  ASSERT_TRUE(status.ok());
}

TEST(PosixWorld, ReportsSignalsOnCoreZero) {
  int seen = 0;
  PosixWorld* running = nullptr;
  PosixOptions options{.cores = 2};
  options.on_signal = [&](int signal) {
    seen = signal;
    running->stop();
  };
  PosixWorld world(std::move(options));
  running = &world;
  Status status = world.run([](Core& core) {
    if (core.index() == 1) core.post([] { kill(getpid(), SIGTERM); });
  });
  ASSERT_TRUE(status.ok());
  EXPECT_EQ(seen, SIGTERM);
}

TEST(PosixWorld, RefusesADataDirectoryItCannotHave) {
  PosixWorld world({.cores = 1, .data_directory = "/dev/null/data"});
  EXPECT_EQ(world.run([](Core&) { FAIL(); }).code(), Code::storage_failed);
}

TEST(PosixWorld, TearsDownOnEachCoreAfterAllLoopsEnded) {
  PosixWorld world({.cores = 3});
  std::atomic<int> torn_down{0};
  Status status = world.run(
      [&](Core& core) {
        if (core.index() == 2) core.post([&] { world.stop(); });
      },
      [&](Core&) { ++torn_down; });
  ASSERT_TRUE(status.ok());
  EXPECT_EQ(torn_down, 3);
}

// ---- disk ----

Task<Result<FilePtr>> open_file(Core* core, std::string path, OpenOptions options) {
  Result<FilePtr> file =
      co_await completion<Result<FilePtr>>([&](auto done) { core->disk().open(path, options, std::move(done)); });
  co_return file;
}

Task<std::vector<Status>> run_steps(Core* core, std::vector<DiskStep> steps) {
  std::vector<Status> statuses =
      co_await completion<std::vector<Status>>([&](auto done) { core->disk().run(std::move(steps), std::move(done)); });
  co_return statuses;
}

Task<std::string> read_file(Core* core, FilePtr file, uint64_t position, size_t size) {
  Result<Bytes> bytes =
      co_await completion<Result<Bytes>>([&](auto done) { core->disk().read(file, position, size, std::move(done)); });
  co_return bytes.ok() ? std::string(bytes->text()) : "error";
}

template <class... Steps>
std::vector<DiskStep> steps_of(Steps... steps) {
  std::vector<DiskStep> list;
  (list.push_back(std::move(steps)), ...);
  return list;
}

Task<void> writes_and_reads(Core* core) {
  auto made = co_await run_steps(core, steps_of(DiskStep::make_directory("a/b"), DiskStep::sync_directory("a"),
                                                DiskStep::sync_directory(""), DiskStep::make_directory("a")));
  for (Status& status : made) EXPECT_TRUE(status.ok()) << status.error().detail;

  Result<FilePtr> missing = co_await open_file(core, "a/b/file", {});
  EXPECT_EQ(missing.code(), Code::not_found);
  Result<FilePtr> opened = co_await open_file(core, "a/b/file", {.create = true});
  EXPECT_TRUE(opened.ok());
  FilePtr file = opened.take();
  EXPECT_EQ(file->path(), "a/b/file");
  Result<FilePtr> again = co_await open_file(core, "a/b/file", {.create = true, .exclusive = true});
  EXPECT_EQ(again.code(), Code::already_exists);

  std::vector<Bytes> pieces;
  std::string whole;
  for (int i = 0; i < 1000; ++i) {
    pieces.push_back(Bytes::copy_of(std::string(static_cast<size_t>(i % 7), static_cast<char>('a' + i % 26))));
    whole += pieces.back().text();
  }
  auto written = co_await run_steps(
      core, steps_of(DiskStep::allocate(file, 1 << 16), DiskStep::write(file, 10, std::move(pieces)), DiskStep::sync(file)));
  for (Status& status : written) EXPECT_TRUE(status.ok()) << status.error().detail;
  std::string part = co_await read_file(core, file, 10, whole.size());
  EXPECT_EQ(part, whole);

  auto cut = co_await run_steps(core, steps_of(DiskStep::truncate(file, 12)));
  EXPECT_TRUE(cut[0].ok());
  std::string tail = co_await read_file(core, file, 10, 100);
  EXPECT_EQ(tail, whole.substr(0, 2));
  Result<uint64_t> size = co_await completion<Result<uint64_t>>([&](auto done) { core->disk().size(file, std::move(done)); });
  EXPECT_EQ(*size, 12u);

  auto moved = co_await run_steps(core, steps_of(DiskStep::rename("a/b/file", "a/zz"), DiskStep::remove("a/b")));
  EXPECT_TRUE(moved[0].ok());
  EXPECT_TRUE(moved[1].ok()) << moved[1].error().detail;
  auto list = co_await completion<Result<std::vector<FileEntry>>>([&](auto done) { core->disk().list("a", std::move(done)); });
  EXPECT_EQ(list->size(), 1u);
  EXPECT_EQ(list->at(0).name, "zz");
  EXPECT_EQ(list->at(0).size, 12u);
  auto no_list = co_await completion<Result<std::vector<FileEntry>>>([&](auto done) { core->disk().list("b", std::move(done)); });
  EXPECT_EQ(no_list.code(), Code::not_found);
  auto free = co_await completion<Result<uint64_t>>([&](auto done) { core->disk().free_bytes(std::move(done)); });
  EXPECT_GT(*free, 0u);
}

TEST(PosixDisk, WritesSyncsReadsAndLists) {
  TempDirectory directory;
  run_on_core({.cores = 1, .data_directory = directory.path + "/made/here"}, [](Core& core) { return writes_and_reads(&core); });
}

Task<void> refuses(Core* core) {
  for (const char* path : {"/etc/passwd", "../x", "a/../../x", ".."}) {
    Result<FilePtr> file = co_await open_file(core, path, {.create = true});
    EXPECT_EQ(file.code(), Code::invalid_argument) << path;
  }
  auto statuses = co_await run_steps(core, steps_of(DiskStep::remove("missing"), DiskStep::make_directory("after")));
  EXPECT_EQ(statuses[0].code(), Code::not_found);
  EXPECT_EQ(statuses[1].code(), Code::shutting_down);
  DiskStep optional = DiskStep::remove("missing");
  optional.required = false;
  statuses = co_await run_steps(core, steps_of(std::move(optional), DiskStep::make_directory("after")));
  EXPECT_EQ(statuses[0].code(), Code::not_found);
  EXPECT_TRUE(statuses[1].ok());
}

TEST(PosixDisk, RefusesPathsOutsideAndStopsAtAFailedStep) {
  TempDirectory directory;
  run_on_core({.cores = 1, .data_directory = directory.path}, [](Core& core) { return refuses(&core); });
}

// ---- sockets ----

// ---- helper ----

TEST(PosixHelper, WorksInOrderBesideTheCoreAndAnswersOnIt) {
  const std::thread::id here = std::this_thread::get_id();
  run_on_core({.cores = 1}, [here](Core& core) -> Task<void> {
    PosixHelper helper(core, "helper");
    std::vector<int> worked;
    std::vector<int> answered;
    bool is_beside = true;
    bool is_here = true;
    for (int i = 0; i < 100; ++i) {
      helper.run(
          [&, i] {
            worked.push_back(i);
            is_beside = is_beside && std::this_thread::get_id() != here;
          },
          [&, i] {
            answered.push_back(i);
            is_here = is_here && std::this_thread::get_id() == here;
          });
    }
    EXPECT_TRUE(answered.empty());  // never inline
    co_await completion<bool>([&](auto done) { helper.run([] {}, [done = std::move(done)]() mutable { done(true); }); });
    EXPECT_EQ(worked.size(), 100u);
    EXPECT_EQ(answered, worked);
    EXPECT_TRUE(std::is_sorted(worked.begin(), worked.end()));
    EXPECT_TRUE(is_beside);
    EXPECT_TRUE(is_here);
  });
}

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

Task<void> sends_a_file(Core* core, std::string* heard, bool* would_block) {
  Result<FilePtr> opened = co_await open_file(core, "file", {.create = true});
  FilePtr file = opened.take();
  std::string text = long_text(16'000'000);
  std::vector<Bytes> pieces{Bytes::copy_of(text)};
  co_await run_steps(core, steps_of(DiskStep::write(file, 0, std::move(pieces))));

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
              [&](Core& core) { return sends_a_file(&core, &heard, &would_block); });
  EXPECT_TRUE(would_block);
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

Task<void> runs_out_of_descriptors(Core* core) {
  int refused = 0;
  std::vector<std::unique_ptr<Socket>> accepted;
  Callback<void()> on_event;
  ListenOptions options;
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
  rlimit small{static_cast<rlim_t>(lowest_free) + 1, before.rlim_max};
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
  run_on_core({.cores = 1}, [](Core& core) { return runs_out_of_descriptors(&core); });
}

}  // namespace
}  // namespace robustmq::runtime::posix
