#include "broker/stream_readers.h"

#include <algorithm>
#include <utility>

#include "base/topic_names.h"
#include "broker/gather.h"

namespace robustmq::broker {
namespace {

// Where reading of each partition begins.
std::vector<StreamRead::Start> starts_of(const StreamRead& read, size_t partitions) {
  StreamRead::Start general;
  for (const StreamRead::Start& each : read.starts) {
    if (each.partition < 0) general = each;
  }
  std::vector<StreamRead::Start> starts(partitions, general);
  for (const StreamRead::Start& each : read.starts) {
    const auto partition = static_cast<size_t>(each.partition);
    if (each.partition >= 0 && partition < partitions) starts[partition] = each;
  }
  return starts;
}

// In microseconds; a producer may have given any time.
std::string time_text(int64_t ms) { return ms == 0 ? "0" : std::to_string(ms) + "000"; }

bool is_same(const FollowOne& one, std::string_view filter, std::string_view stream) {
  return one.filter == filter && one.stream->name == stream;
}

}  // namespace

std::string as_asked(std::string_view stream, std::string_view filter) {
  std::string text = "$stream/";
  text += stream;
  if (!filter.empty()) (text += '/') += filter;
  return text;
}

StreamReader::StreamReader(Context& context_in, FollowOne wanted_in, std::shared_ptr<const meta::Topic> topic_in)
    : ReaderState(context_in),
      wanted(std::move(wanted_in)),
      topic(std::move(topic_in)),
      fallback(mqtt_name_of_kafka(topic->name)),
      at(static_cast<size_t>(topic->partitions), kNotKnown) {}

StreamReaders::StreamReaders(runtime::Core& core, meta::Meta& meta, Fetcher& fetcher, const FanOut& fan_out,
                             const TopicRules& rules, const BrokerOptions& options, BrokerMetrics& metrics)
    : Readers(core), meta_(meta), fetcher_(fetcher), fan_out_(fan_out), rules_(rules), options_(options), metrics_(metrics) {}

std::shared_ptr<const meta::Topic> StreamReaders::find_stream(TenantId tenant, std::string_view name) const {
  if (!name.starts_with('/')) return meta_.find(tenant, name);
  const TopicRule* rule = rules_.find_filter(name.substr(1));
  return rule ? meta_.find(tenant, rule->topic) : nullptr;
}

FollowResult StreamReaders::add(Context& context, const FollowOne& wanted) {
  auto topic = find_stream(context.tenant, wanted.stream->name);
  if (!topic) return {Code::invalid_topic, true};
  auto partitions = static_cast<int64_t>(topic->partitions);
  if (const auto found = connections_.find(context.connection_id); found != connections_.end()) {
    for (const ReaderPtr& reader : found->second.readers) {
      if (!is_same(reader->wanted, wanted.filter, wanted.stream->name)) partitions += reader->topic->partitions;
    }
  }
  if (partitions > options_.fetch_partitions_max) return {Code::quota_exceeded, true};
  const bool had_one = remove(context, wanted.filter, wanted.stream->name);
  connections_[context.connection_id].readers.push_back(std::make_shared<StreamReader>(context, wanted, std::move(topic)));
  ++metrics_.stream_subscriptions;
  return {Code::ok, !had_one};
}

bool StreamReaders::remove(const Context& context, std::string_view filter, std::string_view stream) {
  const auto found = connections_.find(context.connection_id);
  if (found == connections_.end()) return false;
  for (const ReaderPtr& reader : found->second.readers) {
    if (!is_same(reader->wanted, filter, stream)) continue;
    end(ReaderPtr(reader));
    return true;
  }
  return false;
}

void StreamReaders::close(const Context& context) {
  const auto found = connections_.find(context.connection_id);
  if (found == connections_.end()) return;
  for (const ReaderPtr& reader : found->second.readers) reader->is_over = true;
  metrics_.stream_subscriptions -= static_cast<int64_t>(found->second.readers.size());
  connections_.erase(found);
}

void StreamReaders::end(const ReaderPtr& reader) {
  const auto found = connections_.find(reader->context->connection_id);
  reader->is_over = true;
  --metrics_.stream_subscriptions;
  std::erase(found->second.readers, reader);
  if (found->second.readers.empty()) connections_.erase(found);
}

bool StreamReaders::has(const Context& context, const FollowOne& wanted) const {
  const auto found = connections_.find(context.connection_id);
  if (found == connections_.end()) return false;
  return std::any_of(found->second.readers.begin(), found->second.readers.end(),
                     [&](const ReaderPtr& each) { return is_same(each->wanted, wanted.filter, wanted.stream->name); });
}

// ---- Reading ----

bool StreamReaders::step(const ReaderPtr& reader) {
  if (reader->is_over || reader->is_asking || reader->is_resting || !reader->is_started) return false;
  if (reader->records) {
    if (!reader->context->sink->is_ready()) {
      rest(*reader);
      return false;
    }
    RecordView record;
    if (reader->records->records.next(record)) {
      hand_on(*reader, record);
      return true;
    }
    if (reader->records->records.is_malformed()) ++metrics_.batches_undecodable_total;
    reader->records.reset();
  } else if (reader->bytes_at < reader->bytes.size()) {
    open_batch(*reader);
  } else if (reader->next < reader->fetched.partitions.size()) {
    take_partition(reader);
  } else if (std::find(reader->at.begin(), reader->at.end(), StreamReader::kNotKnown) != reader->at.end()) {
    ask_starts(reader);
  } else {
    ask_records(reader);
  }
  return true;
}

// A place in time is asked for twice, for there may be nothing from then on: then it is the end.
void StreamReaders::ask_starts(const ReaderPtr& reader) {
  using What = ListOffsetsPartition::What;
  ListOffsets request;
  request.topics = {{reader->topic->name, reader->topic->id}};
  const std::vector<StreamRead::Start> starts = starts_of(*reader->wanted.stream, reader->at.size());
  for (size_t partition = 0; partition < reader->at.size(); ++partition) {
    if (reader->at[partition] != StreamReader::kNotKnown) continue;
    const StreamRead::Start& start = starts[partition];
    if (start.at == StreamRead::Start::At::offset) {
      reader->at[partition] = std::max<Offset>(start.value, 0);
      continue;
    }
    ListOffsetsPartition one{.partition = static_cast<int32_t>(partition)};
    one.what = start.at == StreamRead::Start::At::earliest ? What::earliest : What::latest;
    request.partitions.push_back(one);
    if (start.at != StreamRead::Start::At::time) continue;
    one.what = What::at_time;
    one.timestamp_ms = start.value;
    request.partitions.push_back(one);
  }
  if (request.partitions.empty()) return;
  auto asked = request.partitions;
  auto take = [this, asked = std::move(asked)](const ReaderPtr& own, const Reply& reply) {
    const auto* listed = std::get_if<ListedOffsets>(&reply);
    if (!listed) return rest(*own);
    for (size_t i = 0; i < asked.size() && !own->is_over; ++i) {
      const ListedOffset& one = listed->partitions[i];
      if (one.code != Code::ok)
        fail(own, one.code);
      else if (one.offset >= 0)
        own->at[static_cast<size_t>(asked[i].partition)] = one.offset;
    }
  };
  fetcher_.list_offsets(std::move(request), answering<Reply>(reader, std::move(take)));
}

void StreamReaders::ask_records(const ReaderPtr& reader) {
  if (const auto now = meta_.find(reader->topic->id)) reader->topic = now;
  // What a partition has that came since is all behind the place where reading began.
  const auto count = static_cast<size_t>(reader->topic->partitions);
  if (reader->at.size() < count) reader->at.resize(count, 0);
  Fetch request{.bytes_max = kFetchBytes, .wait_max_ms = kFetchWaitMs, .read_committed = true};
  request.topics = {{reader->topic->name, reader->topic->id}};
  reader->asked.clear();
  for (size_t i = 0; i < count; ++i) {
    const auto partition = static_cast<int32_t>((reader->turn + i) % count);
    reader->asked.push_back(partition);
    request.partitions.push_back(
        {.partition = partition, .from = reader->at[static_cast<size_t>(partition)], .bytes_max = kFetchBytes});
  }
  ++reader->turn;
  auto take = [this](const ReaderPtr& own, Reply reply) {
    auto* fetched = std::get_if<FetchReply>(&reply);
    if (!fetched) return rest(*own);
    own->fetched = std::move(*fetched);
    own->next = 0;
  };
  fetcher_.fetch(*reader->context, std::move(request), answering<Reply>(reader, std::move(take)));
}

void StreamReaders::take_partition(const ReaderPtr& reader) {
  const size_t index = reader->next++;
  FetchedPartition& fetched = reader->fetched.partitions[index];
  reader->partition = reader->asked[index];
  Offset& at = reader->at[static_cast<size_t>(reader->partition)];
  if (fetched.code == Code::offset_out_of_range) {
    if (at < fetched.log_start) ++metrics_.stream_gaps_total;
    at = at < fetched.log_start ? fetched.log_start : fetched.high_watermark;
    return;
  }
  if (fetched.code != Code::ok) return fail(reader, fetched.code);
  if (fetched.batches.empty()) return;
  reader->aborted = std::move(fetched.aborted);
  auto take = [this](const ReaderPtr& own, Result<Bytes> bytes) {
    if (!bytes.ok()) return fail(own, bytes.code());
    own->bytes = bytes.take();
    own->bytes_at = 0;
  };
  gather(core_, std::move(fetched.batches), answering<Result<Bytes>>(reader, std::move(take)));
}

void StreamReaders::open_batch(StreamReader& reader) {
  const ByteSpan rest = reader.bytes.span().subspan(reader.bytes_at);
  const std::optional<size_t> size = BatchView::size_at(rest);
  if (!size || *size > rest.size()) {
    ++metrics_.batches_undecodable_total;
    reader.bytes_at = reader.bytes.size();
    return;
  }
  reader.batch = reader.bytes.slice(reader.bytes_at, *size);
  reader.bytes_at += *size;
  const BatchView header(reader.batch.span());
  Offset& at = reader.at[static_cast<size_t>(reader.partition)];
  const Offset from = std::exchange(at, std::max(at, header.next_offset()));
  if (is_void(reader, header) || header.next_offset() <= from) return;
  Result<shard::OpenedRecords> opened = shard::open_records(reader.batch, shard::kOpenedBytesMax);
  if (!opened.ok()) {
    ++metrics_.batches_undecodable_total;
    return;
  }
  reader.from = from;
  reader.records.emplace(std::move(*opened));
}

// A producer's transaction is void from where it is said to begin up to the marker that ends it.
bool StreamReaders::is_void(StreamReader& reader, const BatchView& batch) const {
  const auto is_of = [&](const AbortedTransaction& each) {
    return each.producer == batch.producer_id() && each.first <= batch.base_offset();
  };
  if (batch.is_control()) {
    const auto ended = std::find_if(reader.aborted.begin(), reader.aborted.end(), is_of);
    if (ended != reader.aborted.end()) reader.aborted.erase(ended);
    return true;
  }
  return batch.record_count() == 0 ||
         (batch.is_transactional() && std::any_of(reader.aborted.begin(), reader.aborted.end(), is_of));
}

// With what says where it was behind its own headers.
void StreamReaders::hand_on(StreamReader& reader, const RecordView& record) {
  if (record.offset < reader.from) return;
  const std::string_view topic = fan_out_.topic_of(*reader.topic, record, reader.fallback);
  const FollowOne& wanted = reader.wanted;
  if (!wanted.filter.empty() && !filter_matches(wanted.filter, topic)) return;
  const size_t value_bytes = record.value ? record.value->size() : 0;
  Buffer told;
  told.append(record.raw_headers);
  const auto add = [&](std::string_view name, std::string_view value) {
    BatchBuilder::append_header(told, name, as_bytes(value));
  };
  RecordView shown = record;
  // The key of what MQTT published is its topic, which is told, without a mountpoint.
  if (record.key && as_text(*record.key) != topic) {
    add(kStreamKeyHeader, as_text(*record.key));
    ++shown.header_count;
  }
  add(kStreamTimeHeader, time_text(record.timestamp_ms));
  add(kStreamPartitionHeader, std::to_string(reader.partition));
  add(kStreamOffsetHeader, std::to_string(record.offset));
  shown.header_count += 3;
  const size_t header_bytes = told.size();
  if (record.value) told.append(*record.value);
  const Bytes owner = told.take();
  shown.key.reset();
  shown.raw_headers = owner.span().first(header_bytes);
  if (record.value) shown.value = owner.span().subspan(header_bytes, value_bytes);
  const std::vector<uint32_t> ids(wanted.subscription_id != 0 ? 1 : 0, wanted.subscription_id);
  ++metrics_.stream_messages_delivered_total;
  connections_.at(reader.context->connection_id).pace.has_sent = true;
  DeliveryScratch scratch;
  reader.context->sink->on_delivery(Delivery{.topic = topic,
                                             .record = shown,
                                             .owner = owner,
                                             .qos_max = wanted.qos_max,
                                             .retain_as_published = wanted.retain_as_published,
                                             .subscription_ids = ids.empty() ? nullptr : &ids,
                                             .scratch = scratch});
}

void StreamReaders::fail(const ReaderPtr& reader, Code code) {
  if (code != Code::unknown_topic && code != Code::unknown_topic_id) return rest(*reader);
  reader->context->sink->on_notice(Notice::topic_deleted);
  if (!reader->is_over) end(reader);
}

}  // namespace robustmq::broker
