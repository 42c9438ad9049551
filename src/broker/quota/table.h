// QuotaTable: the quotas that are set, and which of them holds for whom. Pure.
//
// Of users and client ids the first of these that has the kind holds, as in Kafka: (user, client), (user, any client), (user),
// (any user, client), (any user, any client), (any user), (client), (any client). Who shares it: with a quota of a user all
// connections of that user, with one of a client id all that have it, with one of both those that have both; a default is each
// one's own. Of hosts the one by name, then the default.
#pragma once

#include <array>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "broker/menu/quotas.h"

namespace robustmq::broker {

// By kind; 0: none.
using QuotaValues = std::array<double, kQuotaKinds>;

// What holds, and for whom together: each part named or absent.
struct QuotaHit {
  double per_second = 0;
  QuotaEntity shared_by;
};

class QuotaTable {
 public:
  // ok, or invalid_argument: an entity that is none, or a value that its kind does not have.
  static Status check(const AlterQuotas::One& wanted);
  // As an entity's host is spelled here: an IPv4 address as it is, an IPv6 one in eight groups; nullopt: it is none.
  static std::optional<std::string> plain_address(std::string_view text);

  // What the entity's values would be. Hosts here and below: as plain_address.
  QuotaValues changed(const AlterQuotas::One& wanted) const;
  void set(const QuotaEntity& entity, const QuotaValues& values);  // all 0: forgets it
  bool has(const QuotaEntity& entity) const { return entries_.contains(entity); }
  size_t size() const { return entries_.size(); }
  bool limits_clients() const { return entries_.size() > hosts_; }
  bool limits_hosts() const { return hosts_ > 0; }

  std::optional<QuotaHit> find(QuotaKind kind, std::string_view user, std::string_view client_id) const;
  std::optional<QuotaHit> find_host(std::string_view host) const;
  DescribedQuotas describe(const DescribeQuotas& wanted) const;

 private:
  double value_of(const QuotaEntity& entity, QuotaKind kind) const;

  std::map<QuotaEntity, QuotaValues> entries_;
  size_t hosts_ = 0;  // entries of hosts
};

}  // namespace robustmq::broker
