// The menu's part for those who look after a node: who its clients are, who may not come, which subscriptions are slow. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"

namespace robustmq::broker {

// What asks here says whether it changes something.
template <class R>
concept AboutClients = requires { R::kIsChange; };

// ---- Clients: connected ones and stored sessions ----

struct ClientFacts {
  std::string id;
  std::string host;  // of the connection
  bool is_connected = false;
  bool is_stored = false;  // its session outlives the connection
  uint32_t expiry_s = 0;
  int64_t left_at_ms = 0;  // of a stored one that is away
  int64_t subscriptions = 0;
};
// A page in the order of the ids; `after`: where the page before ended, empty: from the start.
struct ListClients {
  static constexpr bool kIsChange = false;
  std::string after;
  int32_t count_max = 100;
};
struct ListedClients {
  std::vector<ClientFacts> clients;
  std::string next;  // empty: there is no more
};
struct DescribeClient {
  static constexpr bool kIsChange = false;
  std::string id;
};
struct DescribedClient {
  struct Subscription {
    std::string filter;
    std::string share;  // empty: not shared
    uint8_t qos_max = 0;
  };
  Code code = Code::not_found;
  ClientFacts facts;
  std::vector<Subscription> subscriptions;
};
// Ends the connection of a client; with its session where that is asked for. Durable when answered.
struct EndClient {
  static constexpr bool kIsChange = true;
  std::string id;
  bool with_session = false;
};
struct EndedClient {
  Code code = Code::ok;  // not_found: no such client
};

// ---- Bans: clients that may not connect, by id or by the host they come from ----

enum class BanBy : uint8_t { client_id = 0, host = 1 };
struct Ban {
  BanBy by = BanBy::client_id;
  std::string who;
  std::string author;
  std::string reason;
  int64_t at_ms = 0;     // made; 0: now
  int64_t until_ms = 0;  // wall time; 0: for ever
};
// The answer to OpenSession of a client that may not connect.
struct ClientBanned {};
// Those that hold; by kind, then by name.
struct ListBans {
  static constexpr bool kIsChange = false;
};
struct ListedBans {
  std::vector<Ban> bans;
};
// Replaces one of the same; connections that it concerns are ended. Durable and known everywhere when answered.
struct AddBan {
  static constexpr bool kIsChange = true;
  Ban ban;
  int64_t for_ms = 0;  // not 0: in place of until_ms
};
struct RemoveBan {
  static constexpr bool kIsChange = true;
  BanBy by = BanBy::client_id;
  std::string who;
};
struct ChangedBans {
  Code code = Code::ok;  // not_found: no such ban; quota_exceeded: too many
};

// ---- Slow subscriptions: clients that messages wait long for ----

// A protocol tells of a message that waited for the context's client.
struct ReportSlow {
  std::string topic;
  int64_t waited_ms = 0;
};
struct ReportedSlow {};
// The slowest of late, the slowest first.
struct ListSlow {
  static constexpr bool kIsChange = false;
};
struct ListedSlow {
  struct One {
    std::string client_id;
    std::string topic;
    int64_t waited_ms = 0;
    int64_t at_ms = 0;
  };
  std::vector<One> subscriptions;
};
struct ClearSlow {
  static constexpr bool kIsChange = true;
};
struct ClearedSlow {};

// ---- Topics that are counted on demand ----

// Counts what a topic carries from now on, on the whole node until it ends; or stops doing so.
struct WatchTopic {
  static constexpr bool kIsChange = true;
  std::string topic;
  bool is_on = true;
};
struct WatchedTopic {
  Code code = Code::ok;  // not_found: it was not counted; already_exists: it was; quota_exceeded, invalid_topic
};
// By name.
struct ListWatched {
  static constexpr bool kIsChange = false;
};
struct TopicCounts {
  std::string topic;
  int64_t since_ms = 0;
  uint64_t messages_in = 0;
  uint64_t bytes_in = 0;  // of payloads
  uint64_t messages_in_by_qos[3] = {};
  uint64_t messages_out = 0;  // one for each subscriber that it was handed to
};
struct ListedWatched {
  std::vector<TopicCounts> topics;
};

}  // namespace robustmq::broker
