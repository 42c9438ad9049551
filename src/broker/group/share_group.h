// ShareGroup: one share group (KIP-932), as a pure machine: heartbeats and time in, answers and the next timer out. Pure.
//
// Members say what they follow; with each change the group's epoch rises, and the assignor (share_assignor.h) says who reads
// which partitions; in a large group (kEagerMembers) the changes of kAimPause together. Nothing has to be given back before it is
// given to another: the queues see to it that a record is one member's at a time. So a member walks to the group's epoch with its
// next heartbeat. A member that is silent for the session timeout is dropped.
//
// Members are not stored: after a crash they are unknown, and join again. What is stored is that the group is there, and over
// which topics it has queues. Limits: GroupOptions::share_members_max, member_bytes_max.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/time.h"
#include "broker/group/member_row.h"
#include "broker/group/options.h"
#include "broker/group/share_assignor.h"
#include "broker/group/topic_source.h"
#include "broker/menu/request.h"

namespace robustmq::broker {

class ShareGroup {
 public:
  // All outlive it.
  ShareGroup(const GroupOptions& options, GroupMetrics& metrics, const TopicSource& topics)
      : options_(options), metrics_(metrics), topics_(topics) {}
  ShareGroup(const ShareGroup&) = delete;
  ~ShareGroup();

  // With more members a target is made at most so often: members that come one by one would have it made for each of them.
  static constexpr size_t kEagerMembers = 500;
  static constexpr Duration kAimPause = Duration::seconds(1);

  struct Refusal {
    Code code = Code::ok;
    std::string detail;
  };
  // Whether a heartbeat is one at all, whoever it is of.
  Refusal check(const HeartbeatShare& request) const;

  // Inputs. `now` never falls.
  ConsumerHeartbeatReply heartbeat(const HeartbeatShare& request, const GroupConfig& config, Instant now);
  // Topics came, went or grew: looked at with the next heartbeat.
  void topics_changed() { topics_are_news_ = true; }
  void tick(Instant now);
  // When tick() is wanted; may be earlier than needed.
  Instant next_timer() const { return next_timer_; }

  bool has_members() const { return !members_.empty(); }
  int32_t epoch() const { return epoch_; }
  std::string_view state_name() const { return members_.empty() ? "Empty" : "Stable"; }
  DescribedConsumers::One describe() const;

  // ---- What is stored ----
  const std::set<TopicId>& topics() const { return queued_; }
  void add_topic(const TopicId& id) { has_news_ |= queued_.insert(id).second; }
  void remove_topic(const TopicId& id) {
    has_news_ |= queued_.erase(id) > 0;
    beginning_.erase(id);
  }
  // The same, and whether its queues have begun: began_topic() was called since, or they are of an earlier life.
  bool begin_topic(const TopicId& id) {
    if (!queued_.contains(id)) beginning_.insert(id);
    add_topic(id);
    return !beginning_.contains(id);
  }
  void began_topic(const TopicId& id) { beginning_.erase(id); }
  ShareGroupRow row() const { return {epoch_, {queued_.begin(), queued_.end()}}; }
  // Whether the row changed since this was asked last. A group that was made is news.
  bool take_news() { return std::exchange(has_news_, false); }
  // It could not be written.
  void keep_news() { has_news_ = true; }
  void restore(const ShareGroupRow& row);

 private:
  struct Member {
    std::string rack_id;
    std::string client_id;
    std::string client_host;
    std::vector<std::string> topics;  // ascending
    int32_t epoch = 0;
    int32_t previous_epoch = 0;
    Partitions assigned;
    Instant deadline{};
  };
  void aim(bool anyway);
  void aim_soon(Instant now);

  const GroupOptions& options_;
  GroupMetrics& metrics_;
  const TopicSource& topics_;
  int32_t epoch_ = 0;
  std::map<std::string, Member, std::less<>> members_;
  Assignment target_;
  std::map<TopicId, int32_t> followed_;  // with their partitions, as of the target
  std::set<TopicId> queued_;
  std::set<TopicId> beginning_;  // of them
  bool has_news_ = true;
  bool topics_are_news_ = false;
  Instant next_timer_ = Instant::never();
  Instant aim_at_ = Instant::never();  // a target is wanted
  Instant next_aim_{};                 // the earliest time of the next one in a large group
};

}  // namespace robustmq::broker
