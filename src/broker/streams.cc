#include "broker/streams.h"

#include <algorithm>
#include <utility>

#include "broker/origin.h"

namespace robustmq::broker {

storage::Durability durability_of(meta::Mode mode) {
  if (mode == meta::Mode::persistent) return storage::Durability::synced;
  return mode == meta::Mode::hybrid ? storage::Durability::hybrid : storage::Durability::memory;
}

shard::ShardSettings settings_of(const meta::TopicConfig& config, const BrokerOptions& options) {
  shard::ShardSettings settings;
  settings.log_append_time = config.log_append_time;
  settings.batch_bytes_max = config.message_bytes_max;
  settings.log.segment_bytes = config.segment_bytes;
  settings.log.segment_ms = config.segment_ms;
  settings.log.retention_ms = meta::removes(config.cleanup_policy) ? config.retention_ms : -1;
  settings.log.retention_bytes = meta::removes(config.cleanup_policy) ? config.retention_bytes : -1;
  // What is still written to is not compacted.
  if (meta::compacts(config.cleanup_policy))
    settings.log.segment_ms = std::min(settings.log.segment_ms, config.compaction_lag_max_ms);
  settings.log.durability = durability_of(config.mode);
  settings.log.window_ms = config.flush_ms == INT64_MAX ? options.hybrid_window_ms : config.flush_ms;
  settings.log.window_bytes = options.hybrid_window_bytes;
  settings.log.window_records = config.flush_messages;
  return settings;
}

CoreIndex home_of(const ShardId& id, CoreIndex cores) {
  return cores == 1 ? 0 : static_cast<CoreIndex>((ShardIdHash{}(id) >> 16) % cores);
}

// Sessions that wait for messages of a durable stream are owed references to them; the stream's own batch comes behind. Those to
// what a transaction wrote are stored before its marker is appended.
bool Streams::Stream::on_appending(const ShardId& id, const Bytes& batch, uint64_t origin) {
  const bool is_behind = write_void(id, batch);
  if (BatchView(batch).is_transactional() || topic->config.mode != meta::Mode::persistent) return is_behind;
  const uint64_t ticket = fan_out.refer(topic, id, batch, origin);
  referred.emplace_back(BatchView(batch.span()).base_offset(), ticket);
  return is_behind || ticket != 0;
}

bool Streams::Stream::write_void(const ShardId& id, const Bytes& batch) {
  if (!void_from || void_ticket != 0) return false;
  void_ticket = fan_out.void_references(id, *void_from, BatchView(batch).leader_epoch());
  return true;
}

// Records of a transaction are handed out when it commits (hand_out).
void Streams::Stream::on_committed(const ShardId& id, const Bytes& batch, uint64_t origin) {
  if (void_from) {
    const bool is_told = void_ticket != 0 && !fan_out.has_failed(void_ticket);
    if (!is_told) {
      void_ticket = 0;
      write_void(id, batch);
    } else {
      void_from.reset();
      void_ticket = 0;
    }
  }
  if (BatchView(batch).is_transactional()) return;
  // As it was when the batch went to the log, whatever the mode is by now.
  const bool is_referred = !referred.empty() && referred.front().first == BatchView(batch.span()).base_offset();
  fan_out.stream(topic, id, batch, origin, is_referred, known);
  if (!is_referred) return;
  auto [base, ticket] = referred.front();
  referred.pop_front();
  if (ticket == 0) return;
  // The spool had refused them before the batch was on its way; what is stored is owed all the same.
  if (fan_out.has_failed(ticket)) ticket = fan_out.owe_again(topic, id, batch, origin);
  fan_out.finish_reference(id, base, &batch, ticket);
}

void Streams::Stream::on_failed(const ShardId& id, Offset base_offset) {
  void_ticket = 0;
  if (referred.empty() || referred.front().first != base_offset) return;
  const uint64_t ticket = referred.front().second;
  referred.pop_front();
  if (ticket == 0) return;
  if (!void_from || base_offset < *void_from) void_from = base_offset;
  fan_out.finish_reference(id, base_offset, nullptr, 0);
}

void Streams::Stream::end_references(const ShardId& id) {
  for (const auto& [base, ticket] : std::exchange(referred, {})) {
    if (ticket != 0) fan_out.finish_reference(id, base, nullptr, 0);
  }
}

uint64_t Streams::hand_out(const ShardId& id, const Bytes& batch, bool is_told) {
  const auto found = streams_.find(id);
  if (found == streams_.end()) return 0;
  Stream& stream = *found->second;
  if (is_told) return fan_out_.owe_again(stream.topic, id, batch, kSomeClient);
  // Its records are as durable as the mode says, whenever they came.
  const bool refers = stream.topic->config.mode == meta::Mode::persistent;
  const uint64_t ticket = refers ? fan_out_.refer(stream.topic, id, batch, kSomeClient) : 0;
  fan_out_.stream(stream.topic, id, batch, kSomeClient, refers, stream.known);
  if (ticket == 0) return fan_out_.owed_ticket();
  fan_out_.finish_reference(id, BatchView(batch).base_offset(), &batch, ticket);
  return ticket;
}

Streams::Streams(runtime::Core& core, FanOut& fan_out, const BrokerOptions& options, Engines engines, int64_t starts)
    : core_(core),
      fan_out_(fan_out),
      options_(options),
      starts_(starts),
      engine_(core, *engines.memory, *engines.persistent, starts << 32) {}

Streams::~Streams() { *alive_ = false; }

void Streams::end() {
  *alive_ = false;
  for (auto& [id, stream] : streams_) {
    if (stream->shard) stream->shard->end();
  }
}

void Streams::with(const std::shared_ptr<const meta::Topic>& topic, int32_t partition,
                   Callback<void(Result<shard::Shard*>)> use) {
  if (partition < 0 || partition >= topic->partitions) return use(Code::unknown_topic);
  if (!gone_.empty() && gone_.contains(topic->id)) return use(Code::unknown_topic);
  const ShardId id{topic->id, partition};
  auto& stream = streams_[id];
  if (!stream) {
    stream = std::make_unique<Stream>(fan_out_, topic);
    stream->waiting.push_back(std::move(use));
    return open(*stream, id);  // may end it at once
  }
  // Whoever came while it opened goes first.
  if (stream->is_opening || !stream->waiting.empty()) {
    stream->waiting.push_back(std::move(use));
    return;
  }
  use(stream->shard.get());
}

void Streams::open(Stream& stream, const ShardId& id) {
  stream.is_opening = true;
  shard::ShardSettings settings = broker::settings_of(stream.topic->config, options_);
  stream.opened_as = settings.log.durability = wanted_class(*stream.topic);
  engine_.open(id, settings.log, stream.topic->offset_floor,
               [this, alive = alive_, id, settings](Result<storage::OpenedLog> opened) {
                 if (!*alive) return;
                 const auto found = streams_.find(id);
                 if (found == streams_.end()) return;  // its topic went meanwhile
                 if (!opened) return finish_opening(id, opened.error());
                 auto epoch = static_cast<LeaderEpoch>(starts_);
                 auto made = std::make_unique<shard::Shard>(core_, id, opened.take(), epoch, settings);
                 made->set_commit_listener(found->second.get());
                 shard::Shard* shard = made.get();
                 found->second->shard = std::move(made);
                 shard->recover([this, alive, id](Status status) {
                   if (*alive) finish_opening(id, std::move(status));
                 });
               });
}

void Streams::finish_opening(const ShardId& id, Status status) {
  const auto found = streams_.find(id);
  if (found == streams_.end()) return;
  Stream& stream = *found->second;
  const storage::Durability wanted = wanted_class(*stream.topic);
  if (status.ok() && wanted != stream.opened_as) {
    stream.opened_as = wanted;
    return stream.shard->change(wanted, [this, alive = alive_, id](Status changed) {
      if (*alive && changed.code() != Code::shutting_down) finish_opening(id, std::move(changed));
    });
  }
  stream.is_opening = false;
  auto waiting = std::exchange(stream.waiting, {});
  if (!status.ok()) {
    auto gone = std::move(found->second);
    streams_.erase(found);  // the next use tries again
    for (auto& use : waiting) use(status.error());
    core_.post([gone = std::move(gone)] {});  // it may be on the stack
    return;
  }
  shard::Shard* shard = stream.shard.get();
  shard->configure(broker::settings_of(stream.topic->config, options_));  // they may have changed meanwhile
  for (auto& use : waiting) use(shard);
}

void Streams::remove(const meta::Topic& topic) {
  strengthened_.erase(topic.id);
  if (gone_.insert(topic.id).second) gone_first_.push_back(topic.id);
  if (gone_first_.size() > kGoneMax) {
    gone_.erase(gone_first_.front());
    gone_first_.pop_front();
  }
  for (int32_t partition = 0; partition < topic.partitions; ++partition) {
    const ShardId id{topic.id, partition};
    if (home_of(id, core_.count()) != core_.index()) continue;
    auto found = streams_.find(id);
    if (found != streams_.end()) {
      auto gone = std::move(found->second);
      streams_.erase(found);
      for (auto& use : std::exchange(gone->waiting, {})) use(Code::unknown_topic);
      // Its appends under way are answered with its end, and sessions wait for it no longer.
      gone->shard.reset();
      gone->end_references(id);
    }
    // A failed removal leaves bytes without an owner; they are found and removed at the next start.
    engine_.remove(id, [](Status) {});
  }
}

void Streams::changed(const std::shared_ptr<const meta::Topic>& topic) {
  for (auto at = streams_.lower_bound({topic->id, 0}); at != streams_.end() && at->first.topic == topic->id; ++at) {
    Stream& stream = *at->second;
    stream.topic = topic;
    if (stream.shard && !stream.is_opening) stream.shard->configure(broker::settings_of(topic->config, options_));
  }
}

storage::Durability Streams::wanted_class(const meta::Topic& topic) const {
  const storage::Durability of_mode = durability_of(topic.config.mode);
  const auto found = strengthened_.find(topic.id);
  return found == strengthened_.end() ? of_mode : std::max(of_mode, found->second);
}

void Streams::strengthen(const TopicId& topic, meta::Mode to, Callback<void(Status)> done) {
  strengthened_[topic] = durability_of(to);
  change_all(topic, std::move(done));
}

void Streams::settle(const TopicId& topic, Callback<void(Status)> done) {
  strengthened_.erase(topic);
  change_all(topic, std::move(done));
}

void Streams::change_all(const TopicId& topic, Callback<void(Status)> done) {
  struct Changing {
    Callback<void(Status)> done;
    Status status;
    size_t waiting = 1;
    void finish_one(Status result) {
      if (!result.ok()) status = std::move(result);
      if (--waiting == 0) done(std::move(status));
    }
  };
  auto changing = std::make_shared<Changing>();
  changing->done = std::move(done);
  std::vector<int32_t> partitions;
  for (auto at = streams_.lower_bound({topic, 0}); at != streams_.end() && at->first.topic == topic; ++at)
    partitions.push_back(at->first.partition);
  for (const int32_t partition : partitions) {
    const auto found = streams_.find({topic, partition});
    if (found == streams_.end()) continue;
    ++changing->waiting;
    with(found->second->topic, partition, [this, topic, partition, changing](Result<shard::Shard*> shard) {
      const auto stream = streams_.find({topic, partition});
      // One that cannot be opened takes nothing.
      if (!shard || stream == streams_.end()) return changing->finish_one({});
      (*shard)->change(wanted_class(*stream->second->topic),
                       [changing](Status status) { changing->finish_one(std::move(status)); });
    });
  }
  changing->finish_one({});
}

void Streams::seal(Callback<void(Status)> done) {
  struct Sealing {
    Callback<void(Status)> done;
    Status status;
    size_t waiting = 1;
    void finish_one(Status result) {
      if (!result.ok()) status = std::move(result);
      if (--waiting == 0) done(std::move(status));
    }
  };
  auto sealing = std::make_shared<Sealing>();
  sealing->done = std::move(done);
  for (auto& [id, stream] : streams_) {
    if (!stream->shard || stream->is_opening) continue;
    ++sealing->waiting;
    stream->shard->flush([sealing](Status status) { sealing->finish_one(std::move(status)); });
    if (!stream->shard->wants_seal()) continue;
    ++sealing->waiting;
    stream->shard->seal([sealing](Status status) { sealing->finish_one(std::move(status)); });
  }
  sealing->finish_one({});
}

void Streams::retain(WallTime now) {
  for (auto& [id, stream] : streams_) {
    if (stream->shard && !stream->is_opening) stream->shard->retain(now);
  }
}

}  // namespace robustmq::broker
