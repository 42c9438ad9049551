// Simulated Kafka clients: one produces with acks=all, one reads a topic's partitions from their beginning. One request in
// flight.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "protocol/kafka/frames/all.h"
#include "tests/sim/client.h"
#include "tests/sim/history.h"

namespace robustmq::sim {

class KafkaClient : public Client {
 public:
  KafkaClient(runtime::Core& core, runtime::Endpoint server, std::string id)
      : Client(core, std::move(server)), id_(std::move(id)) {}

 protected:
  size_t on_bytes(const Bytes& bytes) override;
  virtual void on_response(const Bytes& frame) = 0;  // without its length; the response header is in front
  template <class Request>
  void ask(const Request& request, int16_t version);

  std::string id_;

 private:
  int32_t correlation_ = 0;
};

// Produces numbered messages to one partition, a few a batch. A batch without a good answer is never sent again.
class KafkaProducer final : public KafkaClient {
 public:
  KafkaProducer(runtime::Core& core, runtime::Endpoint server, Place place, std::string id, History& history)
      : KafkaClient(core, std::move(server), std::move(id)), place_(std::move(place)), history_(history) {}
  void produce_more(int batches) {
    wanted_ += batches;
    pump();
  }
  uint64_t acknowledged() const { return acknowledged_; }
  uint64_t refused() const { return refused_; }

 private:
  static constexpr int16_t kVersion = 8;
  void on_connected() override { pump(); }
  void on_lost() override { in_flight_.clear(); }
  void on_response(const Bytes& frame) override;
  void pump();

  Place place_;
  History& history_;
  int wanted_ = 0;
  uint64_t number_ = 0;
  uint64_t acknowledged_ = 0;
  uint64_t refused_ = 0;
  std::vector<std::string> in_flight_;
};

// Reads partitions 0..n-1 of a topic, noting what stands at each offset, until stopped; finally once more from the beginning.
class KafkaReader final : public KafkaClient {
 public:
  KafkaReader(runtime::Core& core, runtime::Endpoint server, std::string topic, int32_t partitions, std::string id,
              History& history)
      : KafkaClient(core, std::move(server), std::move(id)),
        topic_(std::move(topic)),
        history_(history),
        next_(static_cast<size_t>(partitions), 0),
        high_(next_.size(), -1),
        logs_(next_.size()),
        retry_([](void* self) { static_cast<KafkaReader*>(self)->fetch(); }, this) {}
  // True when every partition was read up to its high watermark since the start.
  bool is_at_end() const;
  uint64_t records_read() const { return records_; }
  // Gives the history what was read, as the final log.
  void hand_over() const;

 private:
  static constexpr int16_t kVersion = 11;
  void on_connected() override { fetch(); }
  void on_lost() override { retry_.cancel(); }
  void on_response(const Bytes& frame) override;
  void fetch();

  std::string topic_;
  History& history_;
  std::vector<Offset> next_;
  std::vector<Offset> high_;
  std::vector<std::vector<std::pair<Offset, std::string>>> logs_;
  uint64_t records_ = 0;
  runtime::Timer retry_;
};

}  // namespace robustmq::sim
