#include "broker/delayed_sender.h"

#include <algorithm>

#include "base/hash.h"
#include "base/wire.h"
#include "broker/session/spool_record.h"

namespace robustmq::broker {
namespace {

// As it is to be published now: a message expiry counts from when it was accepted. `is_marked`: with its key.
Message message_of(const DelayedMessage& each, Bytes& headers, int64_t now_ms, bool is_marked) {
  const DelayedRow& row = each.row;
  Message message{.topic = row.topic,
                  .payload = row.payload,
                  .raw_headers = row.raw_headers,
                  .header_count = row.header_count,
                  .wants_reply = true,
                  .qos = row.qos,
                  .retain = row.retain};
  if (row.expiry_s != 0) {
    const int64_t waited_s = std::clamp<int64_t>((now_ms - row.accepted_ms) / 1000, 0, row.expiry_s);
    // One that is over goes with what is left of its last second: it is in a batch already.
    message.expiry_s = std::max<uint32_t>(1, row.expiry_s - static_cast<uint32_t>(waited_s));
    headers = age_headers(row.raw_headers, row.header_count, message.expiry_s);
    message.raw_headers = headers;
  }
  if (is_marked) {
    Buffer marked;
    const std::string key = each.key.to_string();
    BatchBuilder::append_header(marked, kDelayedHeader, as_bytes(key));
    marked.append(message.raw_headers);
    headers = marked.take();
    message.raw_headers = headers;
    ++message.header_count;
  }
  return message;
}

}  // namespace

DelayedSender::DelayedSender(runtime::Core& core, Rows& rows, meta::Meta& meta, Publisher& publisher, RetainedHome& retained)
    : core_(core),
      rows_(rows),
      meta_(meta),
      publisher_(publisher),
      retained_(retained),
      timer_([](void* self) { static_cast<DelayedSender*>(self)->on_timer(); }, this) {}

void DelayedSender::send(DelayedMessage message) {
  const Publisher::StoredPlace place = publisher_.stored_place(message.row.topic);
  if (!place.stream && !place.is_light) return publish(std::move(message));
  LaneKey key = place.is_light ? LaneKey{{}, 0, message.row.topic} : LaneKey{place.stream->id, place.partition, {}};
  auto found = lanes_.find(key);
  if (found == lanes_.end()) {
    if (next_producer_ == producers_end_) {
      waiting_.push_back(std::move(message));
      return wait_for_producer();
    }
    auto lane = std::make_unique<Lane>();
    lane->key = key;
    lane->stream = place.stream;
    lane->producer = next_producer_++;
    found = lanes_.emplace(std::move(key), std::move(lane)).first;
  }
  found->second->queue.push_back(std::move(message));
  pump(*found->second);
}

// ---- What ends with the process ----

void DelayedSender::publish(DelayedMessage message) {
  auto kept = std::make_shared<DelayedMessage>(std::move(message));
  Context context;
  context.session = kept->row.client_id;
  Bytes headers;
  Publish request;
  request.messages.push_back(message_of(*kept, headers, core_.wall_now().ms, true));
  publisher_.publish(context, std::move(request), [this, alive = std::weak_ptr<bool>(alive_), kept](const Reply& reply) {
    if (alive.expired()) return;
    const auto* published = std::get_if<Published>(&reply);
    const Code code = published ? published->results[0].code : std::get<Error>(reply).code;
    if (code != Code::ok && is_retriable(code)) return done_(*kept, code);
    remove_row(kept, code);
  });
}

void DelayedSender::remove_row(std::shared_ptr<DelayedMessage> message, Code code) {
  std::string key = message->key.row_key();
  rows_.remove(std::move(key), [this, alive = std::weak_ptr<bool>(alive_), message, code](const Status& removed) {
    if (alive.expired()) return;
    // A row that stays: the next start finds the message in the spool, or publishes it again.
    if (removed.ok() && forget_) forget_({message->key.to_string()});
    done_(*message, code == Code::ok ? Status() : Status(code));
  });
}

// ---- What survives it ----

void DelayedSender::wait_for_producer() {
  if (std::exchange(is_waiting_for_producer_, true)) return;
  meta_.allocate_producer_ids([this, alive = std::weak_ptr<bool>(alive_)](Result<ProducerId> first) {
    if (alive.expired()) return;
    is_waiting_for_producer_ = false;
    if (first.ok()) {
      next_producer_ = *first;
      producers_end_ = *first + meta::Meta::kProducerIdBlock;
    }
    for (DelayedMessage& message : std::exchange(waiting_, {})) {
      if (first.ok())
        send(std::move(message));
      else
        done_(message, Code::overloaded);
    }
  });
}

void DelayedSender::recover(uint64_t number, DelayedBatchRow batch, std::vector<DelayedMessage> messages) {
  Lane& lane = *recovered_.emplace_back(std::make_unique<Lane>());
  lane.is_recovered = true;
  lane.stream = batch.light.empty() ? meta_.find(batch.topic) : nullptr;
  lane.key = {batch.topic, batch.partition, batch.light};
  lane.producer = batch.producer_id;
  lane.sequence = batch.sequence;
  lane.number = number;
  lane.batch = std::move(messages);
  // A stream that is gone took what it had with it.
  if (batch.light.empty() && !lane.stream) return remove_rows(lane, Code::unknown_topic);
  append(lane);
}

void DelayedSender::pump(Lane& lane) {
  if (lane.stage != Lane::Stage::idle || lane.queue.empty()) return;
  size_t bytes = 0;
  const size_t batch_max = lane.stream ? static_cast<size_t>(lane.stream->config.message_bytes_max) : kBatchBytes;
  const size_t bytes_max = std::min(kBatchBytes, batch_max / 2);
  while (!lane.queue.empty() && lane.batch.size() < kBatchMessages && (lane.batch.empty() || bytes < bytes_max)) {
    const DelayedRow& row = lane.queue.front().row;
    bytes += row.payload.size() + row.raw_headers.size() + 2 * row.topic.size() + 64;
    if (!lane.batch.empty() && bytes > bytes_max) break;
    lane.batch.push_back(std::move(lane.queue.front()));
    lane.queue.pop_front();
  }
  write_intent(lane);
}

void DelayedSender::write_intent(Lane& lane) {
  lane.stage = Lane::Stage::writing;
  lane.number = lane.batch.front().key.number;
  DelayedBatchRow row;
  std::tie(row.topic, row.partition, row.light) = lane.key;
  row.producer_id = lane.producer;
  row.sequence = lane.sequence;
  for (const DelayedMessage& message : lane.batch) {
    row.due_ms.push_back(message.key.due_ms);
    row.numbers.push_back(message.key.number);
  }
  rows_.put(delayed_batch_key(lane.number), encode_described(row),
            [this, alive = std::weak_ptr<bool>(alive_), &lane](Status status) {
              if (alive.expired()) return;
              if (!status.ok()) return finish(lane, status);
              append(lane);
            });
}

void DelayedSender::append(Lane& lane) {
  lane.stage = Lane::Stage::appending;
  const int64_t now_ms = core_.wall_now().ms;
  BatchBuilder builder;
  builder.set_producer(lane.producer, 0, lane.sequence);
  for (const DelayedMessage& each : lane.batch) {
    Bytes headers;
    const Message message = message_of(each, headers, now_ms, !lane.stream);
    if (lane.stream)
      Publisher::add_stream_record(builder, message, now_ms);
    else
      Publisher::add_light_record(builder, message, now_ms);
  }
  auto done = [this, alive = std::weak_ptr<bool>(alive_), &lane](Result<shard::Appended> appended) {
    if (!alive.expired()) on_appended(lane, std::move(appended));
  };
  if (lane.stream)
    publisher_.append_to_stream(lane.stream, std::get<1>(lane.key), builder.finish(), 0, std::move(done));
  else
    publisher_.append_to_light_here(std::get<2>(lane.key), builder.finish(), std::move(done));
}

void DelayedSender::on_appended(Lane& lane, Result<shard::Appended> appended) {
  if (appended.ok()) {
    lane.sequence = shard::sequence_after(lane.sequence, static_cast<int32_t>(lane.batch.size()));
    for (const DelayedMessage& message : lane.batch) retain(message);
    if (appended->is_repeat && !lane.stream) return owe_repeated(lane);
    return remove_rows(lane, {});
  }
  const Code code = appended.code();
  const bool is_sequence =
      code == Code::out_of_order_sequence || code == Code::duplicate_sequence || code == Code::fenced_producer;
  if (is_sequence) {
    // The shard knows the producer otherwise than it should: the next try is another's.
    lane.is_fenced = true;
    return remove_rows(lane, Code::overloaded);
  }
  if (code == Code::unknown_topic || !is_retriable(code)) return remove_rows(lane, code);
  retry_later(lane);
}

// The topic had the batch; the spool, which comes behind it, may not.
void DelayedSender::owe_repeated(Lane& lane) {
  BatchBuilder builder;
  const int64_t now_ms = core_.wall_now().ms;
  size_t count = 0;
  for (const DelayedMessage& each : lane.batch) {
    if (spooled_.contains(each.key)) continue;
    Bytes headers;
    Publisher::add_light_record(builder, message_of(each, headers, now_ms, true), now_ms);
    ++count;
  }
  if (count == 0) return remove_rows(lane, {});
  publisher_.owe_light_here(std::get<2>(lane.key), builder.finish(),
                            [this, alive = std::weak_ptr<bool>(alive_), &lane](const Status& owed) {
                              if (alive.expired()) return;
                              if (!owed.ok()) return retry_later(lane);
                              remove_rows(lane, {});
                            });
}

// Behind this the batch is over: published, or refused.
void DelayedSender::remove_rows(Lane& lane, Status result) {
  lane.stage = Lane::Stage::removing;
  storage::KvBatch gone;
  gone.remove(delayed_batch_key(lane.number));
  if (result.ok() || !is_retriable(result.code())) {
    for (const DelayedMessage& message : lane.batch) gone.remove(message.key.row_key());
  }
  rows_.write(std::move(gone), [this, alive = std::weak_ptr<bool>(alive_), &lane, result](const Status& removed) {
    if (alive.expired()) return;
    // Rows that stay: the next start finds the batch appended, or not, and goes on from there.
    if (removed.ok() && forget_ && !lane.stream) {
      std::vector<std::string> keys;
      for (const DelayedMessage& message : lane.batch) keys.push_back(message.key.to_string());
      forget_(keys);
    }
    finish(lane, result);
  });
}

void DelayedSender::finish(Lane& lane, const Status& result) {
  lane.stage = Lane::Stage::idle;
  for (DelayedMessage& message : std::exchange(lane.batch, {})) done_(message, result);
  // The topic is another, or the producer's time is over: what waits finds its place anew. A light topic's lane ends when it is
  // idle.
  const auto now = lane.stream ? meta_.find(lane.stream->id) : nullptr;
  const bool is_weaker = now && now->config.mode < meta::Mode::persistent;
  const bool is_over = lane.is_recovered || lane.is_fenced || is_weaker || result.code() == Code::unknown_topic;
  if (is_over || (!lane.stream && lane.queue.empty())) return end_lane(lane);
  pump(lane);
}

void DelayedSender::end_lane(Lane& lane) {
  std::deque<DelayedMessage> queue = std::exchange(lane.queue, {});
  if (lane.is_recovered) {
    std::erase_if(recovered_, [&](const auto& each) { return each.get() == &lane; });
  } else {
    const LaneKey key = lane.key;
    lanes_.erase(key);
  }
  for (DelayedMessage& message : queue) send(std::move(message));
}

void DelayedSender::retry_later(Lane& lane) {
  lane.waits = true;
  if (!timer_.is_armed()) core_.arm(timer_, core_.now() + Duration::millis(kRetryMs));
}

void DelayedSender::on_timer() {
  std::vector<Lane*> lanes;
  for (auto& [key, lane] : lanes_) {
    if (std::exchange(lane->waits, false)) lanes.push_back(lane.get());
  }
  for (auto& lane : recovered_) {
    if (std::exchange(lane->waits, false)) lanes.push_back(lane.get());
  }
  for (Lane* lane : lanes) append(*lane);
}

void DelayedSender::retain(const DelayedMessage& each) {
  const DelayedRow& row = each.row;
  if (!row.retain) return;
  Bytes headers;
  const Message message = message_of(each, headers, core_.wall_now().ms, false);
  if (retained_.check(message) != Code::ok) return;
  retained_.publish(message, row.client_id.empty() ? 0 : hash64(as_bytes(row.client_id)), [](const Status&) {});
}

}  // namespace robustmq::broker
