// Sessions: the sessions with an expiry whose home is this core: opened, resumed, taken over, left, ended. Lives on its core.
//
// A session is stored from its beginning (session/stored.h); a subscription is stored before it is answered. While its client is
// away the expiry runs by the wall clock, also over a restart; a session that was connected when the node went counts from the
// start. Sessions without an expiry never come here.
#pragma once

#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "broker/broker.h"
#include "broker/rows.h"
#include "broker/session/options.h"
#include "broker/session/stored.h"
#include "runtime/core.h"
#include "runtime/timer.h"

namespace robustmq::broker {

struct Session {
  std::string client_id;
  uint32_t expiry_s = 0;
  int64_t left_at_ms = 0;      // 0: connected
  Context* context = nullptr;  // of the connection that has it; nullptr: away
  uint64_t connection = 0;     // counts the connections it had, to tell answers for an older one
  std::vector<FollowOne> subscriptions;
};

class Sessions {
 public:
  Sessions(runtime::Core& core, Rows& rows, const SessionOptions& options);
  Sessions(const Sessions&) = delete;

  // What the hall does for a session.
  struct Hooks {
    // Follows for a connection that came back; `done` when that is known everywhere.
    Callback<void(Context&, const std::vector<FollowOne>&, Callback<void()>)> follow;
    // The session is over (expired, or its client asked for a clean start or left for good).
    Callback<void(std::string_view client_id)> ended;
  };
  void set_hooks(Hooks hooks) { hooks_ = std::move(hooks); }

  // Reads this core's sessions; before any is opened. Error: corrupt_storage and those of the rows.
  void load(Callback<void(Status)> done);

  bool has(std::string_view client_id) const { return sessions_.contains(client_id); }
  // Opens the session for `context`; nobody else has it any more (let_go). Answers SessionOpened, or quota_exceeded.
  void open(Context& context, const OpenSession& request, ReplyTo done);
  // The connection is taken over or gone: its session, if it has one here, is without a connection from now on.
  void let_go(Context& context);
  // The client said goodbye; the expiry it names holds from now on.
  void end(Context& context, const EndSession& request);

  // Subscriptions of the context's session were made, or taken back; `done` when that is stored. Without a session: at once.
  void subscribed(Context& context, std::vector<FollowOne> filters, Callback<void(Status)> done);
  void unsubscribed(Context& context, const std::vector<Unfollow::One>& filters, Callback<void(Status)> done);

  const SessionMetrics& metrics() const { return metrics_; }

 private:
  static constexpr size_t kRowsAPage = 1000;
  static constexpr int64_t kLookEveryMs = 60'000;  // the wall clock may be set meanwhile

  static Session* of(const Context& context) { return static_cast<Session*>(context.session_state); }
  void load_from(std::string from, Callback<void(Status)> done);
  Status load_row(std::string_view key, std::string_view value);
  void finish_loading();
  void put(const Session& session, Callback<void(Status)> done);
  void remove(Session& session, Callback<void(Status)> done);
  uint32_t granted(uint32_t asked) const;
  std::optional<int64_t> expires_at(const Session& session) const;
  // The session while that connection of it has it.
  Session* find(std::string_view client_id, uint64_t connection);
  void resume(const std::string& id, uint64_t connection, bool is_present, ReplyTo done);
  void forget_expiry(const Session& session);
  void arm();
  void on_expiry();
  Callback<void(Status)> counted(Callback<void(Status)> done);

  runtime::Core& core_;
  Rows& rows_;
  const SessionOptions& options_;
  SessionMetrics metrics_;
  Hooks hooks_;
  std::unordered_map<std::string, std::unique_ptr<Session>, TextHash, std::equal_to<>> sessions_;
  std::set<std::pair<int64_t, std::string_view>> expiring_;  // those away, by the wall time at which they end
  runtime::Timer timer_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace robustmq::broker
