// A Kafka client's link: framing, request headers, the order of answers, limits. Pure.
//
// A request is an int32 size and that many bytes: key, version, correlation id, client id, tagged fields where flexible, body.
// Each request becomes an Exchange (api/exchange.h) that decodes the body, calls the broker and makes the answer. Answers leave
// in the order of the requests. Produce requests go down without waiting for each other; any other request begins when all before
// it are answered, as in Kafka, so a parked Fetch holds up what its own client sent behind it and nobody else.
//
// Limits: KafkaOptions. A frame's memory grows with what arrived; the driver asks bytes_wanted() how much to have before the
// next call, and stops reading while is_paused(): too many requests wait, or the budget of the core is over.
// Quotas (client_quotas.h) of the client delay what it sends next: the connection is read no further for that long after the
// answer. A host over its quota of connections is not read at all, and ended after a while.
// An unknown API or version, and a malformed request, close the connection with a logged reason.
#pragma once

#include <memory>

#include "protocol/connection.h"
#include "protocol/kafka/core_share.h"
#include "protocol/kafka/options.h"

namespace robustmq::kafka {

using protocol::CallId;
using protocol::CloseWhy;
using protocol::Outbox;

// `options`, `metrics` and `core` outlive the connection.
std::unique_ptr<protocol::Connection> make_connection(const KafkaOptions& options, KafkaMetrics& metrics, CoreShare& core,
                                                      const protocol::LinkFacts& link);

}  // namespace robustmq::kafka
