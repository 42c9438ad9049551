// Publisher: carries messages published by name to their shards. Lives on its core.
//
// Each name has a route, found once and remembered: a light topic of this core, a light topic of another core, a partition of a
// stream, or nobody's memory (mode none). All messages of one request for one route become one batch. MQTT calls on one
// connection for one topic take effect in call order: a route never changes between two messages of a topic but by a change of
// the catalog.
#pragma once

#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/batch.h"
#include "broker/broker.h"
#include "broker/light_topics.h"
#include "broker/locate.h"
#include "broker/retained_home.h"
#include "broker/streams.h"
#include "broker/topic_rules.h"
#include "meta/meta.h"

namespace robustmq::broker {

class Delayed;
class Sessions;
class Spools;

class Publisher {
 public:
  Publisher(runtime::Core& core, meta::Meta& meta, const TopicRules& rules, FanOut& fan_out, LightTopics& lights,
            Streams& streams, Locator& locator, RetainedHome& retained, const BrokerOptions& options, BrokerMetrics& metrics);
  // Every core's publisher, by core; set once before the first message.
  void set_peers(std::vector<Publisher*> peers) { peers_ = std::move(peers); }

  // Who takes messages whose topics begin with kDelayedPrefix; once, before the first message.
  void set_delayed(Delayed* delayed) { delayed_ = delayed; }
  // Before the first message.
  void set_sessions(Sessions* sessions, Spools* spools) {
    sessions_ = sessions;
    spools_ = spools;
  }

  void publish(const Context& context, Publish request, ReplyTo done);

  // Where the topic's messages go when that survives a crash: the partition of a stream, or a light topic of this core.
  struct StoredPlace {
    std::shared_ptr<const meta::Topic> stream;
    int32_t partition = 0;
    bool is_light = false;
  };
  StoredPlace stored_place(std::string_view topic);
  // A message as a stream's record.
  // `mark`: the value of its packet mark (session/spool_record.h); empty: none.
  static void add_stream_record(BatchBuilder& to, const Message& message, int64_t timestamp_ms, std::string_view mark = {});
  // The same as a light topic's.
  static void add_light_record(BatchBuilder& to, const Message& message, int64_t timestamp_ms, std::string_view mark = {});

  // A batch for a stream's partition, wherever its home is; `done` on this core.
  using AppendDone = Callback<void(Result<shard::Appended>)>;
  void append_to_stream(std::shared_ptr<const meta::Topic> topic, int32_t partition, Bytes batch, uint64_t origin,
                        AppendDone done);
  // A batch for a light topic, by id or by Kafka's spelling of its name, whose home is `home`.
  void append_to_light(CoreIndex home, TopicRef topic, int32_t partition, Bytes batch, uint64_t origin, AppendDone done);
  // A batch for a light topic of this core, made when missing.
  void append_to_light_here(const std::string& topic, Bytes batch, AppendDone done) {
    light_from_elsewhere(topic, std::move(batch), 0, {}, std::move(done));
  }

  // Stored sessions are owed the records of a batch that the light topic, of this core, has already.
  void owe_light_here(const std::string& topic, const Bytes& batch, Callback<void(Status)> done);
  // Why a message to `topic` would be refused here and now; ok: it would not.
  Code refusal_of(std::string_view topic) {
    const Route& route = route_of(topic);
    return route.kind == Kind::refused ? route.refusal : Code::ok;
  }

  // The catalog changed or a light topic was forgotten: routes are found anew.
  void forget_routes() {
    routes_.clear();
    young_names_bytes_ = 0;
    older_routes_.clear();
  }
  void forget_route(std::string_view mqtt_topic) {
    for (Routes* routes : {&routes_, &older_routes_}) {
      const auto found = routes->find(mqtt_topic);
      if (found != routes->end()) routes->erase(found);
    }
  }

 private:
  enum class Kind : uint8_t { light_here, light_elsewhere, stream, nobody, refused };
  struct Route {
    Kind kind = Kind::refused;
    Code refusal = Code::ok;
    CoreIndex home = 0;
    LightTopic* light = nullptr;
    std::shared_ptr<const meta::Topic> stream;
    int32_t partition = 0;
    std::unique_ptr<FollowedHere> known;  // nobody
    const std::string* name = nullptr;    // the map's key
    uint64_t request = 0;                 // number of the request that `pending` belongs to
    size_t pending = 0;
  };
  // The part of one request that goes to one place.
  struct Pending {
    Route* route = nullptr;
    BatchBuilder builder;
    std::vector<uint32_t> replies;       // which results it answers
    bool has_marks = false;              // of packets
    std::optional<PacketRepeat> repeat;  // it is one message, and may be one
  };
  struct Operation {
    ReplyTo done;
    Published reply;
    size_t waiting = 0;
  };

  // Routes come into the younger map, and back into it from the older when they are used. A full younger one becomes the older,
  // and what was not used since goes.
  using Routes = std::unordered_map<std::string, Route, TextHash, std::equal_to<>>;
  static constexpr size_t kYoungRoutesMax = 32'768;
  static constexpr size_t kYoungNamesBytesMax = 4 << 20;
  Route& route_of(std::string_view topic);
  void find_route(Route& route, std::string_view topic);
  void delay(const Context& context, const Message& message, uint32_t reply, const std::shared_ptr<Operation>& operation);
  void add(const Context& context, Pending& pending, const Message& message);
  // On the home core: `done` waits for what sessions are owed of the batch, too.
  AppendDone owed(AppendDone done);
  // The same of a batch that a producer may send again: of a repeat, what the spool lacks is owed now.
  AppendDone owed_once(const std::shared_ptr<const meta::Topic>& stream, const ShardId& shard, const Bytes& batch,
                       uint64_t origin, AppendDone done);
  uint64_t owe_repeated(const std::shared_ptr<const meta::Topic>& stream, const ShardId& shard, const Bytes& batch, Offset base,
                        uint64_t origin);
  void retain(const Context& context, const Message& message, uint32_t reply, const std::shared_ptr<Operation>& operation);
  void send(Pending& pending, uint64_t connection, const std::shared_ptr<Operation>& operation);
  AppendDone counting_refusals();
  void light_from_elsewhere(const std::string& topic, Bytes batch, uint64_t origin, std::optional<PacketRepeat> repeat,
                            AppendDone done);
  // To a light topic of this core.
  void append_light(LightTopic& light, Bytes batch, uint64_t origin, std::optional<PacketRepeat> repeat, AppendDone done);

  runtime::Core& core_;
  meta::Meta& meta_;
  const TopicRules& rules_;
  FanOut& fan_out_;
  LightTopics& lights_;
  Streams& streams_;
  Locator& locator_;
  RetainedHome& retained_;
  const BrokerOptions& options_;
  Delayed* delayed_ = nullptr;
  BrokerMetrics& metrics_;
  Sessions* sessions_ = nullptr;
  Spools* spools_ = nullptr;
  std::vector<Publisher*> peers_;
  Routes routes_;
  Routes older_routes_;
  size_t young_names_bytes_ = 0;
  Route too_long_;                // of every topic that is over topic_bytes_max
  std::vector<Pending> pending_;  // of the request at hand; kept for its memory
  uint64_t requests_ = 0;
  int depth_ = 0;  // publish() within publish()
};

}  // namespace robustmq::broker
