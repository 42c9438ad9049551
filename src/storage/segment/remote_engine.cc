// The segment engine as seen from another core: calls of one turn cross together, and so do the answers.
//
// Each side keeps a list for the other; the first call of a turn defers its sending to the end of the turn. A log's bounds are
// mirrored with every answer that may have changed them; its end moves at once, as the home core will move it.
#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <type_traits>
#include <utility>

#include "base/check.h"
#include "storage/segment/engine.h"

namespace robustmq::storage {
namespace {

using runtime::Core;

// A list of work for one other core, sent at the end of the turn.
class Outbox final : public runtime::Deferred {
 public:
  Outbox(Core& core, CoreIndex to) : core_(core), to_(to) {}
  void add(Callback<void()> work) {
    if (work_.empty()) core_.defer(*this);
    work_.push_back(std::move(work));
  }
  void run_deferred() override {
    core_.send(to_, [work = std::move(work_)]() mutable {
      for (auto& each : work) each();
    });
    work_.clear();
  }

 private:
  Core& core_;
  CoreIndex to_;
  std::vector<Callback<void()>> work_;
};

// Both ends of the way to the home core. Each member is used on the core it names only, so it is let go of when no call is under
// way (RemoteEngine's contract).
struct Link {
  Link(Core& caller_core, Core& home_core, SegmentEngine& home_engine)
      : engine(home_engine), to_home(caller_core, home_core.index()), to_caller(home_core, caller_core.index()) {}

  SegmentEngine& engine;  // home
  Outbox to_home;         // caller
  Outbox to_caller;       // home
};
using LinkPtr = std::shared_ptr<Link>;
// What waits in an outbox must not keep it: nobody empties it after a crash of the simulated node.
using WeakLink = std::weak_ptr<Link>;

// What is known of a log on the caller's core.
struct Mirror {
  Bounds bounds;
  bool has_failed = false;
  bool is_open = true;
  uint32_t generation = 0;  // raised when an append was refused: those behind it are refused too and change nothing here
};
using MirrorPtr = std::shared_ptr<Mirror>;

// The log on its home core; made, used and destroyed there.
struct HomeLog {
  std::map<uint64_t, std::unique_ptr<Rewrite>> rewrites;  // by a number that the caller gave
  std::unique_ptr<Log> log;
};
using HomeLogPtr = std::shared_ptr<HomeLog>;

class RemoteLog final : public Log {
 public:
  RemoteLog(LinkPtr link, HomeLogPtr home, MirrorPtr mirror)
      : link_(std::move(link)), home_(std::move(home)), mirror_(std::move(mirror)) {}
  ~RemoteLog() override {
    mirror_->is_open = false;
    link_->to_home.add([home = std::move(home_)] {
      home->rewrites.clear();
      home->log.reset();
    });
  }

  void append(std::vector<Bytes> batches, Callback<void(Status)> done) override {
    append(std::move(batches), false, std::move(done));
  }
  void append_behind(std::vector<Bytes> batches, Callback<void(Status)> done) override {
    append(std::move(batches), true, std::move(done));
  }
  void read(Offset from, ReadLimits limits, Callback<void(Result<ReadResult>)> done) override {
    ask<Result<ReadResult>>(std::move(done),
                            [from, limits](Log& log, auto answer) { log.read(from, limits, std::move(answer)); });
  }
  void find(FindWhat what, Callback<void(Result<std::optional<Found>>)> done) override {
    ask<Result<std::optional<Found>>>(std::move(done), [what](Log& log, auto answer) { log.find(what, std::move(answer)); });
  }
  void trim(Offset keep_from, Callback<void(Status)> done) override {
    ask<Status>(std::move(done), [keep_from](Log& log, auto answer) { log.trim(keep_from, std::move(answer)); });
  }
  void truncate(Offset keep_until, Callback<void(Status)> done) override {
    mirror_->bounds.end = std::min(mirror_->bounds.end, keep_until);
    ask<Status>(std::move(done), [keep_until](Log& log, auto answer) { log.truncate(keep_until, std::move(answer)); });
  }
  void seal(Bytes replica_state, Offset as_of, Callback<void(Status)> done) override {
    ask<Status>(std::move(done), [state = std::move(replica_state), as_of](Log& log, auto answer) mutable {
      log.seal(std::move(state), as_of, std::move(answer));
    });
  }
  Bounds bounds() const override { return mirror_->bounds; }
  void retain(WallTime now, Offset keep_from) override {
    ask<Status>([](Status) {},
                [now, keep_from](Log& log, auto answer) {
                  log.retain(now, keep_from);
                  answer(Status());
                });
  }
  void configure(const LogSettings& settings) override {
    ask<Status>([](Status) {},
                [settings](Log& log, auto answer) {
                  log.configure(settings);
                  answer(Status());
                });
  }
  bool has_failed() const override { return mirror_->has_failed; }
  void list_parts(Callback<void(std::vector<SealedPart>)> done) override {
    ask<std::vector<SealedPart>>(std::move(done), [](Log& log, auto answer) { log.list_parts(std::move(answer)); });
  }
  void rewrite(Offset from, Offset until, Callback<void(Result<std::unique_ptr<Rewrite>>)> done) override {
    const uint64_t number = ++rewrite_last_;
    ask<Status>(
        [this, number, done = std::move(done)](Status status) mutable {
          if (!status.ok()) return done(status.error());
          done(std::unique_ptr<Rewrite>(std::make_unique<RemoteRewrite>(*this, number)));
        },
        [from, until, number, home = home_](Log& log, Callback<void(Status)> answer) mutable {
          log.rewrite(from, until, [number, home, answer = std::move(answer)](Result<std::unique_ptr<Rewrite>> begun) mutable {
            if (!begun.ok()) return answer(begun.error());
            if (!home->log) return;  // and it ends here, on its core
            home->rewrites[number] = begun.take();
            answer(Status());
          });
        });
  }

 private:
  class RemoteRewrite final : public Rewrite {
   public:
    RemoteRewrite(RemoteLog& log, uint64_t number) : log_(log), number_(number) {}
    ~RemoteRewrite() override {
      log_.link_->to_home.add([home = log_.home_, number = number_] { home->rewrites.erase(number); });
    }
    void add(std::vector<Bytes> batches, Callback<void(Status)> done) override {
      log_.ask<Status>(std::move(done), [batches = std::move(batches), number = number_, home = log_.home_](
                                            Log&, Callback<void(Status)> answer) mutable {
        home->rewrites.at(number)->add(std::move(batches), std::move(answer));
      });
    }
    void commit(Callback<void(Status)> done) override {
      log_.ask<Status>(std::move(done), [number = number_, home = log_.home_](Log&, Callback<void(Status)> answer) mutable {
        home->rewrites.at(number)->commit(std::move(answer));
      });
    }

   private:
    RemoteLog& log_;
    uint64_t number_;
  };

  void append(std::vector<Bytes> batches, bool is_behind, Callback<void(Status)> done) {
    if (mirror_->has_failed) return done(Code::storage_failed);
    if (batches.empty()) return done({});
    mirror_->bounds.end = BatchView(batches.back()).next_offset();
    ask<Status>(std::move(done), [batches = std::move(batches), is_behind](Log& log, Callback<void(Status)> answer) mutable {
      // Behind a refused append this one no longer continues the chain.
      if (BatchView(batches.front()).base_offset() != log.bounds().end) {
        return answer(log.has_failed() ? Code::storage_failed : Code::storage_full);
      }
      if (is_behind) return log.append_behind(std::move(batches), std::move(answer));
      log.append(std::move(batches), std::move(answer));
    });
  }

  template <class T, class Verb>
  struct Call {
    WeakLink link;
    HomeLogPtr home;
    MirrorPtr mirror;
    uint32_t generation;
    Verb verb;
    Callback<void(T)> done;
    std::optional<T> answer;
    Bounds bounds;
    bool has_failed = false;
  };

  // Runs `verb` on the home core, then `done` here with its answer.
  template <class T, class Verb>
  void ask(Callback<void(T)> done, Verb verb) {
    auto call = std::make_unique<Call<T, Verb>>(
        Call<T, Verb>{link_, home_, mirror_, mirror_->generation, std::move(verb), std::move(done), std::nullopt, {}, false});
    link_->to_home.add([call = std::move(call)]() mutable {
      HomeLogPtr home = call->home;
      Call<T, Verb>& asked = *call;
      asked.verb(*home->log, Callback<void(T)>([call = std::move(call)](T value) mutable {
        if (const Log* log = call->home->log.get()) {
          call->bounds = log->bounds();
          call->has_failed = log->has_failed();
        }
        call->answer.emplace(std::move(value));
        if (const LinkPtr link = call->link.lock()) link->to_caller.add([call = std::move(call)] { take_back(*call); });
      }));
    });
  }

  template <class T, class Verb>
  static void take_back(Call<T, Verb>& call) {
    Mirror& mirror = *call.mirror;
    if (!mirror.is_open) return;
    mirror.bounds.start = std::max(mirror.bounds.start, call.bounds.start);
    mirror.bounds.durable = call.bounds.durable;
    mirror.bounds.size_bytes = call.bounds.size_bytes;
    mirror.has_failed = mirror.has_failed || call.has_failed;
    if constexpr (std::is_same_v<T, Status>) {
      if (call.answer->code() == Code::storage_full && call.generation == mirror.generation) {
        ++mirror.generation;
        mirror.bounds.end = call.bounds.end;
      }
    }
    call.done(std::move(*call.answer));
  }

  LinkPtr link_;
  HomeLogPtr home_;
  MirrorPtr mirror_;
  uint64_t rewrite_last_ = 0;
};

class RemoteEngine final : public Engine {
 public:
  RemoteEngine(Core& core, SegmentEngine& engine) : link_(std::make_shared<Link>(core, engine.core(), engine)) {
    for (const ShardId& id : engine.listed_at_start()) ids_->insert(id);
  }

  EngineTraits traits() const override { return {"segment", true}; }

  void open(ShardId id, const LogSettings& settings, Offset first_offset, Callback<void(Result<OpenedLog>)> done) override {
    struct Opening {
      WeakLink link;
      std::shared_ptr<std::set<ShardId>> ids;
      ShardId id;
      Callback<void(Result<OpenedLog>)> done;
      Result<OpenedLog> opened = Code::internal;
      MirrorPtr mirror = std::make_shared<Mirror>();
    };
    auto opening = std::make_unique<Opening>();
    opening->link = link_;
    opening->ids = ids_;
    opening->id = id;
    opening->done = std::move(done);
    link_->to_home.add([opening = std::move(opening), settings, first_offset]() mutable {
      const LinkPtr link = opening->link.lock();
      if (!link) return;
      const ShardId asked = opening->id;
      link->engine.open(asked, settings, first_offset, [opening = std::move(opening)](Result<OpenedLog> opened) mutable {
        auto home = std::make_shared<HomeLog>();
        opening->opened = std::move(opened);
        if (opening->opened.ok()) {
          home->log = std::move(opening->opened->log);
          opening->mirror->bounds = home->log->bounds();
        }
        const LinkPtr link = opening->link.lock();
        if (!link) return;
        link->to_caller.add([opening = std::move(opening), home = std::move(home)]() mutable {
          LinkPtr link = opening->link.lock();
          if (!link) return;
          if (opening->opened.ok()) {
            opening->ids->insert(opening->id);
            opening->opened->log = std::make_unique<RemoteLog>(std::move(link), std::move(home), opening->mirror);
          }
          opening->done(std::move(opening->opened));
        });
      });
    });
  }

  std::vector<ShardId> list() const override { return {ids_->begin(), ids_->end()}; }

  void remove(ShardId id, Callback<void(Status)> done) override {
    struct Removing {
      WeakLink link;
      std::shared_ptr<std::set<ShardId>> ids;
      ShardId id;
      Callback<void(Status)> done;
      Status status;
    };
    auto removing = std::make_unique<Removing>(Removing{link_, ids_, id, std::move(done), {}});
    link_->to_home.add([removing = std::move(removing)]() mutable {
      const LinkPtr link = removing->link.lock();
      if (!link) return;
      const ShardId asked = removing->id;
      link->engine.remove(asked, [removing = std::move(removing)](Status status) mutable {
        removing->status = std::move(status);
        const LinkPtr link = removing->link.lock();
        if (!link) return;
        link->to_caller.add([removing = std::move(removing)] {
          if (removing->status.ok()) removing->ids->erase(removing->id);
          removing->done(std::move(removing->status));
        });
      });
    });
  }

 private:
  LinkPtr link_;
  std::shared_ptr<std::set<ShardId>> ids_ = std::make_shared<std::set<ShardId>>();
};

}  // namespace

std::unique_ptr<Engine> make_remote_engine(Core& core, CoreIndex home, SegmentEngine& engine) {
  ROBUSTMQ_CHECK(engine.core().index() == home, "the engine lives on another core");
  return std::make_unique<RemoteEngine>(core, engine);
}

}  // namespace robustmq::storage
