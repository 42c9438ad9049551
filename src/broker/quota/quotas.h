// Quotas: the client quotas of a node: stored, looked up for connections, changed. Lives on its core.
//
// Core 0 has the table, the rows and the buckets; the others ask it. A connection asks once, keeps the buckets that hold for it
// and draws on them from its own core; when something changes the board tells everybody to ask anew. So a change is in force on
// every core when it is answered: the next request of any connection sees it.
//
// A bucket that nobody holds is forgotten when it is full again: coming back does not give more.
//
// Row key: "quota/", big-endian tenant (4), then for user, client id and host: what the part is (1), and of a name its length
// (2, big-endian) and itself. Row value: QuotaRow in the wire codec. Limits: QuotaOptions.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/callback.h"
#include "base/describe.h"
#include "broker/broker.h"
#include "broker/quota/options.h"
#include "broker/quota/table.h"
#include "broker/rows.h"
#include "runtime/core.h"

namespace robustmq::broker {

struct QuotaRow {
  struct Value {
    QuotaKind kind = QuotaKind::produce;
    double per_second = 0;

    template <class V>
    static void describe(V& v) {
      v.field("kind", &Value::kind);
      v.field("per_second", &Value::per_second);
    }
  };
  std::vector<Value> values;

  template <class V>
  static void describe(V& v) {
    v.field("values", &QuotaRow::values);
  }
};

class Quotas {
 public:
  // `board`: of the node.
  Quotas(runtime::Core& core, Rows& rows, const QuotaOptions& options, QuotaMetrics& metrics, std::shared_ptr<QuotaBoard> board)
      : core_(core), rows_(rows), options_(options), metrics_(metrics), board_(std::move(board)) {}
  Quotas(const Quotas&) = delete;
  void set_home(Quotas* home) { home_ = home; }

  // On core 0: reads the rows; before any connection.
  void load(Callback<void(Status)> done);

  // From any core; answered on this one.
  void describe(DescribeQuotas request, ReplyTo done);
  void alter(AlterQuotas request, ReplyTo done);
  void find(std::string user, std::string client_id, ReplyTo done);
  void count_connection(std::string host, ReplyTo done);

  // On core 0: forgets buckets that nobody needs.
  void tidy();

 private:
  static constexpr size_t kRowsAPage = 1000;

  struct Altering {
    AlterQuotas request;
    ReplyTo done;
  };

  // Runs `ask(home, answer)` on core 0.
  template <class Ask>
  void at_home(Ask ask, ReplyTo done);
  void load_from(std::string from, Callback<void(Status)> done);
  Status load_row(std::string_view key, std::string_view value);
  void alter_next();
  void altered(const std::vector<std::pair<QuotaEntity, QuotaValues>>& changed);
  void find_here(const std::string& user, const std::string& client_id, ReplyTo done);
  void count_here(const std::string& host, ReplyTo done);
  std::shared_ptr<QuotaBucket> bucket(QuotaKind kind, const QuotaHit& hit);
  void tell();

  runtime::Core& core_;
  Rows& rows_;
  const QuotaOptions& options_;
  QuotaMetrics& metrics_;
  std::shared_ptr<QuotaBoard> board_;
  Quotas* home_ = nullptr;
  QuotaTable table_;
  std::map<std::pair<QuotaKind, QuotaEntity>, std::shared_ptr<QuotaBucket>> buckets_;  // by who shares them
  Instant tidied_at_{};
  std::deque<Altering> altering_;  // the first is being stored
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace robustmq::broker
