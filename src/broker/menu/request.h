// The menu: everything that may be asked of the broker, as plain structs. The one page between protocols (above) and shards
// (below). Authorisation, quota, schema and tracing are enforced where these are executed, once. Pure.
//
// Views in a request (std::string_view, ByteSpan) must live until execute() returns; what is kept longer is Bytes or a copy.
// Topic names: `topic` of Publish and Follow is in MQTT's spelling ('/'); everywhere else in Kafka's ('.').
#pragma once

#include <type_traits>
#include <utility>
#include <variant>

#include "base/result.h"
#include "broker/menu/clients.h"
#include "broker/menu/consumers.h"
#include "broker/menu/delivery.h"
#include "broker/menu/groups.h"
#include "broker/menu/logins.h"
#include "broker/menu/messages.h"
#include "broker/menu/queues.h"
#include "broker/menu/quotas.h"
#include "broker/menu/records.h"
#include "broker/menu/sessions.h"
#include "broker/menu/shares.h"
#include "broker/menu/topics.h"
#include "broker/menu/transactions.h"

namespace robustmq::broker {

using AnyRequest =
    std::variant<Publish, Follow, Unfollow, OpenSession, EndSession, Release, Settle, Produce, Fetch, ListOffsets, DescribeTopics,
                 CreateTopics, DeleteTopics, ListRetained, ClearRetained, ListDelayed, CancelDelayed, DescribeCluster,
                 AllocateProducerId, JoinGroup, SyncGroup, HeartbeatGroup, LeaveGroup, CommitOffsets, FetchOffsets,
                 DescribeGroups, ListGroups, DeleteGroups, DeleteRecords, DescribeProducers, DescribeLogs, GrowTopics,
                 ConfigureTopics, DeleteOffsets, HeartbeatConsumer, DescribeConsumers, ConfigureGroups, DescribeGroupConfigs,
                 InitProducer, AddToTransaction, AddOffsetsToTransaction, EndTransaction, CommitInTransaction, WriteMarkers,
                 DescribeTransactions, ListTransactions, ListClients, DescribeClient, EndClient, ListBans, AddBan, RemoveBan,
                 ReportSlow, ListSlow, ClearSlow, WatchTopic, ListWatched, LeaseRecords, SettleLeases, LeaveQueue, OpenQueue,
                 HeartbeatShare, DescribeShares, DescribeShareOffsets, AlterShareOffsets, DeleteShareOffsets, Authenticate,
                 DescribeQuotas, AlterQuotas, FindQuotas, CountConnection>;

// Error where the request as a whole failed (overloaded, shutting_down, not_authorised).
using AnyReply = std::variant<
    Error, Published, Followed, Unfollowed, SessionOpened, SessionEnded, Released, Settled, Produced, FetchReply, ListedOffsets,
    DescribedTopics, CreatedTopics, DeletedTopics, ListedRetained, ClearedRetained, ListedDelayed, CancelledDelayed, ClusterFacts,
    AllocatedProducerId, JoinedGroup, SyncedGroup, HeartbeatReply, LeftGroup, CommittedOffsets, FetchedOffsets, DescribedGroups,
    ListedGroups, DeletedGroups, DeletedRecords, DescribedProducers, DescribedLogs, GrownTopics, ConfiguredTopics, DeletedOffsets,
    ConsumerHeartbeatReply, DescribedConsumers, ConfiguredGroups, DescribedGroupConfigs, InitedProducer, AddedToTransaction,
    TransactionReply, EndedTransaction, WrittenMarkers, DescribedTransactions, ListedTransactions, ListedClients, DescribedClient,
    EndedClient, ClientBanned, ListedBans, ChangedBans, ReportedSlow, ListedSlow, ClearedSlow, WatchedTopic, ListedWatched,
    LeasedRecords, LeasesSettled, LeftQueue, QueueOpened, DescribedShareOffsets, AlteredShareOffsets, DeletedShareOffsets,
    Authenticated, LoginRefused, DescribedQuotas, AlteredQuotas, FoundQuotas, CountedConnection>;

template <typename T, typename Variant>
constexpr bool kIsOneOf = false;
template <typename T, typename... Ts>
constexpr bool kIsOneOf<T, std::variant<Ts...>> = (std::is_same_v<T, Ts> || ...);

// Classes and not the variants themselves: what makes, copies, moves and ends seventy structs is compiled once, in request.cc,
// and not in every file that asks something.
struct Request : AnyRequest {
  Request();
  template <typename T>
    requires kIsOneOf<T, AnyRequest>
  Request(T asked) : Request() {
    put(std::move(asked));
  }
  Request(Request&& other) noexcept;
  Request& operator=(Request&& other) noexcept;
  ~Request();

 private:
  template <typename T>
  void put(T asked);
  template <typename... Ts>
  void put_each(std::variant<Ts...>&& from);
};
struct Reply : AnyReply {
  Reply();
  template <typename T>
    requires kIsOneOf<T, AnyReply>
  Reply(T answer) : Reply() {
    put(std::move(answer));
  }
  Reply(Reply&& other) noexcept;
  Reply& operator=(Reply&& other) noexcept;
  ~Reply();

 private:
  template <typename T>
  void put(T answer);
  template <typename... Ts>
  void put_each(std::variant<Ts...>&& from);
};

}  // namespace robustmq::broker
