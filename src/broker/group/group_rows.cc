#include "broker/group/group_rows.h"

#include <memory>

#include "base/wire.h"
#include "storage/row_key.h"

namespace robustmq::broker {
namespace {

constexpr std::string_view kConfig = "group.config/";
constexpr std::string_view kEpoch = "group.epoch/";
constexpr std::string_view kMember = "group.member/";
constexpr std::string_view kShare = "group.share/";
constexpr std::string_view kFrom = "group.config/";
constexpr std::string_view kTo = "group.share0";  // '0' follows '/'
constexpr size_t kRowsAPage = 1000;
constexpr size_t kHeadBytes = 6;

std::string key_of(std::string_view prefix, TenantId tenant, std::string_view group) {
  std::string key(prefix);
  storage::put_big_endian(tenant, 4, key);
  storage::put_big_endian(group.size(), 2, key);
  key += group;
  return key;
}

// What follows a prefix; nullopt: it is no such key.
struct ParsedKey {
  StoredGroups::Key group;
  std::string_view rest;
};
std::optional<ParsedKey> parse(std::string_view key, std::string_view prefix) {
  if (!key.starts_with(prefix)) return std::nullopt;
  key.remove_prefix(prefix.size());
  if (key.size() < kHeadBytes) return std::nullopt;
  const auto tenant = static_cast<TenantId>(storage::big_endian(key.substr(0, 4)));
  const size_t length = storage::big_endian(key.substr(4, 2));
  key.remove_prefix(kHeadBytes);
  if (key.size() < length) return std::nullopt;
  return ParsedKey{{tenant, std::string(key.substr(0, length))}, key.substr(length)};
}

struct Loading {
  storage::Kv& kv;
  StoredGroups groups;
  Callback<void(Result<StoredGroups>)> done;

  Status take(std::string_view key, std::string_view value) {
    const Error unknown{Code::corrupt_storage, "a row of a consumer group has a key that is none"};
    if (const auto config = parse(key, kConfig)) {
      Result<GroupConfig> row = decode_described<GroupConfig>(as_bytes(value));
      if (!row.ok() || !config->rest.empty()) return unknown;
      groups.configs[config->group] = row.take();
    } else if (const auto epoch = parse(key, kEpoch)) {
      Result<GroupEpochRow> row = decode_described<GroupEpochRow>(as_bytes(value));
      if (!row.ok() || !epoch->rest.empty()) return unknown;
      groups.consumers[epoch->group].epoch = row->epoch;
    } else if (const auto member = parse(key, kMember)) {
      Result<MemberRow> row = decode_described<MemberRow>(as_bytes(value));
      if (!row.ok() || member->rest.empty()) return unknown;
      groups.consumers[member->group].members.emplace_back(std::string(member->rest), row.take());
    } else if (const auto share = parse(key, kShare)) {
      Result<ShareGroupRow> row = decode_described<ShareGroupRow>(as_bytes(value));
      if (!row.ok() || !share->rest.empty()) return unknown;
      groups.shares[share->group] = row.take();
    } else if (key.starts_with(kShare) || key.starts_with(kConfig) || key.starts_with(kEpoch) || key.starts_with(kMember)) {
      return unknown;
    }
    return {};
  }
};

void load_from(std::shared_ptr<Loading> loading, std::string from) {
  auto page = [loading](Result<storage::KvRows> rows) {
    if (!rows.ok()) return loading->done(rows.error());
    for (const auto& [key, value] : *rows) {
      if (Status taken = loading->take(key, value); !taken.ok()) return loading->done(taken.error());
    }
    if (rows->size() < kRowsAPage) return loading->done(std::move(loading->groups));
    load_from(loading, rows->back().first + '\0');
  };
  loading->kv.scan(from, kTo, kRowsAPage, std::move(page));
}

}  // namespace

std::string group_config_key(TenantId tenant, std::string_view group) { return key_of(kConfig, tenant, group); }
std::string group_epoch_key(TenantId tenant, std::string_view group) { return key_of(kEpoch, tenant, group); }
std::string share_group_key(TenantId tenant, std::string_view group) { return key_of(kShare, tenant, group); }
std::string group_member_key(TenantId tenant, std::string_view group, std::string_view member_id) {
  return key_of(kMember, tenant, group) + std::string(member_id);
}

void remove_consumer_group(TenantId tenant, std::string_view group, storage::KvBatch& batch) {
  batch.remove(group_epoch_key(tenant, group));
  const std::string first = key_of(kMember, tenant, group);
  std::string end = first;
  while (static_cast<uint8_t>(end.back()) == 0xff) end.pop_back();
  ++end.back();
  batch.remove_range(first, std::move(end));
}

void load_groups(storage::Kv& kv, Callback<void(Result<StoredGroups>)> done) {
  load_from(std::make_shared<Loading>(Loading{kv, {}, std::move(done)}), std::string(kFrom));
}

}  // namespace robustmq::broker
