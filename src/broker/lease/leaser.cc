#include "broker/lease/leaser.h"

#include "broker/gathering.h"

#include <algorithm>
#include <utility>

namespace robustmq::broker {

Leaser::Leaser(runtime::Core& core, Locator& locator, Queues& queues, const BrokerOptions& options, LeaseMetrics& metrics)
    : core_(core), locator_(locator), queues_(queues), options_(options), metrics_(metrics) {}
Leaser::~Leaser() = default;

template <class Use>
void Leaser::at(CoreIndex core, Use use) {
  if (core == core_.index()) return use(queues_);
  core_.send(core, [peer = peers_[core], use = std::move(use)]() mutable { use(peer->queues_); });
}

Leaser::Place Leaser::place(const std::vector<TopicRef>& topics, int32_t topic_index, int32_t partition, size_t index) const {
  const TopicRef& ref = topics[static_cast<size_t>(topic_index)];
  Located topic = locator_.locate(ref);
  if (!topic.stream) return {.code = ref.id.is_zero() ? Code::unknown_topic : Code::unknown_topic_id};
  if (partition < 0 || partition >= topic.stream->partitions) return {.code = Code::unknown_topic};
  const CoreIndex home = locator_.home(topic, partition);
  return {Code::ok, home, {index, {topic.stream->id, partition}, std::move(topic.stream), {}}};
}

Leaser::Part& Leaser::part_of(std::vector<Home>& homes, CoreIndex core, const Context& asker, const std::string& queue,
                              LeaseAsk ask) const {
  auto home = std::find_if(homes.begin(), homes.end(), [&](const Home& each) { return each.core == core; });
  if (home == homes.end()) {
    auto part = std::make_shared<Part>();
    part->tenant = asker.tenant;
    part->queue = queue;
    part->ask = std::move(ask);
    home = homes.insert(home, {core, std::move(part)});
  }
  return *home->part;
}

// ---- Leasing ----

void Leaser::lease(const Context& asker, LeaseRecords request, ReplyTo done) {
  ++metrics_.requests_total;
  if (request.partitions.size() + request.settled.size() > static_cast<size_t>(options_.fetch_partitions_max))
    return done(Error{Code::too_large, "more partitions than fetch_partitions_max"});
  auto made = std::make_unique<Operation>(*this, asker, ++last_id_);
  Operation& operation = *made;
  operations_.emplace(operation.id, std::move(made));
  by_asker_.emplace(&asker, operation.id);
  operation.done = std::move(done);
  operation.messages_max = std::max<int64_t>(request.messages_max, 0);
  operation.bytes_max = std::clamp<int64_t>(request.bytes_max, 0, options_.fetch_bytes_max);
  operation.bytes_min = std::clamp<int64_t>(request.bytes_min, 0, operation.bytes_max);
  operation.behind.assign(request.partitions.size(), -1);
  operation.deadline = core_.now() + Duration::millis(std::max(request.wait_max_ms, 0));
  operation.reply.partitions.resize(request.partitions.size());
  LeaseAsk ask;
  ask.consumer = request.consumer;
  ask.origin = asker.connection_id;
  ask.waiter = {core_.index(), operation.id};
  ask.whole_batches = request.whole_batches;
  for (size_t i = 0; i < request.partitions.size() && operation.messages_max > 0; ++i) {
    Place found = place(request.topics, request.partitions[i].topic_index, request.partitions[i].partition, i);
    if (found.code != Code::ok) {
      operation.reply.partitions[i].code = found.code;
      operation.has_error = true;
      continue;
    }
    joined_[&asker][{request.queue, request.consumer}][found.item.shard] = found.home;
    part_of(operation.homes, found.home, asker, request.queue, ask).items.push_back(std::move(found.item));
  }
  const uint64_t id = operation.id;
  begin_settling(operation, request);
  if (operations_.contains(id)) walk(operation);
}

void Leaser::begin_settling(Operation& operation, LeaseRecords& request) {
  operation.reply.settled.assign(request.settled.size(), Code::ok);
  std::vector<Home> homes;
  for (size_t i = 0; i < request.settled.size(); ++i) {
    SettlePartition& one = request.settled[i];
    Place found = place(request.topics, one.topic_index, one.partition, i);
    operation.reply.settled[i] = found.code;
    if (found.code != Code::ok) continue;
    found.item.ranges = std::move(one.ranges);
    LeaseAsk ask;
    ask.consumer = request.consumer;
    part_of(homes, found.home, *operation.asker, request.queue, std::move(ask)).items.push_back(std::move(found.item));
  }
  operation.settling = homes.size();
  operation.is_walking = true;  // nothing is finished before the walk
  settle_at(std::move(homes), [this, id = operation.id](const Part& part, std::vector<Code> codes, int64_t lease_ms) {
    const auto found = operations_.find(id);
    if (found == operations_.end()) return;
    Operation& settled = *found->second;
    for (size_t i = 0; i < codes.size(); ++i) settled.reply.settled[part.items[i].index] = codes[i];
    settled.reply.lease_ms = std::max(settled.reply.lease_ms, lease_ms);
    --settled.settling;
    settle_operation(settled);
  });
}

void Leaser::settle_at(std::vector<Home> homes, Callback<void(const Part&, std::vector<Code>, int64_t)> done) {
  auto told = std::make_shared<Callback<void(const Part&, std::vector<Code>, int64_t)>>(std::move(done));
  for (const Home& home : homes) {
    auto answer = [this, told, part = home.part, at_home = home.core](std::vector<Code> codes, int64_t lease_ms) {
      if (at_home == core_.index()) return (*told)(*part, std::move(codes), lease_ms);
      peers_[at_home]->core_.send(core_.index(), [told, part, codes = std::move(codes), lease_ms]() mutable {
        (*told)(*part, std::move(codes), lease_ms);
      });
    };
    at(home.core, [part = home.part, answer](Queues& queues) { queues.settle(*part, answer); });
  }
}

// Asks its queues, from the first on.
void Leaser::walk(Operation& operation) {
  operation.is_walking = true;
  operation.is_parked = false;
  operation.was_woken = false;
  operation.at = 0;
  go_on(operation);
}

void Leaser::go_on(Operation& operation) {
  if (operation.at == operation.homes.size() || operation.messages >= operation.messages_max) {
    operation.is_walking = false;
    return settle_operation(operation);
  }
  const Home& home = operation.homes[operation.at];
  QueuePart part = *home.part;
  part.ask.messages_max = operation.messages_max - operation.messages;
  part.ask.bytes_max =
      static_cast<uint64_t>(operation.bytes_max) - std::min(static_cast<uint64_t>(operation.bytes_max), operation.bytes);
  part.ask.has_bytes = operation.bytes > 0;
  for (Part::Item& item : part.items) item.behind = operation.behind[item.index];
  auto answer = [this, id = operation.id, at_home = home.core](std::vector<LeaseGot> got) {
    if (at_home == core_.index()) return take(id, std::move(got));
    peers_[at_home]->core_.send(core_.index(), [this, id, got = std::move(got)]() mutable { take(id, std::move(got)); });
  };
  at(home.core, [part = std::move(part), answer](Queues& queues) mutable { queues.lease(std::move(part), answer); });
}

void Leaser::take(uint64_t id, std::vector<LeaseGot> got) {
  const auto found = operations_.find(id);
  if (found == operations_.end()) return;  // what it got goes back with its consumer
  Operation& operation = *found->second;
  const Part& part = *operation.homes[operation.at].part;
  for (size_t i = 0; i < got.size(); ++i) {
    LeasedPartition& row = operation.reply.partitions[part.items[i].index];
    row.code = got[i].code;
    row.ranges.insert(row.ranges.end(), got[i].ranges.begin(), got[i].ranges.end());
    for (Piece& piece : got[i].batches) row.batches.push_back(std::move(piece));
    operation.has_error |= row.code != Code::ok;
    operation.is_enough |= got[i].leaves_some;
    operation.behind[part.items[i].index] = std::max(operation.behind[part.items[i].index], got[i].until);
    // What it holds is its client's for half of a lease at least.
    if (got[i].messages > 0)
      operation.deadline = std::min(operation.deadline, core_.now() + Duration::millis(got[i].lease_ms / 2));
    operation.messages += got[i].messages;
    operation.bytes += got[i].bytes;
    operation.reply.lease_ms = std::max(operation.reply.lease_ms, got[i].lease_ms);
  }
  ++operation.at;
  go_on(operation);
}

// The walk or a settlement is over: answers, or waits.
void Leaser::settle_operation(Operation& operation) {
  if (operation.is_walking || operation.is_parked || operation.settling > 0) return;
  const bool has_enough = operation.messages >= operation.messages_max ||
                          (operation.messages > 0 && operation.bytes >= static_cast<uint64_t>(operation.bytes_min)) ||
                          (operation.messages > 0 && operation.is_enough);
  const bool is_enough = has_enough || operation.has_error || operation.homes.empty();
  if (is_enough || core_.now() >= operation.deadline) return finish(operation);
  if (operation.was_woken) return walk(operation);
  park(operation);
}

void Leaser::park(Operation& operation) {
  operation.is_parked = true;
  if (!std::exchange(operation.has_parked, true)) {
    ++metrics_.requests_parked_total;
    ++metrics_.requests_waiting;
  }
  core_.arm(operation.timer, operation.deadline);
  const uint64_t id = operation.id;
  const std::vector<Home> homes = operation.homes;
  for (const Home& home : homes) {
    at(home.core, [part = home.part](Queues& queues) { queues.park(*part); });
    if (!operations_.contains(id)) return;
  }
}

void Leaser::on_woken(uint64_t request) {
  const auto found = operations_.find(request);
  if (found == operations_.end()) return;
  Operation& operation = *found->second;
  if (operation.is_parked) return walk(operation);
  operation.was_woken = true;
}

void Leaser::Operation::on_timer(void* self) {
  auto& operation = *static_cast<Operation*>(self);
  if (operation.is_parked) operation.leaser.finish(operation);
  // Else it walks: settle_operation() sees that the time is over.
}

std::unique_ptr<Leaser::Operation> Leaser::take_out(uint64_t id) {
  const auto found = operations_.find(id);
  std::unique_ptr<Operation> gone = std::move(found->second);
  operations_.erase(found);
  by_asker_.erase({gone->asker, id});
  if (gone->has_parked) {
    --metrics_.requests_waiting;
    for (const Home& home : gone->homes) at(home.core, [part = home.part](Queues& queues) { queues.unpark(*part); });
  }
  return gone;
}

void Leaser::finish(Operation& operation) {
  const std::unique_ptr<Operation> gone = take_out(operation.id);
  gone->done(std::move(gone->reply));
}

// ---- Settling, leaving ----

void Leaser::settle(const Context& asker, const SettleLeases& request, ReplyTo done) {
  auto gathering = std::make_shared<Gathering<LeasesSettled>>();
  gathering->done = std::move(done);
  gathering->whole.settled.assign(request.settled.size(), Code::ok);
  std::vector<Home> homes;
  for (size_t i = 0; i < request.settled.size(); ++i) {
    const SettlePartition& one = request.settled[i];
    Place found = place(request.topics, one.topic_index, one.partition, i);
    gathering->whole.settled[i] = found.code;
    if (found.code != Code::ok) continue;
    found.item.ranges = one.ranges;
    LeaseAsk ask;
    ask.consumer = request.consumer;
    part_of(homes, found.home, asker, request.queue, std::move(ask)).items.push_back(std::move(found.item));
  }
  gathering->waiting += homes.size();
  settle_at(std::move(homes), [gathering](const Part& part, std::vector<Code> codes, int64_t lease_ms) {
    for (size_t i = 0; i < codes.size(); ++i) gathering->whole.settled[part.items[i].index] = codes[i];
    gathering->whole.lease_ms = std::max(gathering->whole.lease_ms, lease_ms);
    gathering->finish_one();
  });
  gathering->finish_one();
}

void Leaser::go_back(const Context& asker, const Joined::value_type& joined, queue::Outcome outcome) {
  std::map<CoreIndex, std::vector<ShardId>> by_home;
  for (const auto& [shard, home] : joined.second) by_home[home].push_back(shard);
  for (auto& [home, each] : by_home) {
    at(home, [tenant = asker.tenant, names = joined.first, shards = std::move(each), origin = asker.connection_id,
              outcome](Queues& queues) { queues.leave(tenant, names.first, shards, names.second, origin, outcome); });
  }
}

void Leaser::leave(const Context& asker, const LeaveQueue& request, queue::Outcome outcome) {
  const auto found = joined_.find(&asker);
  if (found == joined_.end()) return;
  if (const auto joined = found->second.extract({request.queue, request.consumer}))
    go_back(asker, {joined.key(), joined.mapped()}, outcome);
  if (found->second.empty()) joined_.erase(found);
}

void Leaser::stop_waiting(const Context& asker, const std::string& queue, const std::string& consumer) {
  std::vector<uint64_t> waiting;
  for (auto at = by_asker_.lower_bound({&asker, 0}); at != by_asker_.end() && at->first == &asker; ++at) {
    const Operation& operation = *operations_.at(at->second);
    if (!operation.is_parked) continue;
    const QueuePart& part = *operation.homes.front().part;
    if (part.queue == queue && part.ask.consumer == consumer) waiting.push_back(at->second);
  }
  for (const uint64_t id : waiting) {
    if (const auto found = operations_.find(id); found != operations_.end()) finish(*found->second);
  }
}

void Leaser::close(const Context& asker) {
  while (true) {
    const auto first = by_asker_.lower_bound({&asker, 0});
    if (first == by_asker_.end() || first->first != &asker) break;
    const std::unique_ptr<Operation> gone = take_out(first->second);
  }
  const auto found = joined_.find(&asker);
  if (found == joined_.end()) return;
  ++metrics_.connections_lost_total;
  for (const auto& joined : found->second) go_back(asker, joined, queue::Outcome::release);
  joined_.erase(found);
}

}  // namespace robustmq::broker
