// The one authorisation call: made here, once, before a request takes effect, for every protocol. Pure.
#pragma once

#include <string_view>

#include "base/result.h"
#include "broker/broker.h"

namespace robustmq::broker {

enum class Verb : uint8_t {
  publish,
  follow,
  produce,
  fetch,
  describe,
  create,
  alter,
  remove,
  use_group,
  transact,
  describe_cluster,
  describe_clients,
  alter_clients
};

// ok, or not_authorised. Who somebody is, is found out (authenticator.h); what he may do has no rules in this version: whoever is
// let in may do everything. Rules come with the security work; every request already passes here.
inline Code authorise(const Context& context, Verb verb, std::string_view resource) {
  (void)context, (void)verb, (void)resource;
  return Code::ok;
}

}  // namespace robustmq::broker
