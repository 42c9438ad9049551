// The menu's part for client quotas: how much of what users, client ids and hosts may do. Pure.
//
// A quota is set for an entity: a user, a client id, both together, or a host; of each part by name, or as the default of those
// that have none by name. Of a client the most particular entity that names the kind holds (quota/table.h). Rates are a node's,
// over all its cores; buckets (base/quota_bucket.h) hold them.
#pragma once

#include <atomic>
#include <compare>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/quota_bucket.h"
#include "base/result.h"
#include "base/time.h"

namespace robustmq::broker {

enum class QuotaKind : uint8_t {
  produce = 0,     // bytes a second of requests that produce
  fetch = 1,       // bytes a second of records fetched
  request = 2,     // hundredths of a core's time: 200 are two seconds of it a second
  mutation = 3,    // partitions made and deleted a second
  connection = 4,  // new connections a second; of hosts alone
};
constexpr size_t kQuotaKinds = 5;

// One part of an entity.
struct QuotaPart {
  enum class Is : uint8_t { absent = 0, any = 1, named = 2 };  // any: the default of those without one by name
  Is is = Is::absent;
  std::string name;
  auto operator<=>(const QuotaPart&) const = default;
  static QuotaPart of(std::string name) { return {Is::named, std::move(name)}; }
  static QuotaPart of_any() { return {Is::any, {}}; }
};
struct QuotaEntity {
  QuotaPart user;
  QuotaPart client_id;
  QuotaPart host;  // an IP address; alone
  auto operator<=>(const QuotaEntity&) const = default;
};

// Whose connections are not known by name.
constexpr std::string_view kAnonymousUser = "ANONYMOUS";

struct DescribeQuotas {
  static constexpr bool kAltersQuotas = false;
  struct Match {
    enum class How : uint8_t { not_asked, exact, any, specified };  // any: the default; specified: has the part, whatever it is
    How how = How::not_asked;
    std::string name;
  };
  Match user;
  Match client_id;
  Match host;
  bool strict = false;  // those alone that have no other parts
};
struct DescribedQuotas {
  struct One {
    QuotaEntity entity;
    std::vector<std::pair<QuotaKind, double>> values;
  };
  std::vector<One> entries;
};

// Of each entity all or none. Durable and in force on every core when answered.
struct AlterQuotas {
  static constexpr bool kAltersQuotas = true;
  struct One {
    QuotaEntity entity;
    std::vector<std::pair<QuotaKind, std::optional<double>>> changes;  // nullopt: none any more
  };
  std::vector<One> entries;
  bool validate_only = false;
};
struct AlteredQuotas {
  struct One {
    Code code = Code::ok;  // invalid_argument; quota_exceeded: there are as many as quota.entities_max allows; of the rows
    std::string detail;
  };
  std::vector<One> entries;
};

// What holds for the connection's user and this client id; to be asked again when QuotaBoard::changes is another.
struct FindQuotas {
  std::string client_id;
};
// Error quota_exceeded: quota.buckets_max.
struct FoundQuotas {
  uint64_t changes = 0;
  std::shared_ptr<QuotaBucket> buckets[kQuotaKinds];  // by kind; null: no limit
};

// A connection from the context's host begins. What its quota does not allow is to be ended after the wait.
struct CountConnection {};
struct CountedConnection {
  Duration wait{};  // 0: it may come in
};

// What every connection of a node sees of quotas without asking. Written by core 0.
struct QuotaBoard {
  std::atomic<uint64_t> changes{0};         // rises with every change: what was found before may not hold any more
  std::atomic<bool> limits_clients{false};  // there is a quota of a user or a client id
  std::atomic<bool> limits_hosts{false};
};

template <class R>
concept AboutQuotas = requires { R::kAltersQuotas; };

}  // namespace robustmq::broker
