// For tests: a group coordinator with a core, rows and a catalog that the test moves. Pure.
#pragma once

#include <gtest/gtest.h>

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "broker/group/coordinator.h"
#include "runtime/timer_wheel.h"

namespace robustmq::broker {

// A core with a clock that the test moves.
class FakeCore final : public runtime::Core {
 public:
  CoreIndex index() const override { return 0; }
  CoreIndex count() const override { return 1; }
  Instant now() const override { return now_; }
  WallTime wall_now() const override { return {1'700'000'000'000 + now_.ns / 1'000'000}; }
  uint64_t random() override { return ++random_ * 0x9E3779B97F4A7C15u; }
  void arm(runtime::Timer& timer, Instant due) override { wheel_.arm(timer, due); }
  void defer(runtime::Deferred&) override { ADD_FAILURE(); }
  void post(Callback<void()>) override { ADD_FAILURE(); }
  void send(CoreIndex, Callback<void()>) override { ADD_FAILURE(); }
  bool is_congested() const override { return false; }
  runtime::Disk& disk() override { ROBUSTMQ_CHECK(false, "no disk"); }
  runtime::Net& net() override { ROBUSTMQ_CHECK(false, "no net"); }

  void pass(int64_t ms) {
    const Instant until = now_ + Duration::millis(ms);
    for (Instant next = wheel_.next_due(); next <= until; next = wheel_.next_due()) {
      now_ = std::max(now_, next);
      wheel_.advance(now_);
    }
    now_ = until;
    wheel_.advance(now_);
  }

 private:
  Instant now_{};
  uint64_t random_ = 0;
  runtime::TimerWheel wheel_;
};

// Rows in a map; writes wait for finish() unless is_inline.
class FakeKv final : public storage::Kv {
 public:
  void write(storage::KvBatch batch, Callback<void(Status)> done) override {
    writes_.push_back({std::move(batch), std::move(done)});
    if (is_inline) finish();
  }
  void get(std::string_view, Callback<void(Result<std::string>)>) const override { ADD_FAILURE(); }
  void scan(std::string_view from, std::string_view to, size_t rows_max,
            Callback<void(Result<storage::KvRows>)> done) const override {
    storage::KvRows out;
    for (auto at = rows.lower_bound(from); at != rows.end() && at->first < to && out.size() < rows_max; ++at) out.push_back(*at);
    done(std::move(out));
  }
  void finish() {
    while (!writes_.empty()) {
      auto [batch, done] = std::move(writes_.front());
      writes_.pop_front();
      if (fails_with == Code::ok) {
        for (auto& change : batch.changes) std::visit([this](auto& one) { this->apply(one); }, change);
      }
      done(fails_with);
    }
  }

  std::map<std::string, std::string, std::less<>> rows;
  bool is_inline = true;
  Code fails_with = Code::ok;

 private:
  void apply(storage::KvBatch::Put& put) { rows[put.key] = put.value; }
  void apply(storage::KvBatch::Delete& gone) { rows.erase(gone.key); }
  void apply(storage::KvBatch::DeleteRange& range) { rows.erase(rows.lower_bound(range.from), rows.lower_bound(range.to)); }
  std::deque<std::pair<storage::KvBatch, Callback<void(Status)>>> writes_;
};

class FakeMeta final : public meta::Meta {
 public:
  using TopicPtr = std::shared_ptr<const meta::Topic>;
  TopicPtr find(TenantId tenant, std::string_view name) const override {
    for (const TopicPtr& topic : topics_) {
      if (topic->tenant == tenant && topic->name == name) return topic;
    }
    return nullptr;
  }
  TopicPtr find(const TopicId& id) const override {
    for (const TopicPtr& topic : topics_) {
      if (topic->id == id) return topic;
    }
    return nullptr;
  }
  std::vector<TopicPtr> list(TenantId) const override { return topics_; }
  void create_topic(meta::Topic, Callback<void(Result<TopicPtr>)>) override { ADD_FAILURE(); }
  void delete_topic(TopicId, Callback<void(Status)>) override { ADD_FAILURE(); }
  void grow_topic(TopicId, int32_t, TopicDone) override { ADD_FAILURE(); }
  void configure_topic(TopicId, const std::vector<meta::SettingChange>&, bool, TopicDone) override { ADD_FAILURE(); }
  void allocate_producer_ids(Callback<void(Result<ProducerId>)>) override { ADD_FAILURE(); }
  int64_t starts() const override { return 1; }
  Uuid cluster_id() const override { return {}; }
  void watch(Callback<void(const meta::CatalogEvent&)> watcher) override { watchers_.push_back(std::move(watcher)); }

  TopicId make(const std::string& name, int32_t partitions) {
    auto topic = std::make_shared<meta::Topic>();
    topic->name = name;
    topic->partitions = partitions;
    ++made_;
    topic->id = Uuid::random(made_, made_);
    topics_.push_back(topic);
    for (auto& watcher : watchers_) watcher(meta::TopicCreated{topic});
    return topic->id;
  }
  void drop(const std::string& name) {
    const TopicPtr topic = find(kDefaultTenant, name);
    std::erase(topics_, topic);
    for (auto& watcher : watchers_) watcher(meta::TopicDeleted{topic});
  }

 private:
  uint64_t made_ = 0;
  std::vector<TopicPtr> topics_;
  std::vector<Callback<void(const meta::CatalogEvent&)>> watchers_;
};

class CoordinatorTest : public testing::Test {
 public:
  void SetUp() override {
    meta_.make("t", 3);
    restart();
  }
  void restart() {
    coordinator_.reset();
    coordinator_ = std::make_unique<GroupCoordinator>(core_, kv_, meta_, options_);
    Status status = Code::internal;
    coordinator_->start([&](Status result) { status = result; });
    ASSERT_TRUE(status.ok()) << status.error().to_string();
  }
  std::shared_ptr<std::optional<Reply>> ask_later(Request request, TenantId tenant = kDefaultTenant) {
    auto reply = std::make_shared<std::optional<Reply>>();
    coordinator_->execute(tenant, std::move(request), [reply](Reply answer) {
      EXPECT_FALSE(reply->has_value());
      *reply = std::move(answer);
    });
    return reply;
  }
  template <class R>
  R ask(Request request, TenantId tenant = kDefaultTenant) {
    EXPECT_TRUE(GroupCoordinator::takes(request));
    const auto reply = ask_later(std::move(request), tenant);
    if (!reply->has_value() || !std::holds_alternative<R>(**reply)) {
      ADD_FAILURE() << "no answer of this kind";
      return {};
    }
    return std::get<R>(**reply);
  }
  static JoinGroup join(std::string member_id = {}) {
    JoinGroup join;
    join.group = "g";
    join.member_id = std::move(member_id);
    join.client_id = "client";
    join.protocol_type = "consumer";
    join.protocols = {{"range", Bytes::copy_of("m")}};
    join.session_timeout_ms = 10'000;
    join.rebalance_timeout_ms = 30'000;
    return join;
  }
  static CommitOffsets commit(Offset offset, std::string topic = "t", int32_t partition = 0, std::string group = "g") {
    CommitOffsets commit;
    commit.group = std::move(group);
    commit.topics = {{std::move(topic), {}}};
    commit.offsets = {{0, partition, offset, 5, "note"}};
    return commit;
  }
  Code committed(CommitOffsets request) { return ask<CommittedOffsets>(std::move(request)).offsets.at(0); }
  FetchedOffsets::One fetched(std::string topic = "t", int32_t partition = 0, std::string group = "g") {
    FetchOffsets fetch;
    fetch.group = std::move(group);
    fetch.topics = {{std::move(topic), {}}};
    fetch.partitions = {{0, partition}};
    return ask<FetchedOffsets>(std::move(fetch)).offsets.at(0);
  }
  FetchedOffsets all(std::string group = "g") {
    FetchOffsets fetch;
    fetch.group = std::move(group);
    fetch.all = true;
    return ask<FetchedOffsets>(std::move(fetch));
  }

  FakeCore core_;
  FakeKv kv_;
  FakeMeta meta_;
  GroupOptions options_;
  std::unique_ptr<GroupCoordinator> coordinator_;
};

}  // namespace robustmq::broker
