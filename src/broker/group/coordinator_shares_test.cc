// Share groups in their coordinator: what is durable, what queues are told, and what a group of one kind is to the others.
#include <gtest/gtest.h>

#include "broker/group/coordinator_rig.h"

namespace robustmq::broker {
namespace {

class SharesTest : public CoordinatorTest {
 public:
  static HeartbeatShare beat(std::string member, int32_t epoch) {
    HeartbeatShare request;
    request.group = "s";
    request.member_id = std::move(member);
    request.member_epoch = epoch;
    if (epoch == 0) request.topics = {"t"};
    return request;
  }
  ConsumerHeartbeatReply tell(HeartbeatShare request) { return ask<ConsumerHeartbeatReply>(std::move(request)); }
  Code configure(std::string name, std::optional<std::string> value) {
    ConfigureGroups request;
    auto& one = request.groups.emplace_back();
    one.name = "s";
    one.changes.push_back({std::move(name), std::move(value)});
    return ask<ConfiguredGroups>(request).groups.at(0).code;
  }
  TopicId topic() { return meta_.find(kDefaultTenant, "t")->id; }
};

TEST_F(SharesTest, AnswersWhenItIsWrittenAndComesBackWithoutMembers) {
  kv_.is_inline = false;
  const auto reply = ask_later(beat("m", 0));
  EXPECT_FALSE(reply->has_value());
  kv_.finish();
  EXPECT_EQ(std::get<ConsumerHeartbeatReply>(**reply).member_epoch, 1);
  kv_.is_inline = true;
  EXPECT_EQ(tell(beat("m", 1)).code, Code::ok);
  EXPECT_TRUE(coordinator_->queue_settings(kDefaultTenant, "s", topic()).ok());
  EXPECT_EQ(coordinator_->queue_settings(kDefaultTenant, "s", Uuid{}).code(), Code::group_not_found);

  restart();
  const auto groups = ask<ListedGroups>(ListGroups{}).groups;
  ASSERT_EQ(groups.size(), 1u);
  EXPECT_EQ(groups[0].type, "share");
  EXPECT_EQ(groups[0].state, "Empty");
  EXPECT_EQ(tell(beat("m", 1)).code, Code::unknown_member);
  EXPECT_TRUE(coordinator_->queue_settings(kDefaultTenant, "s", topic()).ok());
  EXPECT_EQ(tell(beat("m", 0)).code, Code::ok);
  EXPECT_EQ(ask<DescribedConsumers>(DescribeShares{{"s", "none"}}).groups.at(0).state, "Stable");
}

TEST_F(SharesTest, IsNoGroupOfAnotherKind) {
  tell(beat("m", 0));
  JoinGroup request = join();
  request.group = "s";
  EXPECT_EQ(ask<JoinedGroup>(request).code, Code::inconsistent_protocol);
  HeartbeatConsumer consumer;
  consumer.group = "s";
  consumer.member_id = "c";
  consumer.topics = {"t"};
  consumer.owned.emplace();
  consumer.rebalance_timeout_ms = 1000;
  EXPECT_EQ(ask<ConsumerHeartbeatReply>(consumer).code, Code::group_not_found);
  EXPECT_EQ(ask<DescribedGroups>(DescribeGroups{{"s"}}).groups.at(0).code, Code::group_not_found);
  EXPECT_EQ(ask<DescribedConsumers>(DescribeConsumers{{"s"}}).groups.at(0).code, Code::group_not_found);
  EXPECT_EQ(committed(commit(1, "t", 0, "s")), Code::group_not_found) << "in every version";
  // And a group with offsets or members is no share group.
  EXPECT_EQ(committed(commit(1, "t", 0, "g")), Code::ok);
  HeartbeatShare share = beat("m", 0);
  share.group = "g";
  EXPECT_EQ(tell(share).code, Code::group_not_found);
  EXPECT_EQ(ask<DescribedConsumers>(DescribeShares{{"g"}}).groups.at(0).code, Code::group_not_found);
}

TEST_F(SharesTest, ItsSettingsAreCheckedAndTold) {
  QueueSettings told;
  coordinator_->set_queues({[&](TenantId, const std::string& group, const QueueSettings& settings) {
                              EXPECT_EQ(group, "s");
                              told = settings;
                            },
                            {}});
  tell(beat("m", 0));
  EXPECT_EQ(configure("share_auto_offset_reset", "by_duration:PT2H"), Code::ok);
  EXPECT_EQ(told.start_at, QueueSettings::StartAt::before_now);
  EXPECT_EQ(told.before_ms, 7'200'000);
  EXPECT_EQ(configure("share_isolation_level", "read_committed"), Code::ok);
  EXPECT_TRUE(told.read_committed);
  EXPECT_EQ(configure("share_record_lock_duration_ms", "15000"), Code::ok);
  EXPECT_EQ(told.lease_ms, 15'000);
  EXPECT_EQ(configure("share_delivery_count_limit", "10"), Code::ok);
  EXPECT_EQ(told.delivery_limit, 10);
  EXPECT_EQ(configure("share_partition_max_record_locks", "100"), Code::ok);
  EXPECT_EQ(told.in_flight_max, 100);
  EXPECT_EQ(configure("share_renew_acknowledge_enable", "false"), Code::ok);
  EXPECT_FALSE(told.may_renew);
  for (const auto& [name, value] : std::vector<std::pair<std::string, std::string>>{{"share_auto_offset_reset", "never"},
                                                                                    {"share_isolation_level", "serializable"},
                                                                                    {"share_record_lock_duration_ms", "14999"},
                                                                                    {"share_delivery_count_limit", "1"},
                                                                                    {"share_partition_max_record_locks", "10001"},
                                                                                    {"share_renew_acknowledge_enable", "yes"},
                                                                                    {"share_heartbeat_interval_ms", "60000"}})
    EXPECT_EQ(configure(name, value), Code::invalid_config) << name;
  EXPECT_EQ(configure("share_isolation_level", std::nullopt), Code::ok);
  EXPECT_FALSE(told.read_committed);
}

TEST_F(SharesTest, GoesWithItsQueuesOnceItIsEmpty) {
  std::vector<TopicId> removed;
  Callback<void(Code)> removing;
  coordinator_->set_queues({{}, [&](TenantId, const std::string&, std::vector<TopicId> topics, Callback<void(Code)> done) {
                              removed = std::move(topics);
                              removing = std::move(done);
                            }});
  tell(beat("m", 0));
  EXPECT_EQ(ask<DeletedGroups>(DeleteGroups{{"s"}}).groups.at(0), Code::group_not_empty);
  tell(beat("m", -1));
  const auto reply = ask_later(DeleteGroups{{"s"}});
  EXPECT_EQ(removed, std::vector<TopicId>{topic()});
  EXPECT_FALSE(reply->has_value());
  // Meanwhile there is neither a new member nor a new queue.
  EXPECT_EQ(tell(beat("n", 0)).code, Code::coordinator_loading);
  EXPECT_EQ(coordinator_->queue_settings(kDefaultTenant, "s", topic()).code(), Code::group_not_found);
  removing(Code::storage_full);
  EXPECT_EQ(std::get<DeletedGroups>(**reply).groups.at(0), Code::storage_full);
  EXPECT_TRUE(coordinator_->queue_settings(kDefaultTenant, "s", topic()).ok());
  const auto again = ask_later(DeleteGroups{{"s"}});
  removing(Code::ok);
  EXPECT_EQ(std::get<DeletedGroups>(**again).groups.at(0), Code::ok);
  restart();
  EXPECT_TRUE(ask<ListedGroups>(ListGroups{}).groups.empty());
}

TEST_F(SharesTest, ForgetsATopicThatIsDeleted) {
  tell(beat("m", 0));
  const TopicId gone = topic();
  meta_.drop("t");
  EXPECT_EQ(coordinator_->queue_settings(kDefaultTenant, "s", gone).code(), Code::group_not_found);
  EXPECT_TRUE(coordinator_->share_facts(kDefaultTenant, "s").topics.empty());
}

TEST_F(SharesTest, ShowsWhatEachGroupIsNotDoneWith) {
  tell(beat("m", 0));
  int asked = 0;
  const auto ends = [](const ListOffsets&, const Callback<void(Reply)>&) {};
  const auto shares = [&](DescribeShareOffsets question, Callback<void(Reply)> done) {
    ++asked;
    DescribedShareOffsets described;
    for (const DescribeShareOffsets::One& one : question.groups) {
      EXPECT_TRUE(one.all);
      auto& row = described.groups.emplace_back();
      row.partitions.push_back({.topic = "t", .topic_id = {}, .partition = 0, .start = 3, .lag = 7});
      row.partitions.push_back({.topic = "t", .topic_id = {}, .partition = 1});  // never used
      row.partitions.push_back({.topic = "t", .topic_id = {}, .partition = 2, .code = Code::storage_failed, .lag = 1});
    }
    done(std::move(described));
  };
  coordinator_->look_at_lag(ends, shares);
  core_.pass(options_.lag_check_ms);
  EXPECT_EQ(asked, 1);
  observe::MetricsSnapshot snapshot;
  coordinator_->add_lag(snapshot);
  ASSERT_EQ(snapshot.samples().size(), 1u);
  EXPECT_EQ(snapshot.samples()[0].name, "robustmq_share_group_lag");
  EXPECT_EQ(snapshot.samples()[0].labels, R"(group="s",topic="t",partition="0")");
  EXPECT_EQ(snapshot.samples()[0].value, 7);
  EXPECT_EQ(coordinator_->metrics().share_lag_left_out, 0);

  options_.lag_series_max = 2;  // of three partitions
  restart();
  coordinator_->look_at_lag(ends, shares);
  core_.pass(options_.lag_check_ms);
  EXPECT_EQ(asked, 1) << "groups are shown whole or not at all";
  EXPECT_EQ(coordinator_->metrics().share_lag_left_out, 3);
}

}  // namespace
}  // namespace robustmq::broker
