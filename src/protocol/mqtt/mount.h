// A listener's mountpoint: a topic prefix that is put on what its clients name and taken off what they are told. Private to this
// room. Pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "protocol/mqtt/pace.h"

namespace robustmq::mqtt {

// What a connection knows of its client from the listener and the client's certificate, where there is any of it.
struct ClientFacts {
  std::string mountpoint;  // with its placeholders until CONNECT
  std::string user;        // of the certificate, in place of what CONNECT says
  std::string client_id;   // so too
  std::optional<Pace> pace;
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
