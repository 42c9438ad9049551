// DeadLetters: writes what is to be known of dead records of queues to their dead letter topics (KIP-1191, ADR 0027). Lives on
// its core.
//
// A letter is a record of the topic's partition that has the number of the dead record's, modulo the topic's partitions. Its
// headers say which record it was, of which queue, how often it was delivered, and why it died; its time is that of the writing;
// key and value are those of the record where the queue is set to copy them, else null. The headers of the record are not copied.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/batch.h"
#include "broker/lease/options.h"
#include "broker/lease/queue_rows.h"
#include "broker/menu/queues.h"
#include "broker/publisher.h"
#include "broker/topics.h"
#include "meta/meta.h"

namespace robustmq::broker {

struct DeadLetter {
  Offset offset = 0;
  int32_t deliveries = 0;  // the last one included
  queue::DeathCause cause = queue::DeathCause::none;
  std::optional<Bytes> key;
  std::optional<Bytes> value;
};

class DeadLetters {
 public:
  // All of them outlive it.
  DeadLetters(runtime::Core& core, meta::Meta& meta, Publisher& publisher, Topics& topics, LeaseMetrics& metrics)
      : core_(core), meta_(meta), publisher_(publisher), topics_(topics), metrics_(metrics) {}
  DeadLetters(const DeadLetters&) = delete;

  // How many of them, from the first on, are durable; with why not all. Errors: unknown_topic; invalid_topic (its name);
  // invalid_config (it takes no dead letters, or is not persistent); invalid_record (it is compacted, and one has no key);
  // too_large; storage_*.
  using Done = Callback<void(Status, size_t)>;
  // Of records of `source`, over which the queue is.
  void write(const QueueKey& queue, const std::string& source, const QueueSettings::DeadLetters& to,
             std::vector<DeadLetter> letters, Done done);

 private:
  struct Writing;
  void make_topic(const std::shared_ptr<Writing>& writing);
  void append_next(const std::shared_ptr<Writing>& writing);
  void add(const Writing& writing, const DeadLetter& letter, bool with_copy, BatchBuilder& to) const;

  runtime::Core& core_;
  meta::Meta& meta_;
  Publisher& publisher_;
  Topics& topics_;
  LeaseMetrics& metrics_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace robustmq::broker
