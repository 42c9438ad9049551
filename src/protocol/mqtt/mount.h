// A listener's mountpoint: a topic prefix that is put on what its clients name and taken off what they are told. Private to this
// room. Pure.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "protocol/mqtt/pace.h"

namespace robustmq::mqtt {

// Of a client that logs in by AUTH (MQTT5 4.12), as long as it is connected.
struct Login {
  std::string method;
  Bytes connect;              // the CONNECT, until it is known who sent it
  std::string user;           // whom the broker knows it as
  std::string data;           // for CONNACK
  protocol::CallId call = 0;  // the broker's turn; 0: the client's, or nobody's
  bool is_under_way = false;
};

// What a connection knows of its client beyond CONNECT: from the listener, from its certificate, from its login; where there is
// any of it.
struct ClientFacts {
  std::string mountpoint;  // with its placeholders until CONNECT
  std::string user;        // of the certificate, in place of what CONNECT says
  std::string client_id;   // so too
  std::optional<Pace> pace;
  std::unique_ptr<Login> login;  // where CONNECT has an authentication method
  ClientFacts(std::string mountpoint, std::string user, std::string client_id)
      : mountpoint(std::move(mountpoint)), user(std::move(user)), client_id(std::move(client_id)) {}
};

// The prefix for one client: `${clientid}` and `${username}` filled in. nullopt: one of them is empty or has a '/', '+' or '#',
// by which a client could get at topics of others.
std::optional<std::string> mountpoint_of(std::string_view pattern, std::string_view client_id, std::string_view user);

// A topic or filter as the broker knows it: the prefix before it, but behind `$delayed/{time}/` and `$exclusive/`.
std::string mounted(std::string_view prefix, std::string_view topic);

// A topic as the client knows it: without the prefix. Empty: it is not below the prefix, and none of the client's business
// (a filter's `#` matches the level above it too: MQTT5 4.7.1.2).
std::string_view unmounted(std::string_view prefix, std::string_view topic);

}  // namespace robustmq::mqtt
