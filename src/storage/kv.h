// Kv: small durable rows (sessions, offsets, light topics and their records): ordered keys, atomic batches, range delete,
// snapshot read. Lives on its core; completions come on it, possibly inline. What one core writes another may read once it is
// done.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "base/bytes.h"
#include "base/callback.h"
#include "base/result.h"

namespace robustmq::storage {

// Changes that take effect together, in order.
struct KvBatch {
  struct Put {
    std::string key;
    std::string value;
  };
  struct Delete {
    std::string key;
  };
  struct DeleteRange {
    std::string from;
    std::string to;
  };  // [from, to)
  std::vector<std::variant<Put, Delete, DeleteRange>> changes;

  void put(std::string key, std::string value) { changes.push_back(Put{std::move(key), std::move(value)}); }
  void remove(std::string key) { changes.push_back(Delete{std::move(key)}); }
  void remove_range(std::string from, std::string to) { changes.push_back(DeleteRange{std::move(from), std::move(to)}); }
};

using KvRows = std::vector<std::pair<std::string, std::string>>;

class Kv {
 public:
  virtual ~Kv() = default;
  // Durable (synced) when done says ok; batches take effect and complete in call order. Reads see a batch once it is done.
  // Errors: storage_full (nothing of it took effect), overloaded (the same), storage_failed (final).
  virtual void write(KvBatch batch, Callback<void(Status)> done) = 0;
  // not_found when missing.
  virtual void get(std::string_view key, Callback<void(Result<std::string>)> done) const = 0;
  // Rows with from <= key < to, in order, at most `rows_max`; one consistent state.
  virtual void scan(std::string_view from, std::string_view to, size_t rows_max, Callback<void(Result<KvRows>)> done) const = 0;
  // The last row with from <= key < to; none when there is none. This one reads them all.
  virtual void last(std::string_view from, std::string_view to, Callback<void(Result<KvRows>)> done) const {
    scan(from, to, SIZE_MAX, [done = std::move(done)](Result<KvRows> rows) mutable {
      if (rows.ok() && rows->size() > 1) rows->erase(rows->begin(), rows->end() - 1);
      done(std::move(rows));
    });
  }
};

}  // namespace robustmq::storage
