#include "protocol/mqtt/errors.h"

namespace robustmq::mqtt {
namespace {

// What a code means to an MQTT client.
enum class Meaning : uint8_t { ok, forbidden, bad_name, over_limit, stopping, not_supported, failed };

// Every code is named: one that is new does not compile until somebody decides.
Meaning meaning_of(Code code) {
  switch (code) {
    case Code::ok:
      return Meaning::ok;
    case Code::not_authorised:
      return Meaning::forbidden;
    case Code::invalid_topic:
      return Meaning::bad_name;
    case Code::too_large:
    case Code::quota_exceeded:
    case Code::overloaded:
    case Code::storage_full:
      return Meaning::over_limit;
    case Code::shutting_down:
      return Meaning::stopping;
    case Code::not_supported:
      return Meaning::not_supported;
    case Code::malformed:
    case Code::invalid_argument:
    case Code::unknown_topic:
    case Code::unknown_topic_id:
    case Code::inconsistent_topic_id:
    case Code::topic_exists:
    case Code::invalid_partitions:
    case Code::invalid_replication_factor:
    case Code::invalid_config:
    case Code::not_leader:
    case Code::fenced_leader_epoch:
    case Code::unknown_leader_epoch:
    case Code::offset_out_of_range:
    case Code::corrupt_batch:
    case Code::invalid_record:
    case Code::invalid_timestamp:
    case Code::unsupported_batch_format:
    case Code::unsupported_compression:
    case Code::out_of_order_sequence:
    case Code::duplicate_sequence:
    case Code::fenced_producer:
    case Code::unknown_producer:
    case Code::storage_failed:
    case Code::corrupt_storage:
    case Code::timed_out:
    case Code::connection_lost:
    case Code::not_found:
    case Code::already_exists:
    case Code::coordinator_loading:
    case Code::unknown_member:
    case Code::member_id_required:
    case Code::illegal_generation:
    case Code::rebalance_in_progress:
    case Code::inconsistent_protocol:
    case Code::fenced_instance:
    case Code::invalid_session_timeout:
    case Code::invalid_group:
    case Code::group_not_empty:
    case Code::group_not_found:
    case Code::fenced_member_epoch:
    case Code::stale_member_epoch:
    case Code::unreleased_instance:
    case Code::unsupported_assignor:
    case Code::invalid_pattern:
    case Code::metadata_too_large:
    case Code::concurrent_transactions:
    case Code::invalid_transaction_state:
    case Code::invalid_producer_mapping:
    case Code::invalid_transaction_timeout:
    case Code::not_attempted:
    case Code::unstable_offset:
    case Code::transaction_not_found:
    case Code::internal:
      return Meaning::failed;
  }
  return Meaning::failed;
}

}  // namespace

ReasonCode puback_reason_of(Code code) {
  switch (meaning_of(code)) {
    case Meaning::ok:
      return ReasonCode::success;
    case Meaning::forbidden:
      return ReasonCode::not_authorized;
    case Meaning::bad_name:
      return ReasonCode::topic_name_invalid;
    case Meaning::over_limit:
      return ReasonCode::quota_exceeded;
    case Meaning::stopping:
      return ReasonCode::unspecified_error;
    case Meaning::not_supported:
      return ReasonCode::implementation_specific_error;
    case Meaning::failed:
      return ReasonCode::unspecified_error;
  }
  return ReasonCode::unspecified_error;
}

ReasonCode suback_reason_of(Code code) {
  switch (meaning_of(code)) {
    case Meaning::ok:
      return ReasonCode::success;
    case Meaning::forbidden:
      return ReasonCode::not_authorized;
    case Meaning::bad_name:
      return ReasonCode::topic_filter_invalid;
    case Meaning::over_limit:
      return ReasonCode::quota_exceeded;
    case Meaning::stopping:
      return ReasonCode::unspecified_error;
    case Meaning::not_supported:
      return ReasonCode::implementation_specific_error;
    case Meaning::failed:
      return ReasonCode::unspecified_error;
  }
  return ReasonCode::unspecified_error;
}

ReasonCode unsuback_reason_of(Code code) {
  switch (meaning_of(code)) {
    case Meaning::ok:
      return ReasonCode::success;
    case Meaning::forbidden:
      return ReasonCode::not_authorized;
    case Meaning::bad_name:
      return ReasonCode::topic_filter_invalid;
    case Meaning::over_limit:
      return ReasonCode::unspecified_error;
    case Meaning::stopping:
      return ReasonCode::unspecified_error;
    case Meaning::not_supported:
      return ReasonCode::implementation_specific_error;
    case Meaning::failed:
      return ReasonCode::unspecified_error;
  }
  return ReasonCode::unspecified_error;
}

ReasonCode connack_reason_of(Code code) {
  switch (meaning_of(code)) {
    case Meaning::ok:
      return ReasonCode::success;
    case Meaning::forbidden:
      return ReasonCode::not_authorized;
    case Meaning::bad_name:
      return ReasonCode::client_identifier_not_valid;
    case Meaning::over_limit:
      return ReasonCode::server_busy;
    case Meaning::stopping:
      return ReasonCode::server_unavailable;
    case Meaning::not_supported:
      return ReasonCode::implementation_specific_error;
    case Meaning::failed:
      return ReasonCode::server_unavailable;
  }
  return ReasonCode::server_unavailable;
}

ReturnCode return_code_of(Code code) {
  switch (meaning_of(code)) {
    case Meaning::ok:
      return ReturnCode::accepted;
    case Meaning::forbidden:
      return ReturnCode::not_authorized;
    case Meaning::bad_name:
      return ReturnCode::identifier_rejected;
    case Meaning::over_limit:
      return ReturnCode::server_unavailable;
    case Meaning::stopping:
      return ReturnCode::server_unavailable;
    case Meaning::not_supported:
      return ReturnCode::server_unavailable;
    case Meaning::failed:
      return ReturnCode::server_unavailable;
  }
  return ReturnCode::server_unavailable;
}

}  // namespace robustmq::mqtt
