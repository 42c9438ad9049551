// Sessions: the sessions with an expiry whose home is this core: opened, resumed, taken over, left, ended; what they are owed,
// handed to their clients. Lives on its core.
//
// A session is stored from its beginning (session/stored.h); a subscription is stored before it is answered. While its client is
// away the expiry runs by the wall clock, also over a restart; a session that was connected when the node went counts from the
// start. Sessions without an expiry never come here.
//
// Messages come from the spools as far as credit goes; they are leased up to the client's Receive Maximum, and settled by it. How
// far a session has come is written behind, but for QoS 2: there a packet id is stored before it is sent, and "received" before
// it is answered. After a crash QoS 1 may come again, nothing is missing, and nothing at QoS 2 comes twice. ADR 0007.
#pragma once

#include <deque>
#include <map>
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
#include "broker/session/session.h"
#include "broker/session/spools.h"
#include "broker/session/stored.h"
#include "runtime/core.h"
#include "runtime/timer.h"

namespace robustmq::broker {

class Sessions {
 public:
  Sessions(runtime::Core& core, Rows& rows, Spools& spools, const SessionOptions& options, SessionMetrics& metrics,
           int64_t starts);
  Sessions(const Sessions&) = delete;

  // What the hall does for a session.
  struct Hooks {
    // Follows for a connection that came back; `done` when that is known everywhere.
    Callback<void(Context&, const std::vector<FollowOne>&, Callback<void()>)> follow;
    // A message goes to a connection.
    Callback<void(Context&, std::string_view topic, const RecordView&)> handing;
    // The session is over (expired, or its client asked for a clean start or left for good).
    Callback<void(std::string_view client_id)> ended;
  };
  void set_hooks(Hooks hooks) { hooks_ = std::move(hooks); }

  // Reads this core's sessions; before any is opened. Error: corrupt_storage and those of the rows.
  void load(Callback<void(Status)> done);

  // For who may be told something when this is gone.
  std::weak_ptr<bool> alive() const { return alive_; }
  bool has(std::string_view client_id) const { return sessions_.contains(client_id); }
  // nullptr: there is none.
  const Session* look_up(std::string_view client_id) const {
    const auto found = sessions_.find(client_id);
    return found == sessions_.end() ? nullptr : found->second.get();
  }
  template <class Visit>
  void each(Visit&& visit) const {
    for (const auto& [id, session] : sessions_) visit(*session);
  }
  // Ends a session that is there; its connection, if it has one, goes on without it.
  void drop(std::string_view client_id, Callback<void(Status)> done);
  // Opens the session for `context`; nobody else has it any more (let_go). Answers SessionOpened, or quota_exceeded.
  void open(Context& context, const OpenSession& request, ReplyTo done);
  // The client was told: what it is owed goes out from now on, first what was leased before.
  void begin(Context& context);
  // The connection is taken over or gone: its session, if it has one here, is without a connection from now on.
  void let_go(Context& context);
  // The client said goodbye; the expiry it names holds from now on.
  void end(Context& context, const EndSession& request);

  // Subscriptions of the context's session were made, or taken back; `done` when that is stored. Without a session: at once.
  void subscribed(Context& context, std::vector<FollowOne> filters, Callback<void(Status)> done);
  // What the context's session has under this filter; nullopt: nothing, or there is no session.
  std::optional<FollowOne> subscription_of(const Context& context, std::string_view filter, std::string_view share) const;
  void unsubscribed(Context& context, const std::vector<Unfollow::One>& filters, Callback<void(Status)> done);

  // ---- QoS 2 from the client ----
  // A publish with a packet id begins: what its record carries (kPacketHeader). Empty: the context has no session here.
  std::string begin_packet(const Context& context, uint16_t packet_id);
  // Of a message that the client may have sent before the node's last end; nullopt: not to this session.
  std::optional<PacketRepeat> repeat_of(const Context& context) const;
  // A publish with a packet id begins where the message becomes a row: what is to be written together with it. nullopt: the
  // context has no session here.
  std::optional<storage::KvBatch::Put> begin_packet_row(const Context& context, uint16_t packet_id);
  void finish_packets(std::string_view client_id, const std::vector<std::pair<uint16_t, Code>>& packets);
  void release(Context& context, const Release& request, ReplyTo done);

  // ---- QoS 1 and 2 to the client ----
  void settle(Context& context, const Settle& request, ReplyTo done);

  // ---- From the spools ----
  void take(Handed handed);
  void end_over_limit(const std::string& client_id, uint64_t connection);
  void restore_packets(const std::vector<PacketPair>& found);

 private:
  static constexpr size_t kRowsAPage = 1000;
  static constexpr uint32_t kWindowMax = 64;       // messages that a spool hands over ahead
  static constexpr int64_t kLookEveryMs = 60'000;  // the wall clock may be set meanwhile

  static Session* of(const Context& context) { return static_cast<Session*>(context.session_state); }
  void load_from(std::string from, Callback<void(Status)> done);
  Status load_row(std::string_view key, std::string_view value);
  void finish_loading();
  void put(const Session& session, Callback<void(Status)> done);
  void put_progress(Session& session, Callback<void(Status)> done);
  void touch(Session& session);
  void flush();
  // Packet marks that need not be kept in the spools: by client, up to a sequence.
  void unpin(const std::map<std::string, uint64_t>& up_to);
  void tell_positions(const std::vector<std::string>& client_ids);
  bool is_spooled(const FollowOne& follow) const;
  Attachment attachment(const Session& session, uint16_t source) const;
  void answer_open(const std::string& id, uint64_t connection, bool is_present, ReplyTo done);
  void send_again(Session& session);
  void finish_again(const std::string& id, uint64_t connection, const std::vector<OwedMessage>& messages,
                    const std::vector<uint16_t>& sources);
  void drain(Session& session);
  bool take_next(Session& session);
  void write_unsent(Session& session);
  const SessionMatch& match_of(Session& session, const OwedMessage& message);
  void deliver(Session& session, const OwedMessage& message, uint16_t lease, bool is_again);
  void give_credit(Session& session);
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
  Spools& spools_;
  const SessionOptions& options_;
  SessionMetrics& metrics_;
  Hooks hooks_;
  std::unordered_map<std::string, std::unique_ptr<Session>, TextHash, std::equal_to<>> sessions_;
  std::set<std::pair<int64_t, std::string_view>> expiring_;  // those away, by the wall time at which they end
  runtime::Timer timer_;
  runtime::Timer flush_timer_;
  std::vector<std::string> dirty_;
  std::vector<PacketPair> early_packets_;  // came before the rows
  bool is_loaded_ = false;
  bool has_marks_ = false;  // the spools were told to look for them
  uint64_t sequence_ = 0;   // of the last packet mark
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace robustmq::broker
