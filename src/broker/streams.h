// Streams: the shards of streams whose home is this core: opened on demand, closed and removed with their topic. Lives on its
// core.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <unordered_map>
#include <vector>

#include "base/lazy_deque.h"
#include "broker/fan_out.h"
#include "broker/options.h"
#include "meta/meta.h"
#include "shard/shard.h"
#include "storage/joined_log.h"
#include "storage/log.h"

namespace robustmq::broker {

// The engines a topic's mode picks from; server registers them.
struct Engines {
  storage::Engine* memory = nullptr;
  storage::Engine* persistent = nullptr;
};

shard::ShardSettings settings_of(const meta::TopicConfig& config, const BrokerOptions& options);
// What the records of a stream survive. One of mode none takes none; those it took before keep what they have on the disk.
storage::Durability durability_of(meta::Mode mode);
// The core where a shard lives, by the hash of its id.
CoreIndex home_of(const ShardId& id, CoreIndex cores);

class Streams {
 public:
  Streams(runtime::Core& core, FanOut& fan_out, const BrokerOptions& options, Engines engines, int64_t starts);
  ~Streams();
  // Ends every shard while those who asked them are still there to hear it; nothing may be asked afterwards.
  void end();

  // Calls `use` with the open shard, now or once it is open; or with why it cannot be. Calls for one shard keep their order. Who
  // does not know yet that the topic was deleted gets unknown_topic.
  void with(const std::shared_ptr<const meta::Topic>& topic, int32_t partition, Callback<void(Result<shard::Shard*>)> use);
  // A stored batch of a transaction that commits: to who follows it, or, where those had it before, to stored sessions alone.
  // The spool's ticket of what those are owed; 0: nothing.
  uint64_t hand_out(const ShardId& id, const Bytes& batch, bool is_told);
  // The open shard; nullptr: it is not open.
  const shard::Shard* find(const ShardId& id) const {
    const auto found = streams_.find(id);
    return found == streams_.end() || found->second->is_opening ? nullptr : found->second->shard.get();
  }
  // The topic is gone: closes its shards here and removes their logs.
  void remove(const meta::Topic& topic);
  // The topic has more partitions, or other settings: those of its shards here take effect.
  void changed(const std::shared_ptr<const meta::Topic>& topic);
  // A change of the topic's mode begins (topic_modes.cc): its shards here get the class of `to` where that is stronger than
  // theirs, those that are opened from now on too; `done` when all have it. Errors: storage_full, storage_failed.
  void strengthen(const TopicId& topic, meta::Mode to, Callback<void(Status)> done);
  // It has ended, one way or the other: the topic's shards here get the class of its mode.
  void settle(const TopicId& topic, Callback<void(Status)> done);
  // Syncs what is acknowledged, and keeps the producers' state of every shard that took records since it was last kept; `done`
  // when all that can be is.
  void seal(Callback<void(Status)> done);
  void retain(WallTime now);
  // The open shard; nullptr: there is none here.
  shard::Shard* find_open(const ShardId& id) const {
    const auto found = streams_.find(id);
    return found != streams_.end() && !found->second->is_opening ? found->second->shard.get() : nullptr;
  }
  std::shared_ptr<const meta::Topic> topic_of(const ShardId& id) const {
    const auto found = streams_.find(id);
    return found != streams_.end() ? found->second->topic : nullptr;
  }
  const storage::JoinedMetrics& metrics() const { return engine_.metrics(); }
  template <class Use>
  void for_each_open(Use&& use) const {
    for (const auto& [id, stream] : streams_) {
      if (stream->shard && !stream->is_opening) use(*stream->topic, *stream->shard);
    }
  }

 private:
  struct Stream final : shard::CommitListener {
    Stream(FanOut& fan_out_in, std::shared_ptr<const meta::Topic> topic_in) : fan_out(fan_out_in), topic(std::move(topic_in)) {}
    void on_committed(const ShardId& id, const Bytes& batch, uint64_t origin) override;
    bool on_appending(const ShardId& id, const Bytes& batch, uint64_t origin) override;
    void on_failed(const ShardId& id, Offset base_offset) override;
    Offset kept_from(const ShardId& id) override { return fan_out.kept_from(id); }

    FanOut& fan_out;
    std::shared_ptr<const meta::Topic> topic;
    FollowedHere known;
    bool is_opening = false;
    storage::Durability opened_as = storage::Durability::synced;
    // Gives the spool what is to be said of failed references, where that is due.
    bool write_void(const ShardId& id, const Bytes& batch);
    void end_references(const ShardId& id);

    // Batches under way that sessions are owed by reference, as the mode was when they went to the log: base, the spool's ticket
    // (0: nobody waits). What is not here is owed as copies.
    LazyDeque<std::pair<Offset, uint64_t>> referred;
    // References from there on were written, and their batches failed: the spool is told before a batch that gets their offsets.
    std::optional<Offset> void_from;
    uint64_t void_ticket = 0;  // of that; 0: not yet told
    std::unique_ptr<shard::Shard> shard;
    std::vector<Callback<void(Result<shard::Shard*>)>> waiting;
  };
  static constexpr size_t kGoneMax = 4'096;
  // The class that shards of the topic are to have now.
  storage::Durability wanted_class(const meta::Topic& topic) const;
  void change_all(const TopicId& topic, Callback<void(Status)> done);
  void open(Stream& stream, const ShardId& id);
  void finish_opening(const ShardId& id, Status status);

  runtime::Core& core_;
  FanOut& fan_out_;
  const BrokerOptions& options_;
  int64_t starts_;
  storage::JoinedEngine engine_;
  std::map<TopicId, storage::Durability> strengthened_;  // topics whose mode is being changed: what their shards have at least
  std::map<ShardId, std::unique_ptr<Stream>> streams_;
  std::set<TopicId> gone_;          // topics deleted lately: calls for them may still be on their way
  std::deque<TopicId> gone_first_;  // the same, oldest first; at most kGoneMax
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace robustmq::broker
