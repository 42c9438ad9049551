// SysTopics: what the node tells of itself under $SYS, as live messages to whoever follows: nothing is stored or retained. Lives
// on its core; core 0 gathers the numbers of all cores and publishes them at intervals, each core tells of its own clients.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "broker/extensions/options.h"
#include "broker/fan_out.h"
#include "broker/options.h"
#include "runtime/core.h"
#include "runtime/timer.h"

namespace robustmq::broker {

class SysTopics {
 public:
  SysTopics(runtime::Core& core, const ExtensionOptions& options, ExtensionMetrics& metrics, const NodeFacts& node,
            const BrokerMetrics& broker, const Follows& follows, const Interest& interest, const Shared& shared, FanOut& fan_out);
  SysTopics(const SysTopics&) = delete;
  void set_peers(std::vector<SysTopics*> peers) { peers_ = std::move(peers); }
  void start();

  // Whether anybody follows what clients do.
  bool is_heard();
  enum class ClientEvent : uint8_t { connected, disconnected, subscribed, unsubscribed };
  // `topic`: of the last two.
  void tell(ClientEvent event, std::string_view client_id, std::string_view user, std::string_view topic = {}, uint8_t qos = 0);

 private:
  struct Numbers {
    uint64_t received = 0;
    uint64_t sent = 0;
    uint64_t dropped = 0;
    int64_t clients = 0;
    int64_t subscriptions = 0;
    int64_t shared_subscriptions = 0;
    int64_t light_topics = 0;
  };
  static void on_timer(void* self);
  Numbers numbers() const;
  void gather();
  void publish_all(const Numbers& all);
  void publish(const std::string& topic, std::string_view payload);
  bool is_followed(std::string_view filter) const;

  runtime::Core& core_;
  const ExtensionOptions& options_;
  ExtensionMetrics& metrics_;
  const NodeFacts& node_;
  const BrokerMetrics& broker_;
  const Follows& follows_;
  const Interest& interest_;
  const Shared& shared_;
  FanOut& fan_out_;
  std::vector<SysTopics*> peers_;
  std::string clients_prefix_;  // "$SYS/brokers/1/clients/"
  Instant started_{};
  int64_t clients_most_ = 0;
  // Whether anybody follows the events, as of these generations.
  uint64_t follows_generation_ = 0;
  uint64_t interest_generation_ = 0;
  uint64_t shared_generation_ = 0;
  bool has_listeners_ = false;
  runtime::Timer timer_;
};

}  // namespace robustmq::broker
