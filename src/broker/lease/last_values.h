// LastValues: which records of a shard a newer one with the same key has replaced, as far as a queue has looked ahead. Pure.
//
// Records are taken in by their offsets. What there is no room for is not known to be replaced, and is delivered: never the other
// way round. Limits: `key_bytes_max` of keys (with kKeyCost each), `replaced_max` records.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>

#include "base/ids.h"

namespace robustmq::broker {

class LastValues {
 public:
  LastValues(size_t key_bytes_max, size_t replaced_max) : key_bytes_max_(key_bytes_max), replaced_max_(replaced_max) {}

  // Begins anew, with nothing known.
  void begin(Offset from);
  // Everything before it was taken in.
  Offset seen() const { return seen_; }
  void see(Offset until) { seen_ = until > seen_ ? until : seen_; }
  // The record at `offset`, at or past seen(). False: there is no room for what it says.
  bool take(std::string_view key, Offset offset);
  // Nothing before it is asked for any more.
  void forget_before(Offset start);
  bool is_replaced(Offset offset) const { return replaced_.contains(offset); }
  size_t key_bytes() const { return key_bytes_; }

  static constexpr size_t kKeyCost = 96;  // of memory, beside its bytes

 private:
  bool make_room(size_t bytes);

  size_t key_bytes_max_;
  size_t replaced_max_;
  Offset seen_ = 0;
  Offset start_ = 0;
  std::map<std::string, Offset, std::less<>> newest_;
  std::set<Offset> replaced_;
  size_t key_bytes_ = 0;
  size_t takes_until_look_ = 0;  // for keys whose newest record is done
};

}  // namespace robustmq::broker
