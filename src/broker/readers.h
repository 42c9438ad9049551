// Readers: what StreamReaders and QueueReaders have in common: subscriptions that fetch for their connection and hand on what
// came while it takes more (Sink::is_ready). Lives on its core.
//
// A reader goes step by step, at most kRecordsATurn in one turn; while it asks for something it waits for the answer, and where
// its connection takes no more, or something failed, it rests until that is looked at.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "broker/broker.h"
#include "broker/sink_looks.h"
#include "runtime/core.h"

namespace robustmq::broker {

struct ReaderState {
  explicit ReaderState(Context& context_in) : context(&context_in) {}
  Context* context;
  bool is_started = false;
  bool is_asking = false;
  bool is_running = false;
  bool is_resting = false;
  bool is_over = false;
};

// A connection that has some.
template <class Reader>
struct ConnectionReaders {
  std::vector<std::shared_ptr<Reader>> readers;
  SinkLooks::Pace pace;
};

// Reader: a ReaderState. Connection: a ConnectionReaders<Reader>, there as long as it has readers that are not over.
template <class Reader, class Connection>
class Readers {
 public:
  Readers(const Readers&) = delete;
  // Those of this connection may go, if it is still there.
  void start(uint64_t connection_id) {
    const auto found = connections_.find(connection_id);
    if (found == connections_.end()) return;
    for (const ReaderPtr& reader : found->second.readers) reader->is_started = true;
    look_at(connection_id);
  }
  void on_ready(const Context& context) { looks_.look(context.connection_id); }
  size_t count_of(const Context& context) const {
    const auto found = connections_.find(context.connection_id);
    return found == connections_.end() ? 0 : found->second.readers.size();
  }

 protected:
  using ReaderPtr = std::shared_ptr<Reader>;

  explicit Readers(runtime::Core& core)
      : core_(core),
        looks_(
            core,
            [this](uint64_t connection_id) -> SinkLooks::Pace* {
              const auto found = connections_.find(connection_id);
              return found == connections_.end() ? nullptr : &found->second.pace;
            },
            [this](uint64_t connection_id) { look_at(connection_id); }) {}
  ~Readers() = default;

  // Does one thing. False: something else has to come first.
  virtual bool step(const ReaderPtr& reader) = 0;

  void advance(const ReaderPtr& reader) {
    if (reader->is_running) return;  // an answer that came inline
    reader->is_running = true;
    size_t left = kRecordsATurn;
    while (left > 0 && step(reader)) --left;
    reader->is_running = false;
    if (left > 0) return;
    core_.post([this, alive = std::weak_ptr<bool>(alive_), reader] {
      if (!alive.expired()) advance(reader);
    });
  }
  void advance_all(uint64_t connection_id) {
    const auto found = connections_.find(connection_id);
    if (found == connections_.end()) return;
    const std::vector<ReaderPtr> readers = found->second.readers;  // a delivery may end some
    for (const ReaderPtr& reader : readers) advance(reader);
  }
  // Until its connection is looked at.
  void rest(Reader& reader) {
    const uint64_t connection_id = reader.context->connection_id;
    reader.is_resting = true;
    looks_.wait(connection_id, connections_.at(connection_id).pace, *reader.context);
  }
  // `use(reader, answer)` with the answer to what it asks now, while it is there; then it goes on.
  template <class Answer, class Use>
  auto answering(const ReaderPtr& reader, Use use) {
    reader->is_asking = true;
    return [this, alive = std::weak_ptr<bool>(alive_), reader, use = std::move(use)](Answer answer) mutable {
      if (alive.expired() || reader->is_over) return;
      reader->is_asking = false;
      use(reader, std::move(answer));
      advance(reader);
    };
  }

  runtime::Core& core_;
  std::map<uint64_t, Connection> connections_;  // by connection id
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);

 private:
  static constexpr size_t kRecordsATurn = 256;

  // The connection is ready, or has been given some time.
  void look_at(uint64_t connection_id) {
    const auto found = connections_.find(connection_id);
    if (found == connections_.end()) return;
    for (const ReaderPtr& reader : found->second.readers) reader->is_resting = false;
    advance_all(connection_id);
  }

  SinkLooks looks_;
};

}  // namespace robustmq::broker
