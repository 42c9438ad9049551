// Every metrics struct of a node with its prefix, for the reference; the node registers the same ones. Pure.
#pragma once

#include "admin/access.h"
#include "broker/auth_options.h"
#include "broker/compaction_options.h"
#include "broker/declare_options.h"
#include "broker/delayed_options.h"
#include "broker/extensions/ban_options.h"
#include "broker/extensions/options.h"
#include "broker/group/options.h"
#include "broker/lease/options.h"
#include "broker/options.h"
#include "broker/queue/options.h"
#include "broker/quota/options.h"
#include "broker/retained/options.h"
#include "broker/session/options.h"
#include "broker/transaction/options.h"
#include "broker/wills.h"
#include "net/http.h"
#include "net/quic/options.h"
#include "net/stream.h"
#include "observe/metrics.h"
#include "protocol/driver/metrics.h"
#include "protocol/kafka/options.h"
#include "protocol/mqtt/metrics.h"
#include "raft/group.h"
#include "storage/joined_log.h"
#include "storage/journal.h"
#include "storage/memory/memory_log.h"
#include "storage/rocksdb/rocks_kv.h"
#include "storage/segment/engine.h"

namespace robustmq::server {

// Calls visit.operator()<Struct>(prefix, title) for each.
template <class Visit>
void for_each_metrics_struct(Visit&& visit) {
  visit.template operator()<mqtt::MqttMetrics>("mqtt", "MQTT");
  visit.template operator()<kafka::KafkaMetrics>("kafka", "Kafka");
  visit.template operator()<protocol::driver::ListenerMetrics>("listener", "Listeners (label `protocol`)");
  visit.template operator()<net::StreamCounters>("net", "Byte streams");
  visit.template operator()<net::QuicMetrics>("quic", "QUIC (label `listener`)");
  visit.template operator()<broker::BrokerMetrics>("broker", "Broker");
  visit.template operator()<broker::AuthMetrics>("auth", "Logins");
  visit.template operator()<broker::SessionMetrics>("session", "Sessions");
  visit.template operator()<broker::ExtensionMetrics>("extension",
                                                      "Exclusive and automatic subscriptions, rewritten topics, $SYS");
  visit.template operator()<broker::BanMetrics>("ban", "Bans");
  visit.template operator()<broker::QuotaMetrics>("quota", "Client quotas");
  visit.template operator()<broker::GroupMetrics>("consumer_group", "Consumer groups");
  visit.template operator()<broker::TransactionMetrics>("transaction", "Transactions");
  visit.template operator()<broker::LeaseMetrics>("lease", "Queues over partitions (share groups)");
  visit.template operator()<queue::QueueMetrics>("queue", "Messages of queues");
  visit.template operator()<broker::DeclareMetrics>("declare", "Queues and streams made at run time");
  visit.template operator()<broker::RetainedMetrics>("retained", "Retained messages");
  visit.template operator()<broker::WillMetrics>("will", "Wills");
  visit.template operator()<broker::DelayedMetrics>("delayed", "Delayed messages");
  visit.template operator()<broker::CompactionMetrics>("compaction", "Compaction");
  visit.template operator()<admin::AdminMetrics>("admin", "Admin API");
  visit.template operator()<net::HttpServerCounters>("admin_http", "Connections of the admin API");
  visit.template operator()<raft::GroupMetrics>("catalog", "Catalog");
  visit.template operator()<storage::MemoryMetrics>("memory", "Memory logs");
  visit.template operator()<storage::JoinedMetrics>("modes", "Modes of streams");
  visit.template operator()<storage::SegmentMetrics>("segment", "Segments");
  visit.template operator()<storage::JournalMetrics>("journal", "Journal");
  visit.template operator()<storage::RowsMetrics>("rows", "Rows in RocksDB");
}

}  // namespace robustmq::server
