// Consumer groups and committed offsets: what goes to the broker and what comes back, version by version.
#include <gtest/gtest.h>

#include "protocol/kafka/errors.h"
#include "protocol/kafka/frames/all.h"
#include "protocol/kafka/testing.h"

namespace robustmq::kafka {
namespace {

using K = KafkaError;

// One request, one call, one reply.
template <class Call, class Response, class Request>
struct GroupTrip {
  ConnectionHarness link;
  Call asked;
  Answer<Response> answer;

  GroupTrip(const Request& request, int version, broker::Reply reply) {
    link.feed(request_bytes(request, version, 1));
    asked = link.take_call<Call>();
    link.reply_to_taken(std::move(reply));
    answer = link.take<Response>(version);
    EXPECT_EQ(answer.fault, "") << Request::kName << " version " << version;
    EXPECT_FALSE(link.had_wrong_kind());
  }
};

TEST(FindCoordinator, NamesThisNodeForGroupsAndTransactions) {
  for (int version = 0; version <= 6; ++version) {
    FindCoordinatorRequest request;
    if (version > 0) request.key_type = static_cast<int8_t>(version % 2);
    request.key = "g";
    request.coordinator_keys = {"g", "h"};
    GroupTrip<broker::DescribeCluster, FindCoordinatorResponse, FindCoordinatorRequest> trip(request, version, cluster());
    const auto& body = trip.answer.body;
    if (version < 4) {
      EXPECT_EQ(body.error_code, 0);
      EXPECT_EQ(body.node_id, 7);
      EXPECT_EQ(body.host, "broker.example");
      EXPECT_EQ(body.port, 9092);
    } else {
      ASSERT_EQ(body.coordinators.size(), 2u);
      EXPECT_EQ(body.coordinators[1].key, "h");
      EXPECT_EQ(body.coordinators[1].node_id, 7);
      EXPECT_EQ(body.coordinators[1].error_code, 0);
    }
  }
}

TEST(FindCoordinator, EndsTheSearchForOtherTypes) {
  struct Case {
    int8_t type;
    K error;
  };
  for (const Case& one : {Case{2, K::invalid_request}, Case{9, K::invalid_request}}) {
    FindCoordinatorRequest request;
    request.key_type = one.type;
    request.key = "x";
    request.coordinator_keys = {"x"};
    GroupTrip<broker::DescribeCluster, FindCoordinatorResponse, FindCoordinatorRequest> old(request, 2, cluster());
    EXPECT_EQ(old.answer.body.error_code, wire(one.error));
    EXPECT_EQ(old.answer.body.node_id, -1);
    EXPECT_EQ(old.answer.body.port, -1);
    GroupTrip<broker::DescribeCluster, FindCoordinatorResponse, FindCoordinatorRequest> now(request, 6, cluster());
    EXPECT_EQ(now.answer.body.coordinators.at(0).error_code, wire(one.error));
  }
}

JoinGroupRequest join_request() {
  JoinGroupRequest request;
  request.group_id = "g";
  request.session_timeout_ms = 10'000;
  request.rebalance_timeout_ms = 60'000;
  request.protocol_type = "consumer";
  request.protocols.push_back({"range", Bytes::copy_of("meta")});
  return request;
}
using JoinTrip = GroupTrip<broker::JoinGroup, JoinGroupResponse, JoinGroupRequest>;

TEST(JoinGroup, MapsEveryVersion) {
  for (int version = 0; version <= 9; ++version) {
    JoinGroupRequest request = join_request();
    if (version >= 5) request.group_instance_id = "i";
    broker::JoinedGroup joined;
    joined.generation = 4;
    joined.protocol_type = "consumer";
    joined.protocol = "range";
    joined.leader = "m1";
    joined.member_id = "m1";
    joined.members.push_back({"m1", "i", Bytes::copy_of("meta")});
    JoinTrip trip(request, version, joined);
    EXPECT_EQ(trip.asked.group, "g");
    EXPECT_EQ(trip.asked.client_id, "test");
    EXPECT_EQ(trip.asked.client_host, "/127.0.0.1");
    EXPECT_EQ(trip.asked.rebalance_timeout_ms, version >= 1 ? 60'000 : 10'000);
    EXPECT_EQ(trip.asked.member_id_required, version == 4);
    EXPECT_EQ(trip.asked.protocols.at(0).metadata.text(), "meta");
    const auto& body = trip.answer.body;
    EXPECT_EQ(body.generation_id, 4);
    EXPECT_EQ(body.protocol_name, "range");
    EXPECT_EQ(body.protocol_type, version >= 7 ? std::optional<std::string_view>("consumer") : std::nullopt);
    EXPECT_EQ(body.leader, "m1");
    ASSERT_EQ(body.members.size(), 1u);
    EXPECT_EQ(body.members[0].group_instance_id, version >= 5 ? std::optional<std::string_view>("i") : std::nullopt);
    EXPECT_EQ(body.members[0].metadata.text(), "meta");
  }
}

TEST(JoinGroup, AsksADynamicMemberToComeBackWithItsId) {
  for (int version : {3, 4, 9}) {
    broker::JoinedGroup joined;
    joined.code = Code::member_id_required;
    joined.member_id = "new-id";
    JoinTrip trip(join_request(), version, joined);
    EXPECT_EQ(trip.asked.member_id_required, version >= 4);
    EXPECT_EQ(trip.answer.body.error_code, wire(K::member_id_required));
    EXPECT_EQ(trip.answer.body.member_id, "new-id");
    EXPECT_EQ(trip.answer.body.generation_id, -1);
    EXPECT_EQ(trip.answer.body.protocol_name, version >= 7 ? std::nullopt : std::optional<std::string_view>(""));
  }
}

TEST(JoinGroup, PassesOnRefusals) {
  struct Case {
    Code code;
    K error;
  };
  for (const Case& one :
       {Case{Code::inconsistent_protocol, K::inconsistent_group_protocol}, Case{Code::unknown_member, K::unknown_member_id},
        Case{Code::fenced_instance, K::fenced_instance_id}, Case{Code::invalid_session_timeout, K::invalid_session_timeout},
        Case{Code::invalid_group, K::invalid_group_id}, Case{Code::not_leader, K::not_coordinator},
        Case{Code::quota_exceeded, K::group_max_size_reached}, Case{Code::shutting_down, K::coordinator_not_available},
        Case{Code::coordinator_loading, K::coordinator_load_in_progress}}) {
    JoinGroupRequest request = join_request();
    request.member_id = "mine";
    JoinTrip trip(request, 5, broker::JoinedGroup{.code = one.code});
    EXPECT_EQ(trip.answer.body.error_code, wire(one.error));
    EXPECT_EQ(trip.answer.body.member_id, "mine");
    JoinTrip whole(request, 5, Error{one.code, ""});
    EXPECT_EQ(whole.answer.body.error_code, wire(one.error));
  }
}

TEST(JoinGroup, AStaticLeaderMaySkipTheAssignmentFromVersion9On) {
  for (int version : {8, 9}) {
    JoinGroupRequest request = join_request();
    request.group_instance_id = "i";
    broker::JoinedGroup joined;
    joined.skip_assignment = true;
    JoinTrip trip(request, version, joined);
    EXPECT_EQ(trip.asked.can_skip_assignment, version == 9);
    EXPECT_EQ(trip.answer.body.skip_assignment, version == 9);
  }
}

using SyncTrip = GroupTrip<broker::SyncGroup, SyncGroupResponse, SyncGroupRequest>;

TEST(SyncGroup, MapsEveryVersion) {
  for (int version = 0; version <= 5; ++version) {
    SyncGroupRequest request;
    request.group_id = "g";
    request.generation_id = 4;
    request.member_id = "m1";
    request.protocol_type = "consumer";
    request.protocol_name = "range";
    request.assignments.push_back({"m1", Bytes::copy_of("assigned")});
    broker::SyncedGroup synced;
    synced.protocol_type = "consumer";
    synced.protocol = "range";
    synced.assignment = Bytes::copy_of("assigned");
    SyncTrip trip(request, version, synced);
    EXPECT_EQ(trip.asked.generation, 4);
    EXPECT_EQ(trip.asked.protocol_type, version >= 5 ? "consumer" : "");
    EXPECT_EQ(trip.asked.assignments.at(0).assignment.text(), "assigned");
    EXPECT_EQ(trip.answer.body.assignment.text(), "assigned");
    EXPECT_EQ(trip.answer.body.protocol_name, version >= 5 ? std::optional<std::string_view>("range") : std::nullopt);
  }
}

TEST(SyncGroup, NeedsItsProtocolFromVersion5On) {
  ConnectionHarness link;
  SyncGroupRequest request;
  request.group_id = "g";
  link.feed(request_bytes(request, 5, 1));
  EXPECT_TRUE(link.calls().empty());
  EXPECT_EQ(link.take<SyncGroupResponse>(5).body.error_code, wire(K::inconsistent_group_protocol));
}

TEST(Heartbeat, MapsEveryVersion) {
  for (int version = 0; version <= 4; ++version) {
    HeartbeatRequest request;
    request.group_id = "g";
    request.generation_id = 4;
    request.member_id = "m";
    if (version >= 3) request.group_instance_id = "i";
    GroupTrip<broker::HeartbeatGroup, HeartbeatResponse, HeartbeatRequest> trip(
        request, version, broker::HeartbeatReply{Code::rebalance_in_progress});
    EXPECT_EQ(trip.asked.generation, 4);
    EXPECT_EQ(trip.asked.instance_id, version >= 3 ? std::optional<std::string>("i") : std::nullopt);
    EXPECT_EQ(trip.answer.body.error_code, wire(K::rebalance_in_progress));
  }
}

TEST(LeaveGroup, HasOneMemberBeforeVersion3AndMoreLater) {
  for (int version = 0; version <= 5; ++version) {
    LeaveGroupRequest request;
    request.group_id = "g";
    request.member_id = "m1";
    request.members.push_back({"m1", std::nullopt, std::nullopt});
    request.members.push_back({"", "i2", std::nullopt});
    broker::LeftGroup left;
    left.members = {Code::unknown_member, Code::ok};
    GroupTrip<broker::LeaveGroup, LeaveGroupResponse, LeaveGroupRequest> trip(request, version, left);
    EXPECT_EQ(trip.asked.members.size(), version < 3 ? 1u : 2u);
    if (version < 3) {
      EXPECT_EQ(trip.answer.body.error_code, wire(K::unknown_member_id));
      continue;
    }
    EXPECT_EQ(trip.asked.members[1].instance_id, "i2");
    EXPECT_EQ(trip.answer.body.error_code, 0);
    ASSERT_EQ(trip.answer.body.members.size(), 2u);
    EXPECT_EQ(trip.answer.body.members[0].error_code, wire(K::unknown_member_id));
    EXPECT_EQ(trip.answer.body.members[1].group_instance_id, "i2");
    EXPECT_EQ(trip.answer.body.members[1].error_code, 0);
  }
}

TEST(OffsetCommit, MapsEveryVersion) {
  for (int version = 2; version <= 10; ++version) {
    OffsetCommitRequest request;
    request.group_id = "g";
    request.generation_id_or_member_epoch = 4;
    request.member_id = "m";
    request.topics.push_back({"a", uuid(1), {{0, 100, 3, "note"}, {1, 101, -1, std::nullopt}}});
    request.topics.push_back({"b", uuid(2), {{5, 102, -1, ""}}});
    GroupTrip<broker::CommitOffsets, OffsetCommitResponse, OffsetCommitRequest> trip(
        request, version, broker::CommittedOffsets{{Code::ok, Code::metadata_too_large, Code::illegal_generation}});
    ASSERT_EQ(trip.asked.offsets.size(), 3u);
    EXPECT_EQ(trip.asked.generation, 4);
    EXPECT_EQ(trip.asked.topics[0].name, version < 10 ? "a" : "");
    EXPECT_EQ(trip.asked.topics[0].id, version < 10 ? Uuid{} : uuid(1));
    EXPECT_EQ(trip.asked.offsets[0].leader_epoch, version >= 6 ? 3 : -1);
    EXPECT_EQ(trip.asked.offsets[0].metadata, "note");
    EXPECT_EQ(trip.asked.offsets[1].metadata, "");
    EXPECT_EQ(trip.asked.offsets[2].topic_index, 1);
    const auto& topics = trip.answer.body.topics;
    EXPECT_EQ(topics.at(0).partitions.at(0).error_code, 0);
    EXPECT_EQ(topics.at(0).partitions.at(1).error_code, wire(K::offset_metadata_too_large));
    EXPECT_EQ(topics.at(1).partitions.at(0).error_code, wire(K::illegal_generation));
  }
}

TEST(OffsetCommit, KnowsNoTopicOfTheZeroId) {
  ConnectionHarness link;
  OffsetCommitRequest request;
  request.group_id = "g";
  request.topics.push_back({"", Uuid{}, {{0, 100, 3, "note"}}});
  link.feed(request_bytes(request, 10, 1));
  EXPECT_TRUE(link.calls().empty());
  EXPECT_EQ(link.take<OffsetCommitResponse>(10).body.topics.at(0).partitions.at(0).error_code, wire(K::unknown_topic_id));
}

broker::FetchedOffsets fetched() {
  broker::FetchedOffsets reply;
  reply.offsets.push_back({"a", uuid(1), 0, Code::ok, 100, 3, "note"});
  reply.offsets.push_back({"a", uuid(1), 1, Code::ok, -1, -1, ""});
  return reply;
}

TEST(OffsetFetch, MapsOneGroupBeforeVersion8) {
  for (int version = 1; version <= 7; ++version) {
    OffsetFetchRequest request;
    request.group_id = "g";
    request.topics = std::vector<OffsetFetchRequest::OffsetFetchRequestTopic>{{"a", {0, 1}}};
    GroupTrip<broker::FetchOffsets, OffsetFetchResponse, OffsetFetchRequest> trip(request, version, fetched());
    EXPECT_FALSE(trip.asked.all);
    EXPECT_EQ(trip.asked.partitions, (std::vector<std::pair<int32_t, int32_t>>{{0, 0}, {0, 1}}));
    const auto& partitions = trip.answer.body.topics.at(0).partitions;
    EXPECT_EQ(partitions.at(0).committed_offset, 100);
    EXPECT_EQ(partitions.at(0).metadata, "note");
    EXPECT_EQ(partitions.at(0).committed_leader_epoch, version >= 5 ? 3 : -1);
    EXPECT_EQ(partitions.at(1).committed_offset, -1);  // nothing committed is no error
    EXPECT_EQ(partitions.at(1).error_code, 0);
  }
}

TEST(OffsetFetch, WhatIsAskedForTwiceIsRefused) {
  for (int version = 1; version <= 10; ++version) {
    for (const bool is_group : {false, true}) {
      if (is_group && version < 8) continue;
      OffsetFetchRequest request;
      request.group_id = "g";
      request.topics = std::vector<OffsetFetchRequest::OffsetFetchRequestTopic>{{"a", {0, 1, 0}}};
      request.groups.resize(is_group ? 2 : 1);
      for (auto& group : request.groups) {
        group.group_id = "g";
        group.topics.emplace();
        group.topics->push_back({"a", uuid(1), is_group ? std::vector<int32_t>{0} : std::vector<int32_t>{0, 1, 0}});
      }
      ConnectionHarness link;
      link.feed(request_bytes(request, version, 1));
      EXPECT_TRUE(link.calls().empty());
      const auto answer = link.take<OffsetFetchResponse>(version);
      ASSERT_EQ(answer.fault, "");
      const int16_t error = version >= 8   ? answer.body.groups.at(0).error_code
                            : version >= 2 ? answer.body.error_code
                                           : answer.body.topics.at(0).partitions.at(0).error_code;
      EXPECT_EQ(error, wire(K::invalid_request)) << version;
    }
  }
}

TEST(DescribeGroups, SaysOfEachOnce) {
  DescribeGroupsRequest request;
  request.groups = {"g", "h", "g"};
  GroupTrip<broker::DescribeGroups, DescribeGroupsResponse, DescribeGroupsRequest> trip(request, 5, broker::DescribedGroups{});
  EXPECT_EQ(trip.asked.groups, (std::vector<std::string>{"g", "h"}));
  EXPECT_EQ(trip.answer.body.groups.size(), 2u);
}

TEST(ConsumerGroupDescribe, SaysOfEachOnce) {
  ConsumerGroupDescribeRequest request;
  request.group_ids = {"g", "g"};
  GroupTrip<broker::DescribeConsumers, ConsumerGroupDescribeResponse, ConsumerGroupDescribeRequest> trip(
      request, 0, broker::DescribedConsumers{});
  EXPECT_EQ(trip.asked.groups, std::vector<std::string>{"g"});
  EXPECT_EQ(trip.answer.body.groups.size(), 1u);
}

TEST(OffsetFetch, PutsAnErrorOnThePartitionsWhereVersion1HasNoOtherPlace) {
  for (int version : {1, 2}) {
    OffsetFetchRequest request;
    request.group_id = "g";
    request.topics = std::vector<OffsetFetchRequest::OffsetFetchRequestTopic>{{"a", {0, 1}}};
    GroupTrip<broker::FetchOffsets, OffsetFetchResponse, OffsetFetchRequest> trip(
        request, version, broker::FetchedOffsets{.code = Code::coordinator_loading});
    if (version == 1) {
      ASSERT_EQ(trip.answer.body.topics.at(0).partitions.size(), 2u);
      for (const auto& partition : trip.answer.body.topics[0].partitions) {
        EXPECT_EQ(partition.error_code, wire(K::coordinator_load_in_progress));
        EXPECT_EQ(partition.committed_offset, -1);
      }
    } else {
      EXPECT_EQ(trip.answer.body.error_code, wire(K::coordinator_load_in_progress));
      EXPECT_TRUE(trip.answer.body.topics.empty());
    }
  }
}

TEST(OffsetFetch, GivesAllForNull) {
  for (int version = 2; version <= 7; ++version) {
    OffsetFetchRequest request;
    request.group_id = "g";
    request.topics.reset();
    broker::FetchedOffsets reply = fetched();
    reply.offsets.push_back({"b", uuid(2), 0, Code::ok, 7, -1, ""});
    GroupTrip<broker::FetchOffsets, OffsetFetchResponse, OffsetFetchRequest> trip(request, version, reply);
    EXPECT_TRUE(trip.asked.all);
    ASSERT_EQ(trip.answer.body.topics.size(), 2u);
    EXPECT_EQ(trip.answer.body.topics[0].partitions.size(), 2u);
    EXPECT_EQ(trip.answer.body.topics[1].name, "b");
  }
}

TEST(OffsetFetch, AsksForSeveralGroupsFromVersion8On) {
  for (int version = 8; version <= 10; ++version) {
    ConnectionHarness link;
    OffsetFetchRequest request;
    auto& one = request.groups.emplace_back();
    one.group_id = "g1";
    one.topics->push_back({"a", uuid(1), {0, 1}});
    auto& two = request.groups.emplace_back();
    two.group_id = "g2";
    two.topics.reset();
    link.feed(request_bytes(request, version, 1));
    ASSERT_EQ(link.calls().size(), 2u);
    CallId first, second;
    auto asked = link.take_call<broker::FetchOffsets>(&first);
    EXPECT_EQ(asked.group, "g1");
    EXPECT_EQ(asked.topics.at(0).id, version < 10 ? Uuid{} : uuid(1));
    EXPECT_TRUE(link.take_call<broker::FetchOffsets>(&second).all);
    link.reply(second, broker::FetchedOffsets{.code = Code::group_not_found});
    link.reply(first, fetched());
    auto answer = link.take<OffsetFetchResponse>(version);
    EXPECT_EQ(answer.fault, "");
    ASSERT_EQ(answer.body.groups.size(), 2u);
    EXPECT_EQ(answer.body.groups[0].topics.at(0).partitions.at(0).committed_offset, 100);
    EXPECT_EQ(answer.body.groups[0].topics.at(0).topic_id, version < 10 ? Uuid{} : uuid(1));
    EXPECT_EQ(answer.body.groups[1].error_code, wire(K::group_id_not_found));
  }
}

TEST(DescribeGroups, TellsADeadGroupAsEachVersionDoes) {
  for (int version = 0; version <= 6; ++version) {
    DescribeGroupsRequest request;
    request.groups = {"there", "gone"};
    broker::DescribedGroups reply;
    auto& there = reply.groups.emplace_back();
    there.group = "there";
    there.state = "Stable";
    there.protocol_type = "consumer";
    there.protocol = "range";
    there.members.push_back({"m", "i", "client", "/host", Bytes::copy_of("meta"), Bytes::copy_of("assigned")});
    reply.groups.push_back({.code = Code::group_not_found, .group = "gone", .state = "Dead"});
    GroupTrip<broker::DescribeGroups, DescribeGroupsResponse, DescribeGroupsRequest> trip(request, version, reply);
    ASSERT_EQ(trip.answer.body.groups.size(), 2u);
    const auto& row = trip.answer.body.groups[0];
    EXPECT_EQ(row.group_state, "Stable");
    EXPECT_EQ(row.protocol_data, "range");
    EXPECT_EQ(row.members.at(0).client_host, "/host");
    EXPECT_EQ(row.members.at(0).member_assignment.text(), "assigned");
    EXPECT_EQ(row.authorized_operations, INT32_MIN);
    const auto& gone = trip.answer.body.groups[1];
    EXPECT_EQ(gone.group_id, "gone");
    EXPECT_EQ(gone.group_state, "Dead");
    EXPECT_EQ(gone.error_code, version >= 6 ? wire(K::group_id_not_found) : 0);
  }
}

TEST(ListGroups, FiltersWithoutLookingAtCase) {
  broker::ListedGroups reply;
  reply.groups.push_back({"a", "consumer", "Stable", "classic"});
  reply.groups.push_back({"b", "consumer", "Empty", "classic"});
  reply.groups.push_back({"c", "consumer", "Reconciling", "consumer"});
  auto count = [&](int version, std::vector<std::string_view> states, std::vector<std::string_view> types) {
    ListGroupsRequest request;
    request.states_filter = std::move(states);
    request.types_filter = std::move(types);
    GroupTrip<broker::ListGroups, ListGroupsResponse, ListGroupsRequest> trip(request, version, reply);
    return trip.answer.body.groups.size();
  };
  for (int version = 0; version <= 5; ++version) EXPECT_EQ(count(version, {}, {}), 3u);
  EXPECT_EQ(count(4, {"stable"}, {}), 1u);
  EXPECT_EQ(count(5, {"STABLE", "empty"}, {"Classic"}), 2u);
  EXPECT_EQ(count(5, {}, {"consumer"}), 1u);
  EXPECT_EQ(count(5, {"reconciling"}, {"CONSUMER", "share"}), 1u);
  EXPECT_EQ(count(5, {}, {"share"}), 0u);
  EXPECT_EQ(count(5, {"Dead"}, {}), 0u);
}

TEST(DeleteGroups, AnswersEachGroup) {
  for (int version = 0; version <= 2; ++version) {
    DeleteGroupsRequest request;
    request.groups_names = {"a", "b", "c"};
    GroupTrip<broker::DeleteGroups, DeleteGroupsResponse, DeleteGroupsRequest> trip(
        request, version, broker::DeletedGroups{{Code::ok, Code::group_not_empty, Code::group_not_found}});
    EXPECT_EQ(trip.answer.body.results.at(0).error_code, 0);
    EXPECT_EQ(trip.answer.body.results.at(1).error_code, wire(K::non_empty_group));
    EXPECT_EQ(trip.answer.body.results.at(2).error_code, wire(K::group_id_not_found));
  }
}

// ---- The consumer protocol ----

using BeatTrip = GroupTrip<broker::HeartbeatConsumer, ConsumerGroupHeartbeatResponse, ConsumerGroupHeartbeatRequest>;

TEST(Case50ConsumerGroupHeartbeat, TellsNullFromEmptyInEveryField) {
  for (int version = 0; version <= 1; ++version) {
    ConsumerGroupHeartbeatRequest request;
    request.group_id = "g";
    request.member_id = "m";
    request.member_epoch = 3;
    broker::ConsumerHeartbeatReply reply;
    reply.member_id = "m";
    reply.member_epoch = 4;
    reply.heartbeat_interval_ms = 5000;
    BeatTrip trip(request, version, reply);
    EXPECT_EQ(trip.asked.member_epoch, 3);
    EXPECT_EQ(trip.asked.rebalance_timeout_ms, -1);
    EXPECT_FALSE(trip.asked.topics || trip.asked.topic_pattern || trip.asked.assignor || trip.asked.owned);
    EXPECT_FALSE(trip.asked.instance_id || trip.asked.rack_id);
    EXPECT_EQ(trip.asked.must_draw_id, version >= 1);
    EXPECT_EQ(trip.asked.client_host, "/127.0.0.1");
    EXPECT_EQ(trip.answer.body.member_id, "m");
    EXPECT_EQ(trip.answer.body.member_epoch, 4);
    EXPECT_EQ(trip.answer.body.heartbeat_interval_ms, 5000);
    EXPECT_FALSE(trip.answer.body.assignment.has_value());

    request.subscribed_topic_names.emplace();
    request.subscribed_topic_regex = "";
    request.topic_partitions.emplace();
    request.server_assignor = "range";
    reply.assignment.emplace().push_back({uuid(1), {0, 2}});
    BeatTrip full(request, version, reply);
    ASSERT_TRUE(full.asked.topics && full.asked.owned);
    EXPECT_TRUE(full.asked.topics->empty() && full.asked.owned->empty());
    EXPECT_EQ(full.asked.topic_pattern, version >= 1 ? std::optional<std::string>("") : std::nullopt);
    EXPECT_EQ(full.asked.assignor, "range");
    ASSERT_TRUE(full.answer.body.assignment.has_value());
    EXPECT_EQ(full.answer.body.assignment->topic_partitions.at(0).topic_id, uuid(1));
    EXPECT_EQ(full.answer.body.assignment->topic_partitions[0].partitions, (std::vector<int32_t>{0, 2}));
  }
}

TEST(ConsumerGroupHeartbeat, PassesOnRefusals) {
  struct Case {
    Code code;
    K error;
  };
  for (const Case& one :
       {Case{Code::fenced_member_epoch, K::fenced_member_epoch}, Case{Code::unreleased_instance, K::unreleased_instance_id},
        Case{Code::unsupported_assignor, K::unsupported_assignor}, Case{Code::invalid_pattern, K::invalid_regular_expression},
        Case{Code::unknown_member, K::unknown_member_id}, Case{Code::invalid_argument, K::invalid_request},
        Case{Code::quota_exceeded, K::group_max_size_reached}, Case{Code::group_not_found, K::group_id_not_found},
        Case{Code::storage_failed, K::coordinator_not_available}}) {
    broker::ConsumerHeartbeatReply reply;
    reply.code = one.code;
    reply.detail = "why";
    BeatTrip trip(ConsumerGroupHeartbeatRequest{}, 1, reply);
    EXPECT_EQ(trip.answer.body.error_code, wire(one.error));
    EXPECT_EQ(trip.answer.body.error_message, "why");
    BeatTrip whole(ConsumerGroupHeartbeatRequest{}, 1, Error{one.code, ""});
    EXPECT_EQ(whole.answer.body.error_code, wire(one.error));
  }
}

TEST(ConsumerGroupDescribe, TellsTheGroupAndItsMembers) {
  for (int version = 0; version <= 1; ++version) {
    ConsumerGroupDescribeRequest request;
    request.group_ids = {"g", "gone"};
    broker::DescribedConsumers reply;
    auto& group = reply.groups.emplace_back();
    group.group = "g";
    group.state = "Stable";
    group.epoch = 5;
    group.assignment_epoch = 5;
    group.assignor = "uniform";
    auto& member = group.members.emplace_back();
    member.id = "m";
    member.instance_id = "i";
    member.epoch = 5;
    member.topics = {"t"};
    member.topic_pattern = "x.*";
    member.assigned = {{uuid(1), "t", {0, 1}}};
    member.is_classic = true;
    auto& gone = reply.groups.emplace_back();
    gone.code = Code::group_not_found;
    gone.detail = "Group gone not found.";
    reply.groups.at(0).members.emplace_back().id = "plain";
    GroupTrip<broker::DescribeConsumers, ConsumerGroupDescribeResponse, ConsumerGroupDescribeRequest> trip(request, version,
                                                                                                           reply);
    const auto& row = trip.answer.body.groups.at(0);
    EXPECT_EQ(row.group_state, "Stable");
    EXPECT_EQ(row.group_epoch, 5);
    EXPECT_EQ(row.authorized_operations, INT32_MIN);
    const auto& shown = row.members.at(0);
    EXPECT_EQ(shown.instance_id, "i");
    EXPECT_EQ(shown.rack_id, std::nullopt);
    EXPECT_EQ(shown.subscribed_topic_regex, "x.*");
    EXPECT_EQ(row.members.at(1).subscribed_topic_regex, "") << "not null, as Kafka";
    EXPECT_EQ(shown.assignment.topic_partitions.at(0).topic_name, "t");
    EXPECT_TRUE(shown.target_assignment.topic_partitions.empty());
    EXPECT_EQ(shown.member_type, version >= 1 ? 0 : -1);
    EXPECT_EQ(trip.answer.body.groups.at(1).error_code, wire(K::group_id_not_found));
    EXPECT_EQ(trip.answer.body.groups.at(1).error_message, "Group gone not found.");
  }
}

TEST(Case52Offsets, NameTheMembersEpochFromVersion9On) {
  for (int version : {8, 9, 10}) {
    OffsetCommitRequest commit;
    commit.group_id = "g";
    commit.generation_id_or_member_epoch = 4;
    commit.topics.push_back({version < 10 ? "t" : "", version < 10 ? Uuid{} : uuid(1), {{0, 1, -1, "x"}}});
    GroupTrip<broker::CommitOffsets, OffsetCommitResponse, OffsetCommitRequest> trip(
        commit, version, broker::CommittedOffsets{{Code::stale_member_epoch}});
    EXPECT_EQ(trip.asked.knows_epochs, version >= 9);
    EXPECT_EQ(trip.answer.body.topics.at(0).partitions.at(0).error_code, wire(K::stale_member_epoch));
    OffsetFetchRequest fetch;
    auto& group = fetch.groups.emplace_back();
    group.group_id = "g";
    group.member_id = "m";
    group.member_epoch = 4;
    group.topics.reset();
    GroupTrip<broker::FetchOffsets, OffsetFetchResponse, OffsetFetchRequest> read(
        fetch, version, broker::FetchedOffsets{Code::stale_member_epoch, {}});
    EXPECT_EQ(read.asked.member_epoch, version >= 9 ? 4 : -1);
    EXPECT_EQ(read.answer.body.groups.at(0).error_code, wire(K::stale_member_epoch));
  }
}

}  // namespace
}  // namespace robustmq::kafka
