// The real world: messages between cores, timers, disk, signals. Sockets are in net_test.cc.
#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>
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
#include "runtime/posix/helper.h"
#include "runtime/posix/posix_rig.h"

namespace robustmq::runtime::posix {
namespace {

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

Task<std::string> read_file(Core* core, FilePtr file, uint64_t position, size_t size) {
  Result<Bytes> bytes =
      co_await completion<Result<Bytes>>([&](auto done) { core->disk().read(file, position, size, std::move(done)); });
  co_return bytes.ok() ? std::string(bytes->text()) : "error";
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

}  // namespace
}  // namespace robustmq::runtime::posix
