// Fetcher: reads batches of many shards on many cores for one request, and parks it until there is enough. Lives on its core.
//
// The asking core splits a fetch by home core; each home reads its part in request order; the asking core joins the parts. With
// less than bytes_min and time left the request parks: each home watches its shards and tells the asking core at the first
// advance, which reads everything anew. So a parked fetch costs nothing until one of its shards moves.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <utility>
#include <vector>

#include "broker/broker.h"
#include "broker/locate.h"
#include "broker/options.h"
#include "runtime/timer.h"

namespace robustmq::broker {

class Fetcher {
 public:
  Fetcher(runtime::Core& core, Locator& locator, const BrokerOptions& options, BrokerMetrics& metrics);
  ~Fetcher();
  void set_peers(std::vector<Fetcher*> peers) { peers_ = std::move(peers); }

  // `asker`: whose connection asks; its end cancels.
  void fetch(const Context& asker, Fetch request, ReplyTo done);
  // What this connection asked and is not answered leaves, also the watches on other cores; it is never answered.
  void cancel(const Context& asker);
  // partition_asks.cc
  void list_offsets(ListOffsets request, ReplyTo done);
  void delete_records(DeleteRecords request, ReplyTo done);
  void describe_producers(DescribeProducers request, ReplyTo done);
  void describe_logs(DescribeLogs request, ReplyTo done);

 private:
  struct Item {
    size_t index = 0;  // into the request's partitions
    Located topic;
    FetchPartition wanted;
    Offset seen = -1;  // high watermark at the last read
    bool read_committed = false;
  };
  // What one core reads of a request.
  struct Part {
    CoreIndex home = 0;
    std::vector<Item> items;
  };
  struct Operation {
    Operation(Fetcher& fetcher_in, const Context& asker_in, uint64_t id_in)
        : fetcher(fetcher_in), asker(&asker_in), id(id_in), timer(&Operation::on_timer, this) {}
    static void on_timer(void* self);
    Fetcher& fetcher;
    const Context* asker;
    uint64_t id;
    Fetch request;
    std::vector<Part> parts;
    FetchReply reply;
    ReplyTo done;
    size_t waiting = 0;
    Instant deadline{};
    bool is_parked = false;
    bool has_parked = false;  // at least once: watches may be there
    bool moved_meanwhile = false;
    runtime::Timer timer;
  };
  struct PartRead {
    std::vector<FetchedPartition> partitions;
  };
  class Reading;  // one part being read, on its home core
  class Park;     // one part watching, on its home core

  void read(Operation& operation);
  void take(uint64_t id, size_t part, PartRead read);
  void settle(Operation& operation);
  void finish(Operation& operation);
  // Takes it out, with what watches for it.
  std::unique_ptr<Operation> take_out(uint64_t id);
  void on_moved(uint64_t id);
  void read_part(std::shared_ptr<const std::vector<Item>> items, uint64_t bytes_max, Callback<void(PartRead)> done);
  void park_part(CoreIndex asker, uint64_t id, std::shared_ptr<const std::vector<Item>> items);
  void unpark_part(CoreIndex asker, uint64_t id);

  template <class Row, class Wanted, class Ask, class Done>
  void at_homes(const std::vector<TopicRef>& topics, const std::vector<Wanted>& partitions, Ask ask, Done done);

  runtime::Core& core_;
  Locator& locator_;
  const BrokerOptions& options_;
  BrokerMetrics& metrics_;
  std::vector<Fetcher*> peers_;
  std::map<uint64_t, std::unique_ptr<Operation>> operations_;
  std::set<std::pair<const Context*, uint64_t>> by_asker_;
  std::map<std::pair<CoreIndex, uint64_t>, std::unique_ptr<Park>> parks_;
  uint64_t last_id_ = 0;
};

}  // namespace robustmq::broker
