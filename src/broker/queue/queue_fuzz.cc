// Any bytes as a snapshot, then any changes and inputs: what is accepted is a queue, whose snapshot makes the same queue again.
#include "base/check.h"
#include "base/wire.h"
#include "broker/queue/queue.h"

using namespace robustmq;
using namespace robustmq::queue;

namespace {

void check_same(const QueueOptions& options, const Queue& one, Now now) {
  QueueMetrics metrics;
  Result<std::unique_ptr<Queue>> again = Queue::restore(options, metrics, nullptr, one.snapshot().span(), now);
  ROBUSTMQ_CHECK(again.ok(), again.error().detail.c_str());
  ROBUSTMQ_CHECK((*again)->fingerprint() == one.fingerprint(), "a snapshot makes another queue");
  ROBUSTMQ_CHECK((*again)->start() == one.start() && (*again)->end() == one.end(), "start or end changed");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  QueueOptions options;
  options.ranges_max = 64;
  options.in_flight_max = 100;
  options.is_death_confirmed = true;
  QueueMetrics metrics;
  Now now{{1'000'000'000}, {1'000'000}};
  ByteSpan rest(data, size);
  // Without an envelope it is inputs alone, from an empty queue.
  std::unique_ptr<Queue> queue = std::make_unique<Queue>(options, metrics, nullptr, 0);
  if (size > 0 && data[0] % 2 == 1) {
    Result<std::unique_ptr<Queue>> restored = Queue::restore(options, metrics, nullptr, rest.subspan(1), now);
    if (!restored.ok()) return 0;
    queue = std::move(*restored);
    queue->tick(now);
    check_same(options, *queue, now);
    rest = rest.last(std::min<size_t>(rest.size(), 32));
  }
  while (rest.size() >= 4) {
    const uint8_t verb = rest[0];
    const Offset at = queue->start() + rest[1];
    const int64_t length = rest[2] % 16;
    const uint8_t more = rest[3];
    rest = rest.subspan(4);
    if (queue->start() > INT64_MAX / 2 || queue->end() > INT64_MAX / 2) return 0;
    switch (verb % 12) {
      case 0: {
        const Offset first = queue->next_arrival() + more % 3;
        queue->arrive({.first = first,
                       .last = first + (verb > 128 ? 0 : length),
                       .lane = static_cast<uint8_t>(more % 40),
                       .group = verb > 128 ? std::string(1, static_cast<char>(more % 3)) : std::string(),
                       .not_before = {more % 5 == 0 ? now.wall.ms + length : 0},
                       .expires = {more % 7 == 0 ? now.wall.ms + more : 0}},
                      now);
        break;
      }
      case 1:
        queue->add_consumer({.id = more % 8u, .priority = verb, .filter = verb % 3u, .in_flight_max = length}, now);
        break;
      case 2:
        queue->remove_consumer(more % 8u, more % 2 == 0 ? Outcome::fail : Outcome::release, now);
        break;
      case 3:
        (void)queue->lease({.consumer = more % 8u, .messages_max = length, .is_waiting = verb > 128}, now);
        break;
      case 4:
        queue->credit(more % 8u, length, verb > 200, now);
        break;
      case 5:
      case 6:
        queue->settle({{more % 8u,
                        at,
                        at + length,
                        static_cast<Outcome>(verb / 12 % 5),
                        0,
                        {now.wall.ms + more},
                        more % 9 == 0 ? std::string("note") : std::string()}},
                      now);
        break;
      case 7:
        now.instant = now.instant + Duration::seconds(more);
        now.wall.ms += more;
        queue->tick(now);
        break;
      case 8:
        if (more % 4 == 0) queue->purge(at, now);
        if (more % 4 == 1) queue->trim(at, now);
        if (more % 4 == 2) queue->seek(at, now);
        break;
      case 9:
        more % 2 == 0 ? queue->pause() : queue->resume(now);
        break;
      case 10:
        queue->confirm_dead(at, at + length, now);
        break;
      case 11: {
        Delta delta{.kind = static_cast<Delta::Kind>(verb / 12 % 7), .first = at, .last = at + length, .acquired = more};
        if (queue->count(State::leased) == 0) (void)queue->replay(delta, now);
        break;
      }
    }
    queue->outputs() = {};
  }
  queue->tick(now);
  check_same(options, *queue, now);
  return 0;
}
