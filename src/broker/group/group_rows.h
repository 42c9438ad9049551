// The rows of consumer groups beside their offsets: settings of groups, and groups with server-side assignment. Pure but for the
// reading.
//
// Keys, all with big-endian tenant (4) and length of the group's name (2) behind the prefix, then the name:
//   "group.config/"   GroupConfig
//   "group.epoch/"    GroupEpochRow: there as long as the group has server-side assignment
//   "group.member/"   ... then the member's id: MemberRow
//   "group.share/"    ShareGroupRow: there as long as the group is a share group
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/callback.h"
#include "base/ids.h"
#include "base/result.h"
#include "broker/group/member_row.h"
#include "storage/kv.h"

namespace robustmq::broker {

std::string group_config_key(TenantId tenant, std::string_view group);
std::string group_epoch_key(TenantId tenant, std::string_view group);
std::string group_member_key(TenantId tenant, std::string_view group, std::string_view member_id);
std::string share_group_key(TenantId tenant, std::string_view group);
// Takes away all rows of a group with server-side assignment.
void remove_consumer_group(TenantId tenant, std::string_view group, storage::KvBatch& batch);

struct StoredGroups {
  using Key = std::pair<TenantId, std::string>;
  struct Consumers {
    int32_t epoch = 0;
    std::vector<std::pair<std::string, MemberRow>> members;
  };
  std::map<Key, GroupConfig> configs;
  std::map<Key, Consumers> consumers;
  std::map<Key, ShareGroupRow> shares;
};
// Reads all of them. Error: corrupt_storage, storage_*. `kv` outlives the call.
void load_groups(storage::Kv& kv, Callback<void(Result<StoredGroups>)> done);

}  // namespace robustmq::broker
