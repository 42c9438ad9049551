// RetainedHome: the retained messages of the topics whose slot is on this core, in memory and as rows; and the way to those of
// the other cores. Lives on its core.
//
// A change shows at once and its publisher is answered when its row is durable, whatever the topic's mode. The change reaches the
// home core on the way of the message itself, so for a light topic it shows exactly when the message is handed to followers.
// A change that cannot be stored is taken back: the row that is there is read again.
//
// Row key: "retained/", big-endian tenant (4), topic. Row value: RetainedRow in the wire codec. Core 0 reads all rows at the
// start, a page at a time, and hands them to their cores. An expired message's row is removed when its time is over.
#pragma once

#include <memory>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "broker/menu/request.h"
#include "broker/retained/store.h"
#include "broker/rows.h"
#include "runtime/core.h"
#include "runtime/timer.h"

namespace robustmq::broker {

struct RetainedRow {
  Bytes payload;
  Bytes raw_headers;
  int32_t header_count = 0;
  int64_t timestamp_ms = 0;
  uint32_t expiry_s = 0;
  uint64_t publisher = 0;

  template <class V>
  static void describe(V& v) {
    using R = RetainedRow;
    v.field("payload", &R::payload);
    v.field("raw_headers", &R::raw_headers);
    v.field("header_count", &R::header_count);
    v.field("timestamp_ms", &R::timestamp_ms);
    v.field("expiry_s", &R::expiry_s);
    v.field("publisher", &R::publisher);
  }
};

class RetainedHome {
 public:
  // All of them outlive it.
  RetainedHome(runtime::Core& core, Rows& rows, const RetainedOptions& options);
  RetainedHome(const RetainedHome&) = delete;
  // Every core's, by core; once, before start().
  void set_peers(std::vector<RetainedHome*> peers) { peers_ = std::move(peers); }
  // `ready` when this core has its messages. Errors: corrupt_storage, storage_*.
  void start(Callback<void(Status)> ready);

  // Whether a message may be retained at all: quota_exceeded when its payload or topic is over the limits.
  Code check(const Message& message);
  // From any core: the message becomes its topic's, or with an empty payload clears it. `done` on this core, when durable.
  // Errors: quota_exceeded, storage_*.
  void publish(const Message& message, uint64_t publisher, Callback<void(Status)> done);
  // The same for one that is not published: clears it. not_found when there is none.
  void clear(std::string topic, Callback<void(Status)> done);

  // A piece of what a filter matches on one core.
  struct Piece {
    std::vector<std::pair<std::string, RetainedMessage>> messages;
    WalkPosition at;  // where the next piece begins
    bool is_last = false;
  };
  // From any core. `done` never comes inline.
  void read(CoreIndex from, std::string filter, WalkPosition at, RetainedStore::Pace pace, Callback<void(Piece)> done);
  CoreIndex home_of(std::string_view topic) const;

  RetainedMetrics& metrics() { return metrics_; }
  const RetainedMetrics& metrics() const { return metrics_; }

 private:
  using Loaded = std::vector<std::pair<std::string, RetainedMessage>>;

  void apply(std::string topic, RetainedMessage message, Callback<void(Status)> done);
  void remove(std::string topic, Callback<void(Status)> done);
  void on_written(const std::string& topic, const Status& status);
  void take_back(const std::string& topic);
  Piece read_here(const std::string& filter, WalkPosition at, RetainedStore::Pace pace);
  void load_from(std::string from);
  void take_loaded(Loaded messages);
  void finish_loading(const Status& status);
  void look_after();
  void build();
  static void on_expiry(void* self);
  void remove_row(const std::string& topic);
  static void on_retry(void* self);
  // Runs `work(home)` on the topic's core and brings its answer back.
  template <class Work>
  void at_home(CoreIndex home, Work work, Callback<void(Status)> done);

  runtime::Core& core_;
  Rows& rows_;
  const RetainedOptions& options_;
  RetainedMetrics metrics_;
  RetainedStore store_;
  std::vector<RetainedHome*> peers_;
  std::unordered_map<std::string, uint32_t> under_way_;  // writes by topic
  runtime::Timer expiry_;
  std::set<std::string> expired_rows_;  // could not be removed; tried again
  runtime::Timer retry_;
  bool is_building_ = false;
  bool is_loaded_ = false;
  Status load_status_;
  Callback<void(Status)> ready_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace robustmq::broker
