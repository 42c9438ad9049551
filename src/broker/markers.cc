#include "broker/markers.h"

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
    : core_(core), locator_(locator), fan_out_(fan_out), streams_(streams), lights_(lights), metrics_(metrics) {}

Markers::~Markers() { *alive_ = false; }

void Markers::write(const Located& topic, int32_t partition, const shard::Marker& marker, Callback<void(Status)> done) {
  const CoreIndex home = locator_.home(topic, partition);
  if (home == core_.index()) return begin(std::make_shared<Job>(Job{topic, partition, marker, -1, std::move(done)}));
  Markers* peer = peers_[home];
  core_.send(home, [peer, topic, partition, marker, back = core_.index(), done = std::move(done)]() mutable {
    auto answer = [peer, back, done = std::move(done)](Status status) mutable {
      peer->core_.send(back, [done = std::move(done), status = std::move(status)]() mutable { done(std::move(status)); });
    };
    peer->begin(std::make_shared<Job>(Job{std::move(topic), partition, marker, -1, std::move(answer)}));
  });
}

void Markers::finish(Job& job, Status status) {
  ++(status.ok() ? metrics_.markers_written_total : metrics_.markers_failed_total);
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
  const std::optional<Offset> first = shard.open_since(job->marker.producer);
  if (!job->marker.commits || !first || !is_wanted(job->topic, shard.id())) return append(job);
  const shard::ShardBounds bounds = shard.bounds();
  if (job->until < 0) job->until = bounds.log_end;
  if (bounds.high_watermark < job->until && !shard.has_failed()) {  // some of it is still being appended
    waiters_.push_back(std::make_unique<Waiter>(*this, job));
    return shard.watch(*waiters_.back());
  }
  shard.read_batches(
      *first, bounds.high_watermark,
      [this, alive = alive_, id = shard.id(), is_stream = job->topic.stream != nullptr,
       producer = job->marker.producer](ByteSpan bytes) {
        const BatchView batch(bytes);
        if (!*alive) return Status(Code::shutting_down);
        if (batch.producer_id() != producer || !batch.is_transactional() || batch.is_control()) return Status();
        const Bytes copy = Bytes::copy_of(bytes);
        if (is_stream)
          streams_.hand_out(id, copy);
        else
          lights_.hand_out(id.topic, copy);
        return Status();
      },
      [this, alive = alive_, job](const Status& status) {
        if (!*alive) return;
        // A log that cannot be read is not kept from going on.
        if (status.code() == Code::shutting_down) return finish(*job, status);
        append(job);
      });
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
