#include "broker/markers.h"

#include "base/failpoint.h"
#include "base/topic_names.h"

#include <algorithm>
#include <utility>

namespace robustmq::broker {

// Told in a later turn: the shard is in the middle of a commit, or of its end.
struct Markers::Waiter final : shard::Watcher {
  Waiter(Markers& owner_in, std::shared_ptr<Job> job_in) : owner(owner_in), job(std::move(job_in)) {}
  void on_shard_moved() override {
    owner.core_.post([&markers = owner, alive = owner.alive_, self = this] {
      if (!*alive) return;
      const std::shared_ptr<Job> again = self->job;
      markers.waiters_.remove_if([self](const auto& each) { return each.get() == self; });
      markers.begin(again);
    });
  }
  Markers& owner;
  std::shared_ptr<Job> job;
};

Markers::Markers(runtime::Core& core, Locator& locator, FanOut& fan_out, Streams& streams, LightTopics& lights,
                 TransactionMetrics& metrics)
    : core_(core),
      locator_(locator),
      fan_out_(fan_out),
      streams_(streams),
      lights_(lights),
      metrics_(metrics),
      timer_([](void* self) { static_cast<Markers*>(self)->on_timer(); }, this) {}

Markers::~Markers() { *alive_ = false; }

std::shared_ptr<Markers::Job> Markers::make_job(const Located& topic, int32_t partition, const shard::Marker& marker,
                                                Callback<void(Status)> done) {
  auto job = std::make_shared<Job>();
  job->topic = topic;
  job->partition = partition;
  job->marker = marker;
  job->done = std::move(done);
  return job;
}

void Markers::write(const Located& topic, int32_t partition, const shard::Marker& marker, Callback<void(Status)> done) {
  const CoreIndex home = locator_.home(topic, partition);
  if (home == core_.index()) return begin(make_job(topic, partition, marker, std::move(done)));
  Markers* peer = peers_[home];
  core_.send(home, [peer, topic, partition, marker, back = core_.index(), done = std::move(done)]() mutable {
    auto answer = [peer, back, done = std::move(done)](Status status) mutable {
      peer->core_.send(back, [done = std::move(done), status = std::move(status)]() mutable { done(std::move(status)); });
    };
    peer->begin(make_job(topic, partition, marker, std::move(answer)));
  });
}

// What is to be tried again keeps what it has handed out.
void Markers::finish(Job& job, Status status) {
  ++(status.ok() ? metrics_.markers_written_total : metrics_.markers_failed_total);
  const Code code = status.code();
  if (code != Code::storage_full && code != Code::storage_failed && code != Code::shutting_down)
    handed_out_.erase({job.id, job.marker.producer});
  job.done(std::move(status));
}

void Markers::begin(const std::shared_ptr<Job>& job) {
  const Located topic = job->topic;
  locator_.with_shard(topic, job->partition, [this, job](Result<shard::Shard*> shard) {
    if (!shard) return finish(*job, shard.error());
    go_on(**shard, job);
  });
}

void Markers::go_on(shard::Shard& shard, const std::shared_ptr<Job>& job) {
  job->id = shard.id();
  const std::optional<Offset> first = shard.open_since(job->marker.producer);
  if (!job->marker.commits || !first || !is_wanted(job->topic, job->id)) return finish_part(job);
  const shard::ShardBounds bounds = shard.bounds();
  // What could not be stored does not come any more.
  job->until = job->until < 0 ? bounds.log_end : std::min(job->until, bounds.log_end);
  if (bounds.high_watermark < job->until && !shard.has_failed()) {  // some of it is still being appended
    waiters_.push_back(std::make_unique<Waiter>(*this, job));
    return shard.watch(*waiters_.back());
  }
  HandedOut& known = handed_out_[{job->id, job->marker.producer}];
  if (known.first != *first) known = {*first, *first, *first};
  if (job->read < 0) job->read = std::min(known.told, known.owed);
  shard.read_batches(
      job->read, std::min(job->until, bounds.high_watermark),
      [this, alive = alive_, job](ByteSpan bytes) {
        if (!*alive) return Status(Code::shutting_down);
        job->is_part = job->turn_records >= kTurnRecordsMax || job->turn_bytes >= kTurnBytesMax;
        if (job->is_part) return Status(Code::overloaded);  // only to end it
        hand_out(job, bytes);
        return Status();
      },
      [this, alive = alive_, job](const Status& status) {
        if (!*alive) return;
        // A log that cannot be read is not kept from going on.
        if (status.code() == Code::shutting_down) return finish(*job, status);
        if (std::exchange(job->is_part, false)) return pause(job);
        finish_part(job);
      });
}

void Markers::hand_out(const std::shared_ptr<Job>& job, ByteSpan bytes) {
  const BatchView batch(bytes);
  job->read = batch.next_offset();
  if (batch.producer_id() != job->marker.producer || !batch.is_transactional() || batch.is_control()) return;
  const auto found = handed_out_.find({job->id, job->marker.producer});
  if (found == handed_out_.end()) return;  // another marker has ended it meanwhile
  HandedOut& known = found->second;
  const bool is_told = batch.base_offset() < known.told;
  if (is_told && batch.base_offset() < known.owed) return;
  const Bytes copy = Bytes::copy_of(bytes);
  job->turn_records += static_cast<size_t>(std::max(batch.record_count(), 0));
  job->turn_bytes += bytes.size();
  if (!is_told) known.told = batch.next_offset();
  const uint64_t ticket =
      job->topic.stream ? streams_.hand_out(job->id, copy, is_told) : lights_.hand_out(job->id.topic, copy, is_told);
  if (ticket == 0) return;
  ++job->waiting;
  fan_out_.when_owed(ticket, [this, alive = alive_, job, base = batch.base_offset()](const Status& status) {
    if (!*alive) return;
    if (!status.ok() && base < job->not_owed) {
      job->not_owed = base;
      job->status = status;
    }
    finish_part(job);
  });
}

// Between two parts.
void Markers::pause(const std::shared_ptr<Job>& job) {
  job->turn_records = 0;
  job->turn_bytes = 0;
  const LightTopic* light = job->topic.stream ? nullptr : lights_.find(job->id.topic);
  std::string name = light ? std::string(light->name()) : std::string();
  if (job->topic.stream) name = mqtt_name_of_kafka(job->topic.stream->name);
  fan_out_.ask_ready(std::move(name), [this, alive = alive_, job](bool is_ready) {
    if (!*alive) return;
    if (is_ready || job->pauses_left == 0) return begin(job);
    --job->pauses_left;
    paused_.push_back(job);
    core_.arm(timer_, core_.now() + Duration::millis(kPauseMs));
  });
}

void Markers::on_timer() {
  for (const std::shared_ptr<Job>& job : std::exchange(paused_, {})) pause(job);
}

// The reading is over, or some of what sessions are owed is stored, or could not be.
void Markers::finish_part(const std::shared_ptr<Job>& job) {
  if (--job->waiting > 0) return;
  const auto known = handed_out_.find({job->id, job->marker.producer});
  if (known != handed_out_.end()) known->second.owed = std::max(known->second.owed, std::min(job->read, job->not_owed));
  if (!job->status.ok()) return finish(*job, std::move(job->status));
  failpoint("transaction_handed_out");
  append(job);
}

void Markers::append(const std::shared_ptr<Job>& job) {
  const Located topic = job->topic;
  locator_.with_shard(topic, job->partition, [this, job](Result<shard::Shard*> shard) {
    if (!shard) return finish(*job, shard.error());
    (*shard)->end_transaction(job->marker, [this, alive = alive_, job](Status status) {
      if (*alive) finish(*job, std::move(status));
    });
  });
}

bool Markers::is_wanted(const Located& topic, const ShardId& id) const {
  if (topic.stream) return fan_out_.is_wanted(*topic.stream);
  const LightTopic* light = lights_.find(id.topic);
  return light && fan_out_.is_wanted_light(light->name());
}

}  // namespace robustmq::broker
