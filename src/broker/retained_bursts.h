// RetainedBursts: sends new followers of this core the retained messages that match (MQTT5 3.3.1.3). Lives on its core.
//
// One burst a connection at a time, one filter after the other, one core after the other, a piece at a time; it waits while the
// connection does not take more (Sink::is_ready). A message that was published as retained and handed to the connection live
// while its burst runs is not followed by what the burst had read before: the newer one stays the last.
//
// Limits: one piece is held a connection; kLiveTopicsMax topics are remembered a burst, of any more the older message may follow.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_set>
#include <utility>
#include <vector>

#include "broker/broker.h"
#include "broker/retained_home.h"
#include "broker/sink_looks.h"

namespace robustmq::broker {

class RetainedBursts {
 public:
  RetainedBursts(runtime::Core& core, RetainedHome& home);

  // What `wanted` matches is to be sent to the context's sink: filters that are not shared, by their retain handling. It waits
  // for start(), which comes when every core knows the interest, and ends with close(). False: there is nothing to send.
  bool prepare(Context& context, const FollowOne& wanted, bool is_new);
  // `count` filters prepared for this connection may go, if it is still there.
  void start(uint64_t connection_id, size_t count);
  // The filter is not followed any more.
  void stop(const Context& context, std::string_view filter);
  void close(const Context& context);

  void on_ready(const Context& context) { looks_.look(context.connection_id); }

  bool empty() const { return bursts_.empty(); }
  // A record reached the connection live.
  void note_live(const Context& context, std::string_view topic, const RecordView& record);

 private:
  static constexpr size_t kLiveTopicsMax = 10'000;
  struct Burst {
    explicit Burst(Context& context_in) : context(&context_in) {}
    Context* context;
    std::deque<FollowOne> wanted;  // the first is being read
    CoreIndex core = 0;            // read from
    RetainedHome::Piece piece;     // the last one read
    size_t next = 0;               // of its messages
    bool is_begun = false;         // some piece of the first filter was asked for
    bool is_asking = false;
    size_t held = 0;        // filters that wait for start(): nothing is sent meanwhile
    uint64_t question = 0;  // number of the last one asked
    bool is_over = false;
    SinkLooks::Pace pace;
    std::unordered_set<std::string> live;
  };
  using BurstPtr = std::shared_ptr<Burst>;

  void advance(const BurstPtr& burst);
  void ask(const BurstPtr& burst);
  // False: the connection takes no more now.
  bool deliver(const BurstPtr& burst);
  void next_filter(Burst& burst);

  runtime::Core& core_;
  RetainedHome& home_;
  std::map<uint64_t, BurstPtr> bursts_;  // by connection id
  SinkLooks looks_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace robustmq::broker
