#include "broker/lease/queue_readers.h"

#include <algorithm>
#include <utility>

#include "base/topic_names.h"
#include "broker/gather.h"
#include "broker/lease_ids.h"
#include "broker/menu/record_qos.h"

namespace robustmq::broker {

bool is_of_queue(const BrokerOptions& options, std::string_view share) {
  return options.queues_available && share == kQueueShare;
}

std::string QueueName::group() const {
  std::string name(kQueueGroup);
  name += topic->name;
  if (!filter.empty()) (name += '/') += filter;
  return name;
}

QueueName queue_name_of(const meta::Meta& meta, const TopicRules& rules, TenantId tenant, std::string_view text) {
  const size_t slash = text.find('/');
  const std::string_view name = text.substr(0, slash);
  const std::string_view filter = slash == std::string_view::npos ? std::string_view() : text.substr(slash + 1);
  // All that is in a rule's stream is of its filter.
  if (const TopicRule* rule = rules.find_filter(filter, name)) return {meta.find(tenant, rule->topic), {}};
  return name.empty() ? QueueName{} : QueueName{meta.find(tenant, name), filter};
}

QueueReader::QueueReader(Context& context_in, FollowOne wanted_in, const QueueName& name)
    : ReaderState(context_in),
      wanted(std::move(wanted_in)),
      topic(name.topic),
      filter(name.filter),
      group(name.group()),
      fallback(mqtt_name_of_kafka(topic->name)) {}

QueueReaders::QueueReaders(runtime::Core& core, const meta::Meta& meta, Leaser& leaser, const FanOut& fan_out,
                           const TopicRules& rules, const BrokerOptions& options, BrokerMetrics& metrics)
    : Readers(core), meta_(meta), leaser_(leaser), fan_out_(fan_out), rules_(rules), options_(options), metrics_(metrics) {}

// ---- Subscriptions ----

QueueReaders::ReaderPtr QueueReaders::find(const Context& context, std::string_view filter) const {
  const auto found = connections_.find(context.connection_id);
  if (found == connections_.end()) return nullptr;
  const auto& readers = found->second.readers;
  const auto at =
      std::find_if(readers.begin(), readers.end(), [&](const ReaderPtr& each) { return each->wanted.filter == filter; });
  return at == readers.end() ? nullptr : *at;
}

bool QueueReaders::has(const Context& context, std::string_view filter) const { return find(context, filter) != nullptr; }

FollowResult QueueReaders::add(Context& context, const FollowOne& wanted, Callback<void(Code)> done) {
  if (const ReaderPtr had = find(context, wanted.filter)) {
    had->wanted = wanted;
    open(had, std::move(done));
    return {Code::ok, false};
  }
  const QueueName name = queue_name_of(meta_, rules_, context.tenant, wanted.filter);
  if (!name.topic) return {Code::invalid_topic, true};
  if (name.topic->partitions > options_.fetch_partitions_max) return {Code::quota_exceeded, true};
  auto reader = std::make_shared<QueueReader>(context, wanted, name);
  reader->consumer = "mqtt/" + std::to_string(context.connection_id) + "/" + std::to_string(++last_reader_);
  connections_[context.connection_id].readers.push_back(reader);
  ++metrics_.queue_subscriptions;
  open(reader, std::move(done));
  return {Code::ok, true};
}

void QueueReaders::open(const ReaderPtr& reader, Callback<void(Code)> done) {
  open_(reader->context->tenant, reader->group, reader->topic,
        [this, alive = std::weak_ptr<bool>(alive_), reader, done = std::move(done)](Code code) mutable {
          if (alive.expired()) return;
          if (!reader->is_over && !reader->is_leaving) {
            if (code == Code::ok)
              reader->is_open = true;
            else
              end(reader);
          }
          done(code);
          advance(reader);
        });
}

// New partitions of the stream are the queue's from their beginning on.
void QueueReaders::open_what_grew(const ReaderPtr& reader, std::shared_ptr<const meta::Topic> now) {
  auto opened = [this, now](const ReaderPtr& own, Code code) {
    if (code != Code::ok) return fail(own, code);
    own->topic = now;
  };
  open_(reader->context->tenant, reader->group, now, answering<Code>(reader, std::move(opened)));
}

bool QueueReaders::remove(const Context& context, std::string_view filter) {
  const ReaderPtr reader = find(context, filter);
  if (!reader) return false;
  ConnectionQueues& connection = connections_.at(context.connection_id);
  std::erase(connection.readers, reader);
  connection.leaving.push_back(reader);
  --metrics_.queue_subscriptions;
  reader->is_leaving = true;
  leaser_.stop_waiting(context, reader->group, reader->consumer);
  mark(reader);
  return true;
}

void QueueReaders::close(const Context& context) {
  const auto found = connections_.find(context.connection_id);
  if (found == connections_.end()) return;
  ConnectionQueues gone = std::move(found->second);
  connections_.erase(found);
  metrics_.queue_subscriptions -= static_cast<int64_t>(gone.readers.size());
  gone.readers.insert(gone.readers.end(), gone.leaving.begin(), gone.leaving.end());
  for (const ReaderPtr& reader : gone.readers) {
    send_settlements(reader);  // what was acknowledged in this turn
    reader->is_over = true;
    give_up(*reader);
  }
}

// The queue is gone, or could not be opened.
void QueueReaders::end(const ReaderPtr& reader) {
  ConnectionQueues& connection = connections_.at(reader->context->connection_id);
  if (std::erase(connection.readers, reader) > 0) --metrics_.queue_subscriptions;
  std::erase(connection.leaving, reader);
  reader->is_over = true;
  give_up(*reader);
}

// What it holds, or asks for, is for others.
void QueueReaders::give_up(const QueueReader& reader) {
  leaser_.stop_waiting(*reader.context, reader.group, reader.consumer);
  leaser_.leave(*reader.context, {reader.group, reader.consumer}, queue::Outcome::release);
}

void QueueReaders::leave_when_empty(const ReaderPtr& reader) {
  if (reader->is_over || reader->held > 0 || reader->is_asking) return;
  ConnectionQueues& connection = connections_.at(reader->context->connection_id);
  std::erase(connection.leaving, reader);
  reader->is_over = true;
  leaser_.leave(*reader->context, {reader->group, reader->consumer}, queue::Outcome::unread);
}

// ---- Taking messages ----

bool QueueReaders::step(const ReaderPtr& reader) {
  if (reader->is_over || reader->is_asking) return false;
  if (reader->is_leaving) {
    put_back_rest(reader);
    mark(reader);
    return false;
  }
  if (reader->is_resting || !reader->is_started || !reader->is_open) return false;
  if (reader->records) {
    if (room(*reader) <= 0) return false;  // settle() goes on
    if (!reader->context->sink->is_ready()) {
      rest(*reader);
      return false;
    }
    RecordView record;
    if (reader->records->records.next(record)) {
      take_record(reader, record);
      return true;
    }
    const bool is_bad = reader->records->records.is_malformed();
    if (is_bad) ++metrics_.batches_undecodable_total;
    reader->records.reset();
    pass_over(reader, BatchView(reader->batch.span()).next_offset(), is_bad ? What::reject : What::accept);
  } else if (reader->bytes_at < reader->bytes.size()) {
    open_batch(*reader);
    if (!reader->records) pass_over(reader, BatchView(reader->batch.span()).next_offset(), What::reject);
  } else if (reader->range < reader->ranges.size()) {
    pass_over(reader, INT64_MAX, What::release);  // leased without its batch
  } else if (reader->next < reader->leased.partitions.size()) {
    take_partition(reader);
  } else if (room(*reader) > 0) {
    ask(reader);
  } else {
    return false;
  }
  return true;
}

// How much more its connection may hold.
int64_t QueueReaders::room(const QueueReader& reader) const {
  const Context& context = *reader.context;
  int64_t most = options_.shared_inflight_max;
  if (context.inflight_max > 0) most = std::min<int64_t>(most, context.inflight_max);
  return most - static_cast<int64_t>(connections_.at(context.connection_id).held.size());
}

void QueueReaders::ask(const ReaderPtr& reader) {
  const auto now = meta_.find(reader->topic->id);
  if (!now) return fail(reader, Code::unknown_topic_id);
  if (now->partitions > reader->topic->partitions) return open_what_grew(reader, now);
  LeaseRecords request;
  request.queue = reader->group;
  request.consumer = reader->consumer;
  request.topics = {{reader->topic->name, reader->topic->id}};
  request.messages_max = std::min(reader->ask, room(*reader));
  request.bytes_max = kAskBytes;
  request.wait_max_ms = kAskWaitMs;
  reader->asked.clear();
  for (int32_t i = 0; i < now->partitions; ++i) {
    const int32_t partition = (reader->turn + i) % now->partitions;
    reader->asked.push_back(partition);
    request.partitions.push_back({.partition = partition});
  }
  reader->turn = (reader->turn + 1) % now->partitions;
  auto take = [this, most = request.messages_max](const ReaderPtr& own, Reply reply) {
    auto* leased = std::get_if<LeasedRecords>(&reply);
    if (!leased) return rest(*own);
    own->leased = std::move(*leased);
    own->next = 0;
    int64_t messages = 0;
    for (const LeasedPartition& row : own->leased.partitions) {
      for (const LeasedRange& range : row.ranges) messages += range.last - range.first + 1;
    }
    own->ask = messages >= most ? std::min(2 * own->ask, kAskMax) : 1;
  };
  auto answered = [this, alive = std::weak_ptr<bool>(alive_), reader,
                   use = answering<Reply>(reader, std::move(take))](Reply reply) mutable {
    if (!alive.expired() && reader->is_over) return give_up(*reader);  // it was on its way
    use(std::move(reply));
  };
  leaser_.lease(*reader->context, std::move(request), std::move(answered));
}

void QueueReaders::take_partition(const ReaderPtr& reader) {
  const size_t index = reader->next++;
  LeasedPartition& row = reader->leased.partitions[index];
  if (row.code != Code::ok) return fail(reader, row.code);
  if (row.ranges.empty()) return;
  reader->partition = reader->asked[index];
  reader->ranges = std::move(row.ranges);
  reader->range = 0;
  auto take = [this](const ReaderPtr& own, Result<Bytes> bytes) {
    own->bytes_at = 0;
    if (bytes.ok()) {
      own->bytes = bytes.take();
      return;
    }
    own->bytes = {};
    pass_over(own, INT64_MAX, What::release);
    fail(own, bytes.code());
  };
  gather(core_, std::move(row.batches), answering<Result<Bytes>>(reader, std::move(take)));
}

// Of a queue's own window, which has checked its shape.
void QueueReaders::open_batch(QueueReader& reader) {
  const ByteSpan rest = reader.bytes.span().subspan(reader.bytes_at);
  const std::optional<size_t> size = BatchView::size_at(rest);
  ROBUSTMQ_CHECK(size && *size <= rest.size(), "leased batches are whole");
  reader.batch = reader.bytes.slice(reader.bytes_at, *size);
  reader.bytes_at += *size;
  Result<shard::OpenedRecords> opened = shard::open_records(reader.batch, shard::kOpenedBytesMax);
  if (opened.ok())
    reader.records.emplace(std::move(*opened));
  else
    ++metrics_.batches_undecodable_total;
}

void QueueReaders::take_record(const ReaderPtr& reader, const RecordView& record) {
  pass_over(reader, record.offset, What::accept);
  if (reader->range == reader->ranges.size() || reader->ranges[reader->range].first != record.offset) return;
  LeasedRange& range = reader->ranges[reader->range];
  const uint16_t deliveries = range.deliveries;
  if (range.first++ == range.last) ++reader->range;
  const std::string_view topic = fan_out_.topic_of(*reader->topic, record, reader->fallback);
  if (!reader->filter.empty() && !filter_matches(reader->filter, topic))
    return settle_one(reader, reader->partition, record.offset, record.offset, What::accept);
  hand_on(reader, record, topic, deliveries);
}

void QueueReaders::hand_on(const ReaderPtr& reader, const RecordView& record, std::string_view topic, uint16_t deliveries) {
  const FollowOne& wanted = reader->wanted;
  const uint8_t qos = std::min(wanted.qos_max, qos_of(record));
  ConnectionQueues& connection = connections_.at(reader->context->connection_id);
  connection.pace.has_sent = true;
  uint16_t lease = 0;
  if (qos == 0) {
    settle_one(reader, reader->partition, record.offset, record.offset, What::accept);
  } else {
    // Held before it is delivered: the connection may settle or end at once.
    lease = take_lease_id(connection.held, connection.next_lease, kQueueLeaseMin, UINT16_MAX);
    connection.held.emplace(lease, HeldOfQueue{reader, reader->partition, record.offset, deliveries});
    ++reader->held;
  }
  ++metrics_.queue_messages_delivered_total;
  const Bytes owner = reader->records->owner;
  const std::vector<uint32_t> ids(wanted.subscription_id != 0 ? 1 : 0, wanted.subscription_id);
  DeliveryScratch scratch;
  reader->context->sink->on_delivery(Delivery{.topic = topic,
                                              .record = record,
                                              .owner = owner,
                                              .qos_max = qos,
                                              .retain_as_published = wanted.retain_as_published,
                                              .lease = lease,
                                              .subscription_ids = ids.empty() ? nullptr : &ids,
                                              .scratch = scratch});
}

void QueueReaders::pass_over(const ReaderPtr& reader, Offset end, What what) {
  while (reader->range < reader->ranges.size() && reader->ranges[reader->range].first < end) {
    LeasedRange& range = reader->ranges[reader->range];
    const Offset last = std::min(range.last, end - 1);
    settle_one(reader, reader->partition, range.first, last, what);
    range.first = last + 1;
    if (last == range.last) ++reader->range;
  }
}

void QueueReaders::put_back_rest(const ReaderPtr& reader) {
  reader->records.reset();
  reader->bytes_at = reader->bytes.size();
  pass_over(reader, INT64_MAX, What::release);
  for (; reader->next < reader->leased.partitions.size(); ++reader->next) {
    for (const LeasedRange& range : reader->leased.partitions[reader->next].ranges)
      settle_one(reader, reader->asked[reader->next], range.first, range.last, What::release);
  }
}

void QueueReaders::fail(const ReaderPtr& reader, Code code) {
  if (code != Code::unknown_topic && code != Code::unknown_topic_id && code != Code::group_not_found) return rest(*reader);
  reader->context->sink->on_notice(Notice::topic_deleted);
  if (!reader->is_over) end(reader);
}

// ---- Settling ----

void QueueReaders::settle(const Context& context, const Settle::One& one, Callback<void(Code)> done) {
  const auto found = connections_.find(context.connection_id);
  if (found == connections_.end()) return done(Code::not_found);
  const auto at = found->second.held.find(one.lease);
  if (at == found->second.held.end()) return done(Code::not_found);
  const ReaderPtr reader = at->second.reader;
  const bool is_settled = std::exchange(at->second.is_settled, true) || reader->is_over;
  const HeldOfQueue held = at->second;
  if (one.outcome == Settle::Outcome::received) {
    if (is_settled) return done(Code::ok);
    reader->told.push_back(std::move(done));
    return settle_one(reader, held.partition, held.offset, held.offset, What::accept);
  }
  found->second.held.erase(at);
  --reader->held;
  mark(reader);
  if (reader->is_over) {  // its connection has room for others
    for (const ReaderPtr& other : found->second.readers) mark(other);
  }
  if (!is_settled) {
    What what = What::accept;
    if (one.outcome == Settle::Outcome::refused) {
      ++metrics_.queue_messages_returned_total;
      what = held.deliveries < kRefusalsMax ? What::release : What::reject;
    }
    settle_one(reader, held.partition, held.offset, held.offset, what);
  }
  done(Code::ok);
}

void QueueReaders::settle_one(const ReaderPtr& reader, int32_t partition, Offset first, Offset last, What what) {
  reader->settling.push_back({partition, {first, last, what}});
  mark(reader);
}

// Something of it is to be done at the end of this turn.
void QueueReaders::mark(const ReaderPtr& reader) {
  if (std::exchange(reader->is_dirty, true)) return;
  dirty_.push_back(reader);
  core_.defer(*this);
}

void QueueReaders::run_deferred() {
  for (const ReaderPtr& reader : std::exchange(dirty_, {})) {
    reader->is_dirty = false;
    if (reader->is_over) continue;
    const uint64_t connection_id = reader->context->connection_id;
    send_settlements(reader);
    if (reader->is_leaving) leave_when_empty(reader);
    advance_all(connection_id);  // there may be room
  }
}

void QueueReaders::send_settlements(const ReaderPtr& reader) {
  if (reader->is_over || reader->settling.empty()) return;
  std::vector<QueueReader::Settling> all = std::exchange(reader->settling, {});
  std::sort(all.begin(), all.end(), [](const QueueReader::Settling& a, const QueueReader::Settling& b) {
    return std::pair(a.partition, a.range.first) < std::pair(b.partition, b.range.first);
  });
  std::vector<SettlePartition> settled;
  for (const QueueReader::Settling& one : all) {
    if (settled.empty() || settled.back().partition != one.partition)
      settled.push_back({.partition = one.partition, .ranges = {}});
    std::vector<SettleRange>& ranges = settled.back().ranges;
    if (!ranges.empty() && ranges.back().last + 1 == one.range.first && ranges.back().what == one.range.what)
      ranges.back().last = one.range.last;
    else
      ranges.push_back(one.range);
  }
  send_settlement(reader, std::move(settled), std::exchange(reader->told, {}));
}

void QueueReaders::send_settlement(const ReaderPtr& reader, std::vector<SettlePartition> settled,
                                   std::vector<Callback<void(Code)>> told) {
  SettleLeases request{.queue = reader->group,
                       .consumer = reader->consumer,
                       .topics = {{reader->topic->name, reader->topic->id}},
                       .settled = settled};
  auto answered = [this, alive = std::weak_ptr<bool>(alive_), reader, settled = std::move(settled),
                   told = std::move(told)](const Reply& reply) mutable {
    if (alive.expired()) return;
    const auto* answer = std::get_if<LeasesSettled>(&reply);
    Code whole = answer ? Code::ok : std::get<Error>(reply).code;
    std::vector<SettlePartition> again;
    for (size_t i = 0; answer && i < settled.size(); ++i) {
      const Code code = answer->settled[i];
      // One that is not its own any more, because the queue was closed or moved, and so none of them: each for itself then.
      if (code == Code::not_found) {
        const std::vector<SettleRange>& ranges = settled[i].ranges;
        if (ranges.size() == 1 && ranges[0].first == ranges[0].last) continue;
        for (const SettleRange& range : ranges) {
          for (Offset offset = range.first; offset <= range.last; ++offset)
            again.push_back({.partition = settled[i].partition, .ranges = {{offset, offset, range.what}}});
        }
      } else if (code != Code::ok) {
        whole = code;
      }
    }
    if (!again.empty() && !reader->is_over) return send_settlement(reader, std::move(again), std::move(told));
    for (Callback<void(Code)>& each : told) each(whole);
  };
  leaser_.settle(*reader->context, request, std::move(answered));
}

}  // namespace robustmq::broker
