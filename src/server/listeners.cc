// See listeners.h. Pure.
#include "server/listeners.h"

#include <fmt/core.h>

#include <algorithm>

#include "base/check.h"
#include "protocol/driver/quic_door.h"
#include "server/options.h"

namespace robustmq::server {

namespace {

constexpr std::string_view kKinds[] = {"mqtt", "kafka"};

bool is_kind(std::string_view text) { return std::find(std::begin(kKinds), std::end(kKinds), text) != std::end(kKinds); }

bool is_name(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
  });
}

ListenerPlan plan_of(const ListenerOptionsRow& row, size_t index) {
  ListenerPlan plan;
  plan.kind = row.kind;
  plan.name = row.name.empty() ? fmt::format("{}_{}", row.kind, index + 1) : row.name;
  plan.at = {row.bind, row.bind.starts_with('/') ? uint16_t{0} : row.port};
  plan.option = fmt::format("listener[{}] at {}", index, plan.at.to_string());
  plan.tls = row.tls;
  plan.advertised = row.advertised;
  plan.mountpoint = row.mountpoint;
  plan.entrance.identity = row.identity;
  plan.entrance.has_proxy_header = row.proxy_protocol;
  plan.is_quic = row.quic;
  plan.entrance.is_websocket = row.websocket;
  plan.entrance.websocket.path = row.websocket_path;
  plan.entrance.websocket.origins = row.websocket_origins;
  plan.entrance.time_max = Duration::millis(row.handshake_ms_max);
  plan.connections_max = row.connections_max;
  plan.rates = row.rates;
  return plan;
}

// The address of the TLS listener is that of the plain one with a port of its own.
std::string advertised_for(const std::string& given, bool is_tls) {
  if (given.empty() || !is_tls) return given;
  const Result<runtime::Endpoint> endpoint = runtime::Endpoint::parse(given);
  ROBUSTMQ_CHECK(endpoint.ok(), "options were checked");
  return runtime::Endpoint{endpoint->host, 0}.to_string();
}

}  // namespace

std::string check_tls(const net::TlsOptions& tls) {
  if (!tls.is_on()) return tls.key.empty() && tls.ca.empty() ? "" : "TLS needs a certificate";
  if (tls.key.empty()) return "a certificate needs its key";
  if (tls.ca.empty() && tls.clients != net::TlsClients::unknown) return "client certificates need a ca to be checked against";
  return {};
}

std::string check_origins(const std::vector<std::string>& origins) {
  for (const std::string& origin : origins) {
    if (origin == "*" || origin == "null") continue;
    const size_t scheme_end = origin.find("://");
    if (scheme_end == std::string::npos || scheme_end == 0 || origin.find('/', scheme_end + 3) != std::string::npos)
      return fmt::format("\"{}\" is no origin; allowed is scheme://host, scheme://host:port or *", origin);
  }
  return {};
}

std::string check_listener(const ListenerOptionsRow& row) {
  if (!is_kind(row.kind)) return fmt::format("kind = \"{}\" is not spoken; allowed is mqtt or kafka", row.kind);
  if (!is_name(row.name)) return "a name has letters, digits, '_' and '-'";
  if (row.bind.empty()) return "bind is missing";
  if (row.bind.starts_with('/') && row.kind == "kafka") return "Kafka clients are told an address to come back to: bind to one";
  if (const std::string wrong = check_tls(row.tls); !wrong.empty()) return "tls: " + wrong;
  if (!row.advertised.empty() && row.kind != "kafka") return "advertised is for Kafka alone";
  if (!row.advertised.empty() && !runtime::Endpoint::parse(row.advertised).ok())
    return "advertised is no address; allowed is host:port";
  if (row.identity != net::TlsIdentity::none && row.tls.clients != net::TlsClients::required)
    return "identity comes from client certificates: set tls.clients to required";
  if (!row.mountpoint.empty() && row.kind != "mqtt") return "mountpoint is for MQTT alone";
  if (row.mountpoint.starts_with('$') || row.mountpoint.find_first_of("+#") != std::string::npos)
    return "a mountpoint does not begin with '$' and has no '+' and '#'";
  if (!row.mountpoint.empty() && !row.mountpoint.ends_with('/'))
    return "a mountpoint ends with '/', so that what begins alike is not within it: floor1/ is not floor12";
  if (row.quic) {
    if (!protocol::driver::kHasQuic) return "quic: this program was built without QUIC";
    if (row.kind != "mqtt") return "QUIC carries MQTT alone";
    if (!row.tls.is_on()) return "QUIC needs TLS: set tls.certificate and tls.key";
    if (row.websocket || row.proxy_protocol) return "QUIC goes without WebSocket and the PROXY protocol";
    if (row.bind.starts_with('/')) return "QUIC is bound to an address, not to a path";
  }
  if (row.websocket && row.kind != "mqtt") return "WebSocket carries MQTT alone";
  if (!row.websocket_origins.empty() && !row.websocket) return "websocket_origins is for WebSocket alone";
  if (const std::string wrong = check_origins(row.websocket_origins); !wrong.empty()) return "websocket_origins: " + wrong;
  if (row.websocket && !row.websocket_path.starts_with('/')) return "a websocket_path begins with '/'";
  return {};
}

std::vector<ListenerPlan> plan_listeners(const ServerOptions& options) {
  std::vector<ListenerPlan> plans;
  auto simple = [&](std::string kind, std::string name, std::string_view option, const std::string& at, const std::string& unset,
                    bool is_websocket, bool is_tls, bool is_quic = false) {
    const bool is_default = at == unset;
    const bool has_rows = std::any_of(options.listeners.begin(), options.listeners.end(),
                                      [&](const ListenerOptionsRow& row) { return row.kind == kind; });
    if (at.empty() || (is_default && has_rows) || (is_tls && !options.tls.is_on())) return;
    if (is_quic && is_default && !protocol::driver::kHasQuic) return;
    const Result<runtime::Endpoint> endpoint = runtime::Endpoint::parse(at);
    ROBUSTMQ_CHECK(endpoint.ok(), "options were checked");
    ListenerPlan plan;
    plan.kind = std::move(kind);
    plan.name = std::move(name);
    plan.option = fmt::format("{} = {}", option, at);
    plan.at = *endpoint;
    plan.may_be_left_out = is_default && ((is_websocket && !is_tls) || is_quic);
    plan.is_quic = is_quic;
    if (is_tls) plan.tls = options.tls;
    if (plan.kind == "kafka") plan.advertised = advertised_for(options.kafka.advertised, is_tls);
    plan.entrance.is_websocket = is_websocket;
    if (is_websocket) plan.entrance.websocket.origins = options.mqtt.websocket_origins;
    plans.push_back(std::move(plan));
  };
  const MqttSection mqtt;
  const KafkaSection kafka;
  simple("mqtt", "mqtt", "mqtt.listen", options.mqtt.listen, mqtt.listen, false, false);
  simple("mqtt", "mqtt_websocket", "mqtt.listen_websocket", options.mqtt.listen_websocket, mqtt.listen_websocket, true, false);
  simple("mqtt", "mqtt_tls", "mqtt.listen_tls", options.mqtt.listen_tls, mqtt.listen_tls, false, true);
  simple("mqtt", "mqtt_websocket_tls", "mqtt.listen_websocket_tls", options.mqtt.listen_websocket_tls, mqtt.listen_websocket_tls,
         true, true);
  simple("mqtt", "mqtt_quic", "mqtt.listen_quic", options.mqtt.listen_quic, mqtt.listen_quic, false, true, true);
  simple("kafka", "kafka", "kafka.listen", options.kafka.listen, kafka.listen, false, false);
  simple("kafka", "kafka_tls", "kafka.listen_tls", options.kafka.listen_tls, kafka.listen_tls, false, true);
  for (size_t i = 0; i < options.listeners.size(); ++i) plans.push_back(plan_of(options.listeners[i], i));
  for (ListenerPlan& plan : plans) {
    using Rates = protocol::driver::RateOptions;
    for (uint64_t Rates::* rate : {&Rates::connections_per_s, &Rates::messages_per_s, &Rates::bytes_per_s,
                                   &Rates::client_messages_per_s, &Rates::client_bytes_per_s}) {
      if (plan.rates.*rate == 0) plan.rates.*rate = options.listener.rates.*rate;
    }
  }
  return plans;
}

}  // namespace robustmq::server
