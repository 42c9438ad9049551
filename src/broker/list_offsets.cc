// Fetcher's other question: offsets by time and by name, each asked of the shard's home.
#include <utility>

#include "broker/fetcher.h"

namespace robustmq::broker {
namespace {

using What = ListOffsetsPartition::What;
using Answer = Callback<void(ListedOffset)>;

// On the shard's home core.
void ask(shard::Shard& shard, const ListOffsetsPartition& wanted, Answer answer) {
  if (const Code code = check_epoch(wanted.current_leader_epoch, shard); code != Code::ok) return answer({code, -1, -1, -1});
  const shard::ShardBounds bounds = shard.bounds();
  Callback<void(Result<shard::TimedOffset>)> done = [answer = std::move(answer)](Result<shard::TimedOffset> found) mutable {
    if (!found) return answer({found.code(), -1, -1, -1});
    answer({Code::ok, found->offset, found->timestamp_ms, found->leader_epoch});
  };
  switch (wanted.what) {
    case What::earliest:
    case What::earliest_local:
      return done(shard::TimedOffset{bounds.log_start, -1, bounds.leader_epoch});
    case What::latest:
      return done(shard::TimedOffset{bounds.high_watermark, -1, bounds.leader_epoch});
    case What::latest_tiered:  // nothing is tiered here: no such offset
    case What::earliest_pending_upload:
      return done(shard::TimedOffset{});
    case What::max_timestamp:
      return shard.find_max_time(std::move(done));
    case What::at_time:
      return shard.find_by_time(wanted.timestamp_ms, std::move(done));
  }
}

struct Gathering {
  ListedOffsets reply;
  ReplyTo done;
  size_t waiting = 1;  // the asking itself

  void finish_one() {
    if (--waiting == 0) done(std::move(reply));
  }
};

}  // namespace

void Fetcher::list_offsets(ListOffsets request, ReplyTo done) {
  auto gathering = std::make_shared<Gathering>();
  gathering->done = std::move(done);
  gathering->reply.partitions.resize(request.partitions.size());
  gathering->waiting += request.partitions.size();
  for (size_t i = 0; i < request.partitions.size(); ++i) {
    const ListOffsetsPartition wanted = request.partitions[i];
    const Located topic = locator_.locate(request.topics[static_cast<size_t>(wanted.topic_index)]);
    const CoreIndex home = locator_.home(topic, wanted.partition);
    Answer take = [gathering, i](ListedOffset row) {
      gathering->reply.partitions[i] = row;
      gathering->finish_one();
    };
    if (home == core_.index()) {
      locator_.with_shard(topic, wanted.partition, [wanted, take = std::move(take)](Result<shard::Shard*> shard) mutable {
        if (!shard) return take({shard.code(), -1, -1, -1});
        ask(**shard, wanted, std::move(take));
      });
      continue;
    }
    Fetcher* peer = peers_[home];
    core_.send(home, [this, peer, topic, wanted, take = std::move(take)]() mutable {
      peer->locator_.with_shard(topic, wanted.partition,
                                [this, peer, wanted, take = std::move(take)](Result<shard::Shard*> shard) mutable {
                                  Answer back = [this, peer, take = std::move(take)](ListedOffset row) mutable {
                                    peer->core_.send(core_.index(), [take = std::move(take), row]() mutable { take(row); });
                                  };
                                  if (!shard) return back({shard.code(), -1, -1, -1});
                                  ask(**shard, wanted, std::move(back));
                                });
    });
  }
  gathering->finish_one();
}

}  // namespace robustmq::broker
