// The listeners of a node: what the options ask for, as one list. Pure.
//
// Simple options open one listener of a kind each (mqtt.listen, mqtt.listen_websocket, kafka.listen); each [[listener]] table
// opens one more, with what is its own. Where there are [[listener]] tables of a protocol, its simple options open only what they
// were set to: their defaults are off.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/describe.h"
#include "net/entrance.h"
#include "protocol/driver/metrics.h"
#include "runtime/net.h"

namespace robustmq::server {

struct ServerOptions;

// One [[listener]].
struct ListenerOptionsRow {
  std::string kind = "mqtt";
  std::string name;
  std::string bind = "127.0.0.1";
  uint16_t port = 0;
  net::TlsOptions tls;
  net::TlsIdentity identity = net::TlsIdentity::none;
  std::string mountpoint;
  bool proxy_protocol = false;
  bool quic = false;
  bool websocket = false;
  std::string websocket_path = "/mqtt";
  std::vector<std::string> websocket_origins;
  int64_t handshake_ms_max = 10'000;
  uint32_t connections_max = 0;
  std::string advertised;
  protocol::driver::RateOptions rates;

  template <class V>
  static void describe(V& v) {
    using O = ListenerOptionsRow;
    v.field("kind", &O::kind, {.doc = "Protocol that is spoken: mqtt or kafka."});
    v.field("name", &O::name, {.doc = "Name in logs and metrics; empty: the kind and a number, as in mqtt_2."});
    v.field("bind", &O::bind,
            {.doc = "Address to listen at, 0.0.0.0 or :: for all; or the path of a Unix socket, as in /run/robustmq/mqtt.sock."});
    v.field("port", &O::port, {.doc = "Port to listen at; 0 takes a free one."});
    v.field("tls", &O::tls, {.doc = "TLS of this listener; on where its certificate is set."});
    v.field(
        "identity", &O::identity,
        {.doc = "What the common name of a client's certificate stands for, in place of what CONNECT says: nothing (none), the "
                "user, or the client_id."});
    v.field(
        "mountpoint", &O::mountpoint,
        {.doc =
             "Prefix of all topics of this listener's MQTT clients, which do not see it: with floor1/ what a client publishes to "
             "a/b is in floor1/a/b. ${clientid} and ${username} are filled in."});
    v.field(
        "proxy_protocol", &O::proxy_protocol,
        {.doc = "Every connection begins with a header of the PROXY protocol, version 1 or 2, from a proxy in front; without it "
                "the connection is refused. Clients must not reach such a listener themselves: they could say to be anybody."});
    v.field(
        "quic", &O::quic,
        {.doc = "MQTT over QUIC (UDP), on one stream; needs TLS, of which version_min and ciphers do not count: it is TLS 1.3."});
    v.field("websocket", &O::websocket, {.doc = "MQTT over WebSocket."});
    v.field("websocket_path", &O::websocket_path, {.doc = "Path at which WebSocket opens."});
    v.field(
        "websocket_origins", &O::websocket_origins,
        {.doc =
             "Web pages whose scripts may connect by WebSocket, as browsers name them: https://shop.example; * for all. Others "
             "are refused; clients that are no browsers are not asked."});
    v.field("handshake_ms_max", &O::handshake_ms_max,
            {.doc = "Time a connection has for its PROXY header, TLS and WebSocket together, or for QUIC's handshake and stream.",
             .unit = "ms",
             .min = 1,
             .max = 600'000});
    v.field("connections_max", &O::connections_max,
            {.doc = "Connections of this listener on all cores; 0: no limit but connection.connections_max."});
    v.field("advertised", &O::advertised,
            {.doc = "Address and port that Kafka clients of this listener are told to connect to; empty: where it listens."});
    v.field("rates", &O::rates, {.doc = "Rates of this listener; what is 0 is as [connection.rates] says."});
  }
};

// A listener to be opened.
struct ListenerPlan {
  std::string kind;
  std::string name;
  std::string option;  // that asks for it, for messages: "mqtt.listen = 127.0.0.1:1883"
  runtime::Endpoint at;
  bool may_be_left_out = false;  // nobody asked for it: when its port is taken the node goes on without it
  bool is_quic = false;
  net::EntranceRules entrance;
  net::TlsOptions tls;
  std::string advertised;
  std::string mountpoint;
  uint32_t connections_max = 0;
  protocol::driver::RateOptions rates;
};

// The caller ensures that the options were checked.
std::vector<ListenerPlan> plan_listeners(const ServerOptions& options);
// Problem in words, or empty.
std::string check_tls(const net::TlsOptions& tls);
std::string check_origins(const std::vector<std::string>& origins);
std::string check_listener(const ListenerOptionsRow& row);

}  // namespace robustmq::server
