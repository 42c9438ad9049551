// GroupCoordinator: consumer groups and their committed offsets. One a node in this version; lives on the key-value store's core.
//
// It is the thin shell of pure machines, one a group, and of Offsets (offsets.h), the committed offsets in memory, each durable
// before its commit is answered. Group (group.h) is the classic protocol; such groups are not stored: after a start they are
// empty, and their members join again. ConsumerGroup (consumer_group.h) has server-side assignment; its members and what they
// have are rows (group_rows.h), durable before a heartbeat's answer tells of them. A group goes from one to the other when its
// members do.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <utility>

#include "base/callback.h"
#include "broker/group/consumer_group.h"
#include "broker/group/group.h"
#include "broker/group/group_rows.h"
#include "broker/group/offsets.h"
#include "broker/group/options.h"
#include "broker/group/pending_offsets.h"
#include "broker/menu/request.h"
#include "meta/meta.h"
#include "observe/metrics.h"
#include "runtime/core.h"
#include "storage/kv.h"

namespace robustmq::broker {

bool is_valid_group_name(const std::string& group, bool may_be_empty);

// All calls and replies on its core. Limits: GroupOptions::groups_max, members_max, offsets_max, configs_max.
class GroupCoordinator {
 public:
  // All of them outlive it.
  GroupCoordinator(runtime::Core& core, storage::Kv& kv, meta::Meta& meta, const GroupOptions& options);
  // Answers what is parked with Error shutting_down, also who waits for a write. A commit still under way is not answered.
  ~GroupCoordinator();
  GroupCoordinator(const GroupCoordinator&) = delete;

  // Reads the committed offsets and the groups. Call once, when meta knows the topics. Until it is done every request gets Error
  // coordinator_loading, and for good when it fails.
  void start(Callback<void(Status)> done);

  // True for the requests below.
  static bool takes(const Request& request);

  // Executes one of JoinGroup, SyncGroup, HeartbeatGroup, LeaveGroup, CommitOffsets, FetchOffsets, DescribeGroups, ListGroups,
  // DeleteGroups, DeleteOffsets, HeartbeatConsumer, DescribeConsumers, ConfigureGroups, DescribeGroupConfigs, and answers with
  // the reply struct that belongs to it, or with Error (coordinator_loading, shutting_down).
  //
  // A TopicRef with name and id both set is taken as it is (the broker resolved it: a light topic); with one of them it is looked
  // up in the catalog. Codes beside those of the request's own words:
  //   JoinGroup       invalid_group, invalid_session_timeout, quota_exceeded (Kafka: group max size reached), member_id_required,
  //                   unknown_member, fenced_instance, inconsistent_protocol
  //   CommitOffsets   per offset: unknown_topic, unknown_topic_id, metadata_too_large, quota_exceeded, storage_*; the group's
  //   codes on each FetchOffsets    per offset: unknown_topic_id; an unknown group, topic or partition has offset -1 and no error
  //   DescribeGroups  an unknown group: group_not_found with state "Dead"
  //   DeleteGroups    group_not_found, group_not_empty, storage_*
  //   DeleteOffsets   group_not_found, group_not_empty (whole or per offset); per offset: unknown_topic, storage_*
  //   HeartbeatConsumer  invalid_argument, unknown_member, fenced_member_epoch, fenced_instance, unreleased_instance,
  //                   unsupported_assignor, invalid_pattern, quota_exceeded (as above), group_not_found (a classic group that
  //                   cannot change)
  //   ConfigureGroups invalid_argument, invalid_config, quota_exceeded, storage_*
  // Join and Sync may wait: up to the largest rebalance timeout of the members.
  void execute(TenantId tenant, Request request, Callback<void(Reply)> done);

  // Offsets that are the group's when the producer's transaction commits: with `producer` the request is part of it, which the
  // caller has seen to. Answered with CommittedOffsets.
  void commit_in_transaction(TenantId tenant, ProducerId producer, CommitOffsets request, Callback<void(Reply)> done);
  // The producer's transaction has ended for the group, durably when `done` says ok. Again does nothing.
  void end_transaction(TenantId tenant, const std::string& group, ProducerId producer, bool commits, Callback<void(Status)> done);

  const GroupMetrics& metrics() const { return metrics_; }
  // The queues of share groups, which live with their shards (broker/lease).
  struct QueueHooks {
    // A group's queues have other settings.
    Callback<void(TenantId, const std::string& group, const QueueSettings&)> configured;
    // The group's queues over these topics were never there; ok when that is durable.
    Callback<void(TenantId, const std::string& group, std::vector<TopicId>, Callback<void(Code)>)> removed;
  };
  void set_queues(QueueHooks hooks) { queues_ = std::move(hooks); }
  // What a group's queue over a topic is set to. Error: group_not_found: it has none there; coordinator_loading.
  Result<QueueSettings> queue_settings(TenantId tenant, const std::string& group, const TopicId& topic) const;
  // What a share group has queues over, and whether it has members.
  struct ShareFacts {
    Code code = Code::ok;  // group_not_found, coordinator_loading
    std::string detail;
    bool has_members = false;
    std::vector<TopicId> topics;
  };
  ShareFacts share_facts(TenantId tenant, const std::string& group) const;
  // The queue of this name (kQueueGroup) is there, over this topic too, durably when `done` says ok; with whether it has begun:
  // began_queue() was said, or it is of an earlier life. Error: coordinator_loading, group_not_found (a group of another kind has
  // the name), quota_exceeded, storage_*.
  void open_queue(TenantId tenant, const std::string& group, const TopicId& topic, Callback<void(Code, bool)> done);
  // Over each partition that the topic had there is a queue now.
  void began_queue(TenantId tenant, const std::string& group, const TopicId& topic);
  // The group has queues over these topics too, and is made where there is none; or not any more, and nor are there any. Durable
  // when `done` says ok. Error: group_not_found (it is of another kind), group_not_empty, quota_exceeded, storage_*.
  void add_share_topics(TenantId tenant, const std::string& group, const std::vector<TopicId>& topics, Callback<void(Code)> done);
  void remove_share_topics(TenantId tenant, const std::string& group, std::vector<TopicId> topics, Callback<void(Code)> done);

  // How far each group is behind, as of the last look: robustmq_consumer_group_lag{group, topic, partition}, and
  // robustmq_share_group_lag of share groups.
  void add_lag(observe::MetricsSnapshot& to) const;
  // Who knows where partitions end, and where the queues of share groups stand; from now on they are looked at every
  // lag_check_ms. Both are called while this lives.
  void look_at_lag(Callback<void(ListOffsets, Callback<void(Reply)>)> ask_ends,
                   Callback<void(DescribeShareOffsets, Callback<void(Reply)>)> ask_shares = {});

 private:
  struct Entry;  // a group with its timer and who waits for it
  using Key = std::pair<TenantId, std::string>;

  void join(TenantId tenant, JoinGroup request, Callback<void(Reply)> done);
  void sync(TenantId tenant, SyncGroup request, Callback<void(Reply)> done);
  void commit(TenantId tenant, CommitOffsets request, Callback<void(Reply)> done);
  void delete_groups(TenantId tenant, DeleteGroups request, Callback<void(Reply)> done);
  void delete_offsets(TenantId tenant, DeleteOffsets request, Callback<void(Reply)> done);
  void heartbeat(TenantId tenant, const HeartbeatGroup& request, Callback<void(Reply)> done);
  void leave(TenantId tenant, const LeaveGroup& request, Callback<void(Reply)> done);
  FetchedOffsets fetch(TenantId tenant, const FetchOffsets& request) const;
  DescribedGroups describe(TenantId tenant, const DescribeGroups& request) const;
  ListedGroups list(TenantId tenant) const;

  // coordinator_consumers.cc
  void heartbeat(TenantId tenant, HeartbeatConsumer request, Callback<void(Reply)> done);
  DescribedConsumers describe(TenantId tenant, const DescribeConsumers& request) const;
  bool may_upgrade(const Entry& entry) const;
  void drop_consumers(Entry& entry);
  // Goes over to the other protocol where that is due, writes what changed, and answers (where `done` is set) when it is durable.
  void conclude(Entry& entry, Callback<void(Reply)> done, Reply reply);
  // `changes`: of the group's machine, in `batch`; they come again where it fails.
  void write(Entry& entry, storage::KvBatch batch, ConsumerGroup::Changes changes);
  void restore(StoredGroups stored);

  // coordinator_shares.cc
  void heartbeat(TenantId tenant, const HeartbeatShare& request, Callback<void(Reply)> done);
  DescribedConsumers describe(TenantId tenant, const DescribeShares& request) const;
  void delete_share_group(Entry& entry, Callback<void(Code)> done);
  QueueSettings settings_of(TenantId tenant, const std::string& group) const;
  Result<Entry*> entry_for_shares(TenantId tenant, const std::string& group);

  // coordinator_lag.cc
  void on_lag_timer();
  void look_at_ends();
  void look_at_shares();
  void add_share_lag(observe::MetricsSnapshot& to) const;
  template <class Use>
  void for_each_shown(Use&& use) const;

  // coordinator_configs.cc
  const GroupConfig& config_of(TenantId tenant, const std::string& group) const;
  Status changed_config(TenantId tenant, const ConfigureTopics::One& wanted, GroupConfig& config) const;
  void configure(TenantId tenant, const ConfigureGroups& request, Callback<void(Reply)> done);
  DescribedGroupConfigs describe(TenantId tenant, const DescribeGroupConfigs& request) const;

  // Whether who commits in a transaction is a member of the group's generation.
  Code check_commit(TenantId tenant, const CommitOffsets& request);
  std::vector<Offsets::Change> take_offsets(TenantId tenant, CommitOffsets& request, int64_t expires_at_ms,
                                            std::vector<Code>& results) const;
  static void refuse_offsets(std::vector<Code>& results, Code code);
  static bool is_of_unknown_topics(const std::vector<Code>& results);
  Entry* find(TenantId tenant, const std::string& group) const;
  // The descriptions of groups of one kind; one that is of another kind, or not there, is not found.
  template <class Kind>
  DescribedConsumers describe_each(TenantId tenant, const std::vector<std::string>& groups, std::unique_ptr<Kind> Entry::* kind,
                                   std::string_view name) const;
  Entry* find_or_make(TenantId tenant, const std::string& group);  // nullptr at the limit
  void carry_out(Entry& entry);                                    // answers what the machine decided, arms its timer
  std::vector<std::pair<Callback<void(Reply)>, Reply>> take_answers(Entry& entry);
  void arm(Entry& entry);
  void on_group_timer(Entry& entry);
  void forget_if_idle(Key key);
  // Committed, or in a transaction.
  bool has_offsets(const Key& key) const {
    return offsets_.rows_of(key.first, key.second) != nullptr || pending_.groups().contains(key);
  }
  void drop_idle_groups();
  void expire_offsets();
  // Which topic is meant; nullopt when the catalog does not know it.
  struct ResolvedTopic {
    std::string name;
    TopicId id;
    int32_t partitions = 1;
    bool is_light = false;
  };
  std::optional<ResolvedTopic> resolve(TenantId tenant, const TopicRef& ref) const;

  runtime::Core& core_;
  storage::Kv& kv_;
  meta::Meta& meta_;
  GroupOptions options_;
  GroupMetrics metrics_;
  Offsets offsets_;
  PendingOffsets pending_;
  std::map<Key, std::unique_ptr<Entry>> groups_;
  std::map<Key, GroupConfig> configs_;
  runtime::Timer retention_timer_;
  runtime::Timer lag_timer_;
  Callback<void(ListOffsets, Callback<void(Reply)>)> ask_ends_;
  Callback<void(DescribeShareOffsets, Callback<void(Reply)>)> ask_shares_;
  QueueHooks queues_;
  std::map<ShardId, Offset> ends_;  // of partitions with committed offsets, at the last look
  std::vector<std::pair<std::string, DescribedShareOffsets::One>> share_lag_;  // by share group, at the last look
  bool is_asking_shares_ = false;
  Group::Ticket last_ticket_ = 0;
  WallTime started_at_{};
  bool is_loaded_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace robustmq::broker
