// Bans: who may not connect, by client id or by host, for ever or until a time. Lives on its core.
//
// Each core has the whole list, to look a client up where it is. Core 0 changes it: it stores the row, tells every core, and
// answers when all know. A ban whose time is over holds no longer at once; tidy() forgets it.
//
// Row key: "ban/", big-endian tenant (4), kind (1), name. Row value: BanRow in the wire codec. Limit: BanOptions::bans_max.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/callback.h"
#include "base/describe.h"
#include "broker/extensions/ban_options.h"
#include "broker/menu/request.h"
#include "broker/rows.h"
#include "runtime/core.h"

namespace robustmq::broker {

struct BanRow {
  std::string author;
  std::string reason;
  int64_t at_ms = 0;
  int64_t until_ms = 0;

  template <class V>
  static void describe(V& v) {
    v.field("author", &BanRow::author);
    v.field("reason", &BanRow::reason);
    v.field("at_ms", &BanRow::at_ms);
    v.field("until_ms", &BanRow::until_ms);
  }
};

class Bans {
 public:
  Bans(runtime::Core& core, Rows& rows, const BanOptions& options, BanMetrics& metrics)
      : core_(core), rows_(rows), options_(options), metrics_(metrics) {}
  Bans(const Bans&) = delete;
  void set_peers(std::vector<Bans*> peers) { peers_ = std::move(peers); }
  // Ends the connections of this core that a new ban concerns.
  void set_enforce(Callback<void(const Ban&)> enforce) { enforce_ = std::move(enforce); }

  // Reads the list; before any connection.
  void load(Callback<void(Status)> done);

  bool concerns(std::string_view client_id, std::string_view host) const;

  // From any core. Errors: invalid_argument, quota_exceeded, not_found and those of the rows.
  void add(Ban ban, Callback<void(Status)> done);
  void remove(BanBy by, const std::string& who, Callback<void(Status)> done);
  std::vector<Ban> list() const;
  // Forgets those that are over.
  void tidy();

 private:
  static constexpr size_t kRowsAPage = 1000;
  static constexpr size_t kKinds = 2;  // of BanBy

  struct Change {
    bool is_made = true;  // false: taken back
    Ban ban;
  };

  void load_from(std::string from, Callback<void(Status)> done);
  Status load_row(std::string_view key, std::string_view value);
  bool holds(BanBy by, std::string_view who) const;
  bool is_over(const Ban& ban) const { return ban.until_ms != 0 && ban.until_ms <= core_.wall_now().ms; }
  size_t size() const { return bans_[0].size() + bans_[1].size(); }
  void change(Change change, Callback<void(Status)> done);
  // On core 0.
  void change_here(Change change, Callback<void(Status)> done);
  void tell(const Change& change, Callback<void(Status)> done);
  void learn(const Change& change);

  runtime::Core& core_;
  Rows& rows_;
  const BanOptions& options_;
  BanMetrics& metrics_;
  Callback<void(const Ban&)> enforce_;
  std::vector<Bans*> peers_;
  std::array<std::map<std::string, Ban, std::less<>>, kKinds> bans_;  // by kind and name
  std::multiset<std::string> changing_;                               // on core 0: keys of rows that are being written
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace robustmq::broker
