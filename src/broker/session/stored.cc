#include "broker/session/stored.h"

#include <utility>

#include "storage/row_key.h"

namespace robustmq::broker {
namespace {

constexpr std::string_view kShare = "$share/";
constexpr size_t kIdAt = kSessionRows.size() + 6;

using storage::big_endian;
using storage::put_big_endian;

}  // namespace

std::string session_prefix(TenantId tenant, std::string_view client_id) {
  std::string key(kSessionRows);
  put_big_endian(tenant, 4, key);
  put_big_endian(client_id.size(), 2, key);
  key += client_id;
  return key;
}

std::string session_key(TenantId tenant, std::string_view client_id) {
  return session_prefix(tenant, client_id) + static_cast<char>(SessionRowKind::session);
}

std::string progress_key(TenantId tenant, std::string_view client_id) {
  return session_prefix(tenant, client_id) + static_cast<char>(SessionRowKind::progress);
}

std::string packet_key(TenantId tenant, std::string_view client_id, uint64_t sequence) {
  std::string key = session_prefix(tenant, client_id) + static_cast<char>(SessionRowKind::packet);
  put_big_endian(sequence, 8, key);
  return key;
}

std::string subscription_key(TenantId tenant, std::string_view client_id, std::string_view filter, std::string_view share) {
  std::string key = session_prefix(tenant, client_id) + static_cast<char>(SessionRowKind::subscription);
  if (!share.empty()) key.append(kShare).append(share).append("/");
  return key.append(filter);
}

Result<SessionKey> parse_session_key(std::string_view key) {
  const Error malformed{Code::malformed, "not the key of a session"};
  if (!key.starts_with(kSessionRows) || key.size() <= kIdAt) return malformed;
  SessionKey out;
  out.tenant = static_cast<TenantId>(big_endian(key.substr(kSessionRows.size(), 4)));
  const size_t length = big_endian(key.substr(kSessionRows.size() + 4, 2));
  if (key.size() <= kIdAt + length) return malformed;
  out.client_id = key.substr(kIdAt, length);
  out.kind = static_cast<SessionRowKind>(key[kIdAt + length]);
  std::string_view rest = key.substr(kIdAt + length + 1);
  if (out.kind == SessionRowKind::session || out.kind == SessionRowKind::progress)
    return rest.empty() ? Result<SessionKey>(std::move(out)) : malformed;
  if (out.kind == SessionRowKind::packet) return rest.size() == 8 ? Result<SessionKey>(std::move(out)) : malformed;
  if (out.kind != SessionRowKind::subscription) return malformed;
  if (rest.starts_with(kShare)) {
    rest.remove_prefix(kShare.size());
    const size_t slash = rest.find('/');
    if (slash == std::string_view::npos) return malformed;
    out.share = rest.substr(0, slash);
    rest.remove_prefix(slash + 1);
  }
  if (rest.empty()) return malformed;
  out.filter = rest;
  return out;
}

SubscriptionRow row_of(const FollowOne& follow) {
  SubscriptionRow row;
  row.qos_max = follow.qos_max;
  row.no_local = follow.no_local;
  row.retain_as_published = follow.retain_as_published;
  row.retain_handling = static_cast<uint8_t>(follow.retain_handling);
  row.subscription_id = follow.subscription_id;
  return row;
}

FollowOne follow_of(const SessionKey& key, const SubscriptionRow& row) {
  FollowOne follow;
  follow.filter = key.filter;
  follow.share = key.share;
  follow.qos_max = row.qos_max;
  follow.no_local = row.no_local;
  follow.retain_as_published = row.retain_as_published;
  follow.retain_handling = static_cast<RetainHandling>(row.retain_handling);
  follow.subscription_id = row.subscription_id;
  return follow;
}

}  // namespace robustmq::broker
