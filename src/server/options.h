// The options of a server: one tree, whose sections are described beside the code that uses them. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "admin/access.h"
#include "base/describe.h"
#include "base/result.h"
#include "broker/auth_options.h"
#include "broker/compaction_options.h"
#include "broker/declare_options.h"
#include "broker/delayed_options.h"
#include "broker/extensions/ban_options.h"
#include "broker/extensions/options.h"
#include "broker/group/options.h"
#include "broker/options.h"
#include "broker/quota/options.h"
#include "broker/retained/options.h"
#include "broker/session/options.h"
#include "broker/transaction/options.h"
#include "config/config.h"
#include "meta/commands.h"
#include "net/quic/options.h"
#include "observe/log.h"
#include "protocol/driver/metrics.h"
#include "protocol/kafka/options.h"
#include "protocol/mqtt/options.h"
#include "server/listeners.h"
#include "storage/options.h"

namespace robustmq::server {

struct NodeOptions {
  int32_t id = 1;
  std::string data_dir = "data";
  observe::Level log_level = observe::Level::info;
  int64_t stop_ms = 10'000;

  template <class V>
  static void describe(V& v) {
    using O = NodeOptions;
    v.field("id", &O::id, {.doc = "This node's number in its cluster.", .min = 0});
    v.field("data_dir", &O::data_dir,
            {.doc = "Directory of everything the node keeps; made when missing. One process a directory."});
    v.field("log_level", &O::log_level, {.doc = "Least level of events that are logged."});
    v.field("stop_ms", &O::stop_ms,
            {.doc = "Longest time a stop waits for connections to drain.", .unit = "ms", .min = 0, .max = 600'000});
  }
};

struct RuntimeOptions {
  uint16_t cores = 0;
  bool pin = false;

  template <class V>
  static void describe(V& v) {
    v.field("cores", &RuntimeOptions::cores, {.doc = "Threads that serve; 0 takes one a CPU.", .max = 64});
    v.field("pin", &RuntimeOptions::pin, {.doc = "Keep each of these threads on a CPU of its own."});
  }
};

struct MqttSection : mqtt::MqttOptions {
  std::string listen = "127.0.0.1:1883";
  std::string listen_websocket = "127.0.0.1:8083";
  std::string listen_tls = "127.0.0.1:8883";
  std::string listen_websocket_tls = "127.0.0.1:8084";
  std::string listen_quic = "127.0.0.1:14567";
  std::vector<std::string> websocket_origins;

  template <class V>
  static void describe(V& v) {
    v.field(
        "listen", &MqttSection::listen,
        {.doc =
             "Address and port of the MQTT listener (TCP), or the path of a Unix socket; port 0 takes a free one, empty none."});
    v.field(
        "listen_websocket", &MqttSection::listen_websocket,
        {.doc = "Address and port of MQTT over WebSocket, at the path /mqtt; port 0 takes a free one, empty none. When it is not "
                "set and its port is taken, the node goes on without it."});
    v.field(
        "listen_tls", &MqttSection::listen_tls,
        {.doc = "Address and port of MQTT over TLS; opens where tls.certificate is set; port 0 takes a free one, empty none."});
    v.field(
        "listen_websocket_tls", &MqttSection::listen_websocket_tls,
        {.doc = "Address and port of MQTT over WebSocket over TLS, at the path /mqtt; opens where tls.certificate is set; port 0 "
                "takes a free one, empty none."});
    v.field(
        "listen_quic", &MqttSection::listen_quic,
        {.doc =
             "Address and port of MQTT over QUIC (UDP); opens where tls.certificate is set; port 0 takes a free one, empty none. "
             "When it is not set and its port is taken, the node goes on without it."});
    v.field(
        "websocket_origins", &MqttSection::websocket_origins,
        {.doc =
             "Web pages whose scripts may connect by these two, as browsers name them: https://shop.example; * for all. Others "
             "are refused; clients that are no browsers are not asked."});
    mqtt::MqttOptions::describe(v);
  }
};

struct KafkaSection : kafka::KafkaOptions {
  std::string listen = "127.0.0.1:9092";
  std::string listen_tls;
  std::string advertised;

  template <class V>
  static void describe(V& v) {
    v.field("listen", &KafkaSection::listen,
            {.doc = "Address and port of the Kafka listener; port 0 takes a free one, empty none."});
    v.field("listen_tls", &KafkaSection::listen_tls,
            {.doc = "Address and port of Kafka over TLS; needs tls.certificate; port 0 takes a free one, empty none."});
    v.field("advertised", &KafkaSection::advertised,
            {.doc = "Address and port that Kafka clients are told to connect to; empty: where the listener is."});
    kafka::KafkaOptions::describe(v);
  }
};

// The certificate of the simple options that end in _tls, and how often those of all listeners are looked at.
struct TlsSection : net::TlsOptions {
  int64_t check_ms = 60'000;

  template <class V>
  static void describe(V& v) {
    net::TlsOptions::describe(v);
    v.field(
        "check_ms", &TlsSection::check_ms,
        {.doc = "Time between looks at the files of certificates, of every listener: when they changed, new connections get the "
                "new ones. 0: only at SIGHUP.",
         .unit = "ms",
         .min = 0,
         .max = 86'400'000});
  }
};

struct AdminSection : admin::AdminOptions {
  std::string listen = "127.0.0.1:58080";

  template <class V>
  static void describe(V& v) {
    v.field("listen", &AdminSection::listen,
            {.doc = "Address and port of health, metrics and the admin API (HTTP); port 0 takes a free one, empty none."});
    admin::AdminOptions::describe(v);
  }
};

struct ServerOptions {
  NodeOptions node;
  RuntimeOptions runtime;
  MqttSection mqtt;
  KafkaSection kafka;
  TlsSection tls;
  net::QuicOptions quic;
  AdminSection admin;
  broker::AuthOptions auth;
  protocol::driver::ListenerOptions listener;
  std::vector<ListenerOptionsRow> listeners;
  broker::BrokerOptions broker;
  broker::SessionOptions session;
  broker::GroupOptions consumer_group;
  broker::TransactionOptions transaction;
  broker::RetainedOptions retained;
  broker::DelayedOptions delayed;
  broker::CompactionOptions compaction;
  meta::CatalogLimits catalog;
  storage::StorageOptions storage;
  broker::ExtensionOptions extension;
  broker::BanOptions ban;
  broker::QuotaOptions quota;
  broker::DeclareOptions declare;
  std::vector<broker::TopicRule> topic_rule;
  std::vector<broker::RewriteRule> topic_rewrite;
  std::vector<broker::AutoSubscription> auto_subscribe;

  template <class V>
  static void describe(V& v) {
    using O = ServerOptions;
    v.field("node", &O::node, {.doc = "The node itself."});
    v.field("runtime", &O::runtime, {.doc = "Threads."});
    v.field("mqtt", &O::mqtt, {.doc = "MQTT 3.1, 3.1.1 and 5.0."});
    v.field("kafka", &O::kafka, {.doc = "The Kafka protocol."});
    v.field("tls", &O::tls,
            {.doc = "The certificate of mqtt.listen_tls, mqtt.listen_websocket_tls, mqtt.listen_quic and kafka.listen_tls; a "
                    "[[listener]] has its own."});
    v.field("quic", &O::quic, {.doc = "Every listener that speaks QUIC."});
    v.field("admin", &O::admin, {.doc = "HTTP for people and monitoring."});
    v.field("auth", &O::auth, {.doc = "Who may come in."});
    v.field("connection", &O::listener,
            {.doc = "Limits of every connection, whatever the protocol. Formerly [listener].", .formerly = "listener"});
    v.field("listener", &O::listeners,
            {.doc = "Listeners besides mqtt.listen, kafka.listen and their like. Where there are some of a protocol, its simple "
                    "options open only what they are set to, not their defaults."});
    v.field("broker", &O::broker, {.doc = "Topics and limits, whatever the protocol."});
    v.field("session", &O::session, {.doc = "Sessions that outlive their connection."});
    v.field("consumer_group", &O::consumer_group, {.doc = "Consumer groups."});
    v.field("transaction", &O::transaction, {.doc = "Kafka's transactions."});
    v.field("retained", &O::retained, {.doc = "Retained messages of MQTT."});
    v.field("delayed", &O::delayed, {.doc = "Delayed messages of MQTT: `$delayed/{seconds}/{topic}`."});
    v.field("compaction", &O::compaction, {.doc = "Compaction of topics whose cleanup policy asks for it."});
    v.field("catalog", &O::catalog, {.doc = "Limits of the catalog of streams."});
    v.field("storage", &O::storage, {.doc = "The journal, segments and memory logs."});
    v.field("extension", &O::extension, {.doc = "Exclusive subscriptions, $SYS and slow subscriptions."});
    v.field("ban", &O::ban, {.doc = "Clients that may not connect."});
    v.field("quota", &O::quota, {.doc = "Kafka's client quotas, as they are counted; they are set by Kafka's tools."});
    v.field("declare", &O::declare, {.doc = "Streams made by subscriptions to `$queue/name/filter` and `$stream/name/filter`."});
    v.field("topic_rewrite", &O::topic_rewrite,
            {.doc = "Rules that rewrite the topics of messages and subscriptions; of those that match the last one holds."});
    v.field("auto_subscribe", &O::auto_subscribe, {.doc = "Subscriptions made for each client that connects."});
    v.field("topic_rule", &O::topic_rule,
            {.doc = "Topic rules say which MQTT topics go to a stream, and how it is kept; the first that matches wins. An MQTT "
                    "topic without a "
                    "rule is a light topic in memory."});
  }
};

// What one value alone does not show: addresses, topic rules, modes that are not built yet. Each problem on a line of its own,
// with the place it came from.
Status check(const ServerOptions& options, const config::Origins& origins);

// Whether a variable of the environment is for the options. Not those of the project's own tests and of robust-ctl, and not those
// that Kubernetes gives every container beside a service whose name begins with robustmq: ROBUSTMQ_SERVICE_HOST,
// ROBUSTMQ_PORT_1883_TCP_ADDR, ROBUSTMQ_KAFKA_PORT=tcp://10.0.0.1:9092, ...
bool is_option_variable(std::string_view name, std::string_view value);

// Reads all sources and checks. Error: invalid_config, a problem a line.
Result<ServerOptions> load_options(const config::Inputs& inputs);

}  // namespace robustmq::server
