// The menu: everything that may be asked of the broker, as plain structs. The one page between protocols (above) and shards
// (below). Authorisation, quota, schema and tracing are enforced where these are executed, once. Pure.
//
// Views in a request (std::string_view, ByteSpan) must live until execute() returns; what is kept longer is Bytes or a copy.
// Topic names: `topic` of Publish and Follow is in MQTT's spelling ('/'); everywhere else in Kafka's ('.').
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/batch.h"
#include "base/bytes.h"
#include "base/ids.h"
#include "base/pieces.h"
#include "base/result.h"
#include "base/time.h"

namespace robustmq::broker {

// ---- Publish: messages by name; the broker finds or makes the topic, and builds the batches ----

struct Message {
  std::string_view topic;
  ByteSpan payload;
  // The record's headers in the record's own encoding (BatchBuilder::append_header), without `mqtt.topic`.
  ByteSpan raw_headers;
  int32_t header_count = 0;
  bool wants_reply = false;  // false: fire and forget (QoS 0)
  uint8_t qos = 0;           // what durable sessions are owed it by
  bool retain = false;       // becomes the topic's retained message; with an empty payload, clears it
  uint32_t expiry_s = 0;     // 0: never
  uint16_t packet_id = 0;    // QoS 2 of a durable session: kept with the message until Release names it; 0: none
};
struct Publish {
  std::vector<Message> messages;  // in order; all messages of one read of a socket
};
struct PublishResult {
  Code code = Code::ok;
  bool has_followers = true;  // false: routed to nobody (mode `none` only)
};
// One result for each message that wants a reply, in order.
struct Published {
  std::vector<PublishResult> results;
};

// ---- Follow: live fan-out by interest ----

// What of the retained messages a new follower is sent (MQTT5 3.8.3.1).
enum class RetainHandling : uint8_t { always, if_new, never };

struct FollowOne {
  std::string filter;  // a valid MQTT topic filter, without what names the group
  std::string share;   // the shared subscription's group; empty: not shared
  uint8_t qos_max = 0;
  bool no_local = false;
  bool retain_as_published = false;
  RetainHandling retain_handling = RetainHandling::always;
  uint32_t subscription_id = 0;  // 0: none
};
struct Follow {
  std::vector<FollowOne> filters;
};
struct FollowResult {
  Code code = Code::ok;
  bool is_new = true;
};
// Comes when every core that may publish knows the interest.
struct Followed {
  std::vector<FollowResult> results;
};
struct Unfollow {
  struct One {
    std::string filter;
    std::string share;
  };
  std::vector<One> filters;
};
struct Unfollowed {
  std::vector<bool> existed;
};

// ---- Session: a client's lasting presence; the same id again takes the older connection over ----

// Published when the connection ends without EndSession, or later (MQTT5 3.1.2.5).
struct Will {
  std::string topic;
  Bytes payload;
  Bytes raw_headers;
  int32_t header_count = 0;
  uint8_t qos = 0;
  bool retain = false;
  uint32_t expiry_s = 0;  // 0: never
  uint32_t delay_s = 0;   // at most the session's expiry
};

constexpr uint32_t kSessionNeverExpires = UINT32_MAX;

struct OpenSession {
  std::string client_id;
  bool clean_start = true;  // what an older session of this id holds is dropped, and its will sent
  uint32_t expiry_s = 0;    // after the connection's end; 0: the session ends with it, and nothing of it is stored but the will
  uint16_t inflight_max = 20;  // most leased deliveries that are not settled (MQTT's Receive Maximum)
  std::optional<Will> will;
};
// Comes when no other connection has the session and nothing of an older one is under way. A present session's leased
// deliveries come again behind it, in their order.
struct SessionOpened {
  bool is_present = false;
  uint32_t expiry_s = 0;           // as granted
  std::vector<uint16_t> received;  // packet ids published at QoS 2 and not yet released
};

// The client's goodbye. Without it, the end of a connection publishes the will.
struct EndSession {
  bool without_will = true;
  std::optional<uint32_t> expiry_s;  // replaces the session's
};
struct SessionEnded {};

// Packet ids of QoS 2 publishes that the client has released: each may name a new message. Durable when answered.
struct Release {
  std::vector<uint16_t> packet_ids;
};
struct Released {};

// Leases are packet ids up to this; those above it are the connection's own, for deliveries that have no lease.
constexpr uint16_t kLeaseMax = 32'767;
// Leases from here on are of shared subscriptions, in any session: they end with the connection.
constexpr uint16_t kSharedLeaseMin = 49'152;

// What became of leased deliveries (Delivery::lease).
struct Settle {
  enum class Outcome : uint8_t {
    received,  // QoS 2: the client owns it; never delivered again. Answered when that is durable
    done,      // over
    refused,   // the client can never have it: a shared one goes to another member, else as `done`
  };
  struct One {
    uint16_t lease = 0;
    Outcome outcome = Outcome::done;
  };
  std::vector<One> leases;
};
struct Settled {
  std::vector<Code> leases;  // in order; not_found: no such lease
};

// ---- Retained and delayed messages, for who looks after them ----

// Topics in an order that stays; `after`: where the page before ended (ListedRetained::next), empty: from the start.
struct ListRetained {
  std::string filter = "#";
  std::string after;
  int32_t count_max = 100;
};
struct ListedRetained {
  struct One {
    std::string topic;
    Bytes payload;
    uint8_t qos = 0;
    int64_t timestamp_ms = 0;
    uint32_t expiry_s = 0;  // from then on; 0: never
  };
  std::vector<One> messages;
  std::string next;  // empty: there is no more
};
// Clears what the filter matches. Durable when answered.
struct ClearRetained {
  std::string filter;
};
struct ClearedRetained {
  int64_t count = 0;
};
// In the order in which they are due; `after` as above.
struct ListDelayed {
  std::string after;
  int32_t count_max = 100;
};
struct ListedDelayed {
  struct One {
    std::string id;
    std::string topic;
    Bytes payload;
    uint8_t qos = 0;
    bool retain = false;
    int64_t accepted_ms = 0;
    int64_t due_ms = 0;
    std::string client_id;
  };
  std::vector<One> messages;
  std::string next;
};
// not_found: no such message, or it is being published.
struct CancelDelayed {
  std::string id;
};
struct CancelledDelayed {
  Code code = Code::ok;
};

// ---- Produce, fetch: batches by shard ----

// By id when `id` is not zero, else by name.
struct TopicRef {
  std::string name;
  TopicId id;
};
// A partition of a request's topics.
struct PartitionRef {
  int32_t topic_index = 0;
  int32_t partition = 0;
};
// Times of a batch's records, and which ones have them; records without a time (-1) do not count.
struct RecordTimes {
  int64_t min_ms = -1;
  int64_t max_ms = -1;
  int32_t min_record = -1;
  int32_t max_record = -1;
};
struct ProducePartition {
  int32_t topic_index = 0;  // into Produce::topics
  int32_t partition = 0;
  Bytes batch;  // one batch, shape and CRC and records checked by the protocol
  RecordTimes times;
};
struct Produce {
  std::vector<TopicRef> topics;
  std::vector<ProducePartition> partitions;
  // Of the transaction that transactional batches belong to; empty: they are refused.
  std::string transactional_id;
  // Partitions that are not in the transaction yet are added to it; else a batch for one is refused.
  bool adds_partitions = false;
};
struct ProducedPartition {
  Code code = Code::ok;
  std::string detail;
  Offset base_offset = -1;
  int64_t append_time_ms = -1;
  Offset log_start = -1;
  LeaderEpoch leader_epoch = -1;
  int32_t bad_record = -1;  // invalid_timestamp: which record is at fault
};
struct Produced {
  std::vector<ProducedPartition> partitions;
};  // in the order asked

struct FetchPartition {
  int32_t topic_index = 0;
  int32_t partition = 0;
  Offset from = 0;
  LeaderEpoch current_leader_epoch = -1;  // -1: not checked
  int32_t bytes_max = 0;
  LeaderEpoch last_fetched_epoch = -1;  // of the record before `from`; -1: not checked
};
struct Fetch {
  std::vector<TopicRef> topics;
  std::vector<FetchPartition> partitions;
  int32_t bytes_min = 1;
  int32_t bytes_max = INT32_MAX;
  int32_t wait_max_ms = 0;      // parks until bytes_min are there or this is over
  bool read_committed = false;  // nothing at or past the last stable offset; aborted transactions are named
};
// Records of this producer from `first` on are void, up to the marker that ended the transaction.
struct AbortedTransaction {
  ProducerId producer = -1;
  Offset first = -1;
};
struct FetchedPartition {
  Code code = Code::ok;
  Offset high_watermark = -1;
  Offset log_start = -1;
  LeaderEpoch leader_epoch = -1;  // -1: not known
  // Not -1: the reader's log parted from this one; this is the largest epoch at or below the reader's, and where it ended.
  LeaderEpoch diverging_epoch = -1;
  Offset diverging_end = -1;
  Offset last_stable = -1;                  // below it every transaction has ended
  std::vector<AbortedTransaction> aborted;  // with read_committed: those that batches may hold, by their first offset
  Pieces batches;                           // whole batches, as stored
};
struct FetchReply {
  std::vector<FetchedPartition> partitions;
};  // in the order asked

struct ListOffsetsPartition {
  enum class What : uint8_t {
    at_time,
    earliest,
    latest,
    max_timestamp,
    earliest_local,
    latest_tiered,
    earliest_pending_upload,
    end_of_epoch,  // where the largest epoch at or below `epoch` ends; leader_epoch of the answer names it
  };
  int32_t topic_index = 0;
  int32_t partition = 0;
  LeaderEpoch current_leader_epoch = -1;
  What what = What::latest;
  int64_t timestamp_ms = 0;  // at_time
  LeaderEpoch epoch = -1;    // end_of_epoch
};
struct ListOffsets {
  std::vector<TopicRef> topics;
  std::vector<ListOffsetsPartition> partitions;
  bool read_committed = false;  // the last stable offset is the end
};
struct ListedOffset {
  Code code = Code::ok;
  Offset offset = -1;
  int64_t timestamp_ms = -1;
  LeaderEpoch leader_epoch = -1;
};
struct ListedOffsets {
  std::vector<ListedOffset> partitions;
};

// Drops what lies before an offset. Durable when answered.
struct DeleteRecords {
  struct One {
    int32_t topic_index = 0;
    int32_t partition = 0;
    Offset before = -1;  // -1: the high watermark
  };
  std::vector<TopicRef> topics;
  std::vector<One> partitions;
};
struct DeletedRecords {
  struct One {
    Code code = Code::ok;  // offset_out_of_range: past the high watermark
    Offset log_start = -1;
  };
  std::vector<One> partitions;
};

// The idempotent producers that partitions know.
struct DescribeProducers {
  std::vector<TopicRef> topics;
  std::vector<PartitionRef> partitions;
};
struct DescribedProducers {
  struct Producer {
    ProducerId id = -1;
    int16_t epoch = -1;
    int32_t last_sequence = -1;
    int64_t last_ms = -1;
    Offset transaction_start = -1;  // of the one that is open; -1: none
  };
  struct One {
    Code code = Code::ok;
    std::vector<Producer> producers;
  };
  std::vector<One> partitions;
};

// What partitions take.
struct DescribeLogs {
  std::vector<TopicRef> topics;
  std::vector<PartitionRef> partitions;
};
struct DescribedLogs {
  struct One {
    Code code = Code::ok;
    uint64_t size_bytes = 0;
  };
  std::vector<One> partitions;
  int64_t usable_bytes = -1;  // of the disk; -1: not known
};

// ---- Topics ----

struct PartitionFacts {
  LeaderEpoch leader_epoch = 0;
  Offset log_start = 0;
  Offset high_watermark = 0;
};
struct TopicFacts {
  std::string name;       // Kafka's spelling
  std::string mqtt_name;  // of a light topic
  TopicId id;
  bool is_light = false;
  std::string mode;              // "memory", "persistent", ...
  LeaderEpoch leader_epoch = 0;  // of its partitions
  int32_t partitions = 1;
  // Settings by the names of meta::TopicConfig's fields, as text; and whether each differs from the default.
  struct Setting {
    std::string name;
    std::string value;
    bool is_default = true;
  };
  std::vector<Setting> settings;
};
struct DescribeTopics {
  bool all = false;
  bool with_light = false;  // with `all`: light topics too
  std::vector<TopicRef> topics;
  bool auto_create = false;  // asked by the client; the broker's option has the last word
};
// With `all`: code ok for each. Otherwise one row for each asked, in order: the facts or why not.
struct DescribedTopic {
  Code code = Code::ok;
  TopicFacts facts;  // with an error: the name or id asked
};
struct DescribedTopics {
  std::vector<DescribedTopic> topics;
};

struct CreateTopics {
  struct One {
    std::string name;
    int32_t partitions = -1;                                    // -1: the default
    int16_t replication_factor = -1;                            // -1: the default; this version has 1
    std::vector<std::pair<std::string, std::string>> settings;  // names of meta::TopicConfig's fields
  };
  std::vector<One> topics;
  bool validate_only = false;
};
struct CreatedTopic {
  Code code = Code::ok;
  std::string detail;
  TopicFacts facts;
};
struct CreatedTopics {
  std::vector<CreatedTopic> topics;
};
struct DeleteTopics {
  std::vector<TopicRef> topics;
};
struct DeletedTopic {
  Code code = Code::ok;
  std::string detail;
  std::string name;
  TopicId id;
};
struct DeletedTopics {
  std::vector<DeletedTopic> topics;
};

// Gives topics more partitions.
struct GrowTopics {
  struct One {
    std::string name;
    int32_t partitions = 0;  // in all
  };
  std::vector<One> topics;
  bool validate_only = false;
};
struct GrownTopics {
  struct One {
    Code code = Code::ok;
    std::string detail;
  };
  std::vector<One> topics;
};

// Changes settings of topics, which take effect at once; of each topic all or none.
struct ConfigureTopics {
  struct Change {
    enum class How : uint8_t { set, append, subtract };
    std::string name;                  // of meta::TopicConfig's fields, or "kept." and another protocol's name
    std::optional<std::string> value;  // nullopt: the default
    How how = How::set;
  };
  struct One {
    std::string name;
    bool replaces_all = false;  // what is not named gets its default; the mode stays
    std::vector<Change> changes;
  };
  std::vector<One> topics;
  bool validate_only = false;
};
struct ConfiguredTopics {
  struct One {
    Code code = Code::ok;
    std::string detail;
  };
  std::vector<One> topics;
};

struct DescribeCluster {};
struct ClusterFacts {
  std::string cluster_id;
  struct Node {
    NodeId id = 0;
    std::string kafka_host;
    uint16_t kafka_port = 0;
  };
  std::vector<Node> nodes;
  NodeId controller = 0;
  std::vector<TopicFacts::Setting> options;  // the node's options, for DescribeConfigs of a broker
};

struct AllocateProducerId {};
struct AllocatedProducerId {
  ProducerId id = -1;
  int16_t epoch = 0;
};

// ---- Consumer groups (classic protocol; the words are Kafka's) ----

struct GroupProtocol {
  std::string name;
  Bytes metadata;
};
struct JoinGroup {
  std::string group;
  std::string member_id;  // empty: the first join
  std::optional<std::string> instance_id;
  std::string client_id;
  std::string client_host;
  std::string protocol_type;
  std::vector<GroupProtocol> protocols;
  int32_t session_timeout_ms = 0;
  int32_t rebalance_timeout_ms = 0;
  bool member_id_required = false;   // answer a first join with an id to come back with (v4 and later)
  bool can_skip_assignment = false;  // understands JoinedGroup::skip_assignment (v9)
  std::string reason;
};
struct JoinedGroup {
  Code code = Code::ok;
  int32_t generation = -1;
  std::string protocol_type;
  std::string protocol;
  std::string leader;
  std::string member_id;
  bool skip_assignment = false;
  struct Member {
    std::string id;
    std::optional<std::string> instance_id;
    Bytes metadata;
  };
  std::vector<Member> members;  // for the leader only
};
struct SyncGroup {
  std::string group;
  std::string member_id;
  std::optional<std::string> instance_id;
  int32_t generation = -1;
  std::string protocol_type;  // empty: not checked
  std::string protocol;
  struct Assignment {
    std::string member_id;
    Bytes assignment;
  };
  std::vector<Assignment> assignments;
};
struct SyncedGroup {
  Code code = Code::ok;
  std::string protocol_type;
  std::string protocol;
  Bytes assignment;
};
struct HeartbeatGroup {
  std::string group;
  std::string member_id;
  std::optional<std::string> instance_id;
  int32_t generation = -1;
};
struct LeaveGroup {
  std::string group;
  struct Member {
    std::string id;
    std::optional<std::string> instance_id;
  };
  std::vector<Member> members;
};
struct LeftGroup {
  Code code = Code::ok;
  std::vector<Code> members;
};
struct CommitOffsets {
  std::string group;
  std::string member_id;
  std::optional<std::string> instance_id;
  int32_t generation = -1;
  struct One {
    int32_t topic_index = 0;
    int32_t partition = 0;
    Offset offset = -1;
    LeaderEpoch leader_epoch = -1;
    std::string metadata;
  };
  std::vector<TopicRef> topics;
  std::vector<One> offsets;
  int64_t retention_ms = -1;  // asked for these offsets; -1: as the node's options say
  // `generation` may be a member epoch: what a member of the consumer protocol must speak (OffsetCommit 9 and later).
  bool knows_epochs = false;
};
struct CommittedOffsets {
  std::vector<Code> offsets;
};  // in the order asked
struct FetchOffsets {
  std::string group;
  bool all = false;                      // every offset the group has committed
  std::optional<std::string> member_id;  // with an epoch: checked in groups of the consumer protocol
  int32_t member_epoch = -1;
  std::vector<TopicRef> topics;
  std::vector<std::pair<int32_t, int32_t>> partitions;  // topic index, partition
  bool require_stable = false;                          // an offset that is pending in a transaction is unstable_offset
};
struct FetchedOffsets {
  Code code = Code::ok;
  struct One {
    std::string topic;
    TopicId topic_id;
    int32_t partition = 0;
    Code code = Code::ok;
    Offset offset = -1;  // -1: none committed
    LeaderEpoch leader_epoch = -1;
    std::string metadata;
  };
  std::vector<One> offsets;  // asked ones in the order asked
};
struct DescribeGroups {
  std::vector<std::string> groups;
};
struct DescribedGroup {
  Code code = Code::ok;
  std::string group;
  std::string state;  // "Empty", "PreparingRebalance", "CompletingRebalance", "Stable", "Dead"
  std::string protocol_type;
  std::string protocol;
  struct Member {
    std::string id;
    std::optional<std::string> instance_id;
    std::string client_id;
    std::string client_host;
    Bytes metadata;
    Bytes assignment;
  };
  std::vector<Member> members;
};
struct DescribedGroups {
  std::vector<DescribedGroup> groups;
};
struct ListGroups {};
struct ListedGroups {
  struct One {
    std::string group;
    std::string protocol_type;
    std::string state;
    std::string type;  // "classic", "consumer"
  };
  std::vector<One> groups;
};
struct DeleteGroups {
  std::vector<std::string> groups;
};
struct DeletedGroups {
  std::vector<Code> groups;
};

// Drops committed offsets of topics that no member follows.
struct DeleteOffsets {
  std::string group;
  std::vector<TopicRef> topics;
  std::vector<PartitionRef> partitions;
};
struct DeletedOffsets {
  Code code = Code::ok;          // group_not_found; group_not_empty: it cannot be told what its members follow
  std::vector<Code> partitions;  // in the order asked; group_not_empty: a member follows the topic
};

// ---- Consumer groups with server-side assignment (KIP-848; the words are Kafka's) ----

struct AssignedTopic {
  TopicId topic;
  std::vector<int32_t> partitions;
  bool operator==(const AssignedTopic&) const = default;
};
// A member's whole part in its group. What is nullopt (a rebalance timeout of -1) is as it was.
struct HeartbeatConsumer {
  std::string group;
  std::string member_id;     // drawn by the member; empty: by the coordinator
  int32_t member_epoch = 0;  // 0: joins; -1: leaves; -2: a static member that will come back
  std::optional<std::string> instance_id;
  std::optional<std::string> rack_id;
  int32_t rebalance_timeout_ms = -1;
  std::optional<std::vector<std::string>> topics;   // followed by name
  std::optional<std::string> topic_pattern;         // followed by RE2 expression; empty: none
  std::optional<std::string> assignor;              // wanted; empty: any
  std::optional<std::vector<AssignedTopic>> owned;  // what the member has
  bool must_draw_id = true;                         // a member without an id is refused (version 1 and later)
  std::string client_id;
  std::string client_host;
};
struct ConsumerHeartbeatReply {
  Code code = Code::ok;
  std::string detail;
  std::string member_id;
  int32_t member_epoch = 0;
  int32_t heartbeat_interval_ms = 0;
  std::optional<std::vector<AssignedTopic>> assignment;  // nullopt: as it was
};
struct DescribeConsumers {
  std::vector<std::string> groups;
};
struct DescribedConsumers {
  struct Topic {
    TopicId id;
    std::string name;
    std::vector<int32_t> partitions;
  };
  struct Member {
    std::string id;
    std::optional<std::string> instance_id;
    std::optional<std::string> rack_id;
    int32_t epoch = 0;
    std::string client_id;
    std::string client_host;
    std::vector<std::string> topics;
    std::string topic_pattern;
    std::vector<Topic> assigned;
    std::vector<Topic> target;
    bool is_classic = false;  // a member of the classic protocol
  };
  struct One {
    Code code = Code::ok;  // group_not_found
    std::string detail;
    std::string group;
    std::string state;  // "Empty", "Assigning", "Reconciling", "Stable"
    int32_t epoch = 0;
    int32_t assignment_epoch = 0;
    std::string assignor;
    std::vector<Member> members;
  };
  std::vector<One> groups;  // in the order asked
};

// Settings of consumer groups, by the names of broker::GroupConfig's fields; a group need not be there to have some.
struct ConfigureGroups {
  std::vector<ConfigureTopics::One> groups;
  bool validate_only = false;
};
struct ConfiguredGroups {
  std::vector<ConfiguredTopics::One> groups;
};
struct DescribeGroupConfigs {
  bool all = false;  // those that have settings of their own
  std::vector<std::string> groups;
};
struct DescribedGroupConfigs {
  struct One {
    std::string group;
    std::vector<TopicFacts::Setting> settings;
  };
  std::vector<One> groups;
};

// ---- Transactions (the words are Kafka's) ----

// The producer of a transactional id: a new one, or the same in a newer epoch, which fences who had the id before. A transaction
// that is open is aborted first: concurrent_transactions until that is done. Codes: invalid_transaction_timeout,
// fenced_producer, invalid_producer_mapping, concurrent_transactions, quota_exceeded, coordinator's.
struct InitProducer {
  std::string transactional_id;
  int32_t timeout_ms = 0;  // a transaction that is open for longer is aborted
  ProducerId id = -1;      // what the caller has already; -1: nothing
  int16_t epoch = -1;
};
struct InitedProducer {
  Code code = Code::ok;
  ProducerId id = -1;
  int16_t epoch = -1;
};
// Codes of the requests below: invalid_producer_mapping (no such id, or another producer's), fenced_producer (another epoch),
// concurrent_transactions, invalid_transaction_state.
struct ProducerOf {
  std::string transactional_id;
  ProducerId id = -1;
  int16_t epoch = -1;
};
struct AddToTransaction {
  ProducerOf producer;
  std::vector<TopicRef> topics;
  std::vector<PartitionRef> partitions;
  bool verify_only = false;  // adds nothing: invalid_transaction_state for a partition that is not in it
};
// One bad partition: its code, and not_attempted for the others.
struct AddedToTransaction {
  std::vector<Code> partitions;
};
struct AddOffsetsToTransaction {
  ProducerOf producer;
  std::string group;
};
struct TransactionReply {
  Code code = Code::ok;
};
// Answered when it is decided durably and, where nothing is in the way, all of it shows.
struct EndTransaction {
  ProducerOf producer;
  bool commits = false;
  bool bumps_epoch = false;  // KIP-890: the producer goes on in a new epoch, which the answer tells
};
struct EndedTransaction {
  Code code = Code::ok;
  ProducerId id = -1;
  int16_t epoch = -1;
};
// Offsets that show when the transaction commits.
struct CommitInTransaction {
  ProducerOf producer;
  CommitOffsets commit;
  bool adds_group = false;  // KIP-890: as AddOffsetsToTransaction before it
};
// Ends what a producer has open in partitions; for operators.
struct WriteMarkers {
  struct One {
    ProducerId id = -1;
    int16_t epoch = -1;
    bool commits = false;
    std::vector<TopicRef> topics;
    std::vector<PartitionRef> partitions;
  };
  std::vector<One> markers;
};
struct WrittenMarkers {
  std::vector<std::vector<Code>> markers;  // of each, its partitions
};
struct DescribeTransactions {
  std::vector<std::string> ids;
};
struct DescribedTransaction {
  Code code = Code::ok;
  std::string transactional_id;
  std::string state;  // Kafka's name
  ProducerId producer_id = -1;
  int16_t epoch = -1;
  int32_t timeout_ms = 0;
  int64_t started_ms = -1;
  std::vector<std::pair<std::string, int32_t>> partitions;  // of the one that is open, by topic
};
struct DescribedTransactions {
  std::vector<DescribedTransaction> transactions;
};
struct ListTransactions {
  std::string pattern;  // of their ids, in RE2's syntax; empty: all
};
// Without their partitions.
struct ListedTransactions {
  Code code = Code::ok;  // invalid_pattern
  std::vector<DescribedTransaction> transactions;
};

// ---- All of it ----

using Request = std::variant<Publish, Follow, Unfollow, OpenSession, EndSession, Release, Settle, Produce, Fetch, ListOffsets,
                             DescribeTopics, CreateTopics, DeleteTopics, ListRetained, ClearRetained, ListDelayed, CancelDelayed,
                             DescribeCluster, AllocateProducerId, JoinGroup, SyncGroup, HeartbeatGroup, LeaveGroup, CommitOffsets,
                             FetchOffsets, DescribeGroups, ListGroups, DeleteGroups, DeleteRecords, DescribeProducers,
                             DescribeLogs, GrowTopics, ConfigureTopics, DeleteOffsets, HeartbeatConsumer, DescribeConsumers,
                             ConfigureGroups, DescribeGroupConfigs, InitProducer, AddToTransaction, AddOffsetsToTransaction,
                             EndTransaction, CommitInTransaction, WriteMarkers, DescribeTransactions, ListTransactions>;

// An answer; Error where the request as a whole failed (overloaded, shutting_down, not_authorised).
struct HeartbeatReply {
  Code code = Code::ok;
};
using Reply =
    std::variant<Error, Published, Followed, Unfollowed, SessionOpened, SessionEnded, Released, Settled, Produced, FetchReply,
                 ListedOffsets, DescribedTopics, CreatedTopics, DeletedTopics, ListedRetained, ClearedRetained, ListedDelayed,
                 CancelledDelayed, ClusterFacts, AllocatedProducerId, JoinedGroup, SyncedGroup, HeartbeatReply, LeftGroup,
                 CommittedOffsets, FetchedOffsets, DescribedGroups, ListedGroups, DeletedGroups, DeletedRecords,
                 DescribedProducers, DescribedLogs, GrownTopics, ConfiguredTopics, DeletedOffsets, ConsumerHeartbeatReply,
                 DescribedConsumers, ConfiguredGroups, DescribedGroupConfigs, InitedProducer, AddedToTransaction,
                 TransactionReply, EndedTransaction, WrittenMarkers, DescribedTransactions, ListedTransactions>;

// ---- What comes unasked to who follows ----

// Memory that all receivers of one record share within a turn: the first that needs a spelling of the record makes it, the
// others reuse it. `kind` is the protocol's own number for the spelling; 0 is empty.
struct DeliveryScratch {
  struct Entry {
    uint32_t kind = 0;
    Bytes bytes;
  };
  Entry entries[4];
};

struct Delivery {
  std::string_view topic;    // MQTT's spelling; lives as long as `owner`'s use in this call only: copy to keep
  const RecordView& record;  // views into `owner`
  const Bytes& owner;        // share it to keep the record past the call
  uint8_t qos_max = 0;       // of the matching subscriptions, the highest granted
  bool retain_as_published = false;
  bool is_retained = false;  // a retained message sent to a new follower
  // Not 0: owed to a durable session, and sent under this packet id until Settle says `done`. 0: of no further account.
  uint16_t lease = 0;
  bool is_again = false;     // the lease was handed out before, on an earlier connection
  bool is_received = false;  // the client owns it already (Settle::received came): only the release is sent
  const std::vector<uint32_t>* subscription_ids = nullptr;  // of all matching subscriptions; nullptr: none
  DeliveryScratch& scratch;
};

enum class Notice : uint8_t {
  taken_over,  // another connection opened this session
  stopping,    // the node stops
  topic_deleted,
  over_limit,  // more waits for its session than that may keep
};

}  // namespace robustmq::broker
