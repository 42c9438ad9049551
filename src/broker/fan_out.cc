#include "broker/fan_out.h"

#include "base/topic_names.h"
#include "broker/origin.h"
#include "broker/session/spools.h"
#include "shard/record_reader.h"

namespace robustmq::broker {
namespace {

// A batch decoded for followers costs at most this much memory; a larger one is counted as undecodable.
constexpr size_t kDecodedBytesMax = 128 << 20;

SpoolRef begin_of(const ShardId& shard, const BatchView& batch) { return {shard, batch.base_offset(), batch.leader_epoch()}; }

// A client's batch that it may send again, and that a shard then knows.
bool may_be_repeated(const BatchView& batch, uint64_t origin) {
  return origin != 0 && batch.producer_id() >= 0 && !batch.is_transactional();
}

}  // namespace

bool FanOut::light(std::string_view topic, const ShardId* shard, const Bytes& batch, uint64_t full_origin, FollowedHere& known) {
  const uint64_t origin = connection_of(full_origin);
  if (known.generation != generation()) {
    known.generation = generation();
    known.is_shared = shared_.groups_of(topic) != nullptr;
    known.targets = follows_.find_targets(topic);
    known.other_cores = interest_.cores_of(topic);
  }
  for (uint64_t left = known.other_cores; left != 0; left &= left - 1) {
    FanOut* peer = peers_[static_cast<size_t>(__builtin_ctzll(left))];
    core_.send(static_cast<CoreIndex>(__builtin_ctzll(left)),
               [peer, topic = std::string(topic), batch, origin] { peer->receive_light(topic, batch, origin); });
  }
  const bool is_owed = spools_ && spools_->is_used() && owe_light(topic, shard, batch, full_origin);
  const bool is_followed = is_owed || known.targets != nullptr || known.other_cores != 0 || known.is_shared;
  const bool is_shared = known.is_shared;
  // Held for the length of the call: a delivery may change what is known.
  if (const std::shared_ptr<const Targets> targets = known.targets) deliver_light(topic, *targets, batch, origin);
  if (is_shared) share_light(topic, batch, origin);
  return is_followed;
}

void FanOut::share_light(std::string_view topic, const Bytes& batch, uint64_t origin) {
  if (BatchView(batch.span()).is_control()) return;
  Result<shard::OpenedRecords> opened = shard::open_records(batch, kDecodedBytesMax);
  if (!opened) {
    ++metrics_.batches_undecodable_total;
    return;
  }
  RecordView record;
  while (opened->records.next(record)) shared_.give(topic, record, opened->owner, origin);
  shared_.flush();
}

void FanOut::share_stream(const meta::Topic& topic, const Bytes& batch, uint64_t origin) {
  if (BatchView(batch.span()).is_control()) return;
  Result<shard::OpenedRecords> opened = shard::open_records(batch, kDecodedBytesMax);
  if (!opened) {
    ++metrics_.batches_undecodable_total;
    return;
  }
  const std::string fallback = mqtt_name_of_kafka(topic.name);
  RecordView record;
  while (opened->records.next(record)) shared_.give(topic_of(topic, record, fallback), record, opened->owner, origin);
  shared_.flush();
}

void FanOut::receive_light(const std::string& topic, const Bytes& batch, uint64_t origin) {
  if (const auto targets = follows_.targets_of(topic)) deliver_light(topic, *targets, batch, origin);
}

void FanOut::deliver_light(std::string_view topic, const Targets& targets, const Bytes& batch, uint64_t origin) {
  const BatchView header(batch.span());
  if (header.is_control()) return;
  RecordView record;
  if (header.compression() == Compression::none) {
    RecordReader records(header, header.records());
    while (records.next(record)) follows_.deliver(targets, topic, record, batch, origin);
    if (records.is_malformed()) ++metrics_.batches_undecodable_total;
    return;
  }
  Result<shard::OpenedRecords> opened = shard::open_records(batch, kDecodedBytesMax);
  if (!opened) {
    ++metrics_.batches_undecodable_total;
    return;
  }
  while (opened->records.next(record)) follows_.deliver(targets, topic, record, opened->owner, origin);
}

bool FanOut::is_stream_followed(const meta::Topic& topic, bool by_others) const {
  if (by_others ? interest_.empty() : follows_.empty()) return false;
  return may_match(topic,
                   [&](std::string_view filter) { return by_others ? interest_.overlaps(filter) : follows_.overlaps(filter); });
}

bool FanOut::is_wanted(const meta::Topic& topic) const {
  const auto is_owed = [&](std::string_view filter) { return spools_->mine().owed().overlaps(filter); };
  if (spools_ && spools_->is_used() && may_match(topic, is_owed)) return true;
  if (is_stream_followed(topic, false) || is_stream_followed(topic, true)) return true;
  return !shared_.empty() && may_match(topic, [&](std::string_view filter) { return shared_.overlaps(filter); });
}

bool FanOut::is_wanted_light(std::string_view topic) const {
  if (spools_ && spools_->is_used() && spools_->mine().owed().overlaps(topic)) return true;
  return interest_.cores_of(topic) != 0 || follows_.find_targets(topic) != nullptr || shared_.groups_of(topic) != nullptr;
}

void FanOut::ask_ready(std::string topic, Callback<void(bool)> done) {
  struct Asking {
    Callback<void(bool)> done;
    size_t waiting = 1;
    bool is_ready = true;
    void take(bool ready) {
      is_ready &= ready;
      if (--waiting == 0) done(is_ready);
    }
  };
  auto asking = std::make_shared<Asking>();
  asking->done = std::move(done);
  for (uint64_t left = interest_.cores_of(topic); left != 0; left &= left - 1) {
    const auto core = static_cast<CoreIndex>(__builtin_ctzll(left));
    ++asking->waiting;
    core_.send(core, [peer = peers_[core], back = core_.index(), topic, asking] {
      peer->core_.send(back, [asking, ready = peer->follows_.are_ready(topic)] { asking->take(ready); });
    });
  }
  core_.post([this, topic = std::move(topic), asking] { asking->take(follows_.are_ready(topic)); });
}

template <class Overlaps>
bool FanOut::may_match(const meta::Topic& topic, Overlaps&& overlaps) const {
  if (overlaps(mqtt_name_of_kafka(topic.name))) return true;
  return rules_.any_of(topic.name, overlaps);
}

void FanOut::stream(const std::shared_ptr<const meta::Topic>& topic, const ShardId& shard, const Bytes& batch,
                    uint64_t full_origin, bool is_referred, FollowedHere& known) {
  const uint64_t origin = connection_of(full_origin);
  if (known.generation != generation()) {
    known.generation = generation();
    known.is_shared = !shared_.empty() && may_match(*topic, [&](std::string_view filter) { return shared_.overlaps(filter); });
    known.is_followed = is_stream_followed(*topic, false);
    known.other_cores = 0;
    if (is_stream_followed(*topic, true)) {
      for (size_t core = 0; core < peers_.size(); ++core) {
        if (core != core_.index()) known.other_cores |= uint64_t{1} << core;
      }
    }
  }
  for (uint64_t left = known.other_cores; left != 0; left &= left - 1) {
    FanOut* peer = peers_[static_cast<size_t>(__builtin_ctzll(left))];
    core_.send(static_cast<CoreIndex>(__builtin_ctzll(left)), [peer, topic, batch, origin] {
      if (peer->is_stream_followed(*topic, false)) peer->deliver_stream(*topic, batch, origin);
    });
  }
  const bool is_shared = known.is_shared;
  if (spools_ && spools_->is_used()) {
    spools_->set_current(0);
    if (!is_referred) owe_stream(*topic, shard, false, batch, full_origin);
  }
  if (known.is_followed) deliver_stream(*topic, batch, origin);
  if (is_shared) share_stream(*topic, batch, origin);
}

// ---- What stored sessions are owed ----

bool FanOut::owe_light(std::string_view topic, const ShardId* shard, const Bytes& batch, uint64_t origin) {
  spools_->set_current(0);
  if (BatchView(batch.span()).is_control()) return false;
  Result<shard::OpenedRecords> opened = shard::open_records(batch, kDecodedBytesMax);
  if (!opened) return false;  // counted when it is delivered
  Spool& spool = spools_->mine();
  bool is_owed = false;
  RecordView record;
  while (opened->records.next(record)) is_owed |= spool.add(topic, record, origin, std::nullopt);
  const BatchView header(batch);
  if (is_owed && shard && may_be_repeated(header, origin)) spool.end_batch(begin_of(*shard, header));
  if (is_owed) spools_->set_current(spool.ticket());
  return is_owed;
}

uint64_t FanOut::owed_ticket() const { return spools_ && spools_->is_used() ? spools_->current() : 0; }

void FanOut::when_owed(uint64_t ticket, Callback<void(Status)> done) { spools_->mine().when_stored(ticket, std::move(done)); }

bool FanOut::owe_stream(const meta::Topic& topic, const ShardId& shard, bool is_referred, const Bytes& batch, uint64_t origin) {
  const BatchView header(batch.span());
  if (header.is_control()) return false;
  Result<shard::OpenedRecords> opened = shard::open_records(batch, kDecodedBytesMax);
  if (!opened) return false;
  Spool& spool = spools_->mine();
  const std::string fallback = mqtt_name_of_kafka(topic.name);
  bool is_owed = false;
  RecordView record;
  while (opened->records.next(record)) {
    std::optional<SpoolRef> ref;
    if (is_referred) ref = SpoolRef{shard, record.offset, header.leader_epoch()};
    is_owed |= spool.add(topic_of(topic, record, fallback), record, origin, ref);
  }
  if (is_owed && may_be_repeated(header, origin)) spool.end_batch(begin_of(shard, header));
  if (is_owed) spools_->set_current(spool.ticket());
  return is_owed;
}

uint64_t FanOut::refer(const std::shared_ptr<const meta::Topic>& topic, const ShardId& shard, const Bytes& batch,
                       uint64_t origin) {
  if (!spools_ || !spools_->is_used()) return 0;
  Spool& spool = spools_->mine();
  if (!owe_stream(*topic, shard, true, batch, origin)) return 0;
  const uint64_t ticket = spool.ticket();
  spool.begin_reference(shard, BatchView(batch.span()).base_offset());
  spool.flush();
  return ticket;
}

void FanOut::finish_reference(const ShardId& shard, Offset base, const Bytes* batch, uint64_t ticket) {
  spools_->mine().finish_reference(shard, base, batch);
  spools_->set_current(ticket);
}

uint64_t FanOut::void_references(const ShardId& shard, Offset from, LeaderEpoch epoch) {
  Spool& spool = spools_->mine();
  spool.add_void({shard, from, epoch});
  const uint64_t ticket = spool.ticket();
  spool.flush();
  return ticket;
}

bool FanOut::has_failed(uint64_t ticket) const { return spools_->mine().outcome_of(ticket) == Spool::Outcome::failed; }

uint64_t FanOut::owe_again(const std::shared_ptr<const meta::Topic>& topic, const ShardId& shard, const Bytes& batch,
                           uint64_t origin) {
  if (!spools_ || !spools_->is_used()) return 0;
  Spool& spool = spools_->mine();
  if (const auto known = spool.find_batch(begin_of(shard, BatchView(batch)))) return *known;
  if (!owe_stream(*topic, shard, topic->config.mode == meta::Mode::persistent, batch, origin)) return 0;
  const uint64_t ticket = spool.ticket();
  spool.flush();
  return ticket;
}

uint64_t FanOut::owe_light_again(std::string_view topic, const ShardId& shard, const Bytes& batch, uint64_t origin) {
  if (!spools_ || !spools_->is_used()) return 0;
  if (const auto known = spools_->mine().find_batch(begin_of(shard, BatchView(batch)))) return *known;
  return owe_light(topic, &shard, batch, origin) ? spools_->current() : 0;
}

Offset FanOut::kept_from(const ShardId& shard) const { return spools_ ? spools_->kept_from(shard) : INT64_MAX; }

std::string_view FanOut::topic_of(const meta::Topic& topic, const RecordView& record, const std::string& fallback) const {
  if (record.header_count == 0) return fallback;
  HeaderReader headers(record);
  HeaderView header;
  while (headers.next(header)) {
    if (header.key != "mqtt.topic" || !header.value) continue;
    const std::string_view name = as_text(*header.value);
    if (name == fallback) return fallback;
    if (!is_valid_topic_name(name)) return fallback;
    const bool is_of_rule = rules_.any_of(topic.name, [&](std::string_view filter) { return filter_matches(filter, name); });
    return is_of_rule ? name : fallback;
  }
  return fallback;
}

void FanOut::deliver_stream(const meta::Topic& topic, const Bytes& batch, uint64_t origin) {
  if (BatchView(batch.span()).is_control()) return;
  Result<shard::OpenedRecords> opened = shard::open_records(batch, kDecodedBytesMax);
  if (!opened) {
    ++metrics_.batches_undecodable_total;
    return;
  }
  const std::string fallback = mqtt_name_of_kafka(topic.name);
  RecordView record;
  while (opened->records.next(record)) {
    const std::string_view name = topic_of(topic, record, fallback);
    if (const auto targets = follows_.targets_of(name)) follows_.deliver(*targets, name, record, opened->owner, origin);
  }
}

}  // namespace robustmq::broker
