// The makers of the exchanges of share groups (KIP-932), and what they have in common. Pure.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "protocol/kafka/api/makers.h"

namespace robustmq::kafka {

Made make_share_group_heartbeat(Link& link, RequestFacts facts);
Made make_share_group_describe(Link& link, RequestFacts facts);
Made make_share_fetch(Link& link, RequestFacts facts);
Made make_share_acknowledge(Link& link, RequestFacts facts);
Made make_describe_share_group_offsets(Link& link, RequestFacts facts);
Made make_alter_share_group_offsets(Link& link, RequestFacts facts);
Made make_delete_share_group_offsets(Link& link, RequestFacts facts);

// How a partition's error is told: what is not known of a group is not known of the partition, and what a member does not hold is
// in another state.
KafkaError share_error_of(Code code);
KafkaError acknowledge_error_of(Code code);

// The ranges of acknowledgement batches, each of one type; nullopt: they are malformed, out of order, or of a type that this
// request may not have. `may_renew`: the request says that it renews.
template <class Batch>
std::optional<std::vector<broker::SettleRange>> read_acknowledgements(const std::vector<Batch>& batches, bool may_renew) {
  using What = broker::SettleRange::What;
  // 0: a gap, which is done; 1: accept; 2: release; 3: reject; 4: renew.
  constexpr What kTypes[] = {What::accept, What::accept, What::release, What::reject, What::renew};
  std::vector<broker::SettleRange> ranges;
  Offset behind = -1;
  for (const Batch& batch : batches) {
    const auto& types = batch.acknowledge_types;
    if (batch.first_offset <= behind || batch.last_offset < batch.first_offset || types.empty()) return std::nullopt;
    const bool is_each = types.size() > 1;
    if (is_each && batch.last_offset - batch.first_offset != static_cast<Offset>(types.size()) - 1) return std::nullopt;
    behind = batch.last_offset;
    for (size_t i = 0; i < types.size(); ++i) {
      const int8_t type = types[i];
      if (type < 0 || type > (may_renew ? 4 : 3)) return std::nullopt;
      const Offset first = batch.first_offset + static_cast<Offset>(i);
      const Offset last = is_each ? first : batch.last_offset;
      const What what = kTypes[static_cast<size_t>(type)];
      if (!ranges.empty() && ranges.back().last + 1 == first && ranges.back().what == what)
        ranges.back().last = last;
      else
        ranges.push_back({first, last, what});
    }
  }
  return ranges;
}

}  // namespace robustmq::kafka
