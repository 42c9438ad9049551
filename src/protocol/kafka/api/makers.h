// The makers of exchanges, one an API; each is defined in the file of its API. Pure.
#pragma once

#include <memory>

#include "protocol/kafka/api/exchange.h"

namespace robustmq::kafka {

using Made = std::unique_ptr<Exchange>;

Made make_api_versions(Link& link, RequestFacts facts);
Made make_metadata(Link& link, RequestFacts facts);
Made make_produce(Link& link, RequestFacts facts);
Made make_fetch(Link& link, RequestFacts facts);
Made make_list_offsets(Link& link, RequestFacts facts);
Made make_find_coordinator(Link& link, RequestFacts facts);
Made make_join_group(Link& link, RequestFacts facts);
Made make_sync_group(Link& link, RequestFacts facts);
Made make_heartbeat(Link& link, RequestFacts facts);
Made make_leave_group(Link& link, RequestFacts facts);
Made make_offset_commit(Link& link, RequestFacts facts);
Made make_offset_fetch(Link& link, RequestFacts facts);
Made make_describe_groups(Link& link, RequestFacts facts);
Made make_list_groups(Link& link, RequestFacts facts);
Made make_delete_groups(Link& link, RequestFacts facts);
Made make_create_topics(Link& link, RequestFacts facts);
Made make_delete_topics(Link& link, RequestFacts facts);
Made make_describe_configs(Link& link, RequestFacts facts);
Made make_describe_cluster(Link& link, RequestFacts facts);
Made make_init_producer_id(Link& link, RequestFacts facts);
Made make_offset_for_leader_epoch(Link& link, RequestFacts facts);
Made make_delete_records(Link& link, RequestFacts facts);
Made make_create_partitions(Link& link, RequestFacts facts);
Made make_describe_topic_partitions(Link& link, RequestFacts facts);
Made make_alter_configs(Link& link, RequestFacts facts);
Made make_incremental_alter_configs(Link& link, RequestFacts facts);
Made make_describe_log_dirs(Link& link, RequestFacts facts);
Made make_elect_leaders(Link& link, RequestFacts facts);
Made make_alter_partition_reassignments(Link& link, RequestFacts facts);
Made make_list_partition_reassignments(Link& link, RequestFacts facts);
Made make_list_config_resources(Link& link, RequestFacts facts);
Made make_update_features(Link& link, RequestFacts facts);
Made make_describe_producers(Link& link, RequestFacts facts);
Made make_offset_delete(Link& link, RequestFacts facts);
Made make_add_partitions_to_txn(Link& link, RequestFacts facts);
Made make_add_offsets_to_txn(Link& link, RequestFacts facts);
Made make_end_txn(Link& link, RequestFacts facts);
Made make_write_txn_markers(Link& link, RequestFacts facts);
Made make_txn_offset_commit(Link& link, RequestFacts facts);
Made make_describe_transactions(Link& link, RequestFacts facts);
Made make_list_transactions(Link& link, RequestFacts facts);
Made make_describe_client_quotas(Link& link, RequestFacts facts);
Made make_alter_client_quotas(Link& link, RequestFacts facts);

}  // namespace robustmq::kafka
