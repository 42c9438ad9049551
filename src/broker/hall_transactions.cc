// Hall: what transactions append and end. Batches of a transaction go to their shards by way of core 0, where the coordinator
// says whether they may; so they come before the markers, which come from there too.
#include <utility>

#include "broker/hall.h"

#include "base/failpoint.h"
#include "broker/gathering.h"

namespace robustmq::broker {

void Hall::produce_in_transaction(TransactionalProduce request) {
  DescribeTopics lights;
  for (const TransactionalBatch& each : request.batches) {
    if (!each.at.stream) lights.topics.push_back(each.topic);
  }
  const auto go = [this](TransactionalProduce named) {
    if (core_.index() == 0) return produce_in_transaction_home(std::move(named));
    core_.send(0,
               [home = halls_[0], named = std::move(named)]() mutable { home->produce_in_transaction_home(std::move(named)); });
  };
  if (lights.topics.empty()) return go(std::move(request));
  topics_.describe(std::move(lights), [go, request = std::move(request)](Reply reply) mutable {
    const auto* rows = std::get_if<DescribedTopics>(&reply);
    size_t next = 0;
    for (TransactionalBatch& each : request.batches) {
      if (each.at.stream) continue;
      const DescribedTopic* row = rows && next < rows->topics.size() ? &rows->topics[next++] : nullptr;
      const bool is_there = row && row->code == Code::ok && row->facts.is_light;
      // An id of no topic is that, whatever the transaction says of the rest.
      if (!is_there && !each.topic.id.is_zero()) {
        std::exchange(each.done, {})(Code::unknown_topic_id);
        continue;
      }
      each.topic = is_there ? TopicRef{row->facts.name, row->facts.id} : TopicRef{};
      each.at.light = each.topic;
    }
    std::erase_if(request.batches, [](const TransactionalBatch& each) { return !each.done; });
    if (!request.batches.empty()) go(std::move(request));
  });
}

// On core 0. Who asked is answered on its own core.
void Hall::produce_in_transaction_home(TransactionalProduce request) {
  const auto refuse = [this, asker = request.asker](TransactionalBatch& batch, Code code) {
    if (asker == core_.index()) return batch.done(code);
    core_.send(asker, [done = std::move(batch.done), code]() mutable { done(code); });
  };
  std::vector<TransactionPartition> partitions;
  std::vector<TransactionalBatch> asked;
  ProducerOf producer{request.transactional_id, -1, -1};
  for (TransactionalBatch& each : request.batches) {
    const BatchView batch(each.batch);
    if (partitions.empty()) {
      producer.id = batch.producer_id();
      producer.epoch = batch.producer_epoch();
    }
    if (batch.producer_id() != producer.id || batch.producer_epoch() != producer.epoch) {
      refuse(each, Code::invalid_producer_mapping);
      continue;
    }
    if (const meta::Topic* stream = each.at.stream.get()) {
      if (each.partition < 0 || each.partition >= stream->partitions) {
        refuse(each, Code::unknown_topic);
        continue;
      }
      partitions.push_back({stream->name, stream->id, each.partition, false});
    } else if (each.partition != 0 || each.topic.id.is_zero()) {
      refuse(each, Code::unknown_topic);
      continue;
    } else {
      partitions.push_back({each.topic.name, each.topic.id, 0, true});
    }
    asked.push_back(std::move(each));
  }
  if (asked.empty()) return;
  transactions_->check(request.tenant, producer, std::move(partitions), request.adds,
                       [this, refuse, asker = request.asker, origin = request.origin, adds = request.adds,
                        asked = std::move(asked)](const std::vector<Code>& codes) mutable {
                         for (size_t i = 0; i < asked.size(); ++i) {
                           if (codes[i] != Code::ok) {
                             refuse(asked[i], codes[i]);
                             continue;
                           }
                           const CoreIndex at = locator_.home(asked[i].at, asked[i].partition);
                           if (at == core_.index()) {
                             append_in_transaction(asker, origin, adds, std::move(asked[i]));
                             continue;
                           }
                           core_.send(at, [there = halls_[at], asker, origin, adds, batch = std::move(asked[i])]() mutable {
                             there->append_in_transaction(asker, origin, adds, std::move(batch));
                           });
                         }
                       });
}

// On the shard's home core.
void Hall::append_in_transaction(CoreIndex asker, uint64_t origin, bool adds, TransactionalBatch batch) {
  Publisher::AppendDone answer = std::move(batch.done);
  if (asker != core_.index()) {
    answer = [this, asker, done = std::move(answer)](Result<shard::Appended> appended) mutable {
      core_.send(asker, [done = std::move(done), appended = std::move(appended)]() mutable { done(std::move(appended)); });
    };
  }
  const Located at = batch.at;
  locator_.with_shard(
      at, batch.partition,
      [origin, adds, bytes = std::move(batch.batch), answer = std::move(answer)](Result<shard::Shard*> shard) mutable {
        if (!shard) return answer(shard.error());
        const BatchView view(bytes);
        // KIP-890: each transaction begins in a new epoch, so what is not known here begins at 0.
        if (adds && view.base_sequence() != 0 && !(*shard)->knows_producer(view.producer_id()))
          return answer(Error{Code::out_of_order_sequence, "the producer is not known here"});
        (*shard)->append(std::move(bytes), origin, [answer = std::move(answer)](Result<shard::Appended> appended) mutable {
          failpoint("transaction_appended");
          answer(std::move(appended));
        });
      });
}

void Hall::write_markers(WriteMarkers request, ReplyTo done) {
  auto writing = std::make_shared<Gathering<WrittenMarkers>>();
  writing->done = std::move(done);
  writing->whole.markers.resize(request.markers.size());
  for (size_t i = 0; i < request.markers.size(); ++i) {
    const WriteMarkers::One& one = request.markers[i];
    writing->whole.markers[i].resize(one.partitions.size(), Code::ok);
    std::vector<Located> topics;
    for (const TopicRef& topic : one.topics) topics.push_back(locator_.locate(topic));
    for (size_t p = 0; p < one.partitions.size(); ++p) {
      const PartitionRef& ref = one.partitions[p];
      const Located& topic = topics[static_cast<size_t>(ref.topic_index)];
      if (one.id < 0 || one.epoch < 0) {
        writing->whole.markers[i][p] = Code::invalid_argument;
        continue;
      }
      ++writing->waiting;
      markers_.write(topic, ref.partition, {one.id, one.epoch, one.commits}, [writing, i, p](const Status& status) {
        writing->whole.markers[i][p] = status.code();
        writing->finish_one();
      });
    }
  }
  writing->finish_one();
}

}  // namespace robustmq::broker
