// Which of Kafka's error codes says what a broker's code means. Pure.
#include "protocol/kafka/errors.h"

namespace robustmq::kafka {

std::string_view kafka_error_name(KafkaError error) {
  switch (error) {
#define X(name, number)  \
  case KafkaError::name: \
    return #name;
#include "protocol/kafka/errors.def"
#undef X
  }
  return "?";
}

KafkaError kafka_error_of(Code code) {
  using K = KafkaError;
  switch (code) {
    case Code::ok:
      return K::none;
    case Code::malformed:
      return K::invalid_request;
    case Code::invalid_argument:
      return K::invalid_request;
    case Code::not_supported:
      return K::unsupported_version;
    case Code::not_authorised:
      return K::topic_authorization_failed;
    case Code::unknown_topic:
      return K::unknown_topic_or_partition;
    case Code::unknown_topic_id:
      return K::unknown_topic_id;
    case Code::inconsistent_topic_id:
      return K::inconsistent_topic_id;
    case Code::topic_exists:
      return K::topic_already_exists;
    case Code::invalid_topic:
      return K::invalid_topic_exception;
    case Code::invalid_partitions:
      return K::invalid_partitions;
    case Code::invalid_replication_factor:
      return K::invalid_replication_factor;
    case Code::invalid_config:
      return K::invalid_config;
    case Code::not_leader:
      return K::not_leader_or_follower;
    case Code::fenced_leader_epoch:
      return K::fenced_leader_epoch;
    case Code::unknown_leader_epoch:
      return K::unknown_leader_epoch;
    case Code::offset_out_of_range:
      return K::offset_out_of_range;
    case Code::corrupt_batch:
      return K::corrupt_message;
    case Code::invalid_record:
      return K::invalid_record;
    case Code::invalid_timestamp:
      return K::invalid_timestamp;
    case Code::unsupported_batch_format:
      return K::invalid_record;
    case Code::unsupported_compression:
      return K::unsupported_compression_type;
    case Code::too_large:
      return K::message_too_large;
    case Code::out_of_order_sequence:
      return K::out_of_order_sequence_number;
    case Code::duplicate_sequence:
      return K::duplicate_sequence_number;
    case Code::fenced_producer:
      return K::invalid_producer_epoch;
    case Code::unknown_producer:
      return K::unknown_producer_id;
    case Code::quota_exceeded:
      return K::throttling_quota_exceeded;
    // Retriable, and no client takes it for an outcome: the request was not begun.
    case Code::overloaded:
      return K::not_leader_or_follower;
    case Code::storage_full:
      return K::kafka_storage_error;
    case Code::storage_failed:
      return K::kafka_storage_error;
    case Code::corrupt_storage:
      return K::corrupt_message;
    case Code::shutting_down:
      return K::not_leader_or_follower;
    case Code::timed_out:
      return K::request_timed_out;
    case Code::connection_lost:
      return K::network_exception;
    case Code::not_found:
      return K::resource_not_found;
    case Code::already_exists:
      return K::duplicate_resource;
    case Code::coordinator_loading:
      return K::coordinator_load_in_progress;
    case Code::unknown_member:
      return K::unknown_member_id;
    case Code::member_id_required:
      return K::member_id_required;
    case Code::illegal_generation:
      return K::illegal_generation;
    case Code::rebalance_in_progress:
      return K::rebalance_in_progress;
    case Code::inconsistent_protocol:
      return K::inconsistent_group_protocol;
    case Code::fenced_instance:
      return K::fenced_instance_id;
    case Code::invalid_session_timeout:
      return K::invalid_session_timeout;
    case Code::invalid_group:
      return K::invalid_group_id;
    case Code::group_not_empty:
      return K::non_empty_group;
    case Code::group_not_found:
      return K::group_id_not_found;
    case Code::fenced_member_epoch:
      return K::fenced_member_epoch;
    case Code::stale_member_epoch:
      return K::stale_member_epoch;
    case Code::unreleased_instance:
      return K::unreleased_instance_id;
    case Code::unsupported_assignor:
      return K::unsupported_assignor;
    case Code::invalid_pattern:
      return K::invalid_regular_expression;
    case Code::metadata_too_large:
      return K::offset_metadata_too_large;
    case Code::concurrent_transactions:
      return K::concurrent_transactions;
    case Code::invalid_transaction_state:
      return K::invalid_txn_state;
    case Code::invalid_producer_mapping:
      return K::invalid_producer_id_mapping;
    case Code::invalid_transaction_timeout:
      return K::invalid_transaction_timeout;
    case Code::not_attempted:
      return K::operation_not_attempted;
    case Code::unstable_offset:
      return K::unstable_offset_commit;
    case Code::transaction_not_found:
      return K::transactional_id_not_found;
    case Code::internal:
      return K::unknown_server_error;
  }
  return K::unknown_server_error;
}

KafkaError transaction_error_of(Code code, bool knows_fenced) {
  using K = KafkaError;
  switch (code) {
    case Code::fenced_producer:
      return knows_fenced ? K::producer_fenced : K::invalid_producer_epoch;
    case Code::quota_exceeded:
      return K::policy_violation;
    case Code::not_authorised:
      return K::transactional_id_authorization_failed;
    default:
      return group_error_of(code);
  }
}

KafkaError group_error_of(Code code) {
  using K = KafkaError;
  switch (code) {
    case Code::not_authorised:
      return K::group_authorization_failed;
    case Code::not_leader:
      return K::not_coordinator;
    case Code::quota_exceeded:
      return K::group_max_size_reached;
    case Code::overloaded:
    case Code::storage_full:
    case Code::storage_failed:
    case Code::shutting_down:
    case Code::timed_out:
    case Code::connection_lost:
      return K::coordinator_not_available;
    default:
      return kafka_error_of(code);
  }
}

}  // namespace robustmq::kafka
