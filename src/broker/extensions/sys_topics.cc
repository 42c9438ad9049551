#include "broker/extensions/sys_topics.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "base/batch.h"

namespace robustmq::broker {
namespace {

std::string json_text(std::string_view text) {
  constexpr char kHex[] = "0123456789abcdef";
  std::string json = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      json += '\\';
      json += c;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      json += "\\u00";
      json += kHex[static_cast<unsigned char>(c) >> 4];
      json += kHex[c & 15];
    } else {
      json += c;
    }
  }
  return json + "\"";
}

std::string_view name_of(SysTopics::ClientEvent event) {
  switch (event) {
    case SysTopics::ClientEvent::connected:
      return "connected";
    case SysTopics::ClientEvent::disconnected:
      return "disconnected";
    case SysTopics::ClientEvent::subscribed:
      return "subscribed";
    case SysTopics::ClientEvent::unsubscribed:
      return "unsubscribed";
  }
  return {};
}

}  // namespace

SysTopics::SysTopics(runtime::Core& core, const ExtensionOptions& options, ExtensionMetrics& metrics, const NodeFacts& node,
                     const BrokerMetrics& broker, const Follows& follows, const Interest& interest, const Shared& shared,
                     FanOut& fan_out)
    : core_(core),
      options_(options),
      metrics_(metrics),
      node_(node),
      broker_(broker),
      follows_(follows),
      interest_(interest),
      shared_(shared),
      fan_out_(fan_out),
      timer_(&SysTopics::on_timer, this) {}

void SysTopics::start() {
  started_ = core_.now();
  clients_prefix_ = "$SYS/brokers/" + std::to_string(node_.id) + "/clients/";
  if (core_.index() == 0 && options_.sys_interval_ms > 0)
    core_.arm(timer_, core_.now() + Duration::millis(options_.sys_interval_ms));
}

void SysTopics::on_timer(void* self) {
  SysTopics& sys = *static_cast<SysTopics*>(self);
  sys.core_.arm(sys.timer_, sys.core_.now() + Duration::millis(sys.options_.sys_interval_ms));
  sys.gather();
}

bool SysTopics::is_followed(std::string_view filter) const {
  return follows_.overlaps(filter) || interest_.overlaps(filter) || shared_.overlaps(filter);
}

SysTopics::Numbers SysTopics::numbers() const {
  return {.received = broker_.messages_published_total,
          .sent = broker_.messages_delivered_total,
          .dropped = broker_.messages_refused_total + broker_.shared_messages_dropped_total,
          .clients = broker_.sessions,
          .subscriptions = broker_.subscriptions,
          .shared_subscriptions = broker_.shared_subscriptions,
          .light_topics = broker_.light_topics};
}

void SysTopics::gather() {
  if (!is_followed("$SYS/#")) return;
  struct Gathering {
    Numbers sum;
    size_t waiting;
  };
  auto gathering = std::make_shared<Gathering>(Gathering{{}, peers_.size()});
  const auto add = [this, gathering](const Numbers& one) {
    Numbers& sum = gathering->sum;
    sum.received += one.received;
    sum.sent += one.sent;
    sum.dropped += one.dropped;
    sum.clients += one.clients;
    sum.subscriptions += one.subscriptions;
    sum.shared_subscriptions += one.shared_subscriptions;
    sum.light_topics += one.light_topics;
    if (--gathering->waiting == 0) publish_all(sum);
  };
  for (SysTopics* peer : peers_) {
    if (peer == this) {
      add(numbers());
      continue;
    }
    core_.send(peer->core_.index(),
               [this, peer, add] { peer->core_.send(core_.index(), [add, one = peer->numbers()] { add(one); }); });
  }
}

void SysTopics::publish_all(const Numbers& all) {
  clients_most_ = std::max(clients_most_, all.clients);
  const std::string uptime = std::to_string((core_.now() - started_).to_millis() / 1000);
  const auto number = [](auto value) { return std::to_string(value); };
  const std::pair<std::string_view, std::string> broker[] = {
      {"version", "RobustMQ " + node_.version},
      {"uptime", uptime + " seconds"},
      {"clients/connected", number(all.clients)},
      {"clients/active", number(all.clients)},
      {"clients/maximum", number(clients_most_)},
      {"messages/received", number(all.received)},
      {"messages/sent", number(all.sent)},
      {"publish/messages/received", number(all.received)},
      {"publish/messages/sent", number(all.sent)},
      {"publish/messages/dropped", number(all.dropped)},
      {"subscriptions/count", number(all.subscriptions + all.shared_subscriptions)},
      {"shared_subscriptions/count", number(all.shared_subscriptions)},
  };
  for (const auto& [name, value] : broker) publish("$SYS/broker/" + std::string(name), value);
  const std::string prefix = "$SYS/brokers/" + std::to_string(node_.id) + "/";
  const std::pair<std::string_view, std::string> brokers[] = {
      {"version", node_.version},
      {"uptime", uptime},
      {"sysdescr", "RobustMQ"},
      {"stats/connections.count", number(all.clients)},
      {"stats/connections.max", number(clients_most_)},
      {"stats/subscriptions.count", number(all.subscriptions + all.shared_subscriptions)},
      {"stats/subscriptions.shared.count", number(all.shared_subscriptions)},
      {"stats/topics.count", number(all.light_topics)},
      {"metrics/messages.received", number(all.received)},
      {"metrics/messages.sent", number(all.sent)},
      {"metrics/messages.dropped", number(all.dropped)},
  };
  publish("$SYS/brokers", std::to_string(node_.id));
  for (const auto& [name, value] : brokers) publish(prefix + std::string(name), value);
}

bool SysTopics::is_heard() {
  if (!options_.sys_client_events) return false;
  if (follows_generation_ != follows_.generation() || interest_generation_ != interest_.generation() ||
      shared_generation_ != shared_.generation()) {
    follows_generation_ = follows_.generation();
    interest_generation_ = interest_.generation();
    shared_generation_ = shared_.generation();
    has_listeners_ = is_followed(clients_prefix_ + "#");
  }
  return has_listeners_;
}

void SysTopics::tell(ClientEvent event, std::string_view client_id, std::string_view user, std::string_view topic, uint8_t qos) {
  // A client id that no topic name can hold is nobody's to follow.
  if (client_id.empty() || !is_heard() || client_id.find_first_of("+#") != std::string_view::npos) return;
  std::string json = "{\"clientid\":" + json_text(client_id) + ",\"username\":" + json_text(user);
  if (!topic.empty()) json += ",\"topic\":" + json_text(topic);
  if (event == ClientEvent::subscribed) json += ",\"qos\":" + std::to_string(qos);
  json += ",\"ts\":" + std::to_string(core_.wall_now().ms) + "}";
  publish(clients_prefix_ + std::string(client_id) + "/" + std::string(name_of(event)), json);
}

void SysTopics::publish(const std::string& topic, std::string_view payload) {
  BatchBuilder builder;
  builder.begin_record(core_.wall_now().ms, std::nullopt, as_bytes(payload));
  builder.add_header("mqtt.qos", as_bytes(std::string_view("1")));
  builder.end_record();
  FollowedHere known;
  if (fan_out_.light(topic, nullptr, builder.finish(), 0, known)) ++metrics_.sys_messages_total;
}

}  // namespace robustmq::broker
