// The makers of the exchanges of groups with server-side assignment, and what they share with the classic ones. Pure.
#pragma once

#include <string>

#include "protocol/kafka/api/makers.h"

namespace robustmq::kafka {

Made make_consumer_group_heartbeat(Link& link, RequestFacts facts);
Made make_consumer_group_describe(Link& link, RequestFacts facts);

// "/127.0.0.1" of "127.0.0.1:51234", as Kafka shows a member's host.
inline std::string member_host(const std::string& peer) { return "/" + peer.substr(0, peer.rfind(':')); }

}  // namespace robustmq::kafka
