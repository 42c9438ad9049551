// Hall: the broker of one core. Puts the parts together and executes the menu. Lives on its core.
//
// The halls of a node are made together (make_halls), one a core, and know each other. Consumer groups live on core 0, where the
// ledger is; sessions on the core of their slot; shards and light topics on theirs.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "broker/auth_options.h"
#include "broker/authenticator.h"
#include "broker/authorise.h"
#include "broker/broker.h"
#include "broker/compactor.h"
#include "broker/declare_options.h"
#include "broker/delayed.h"
#include "broker/extensions/bans.h"
#include "broker/extensions/exclusive.h"
#include "broker/extensions/flapping.h"
#include "broker/extensions/options.h"
#include "broker/extensions/rewriter.h"
#include "broker/extensions/slow.h"
#include "broker/extensions/sys_topics.h"
#include "broker/extensions/topic_watch.h"
#include "broker/fan_out.h"
#include "broker/fetcher.h"
#include "broker/follow.h"
#include "broker/interest.h"
#include "broker/lease/dead_letters.h"
#include "broker/lease/leaser.h"
#include "broker/lease/queue_readers.h"
#include "broker/lease/queues.h"
#include "broker/light_topics.h"
#include "broker/locate.h"
#include "broker/markers.h"
#include "broker/options.h"
#include "broker/publisher.h"
#include "broker/quota/quotas.h"
#include "broker/retained_bursts.h"
#include "broker/retained_home.h"
#include "broker/rows.h"
#include "broker/session/sessions.h"
#include "broker/shared.h"
#include "broker/stream_readers.h"
#include "broker/streams.h"
#include "broker/topic_rules.h"
#include "broker/topics.h"
#include "broker/transactions.h"
#include "broker/wills.h"
#include "runtime/timer.h"
#include "storage/kv.h"

namespace robustmq::broker {

class GroupCoordinator;

// What a hall is made of; everything outlives it.
struct HallSetup {
  runtime::Core* core = nullptr;
  meta::Meta* meta = nullptr;
  Engines engines;
  GroupCoordinator* groups = nullptr;  // on core 0; nullptr elsewhere
  storage::Kv* kv = nullptr;           // the node's rows as this core sees them; nullptr in tests: nothing is kept
  SessionOptions session;
  const RetainedOptions* retained = nullptr;  // nullptr: the defaults
  const DelayedOptions* delayed = nullptr;    // nullptr: the defaults
  ExtensionOptions extensions;
  std::vector<RewriteRule> topic_rewrite;  // checked
  std::vector<AutoSubscription> auto_subscribe;
  BanOptions bans;
  const TransactionOptions* transaction = nullptr;  // nullptr: the defaults
  AuthOptions logins;
  Authenticator::Users users;  // null: there is no login
  CompactionOptions compaction;
  QuotaOptions quota;
  DeclareOptions declare;
  std::shared_ptr<QuotaBoard> quota_board;  // of the node; null in tests: this hall's own
};

class Hall final : public Broker {
 public:
  Hall(HallSetup setup, const BrokerOptions& options, const TopicRules& rules, const NodeFacts& node);
  ~Hall();
  // Introduces the halls of a node to each other; once, before start().
  static void introduce(const std::vector<Hall*>& halls);

  // Opens the shards of this core. On core 0 first makes the streams of the topic rules. `ready` on this core.
  void start(Callback<void(Status)> ready);
  // The thread that passwords are checked on; before start(). Without one they are checked on the core.
  void use_helper(std::unique_ptr<runtime::Helper> helper) { authenticator_.use_helper(std::move(helper)); }
  // The user file changed: who is gone from it, or has another password there, is disconnected.
  void use_users(Authenticator::Users users);
  void note_user_file_failure() { ++auth_metrics_.user_file_failures_total; }
  // Before the engines close, when nobody asks any more: keeps what makes the next start quick. A failure costs only time then.
  void seal(Callback<void(Status)> done) { streams_.seal(std::move(done)); }

  void execute(Context& context, Request request, ReplyTo done) override;
  void close(Context& context) override;
  void on_ready(Context& context) override;
  CoreIndex session_home(TenantId tenant, std::string_view client_id) const override;

  const BrokerMetrics& metrics() const { return metrics_; }
  const SessionMetrics& session_metrics() const { return session_metrics_; }
  uint64_t spool_bytes() const { return spools_.size_bytes(); }
  const ExtensionMetrics& extension_metrics() const { return extension_metrics_; }
  const BanMetrics& ban_metrics() const { return ban_metrics_; }
  const RetainedMetrics& retained_metrics() const { return retained_.metrics(); }
  const WillMetrics& will_metrics() const { return wills_.metrics(); }
  const DelayedMetrics& delayed_metrics() const { return delayed_.metrics(); }
  const TransactionMetrics& transaction_metrics() const { return transaction_metrics_; }
  const LeaseMetrics& lease_metrics() const { return lease_metrics_; }
  const queue::QueueMetrics& queue_metrics() const { return queues_.queue_metrics(); }
  const AuthMetrics& auth_metrics() const { return auth_metrics_; }
  const QuotaMetrics& quota_metrics() const { return quota_metrics_; }
  const DeclareMetrics& declare_metrics() const { return declare_metrics_; }
  const CompactionMetrics& compaction_metrics() const { return compactor_.metrics(); }
  const storage::JoinedMetrics& mode_metrics() const { return streams_.metrics(); }
  // Facts of a node's options shown by DescribeCluster; set by server at start.
  void set_option_facts(std::vector<TopicFacts::Setting> facts) { option_facts_ = std::move(facts); }

 private:
  // hall_start.cc
  static void on_tick(void* self);
  static void on_sweep_tick(void* self);
  void on_catalog(const meta::CatalogEvent& event);
  void open_shards(Callback<void(Status)> ready);
  void finish_start(Status status, Callback<void(Status)> ready);
  void when_started(Callback<void()> told);
  void tell_delayed();

  void publish(Context& context, Publish request, ReplyTo done);
  // `exclusive`: those of the filters that end with the connection and are not stored; empty: none.
  void follow(Context& context, Follow request, ReplyTo done, const std::vector<bool>& exclusive = {});
  void unfollow(Context& context, Unfollow request, ReplyTo done);
  // hall_declare.cc
  // A Follow that waits for the streams that it names to be made.
  struct Declaring {
    Follow request;
    std::vector<bool> exclusive;
    ReplyTo done;
    std::vector<std::optional<FollowResult>> answers;  // of what is not followed after all
    size_t waiting = 1;
    bool is_over = false;  // its connection went
  };
  bool declare_first(Context& context, Follow& request, ReplyTo& done, const std::vector<bool>& exclusive);
  std::optional<FollowResult> declare_one(Context& context, const FollowOne& wanted, CreateTopics& missing) const;
  void finish_declaring(Context& context, const std::shared_ptr<Declaring>& declaring);
  bool give_up_declaring(const Context& context, const Unfollow::One& one);
  void stop_declaring(const Context& context);
  void open_queue_asked(const Context& context, const OpenQueue& request, ReplyTo done);
  size_t subscriptions_of(const Context& context) const;
  bool has_subscription(const Context& context, const FollowOne& wanted) const;
  void undo_follow(const std::string& id, uint64_t connection, Unfollow added, std::vector<FollowOne> replaced);
  void announce(std::vector<std::string> filters, bool is_wanted, Callback<void()> done);
  void open_session(Context& context, OpenSession request, ReplyTo done);
  void open_admitted(Context& context, OpenSession request, ReplyTo done);
  bool is_of_another(const std::string& client_id, const Context& context) const;
  void end_session(Context& context, const EndSession& request);
  void lose_session(Context& context);
  void send_will(const std::string& client_id, const WillRow& will, storage::KvBatch gone, Callback<void(Status)> done);
  void follow_again(Context& context, const std::vector<FollowOne>& filters, Callback<void()> done);
  void stop_following(Context& context);
  void settle(Context& context, Settle request, ReplyTo done);
  struct DelayedListing {
    ReplyTo done;
    ListedDelayed listed;
    size_t left = 0;   // messages that may still come
    size_t bytes = 0;  // of those that are listed
  };
  void list_delayed(const ListDelayed& request, ReplyTo done);
  void list_delayed_from(const DelayedKey& after, const std::shared_ptr<DelayedListing>& listing);
  void cancel_delayed(const CancelDelayed& request, ReplyTo done);
  // hall_extensions.cc
  void publish_asked(Context& context, Publish request, ReplyTo done);
  void follow_asked(Context& context, Follow request, ReplyTo done);
  void unfollow_asked(Context& context, Unfollow request, ReplyTo done);
  ReplyTo telling_of(const Context& context, const Follow& request, ReplyTo done);
  void welcome(const Context& opened, const std::string& prefix);
  void say_goodbye(const Context& context);
  // hall_clients.cc
  ClientFacts facts_of(const std::string& id) const;
  std::vector<ClientFacts> clients_after(const std::string& after, size_t count) const;
  void list_clients(const ListClients& request, ReplyTo done);
  DescribedClient describe_client(const std::string& id) const;
  void end_client(const EndClient& request, ReplyTo done);
  template <class Ask>
  void at_client(const std::string& id, Ask ask, ReplyTo done);
  void ask_clients(ListClients& request, ReplyTo done);
  void ask_clients(DescribeClient& request, ReplyTo done);
  void ask_clients(EndClient& request, ReplyTo done);
  void ask_clients(ListBans& request, ReplyTo done);
  void ask_clients(AddBan& request, ReplyTo done);
  void ask_clients(RemoveBan& request, ReplyTo done);
  void ask_clients(ListSlow& request, ReplyTo done);
  void ask_clients(ClearSlow& request, ReplyTo done);
  void ask_clients(WatchTopic& request, ReplyTo done);
  void ask_clients(ListWatched& request, ReplyTo done);
  Code watch_here(const WatchTopic& request);
  void enforce(const Ban& ban);
  void watch_for_flapping(const std::string& client_id);
  void produce(Context& context, Produce request, ReplyTo done);
  void allocate_producer_id(ReplyTo done);
  ClusterFacts cluster_facts() const;
  void ask_quotas(DescribeQuotas& request, ReplyTo done) { quotas_.describe(std::move(request), std::move(done)); }
  void ask_quotas(AlterQuotas& request, ReplyTo done) { quotas_.alter(std::move(request), std::move(done)); }
  void ask_home(TenantId tenant, Request request, ReplyTo done);
  void send_home(TenantId tenant, Request request, ReplyTo done);
  void check_share_topics(TenantId tenant, HeartbeatShare request, ReplyTo done);
  void execute_home(TenantId tenant, Request request, ReplyTo done);

  // hall_shares.cc
  void introduce_queues();
  // Calls `ask(hall, answer)` on that core, and `done` with the answer here.
  template <class T, class Ask>
  void ask_core(CoreIndex at, Ask ask, Callback<void(T)> done);
  template <class Row, class Ask>
  void ask_queues(TenantId tenant, const std::string& group, const std::vector<ShardId>& shards, Ask ask,
                  Callback<void(std::vector<Row>)> done);
  void open_queue(TenantId tenant, const std::string& group, std::shared_ptr<const meta::Topic> topic, Callback<void(Code)> done);
  void ask_share_offsets(TenantId tenant, DescribeShareOffsets request, ReplyTo done);
  void ask_share_offsets(TenantId tenant, AlterShareOffsets request, ReplyTo done);
  void ask_share_offsets(TenantId tenant, DeleteShareOffsets request, ReplyTo done);
  void describe_group_offsets(TenantId tenant, const DescribeShareOffsets::One& wanted,
                              Callback<void(DescribedShareOffsets::One)> done);

  // hall_transactions.cc
  struct TransactionalBatch {
    TopicRef topic;  // of a light one: with its id, once that is known
    Located at;
    int32_t partition = 0;
    Bytes batch;
    Publisher::AppendDone done;  // on the asking core
  };
  struct TransactionalProduce {
    TenantId tenant = kDefaultTenant;
    uint64_t origin = 0;
    CoreIndex asker = 0;
    std::string transactional_id;
    bool adds = false;
    std::vector<TransactionalBatch> batches;
  };
  void produce_in_transaction(TransactionalProduce request);
  void produce_in_transaction_home(TransactionalProduce request);
  void append_in_transaction(CoreIndex asker, uint64_t origin, bool adds, TransactionalBatch batch);
  void write_markers(WriteMarkers request, ReplyTo done);

  runtime::Core& core_;
  meta::Meta& meta_;
  GroupCoordinator* groups_;
  const BrokerOptions& options_;
  TopicRules rules_;  // as of this core's view of the catalog
  const NodeFacts& node_;
  BrokerMetrics metrics_;
  const DeclareOptions declare_options_;
  DeclareMetrics declare_metrics_;
  Rows rows_;
  RetainedHome retained_;
  RetainedBursts bursts_;
  Follows follows_;
  Interest interest_;
  Shared shared_;
  FanOut fan_out_;
  LightTopics lights_;
  Streams streams_;
  Compactor compactor_;
  Locator locator_;
  Publisher publisher_;
  Fetcher fetcher_;
  StreamReaders stream_readers_;
  Topics topics_;
  std::vector<Hall*> halls_;
  std::unordered_map<std::string, Context*> sessions_;  // of every client that is connected
  SessionOptions session_options_;
  SessionMetrics session_metrics_;
  Spools spools_;
  Sessions stored_sessions_;
  Wills wills_;
  Delayed delayed_;
  TransactionMetrics transaction_metrics_;
  Markers markers_;
  LeaseMetrics lease_metrics_;
  DeadLetters dead_letters_;
  Queues queues_;
  Leaser leaser_;
  QueueReaders queue_readers_;
  std::unique_ptr<Transactions> transactions_;  // on core 0
  bool has_started_ = false;                    // or failed to
  std::vector<Callback<void()>> waiting_for_start_;
  std::vector<TopicFacts::Setting> option_facts_;
  ProducerId next_producer_id_ = 0;
  ProducerId producer_ids_end_ = 0;
  std::vector<ReplyTo> waiting_for_producer_ids_;
  const ExtensionOptions extensions_;
  const std::vector<AutoSubscription> auto_subscriptions_;
  ExtensionMetrics extension_metrics_;
  Rewriter rewriter_;
  Exclusive exclusive_;
  SysTopics sys_;
  const BanOptions ban_options_;
  BanMetrics ban_metrics_;
  Bans bans_;
  Flapping flapping_;
  SlowSubscriptions slow_;
  TopicWatch watch_;
  const AuthOptions auth_options_;
  AuthMetrics auth_metrics_;
  Authenticator authenticator_;
  const QuotaOptions quota_options_;
  QuotaMetrics quota_metrics_;
  std::map<const Context*, std::vector<std::shared_ptr<Declaring>>> declaring_;
  Quotas quotas_;
  runtime::Timer tick_;
  runtime::Timer sweep_tick_;
};

}  // namespace robustmq::broker
