// Topics: a change of a topic's mode. First every shard of it gets the class of the new mode where that is the stronger one, with
// all that it holds; then the catalog says so; then every shard gets the class of the catalog's mode. So whatever ends the change
// in between leaves shards that are at least as durable as the mode says, and who is answered finds the new class everywhere.
#include "broker/topic_modes.h"

#include <utility>

namespace robustmq::broker {

void Topics::change_mode(std::shared_ptr<ModeChange> change) {
  auto& queue = mode_changes_[change->topic];
  queue.push_back(change);
  if (queue.size() == 1) run_mode_change(change);
}

void Topics::run_mode_change(const std::shared_ptr<ModeChange>& change) {
  const TopicId id = change->topic;
  on_all_streams(
      [id, to = change->to](Streams& streams, Callback<void(Status)> done) { streams.strengthen(id, to, std::move(done)); },
      [this, change](const Status& status) {
        if (!status.ok()) return end_mode_change(change, status.error());
        meta_.configure_topic(
            change->topic, change->changes, change->replaces_all,
            [this, change](Result<std::shared_ptr<const meta::Topic>> result) { end_mode_change(change, std::move(result)); });
      });
}

// A shard that does not get the weaker class keeps the stronger one.
void Topics::end_mode_change(const std::shared_ptr<ModeChange>& change, Result<std::shared_ptr<const meta::Topic>> result) {
  auto kept = std::make_shared<Result<std::shared_ptr<const meta::Topic>>>(std::move(result));
  on_all_streams([id = change->topic](Streams& streams, Callback<void(Status)> done) { streams.settle(id, std::move(done)); },
                 [this, change, kept](const Status&) {
                   core_.send(change->asker, [change, kept] { change->done(std::move(*kept)); });
                   const auto queue = mode_changes_.find(change->topic);
                   queue->second.pop_front();
                   if (queue->second.empty())
                     mode_changes_.erase(queue);
                   else
                     run_mode_change(queue->second.front());
                 });
}

// Asks every core's streams; `done` on this one, with ok or an error of one of them.
void Topics::on_all_streams(Callback<void(Streams&, Callback<void(Status)>)> ask, Callback<void(Status)> done) {
  struct Asking {
    Callback<void(Streams&, Callback<void(Status)>)> ask;
    Callback<void(Status)> done;
    Status status;
    size_t waiting = 0;
  };
  auto asking = std::make_shared<Asking>();
  asking->ask = std::move(ask);
  asking->done = std::move(done);
  asking->waiting = peers_.size();
  for (Topics* peer : peers_) {
    core_.send(peer->core_.index(), [this, peer, asking] {
      asking->ask(peer->streams_, [this, peer, asking](Status status) {
        peer->core_.send(core_.index(), [asking, status = std::move(status)] {
          if (!status.ok()) asking->status = status;
          if (--asking->waiting == 0) asking->done(std::move(asking->status));
        });
      });
    });
  }
}

}  // namespace robustmq::broker
