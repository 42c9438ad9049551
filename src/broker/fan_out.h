// FanOut: carries a committed batch to everyone on this node who follows its topics. Lives on its core.
//
// Runs on the batch's home core: hands records to this core's followers, and sends one envelope (the stored batch, shared) to
// each other core that has interest, where receive() does the same. A batch that nobody follows is not decoded.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "broker/follow.h"
#include "broker/interest.h"
#include "broker/shared.h"
#include "broker/topic_rules.h"
#include "meta/topic.h"
#include "runtime/core.h"

namespace robustmq::broker {

class Spools;

// Remembers whether anybody follows a source of messages, until a subscription changes.
struct FollowedHere {
  uint64_t generation = 0;                 // FanOut::generation() when it was looked up
  std::shared_ptr<const Targets> targets;  // light topics only
  uint64_t other_cores = 0;                // light topics: cores with interest
  bool is_followed = false;                // streams: some follower may match
  bool is_shared = false;                  // a shared subscription matches, or may match
};

class FanOut {
 public:
  FanOut(runtime::Core& core, Follows& follows, Interest& interest, Shared& shared, const TopicRules& rules,
         BrokerMetrics& metrics)
      : core_(core), follows_(follows), interest_(interest), shared_(shared), rules_(rules), metrics_(metrics) {}
  // Every core's fan-out, by core; set once before the first message.
  void set_peers(std::vector<FanOut*> peers) { peers_ = std::move(peers); }

  // Whether anybody on this node, connected or not, may follow records of the topic.
  bool is_wanted(const meta::Topic& topic) const;
  bool is_wanted_light(std::string_view topic) const;

  // The MQTT topic of a stream's record; `fallback`: the stream's own, in MQTT's spelling. Views one of the two.
  std::string_view topic_of(const meta::Topic& topic, const RecordView& record, const std::string& fallback) const;

  // Whether all who follow the MQTT topic, on all cores, take more at once; `done` in a later turn.
  void ask_ready(std::string topic, Callback<void(bool)> done);

  // What stored sessions are owed goes there; before the first message.
  void set_spools(Spools* spools) { spools_ = spools; }

  // `origin`: as broker/origin.h says.
  // Every record of `batch`, which `shard` keeps (nullptr: none does), belongs to the MQTT topic `topic`. True when somebody
  // follows it.
  bool light(std::string_view topic, const ShardId* shard, const Bytes& batch, uint64_t origin, FollowedHere& known);
  // The batch of a stream: each record's topic is its header `mqtt.topic` where the rules allow it, else the stream's name.
  // `is_referred`: stored sessions are owed references to it, by refer(); else they are owed copies.
  void stream(const std::shared_ptr<const meta::Topic>& topic, const ShardId& shard, const Bytes& batch, uint64_t origin,
              bool is_referred, FollowedHere& known);

  // The batch of a durable stream is about to be appended: sessions that wait for records of it are owed references. The spool's
  // ticket of them; 0: nobody waits.
  uint64_t refer(const std::shared_ptr<const meta::Topic>& topic, const ShardId& shard, const Bytes& batch, uint64_t origin);
  // It is committed (or has failed: no batch).
  void finish_reference(const ShardId& shard, Offset base, const Bytes* batch, uint64_t ticket);
  // What sessions are owed of the shard from that offset on names nothing: its batches failed. Before the offsets are given to
  // others that are stored. The spool's ticket.
  uint64_t void_references(const ShardId& shard, Offset from, LeaderEpoch epoch);
  bool has_failed(uint64_t ticket) const;
  // Sessions are owed what a committed batch says: the spool refused its references, or it is a repeat of one that the spool may
  // lack. The spool's ticket; 0: nobody waits, or it is there.
  uint64_t owe_again(const std::shared_ptr<const meta::Topic>& topic, const ShardId& shard, const Bytes& batch, uint64_t origin);
  uint64_t owe_light_again(std::string_view topic, const ShardId& shard, const Bytes& batch, uint64_t origin);
  // From where on the stream's shard keeps messages for sessions; INT64_MAX: it keeps none.
  Offset kept_from(const ShardId& shard) const;

  // The spool's ticket of what the last batch was owed as; 0: nobody waits for it.
  uint64_t owed_ticket() const;
  // `done` when what the ticket names is stored, or with why it could not be.
  void when_owed(uint64_t ticket, Callback<void(Status)> done);

  // Stored sessions are owed the records of a light topic's batch. False: none is. Sets Spools::current().
  bool owe_light(std::string_view topic, const ShardId* shard, const Bytes& batch, uint64_t origin);

 private:
  // `is_referred`: by references.
  bool owe_stream(const meta::Topic& topic, const ShardId& shard, bool is_referred, const Bytes& batch, uint64_t origin);
  void receive_light(const std::string& topic, const Bytes& batch, uint64_t origin);
  // Changes whenever one of the three does, as none of theirs ever falls.
  uint64_t generation() const { return follows_.generation() + interest_.generation() + shared_.generation(); }
  // To one member of each group that shares it; on the batch's home core only.
  void share_light(std::string_view topic, const Bytes& batch, uint64_t origin);
  void share_stream(const meta::Topic& topic, const Bytes& batch, uint64_t origin);
  void deliver_light(std::string_view topic, const Targets& targets, const Bytes& batch, uint64_t origin);
  void deliver_stream(const meta::Topic& topic, const Bytes& batch, uint64_t origin);
  bool is_stream_followed(const meta::Topic& topic, bool by_others) const;
  template <class Overlaps>
  bool may_match(const meta::Topic& topic, Overlaps&& overlaps) const;

  runtime::Core& core_;
  Follows& follows_;
  Interest& interest_;
  Shared& shared_;
  const TopicRules& rules_;
  BrokerMetrics& metrics_;
  Spools* spools_ = nullptr;
  std::vector<FanOut*> peers_;
};

}  // namespace robustmq::broker
