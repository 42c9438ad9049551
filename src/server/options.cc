#include "server/options.h"

#include <fmt/core.h>

#include <set>

#include "base/topic_names.h"
#include "broker/extensions/rewriter.h"
#include "broker/topic_rules.h"
#include "protocol/driver/quic_door.h"
#include "runtime/hosts.h"
#include "runtime/net.h"

namespace robustmq::server {

namespace {

// What stands behind the service's name in variables of Kubernetes: SERVICE_HOST, SERVICE_PORT, SERVICE_PORT_<name>, PORT (a
// URL), PORT_<number>_<protocol> and that with _PROTO, _PORT or _ADDR.
bool is_of_a_service(std::string_view name, std::string_view value) {
  if (name.ends_with("_SERVICE_HOST") || name.ends_with("_SERVICE_PORT") || name.find("_SERVICE_PORT_") != std::string_view::npos)
    return true;
  if (name.ends_with("_PORT") && value.find("://") != std::string_view::npos) return true;
  for (const std::string_view protocol : {"_TCP", "_UDP", "_SCTP"}) {
    const size_t at = name.find(protocol);
    if (at == std::string_view::npos) continue;
    const std::string_view behind = name.substr(at + protocol.size());
    if (!behind.empty() && behind != "_PROTO" && behind != "_PORT" && behind != "_ADDR") continue;
    const size_t digits = name.find_last_not_of("0123456789", at - 1);
    if (digits != std::string_view::npos && digits + 1 < at && name.substr(0, digits + 1).ends_with("_PORT_")) return true;
  }
  return false;
}

// Why a listener may not open as things are: other hosts reach it, and nobody who comes there has to say who he is. Empty: it
// may.
std::string why_open(const ListenerPlan& plan, const broker::AuthOptions& auth) {
  const bool is_local = plan.at.is_local() || plan.at.host == "localhost" || runtime::is_this_host(plan.at.host);
  const bool asks_certificates = plan.tls.is_on() && plan.tls.clients == net::TlsClients::required;
  if (is_local || asks_certificates || auth.open_listeners) return {};
  const std::string where = fmt::format("other hosts reach {}, and ", plan.at.to_string());
  if (plan.kind == "kafka")
    return where + "Kafka clients do not log in in this version: set auth.open_listeners = true to let everybody in";
  if (auth.user_file.empty())
    return where + "nobody has to log in: set auth.user_file, or auth.open_listeners = true to let everybody in";
  return {};
}

}  // namespace

bool is_option_variable(std::string_view name, std::string_view value) {
  if (!name.starts_with("ROBUSTMQ_")) return false;
  if (name == "ROBUSTMQ_SERVER" || name.starts_with("ROBUSTMQ_UNSAFE_")) return false;  // of the tests
  if (name == "ROBUSTMQ_API_KEY") return false;                                         // of robust-ctl
  return !is_of_a_service(name, value);
}

Status check(const ServerOptions& options, const config::Origins& origins) {
  std::string problems;
  auto problem = [&](std::string_view path, std::string_view text) {
    if (!problems.empty()) problems += '\n';
    problems += fmt::format("{}: {}: {}", origins.of(path), path, text);
  };
  auto address = [&](std::string_view path, const std::string& text) {
    if (text.empty()) return;
    if (!runtime::Endpoint::parse(text))
      problem(path, fmt::format("\"{}\" is no address; allowed is host:port, as in 127.0.0.1:1883", text));
  };
  address("mqtt.listen", options.mqtt.listen);
  address("mqtt.listen_websocket", options.mqtt.listen_websocket);
  address("mqtt.listen_tls", options.mqtt.listen_tls);
  address("mqtt.listen_websocket_tls", options.mqtt.listen_websocket_tls);
  address("mqtt.listen_quic", options.mqtt.listen_quic);
  if (const std::string wrong = check_origins(options.mqtt.websocket_origins); !wrong.empty())
    problem("mqtt.websocket_origins", wrong);
  address("kafka.listen_tls", options.kafka.listen_tls);
  const MqttSection mqtt;
  auto needs_certificate = [&](std::string_view path, const std::string& given, const std::string& unset) {
    if (!options.tls.is_on() && !given.empty() && given != unset) problem(path, "TLS needs a certificate: set tls.certificate");
  };
  if (options.kafka.listen.starts_with('/') || options.kafka.listen_tls.starts_with('/') ||
      options.kafka.advertised.starts_with('/'))
    problem("kafka.listen", "Kafka clients are told an address to come back to: host:port");
  needs_certificate("mqtt.listen_tls", options.mqtt.listen_tls, mqtt.listen_tls);
  needs_certificate("mqtt.listen_websocket_tls", options.mqtt.listen_websocket_tls, mqtt.listen_websocket_tls);
  needs_certificate("mqtt.listen_quic", options.mqtt.listen_quic, mqtt.listen_quic);
  if (options.mqtt.listen_quic.starts_with('/')) problem("mqtt.listen_quic", "QUIC is bound to an address, not to a path");
  if (!protocol::driver::kHasQuic && !options.mqtt.listen_quic.empty() && options.mqtt.listen_quic != mqtt.listen_quic)
    problem("mqtt.listen_quic", "this program was built without QUIC");
  needs_certificate("kafka.listen_tls", options.kafka.listen_tls, "");
  const std::string wrong_tls = check_tls(options.tls);
  if (!wrong_tls.empty()) problem("tls", wrong_tls);
  address("kafka.listen", options.kafka.listen);
  address("kafka.advertised", options.kafka.advertised);
  address("admin.listen", options.admin.listen);
  for (size_t i = 0; i < options.listeners.size(); ++i) {
    const std::string wrong = check_listener(options.listeners[i]);
    if (!wrong.empty()) problem(fmt::format("listener[{}]", i), wrong);
  }
  if (problems.empty()) {
    std::set<std::string> names;
    for (const ListenerPlan& plan : plan_listeners(options)) {
      if (!names.insert(plan.name).second) problem("listener", fmt::format("two listeners are named {}", plan.name));
      const std::string open = why_open(plan, options.auth);
      if (!open.empty()) problem(plan.option.substr(0, plan.option.find(' ')), open);
    }
  }
  if (options.node.data_dir.empty()) problem("node.data_dir", "a directory is needed");
  for (size_t i = 0; i < options.topic_rule.size(); ++i) {
    // One at a time, so that the place of the wrong one is known.
    const Status status = broker::TopicRules::check({options.topic_rule[i]});
    if (!status)
      problem(fmt::format("topic_rule[{}]", i),
              status.error().detail.empty() ? status.error().to_string() : status.error().detail);
  }
  if (options.declare.mode != meta::Mode::memory && options.declare.mode != meta::Mode::persistent)
    problem("declare.mode", "a stream stores its records: allowed are memory and persistent");
  for (size_t i = 0; i < options.topic_rewrite.size(); ++i) {
    const Status status = broker::Rewriter::check({options.topic_rewrite[i]});
    if (!status) problem(fmt::format("topic_rewrite[{}]", i), status.error().detail);
  }
  for (size_t i = 0; i < options.auto_subscribe.size(); ++i) {
    if (!is_valid_topic_filter(options.auto_subscribe[i].filter))
      problem(fmt::format("auto_subscribe[{}]", i), "filter is no MQTT topic filter");
  }
  if (problems.empty()) {
    const Status together = broker::TopicRules::check(options.topic_rule);
    if (!together) problem("topic_rule", together.error().detail);
  }
  if (problems.empty()) return {};
  return Error{Code::invalid_config, std::move(problems)};
}

Result<ServerOptions> load_options(const config::Inputs& inputs) {
  ServerOptions options;
  const Result<config::Origins> origins = config::load(inputs, options);
  if (!origins) return origins.error();
  const Status status = check(options, *origins);
  if (!status) return status.error();
  return options;
}

}  // namespace robustmq::server
