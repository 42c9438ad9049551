// A naive model of the Queue: one row a message. For queue_model_test.cc.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "broker/queue/queue.h"

namespace robustmq::queue {

struct Msg {
  State state = State::available;
  int acquired = 0;
  int failed = 0;
  int lane = 0;
  std::string group;
  int64_t not_before = 0;
  int64_t expires = 0;
  ConsumerId holder = 0;
  LeaseId lease = 0;
  int64_t lease_end = 0;  // ns
  std::string annotations;
  DeathCause cause = DeathCause::none;
};

struct Member {
  ConsumerFacts facts;
  uint64_t order = 0;
  int64_t credit = 0;
  bool is_once = false;
};

// Takes every message whose offset is not a multiple of 3 for filter 3, and so on; all for filter 0. Offsets that end in 77 are
// not there for who looks.
struct ModuloReader final : Reader {
  static Look::Verdict verdict(FilterId filter, Offset offset) {
    if (offset % 100 == 77) return Look::Verdict::gone;
    return filter == 0 || offset % filter == 0 ? Look::Verdict::take : Look::Verdict::skip;
  }
  static uint32_t bytes(Offset offset) { return 1 + static_cast<uint32_t>(offset % 5); }
  Look look(FilterId filter, Offset offset) override { return {verdict(filter, offset), bytes(offset)}; }
};

inline std::string shown(const Queue& queue) {
  std::string text = "start " + std::to_string(queue.start()) + " end " + std::to_string(queue.end()) + " paused " +
                     std::to_string(queue.is_paused()) + "\n";
  for (const View& v : queue.browse(0, SIZE_MAX)) {
    text += std::to_string(v.first) + ".." + std::to_string(v.last) + " state " + std::to_string(int(v.state)) + " counts " +
            std::to_string(v.acquired) + "/" + std::to_string(v.failed) + " lane " + std::to_string(v.lane) + " not before " +
            std::to_string(v.not_before.ms) + " expires " + std::to_string(v.expires.ms) + " group " + std::string(v.group) +
            " notes " + std::string(v.annotations) + "\n";
  }
  return text;
}

class Model {
 public:
  Model(const QueueOptions& options, uint64_t seed) : options_(options), random_(seed) {
    queue_ = std::make_unique<Queue>(options_, metrics_, &reader_, 0);
    save();
  }

  void run(int steps) {
    for (int i = 0; i < steps && !testing::Test::HasFailure(); ++i) step();
    restore_and_compare();
  }

 private:
  static constexpr size_t kOpenMax = 60;  // the model is slow
  uint64_t pick(uint64_t bound) { return random_() % bound; }

  // What is due happens before every input.
  void pass_time() {
    if (pick(3) == 0) now_.instant = now_.instant + Duration::millis(static_cast<int64_t>(pick(400)));
    if (pick(3) == 0) now_.wall.ms += static_cast<int64_t>(pick(400));
    mature();
  }
  void mature() {
    for (auto& [offset, m] : open_) {
      if (m.state == State::leased && m.lease_end <= now_.instant.ns) come_back(m, Outcome::fail, 0);
    }
    for (auto& [offset, m] : open_) {
      if (m.state != State::available && m.state != State::waiting) continue;
      if (m.expires != 0 && m.expires <= now_.wall.ms)
        die(m, DeathCause::expired);
      else if (m.state == State::waiting && m.not_before <= now_.wall.ms)
        m.state = State::available, m.not_before = 0;
    }
    drop_done();
  }
  void come_back(Msg& m, Outcome outcome, int64_t not_before) {
    const bool unread = outcome == Outcome::unread;
    m.acquired += unread ? 0 : 1;
    m.failed += outcome == Outcome::fail ? 1 : 0;
    m.holder = 0;
    m.lease = 0;
    m.state = State::available;
    m.not_before = 0;
    const int deliveries = options_.limit_counts_releases ? m.acquired : m.failed;
    if (!unread && options_.delivery_limit > 0 && deliveries >= options_.delivery_limit)
      return die(m, DeathCause::delivery_limit);
    if (m.expires != 0 && m.expires <= now_.wall.ms) return die(m, DeathCause::expired);
    if (!unread && not_before > now_.wall.ms) m.state = State::waiting, m.not_before = not_before;
  }
  void die(Msg& m, DeathCause cause) {
    ++deaths_wanted_;
    m.cause = cause;
    m.group.clear();
    m.annotations.clear();
    m.lane = 0;
    m.expires = m.not_before = 0;
    m.holder = 0;
    m.state = options_.is_death_confirmed ? State::dead : State::done;
  }
  void drop_done() {
    std::erase_if(open_, [](const auto& entry) { return entry.second.state == State::done; });
  }

  bool is_member_active(ConsumerId id) const {
    if (!options_.is_single_active) return true;
    return active_ == id;
  }
  void activate() {
    if (!options_.is_single_active || active_ != 0) return;
    const Member* best = nullptr;
    for (const auto& [id, member] : members_) {
      if (!best || member.facts.priority > best->facts.priority ||
          (member.facts.priority == best->facts.priority && member.order < best->order))
        best = &member;
    }
    if (best) active_ = best->facts.id;
  }
  int64_t in_flight_of(ConsumerId id) const {
    return std::count_if(open_.begin(), open_.end(), [&](const auto& e) { return e.second.holder == id; });
  }
  int64_t count(State state) const {
    return std::count_if(open_.begin(), open_.end(), [&](const auto& e) { return e.second.state == state; });
  }
  // Whether `lease` may have it now: nobody before it in its group is open or held under another lease.
  bool is_grantable(Offset offset, LeaseId lease) const {
    const Msg& m = open_.at(offset);
    if (m.state != State::available) return false;
    if (m.group.empty()) return true;
    for (const auto& [other, o] : open_) {
      if (o.group != m.group || other == offset) continue;
      if (o.state == State::leased && o.lease != lease) return false;
      if (other < offset && o.state != State::leased) return false;
    }
    return true;
  }

  // Takes the queue's grants over, each checked.
  void take_grants(bool is_pull, ConsumerId puller) {
    sync_gone();
    for (const Outputs::Grant& grant : queue_->outputs().grants) {
      ASSERT_TRUE(members_.contains(grant.consumer));
      Member& member = members_[grant.consumer];
      ASSERT_TRUE(is_member_active(grant.consumer));
      ASSERT_FALSE(is_paused_);
      for (Offset offset = grant.first; offset <= grant.last; ++offset) {
        ASSERT_TRUE(open_.contains(offset)) << "a message that is done was leased: " << offset;
        Msg& m = open_.at(offset);
        ASSERT_TRUE(is_grantable(offset, grant.lease)) << "offset " << offset << " state " << int(m.state);
        ASSERT_EQ(m.acquired + 1, grant.acquired);
        ASSERT_EQ(m.failed, grant.failed);
        if (member.facts.filter != 0)
          ASSERT_EQ(ModuloReader::verdict(member.facts.filter, offset), Look::Verdict::take);
        else
          ASSERT_TRUE(is_first(offset, grant.lease)) << "an earlier message was ready: " << offset;
        m.state = State::leased;
        m.holder = grant.consumer;
        m.lease = grant.lease;
        const int64_t lease_ms = lease_ms_ > 0 && grant.consumer == puller ? lease_ms_ : options_.lease_ms;
        m.lease_end = (now_.instant + Duration::millis(std::min(lease_ms, options_.lease_ms_max))).ns;
        if (!(is_pull && grant.consumer == puller)) {
          ASSERT_GT(member.credit, 0);
          --member.credit;
        }
      }
      if (member.is_once && !(is_pull && grant.consumer == puller)) {
        once_done_.push_back(grant.consumer);
      }
      ASSERT_LE(in_flight_of(grant.consumer), member.facts.in_flight_max);
    }
    for (const ConsumerId id : once_done_) members_[id].credit = 0, members_[id].is_once = false;
    once_done_.clear();
    ASSERT_LE(count(State::leased), options_.in_flight_max);
  }
  // Who looks finds out that a message is gone, and ends it.
  void sync_gone() {
    std::erase_if(open_, [&](const auto& e) {
      if (e.first % 100 != 77 || e.second.state != State::available) return false;
      for (const Outputs::Death& death : queue_->outputs().deaths) {
        if (death.first <= e.first && e.first <= death.last) return false;
      }
      const auto views = queue_->browse(e.first, 1);
      return views.empty() || views[0].first != e.first;
    });
  }

  // Nothing of a higher lane, or of the same lane before it, could have been given instead.
  bool is_first(Offset offset, LeaseId lease) const {
    const Msg& m = open_.at(offset);
    for (const auto& [other, o] : open_) {
      const bool is_before = o.lane > m.lane || (o.lane == m.lane && other < offset);
      if (!is_before || !is_grantable(other, lease)) continue;
      // The lease itself has made it ready, after it was done with its lane.
      const bool is_made_ready = !o.group.empty() && std::any_of(open_.begin(), open_.end(), [&, group = o.group](const auto& e) {
        return e.second.group == group && e.second.lease == lease;
      });
      if (!is_made_ready) return false;
    }
    return true;
  }

  void check(bool may_have_more) {
    ASSERT_EQ(queue_->outputs().unread, std::nullopt);
    // States, message by message.
    std::map<Offset, View> seen;
    for (const View& view : queue_->browse(0, SIZE_MAX)) {
      ASSERT_LE(view.first, view.last);
      for (Offset offset = view.first; offset <= view.last; ++offset) seen[offset] = view;
    }
    sync_gone();
    ASSERT_EQ(seen.size(), open_.size());
    for (const auto& [offset, m] : open_) {
      ASSERT_TRUE(seen.contains(offset)) << "lost: " << offset;
      const View& view = seen[offset];
      ASSERT_EQ(view.state, m.state) << offset;
      ASSERT_EQ(view.acquired, m.acquired) << offset;
      ASSERT_EQ(view.failed, m.failed) << offset;
      ASSERT_EQ(view.holder, m.holder) << offset;
      ASSERT_EQ(view.lane, m.lane) << offset;
      ASSERT_EQ(view.group, m.group) << offset;
      ASSERT_EQ(view.annotations, m.annotations) << offset;
      ASSERT_EQ(view.not_before.ms, m.not_before) << offset;
      ASSERT_EQ(view.expires.ms, m.expires) << offset;
    }
    for (const State state : {State::available, State::waiting, State::leased, State::dead})
      ASSERT_EQ(queue_->count(state), count(state));
    ASSERT_EQ(queue_->start(), open_.empty() ? queue_->end() : open_.begin()->first);
    ASSERT_EQ(queue_->consumer_count(), members_.size());
    ASSERT_EQ(queue_->active().value_or(0), active_);
    // Nobody with credit waits while something suits.
    if (may_have_more || is_paused_ || count(State::leased) >= options_.in_flight_max) return;
    for (const auto& [id, member] : members_) {
      if (member.credit == 0 || !is_member_active(id) || in_flight_of(id) >= member.facts.in_flight_max) continue;
      for (const auto& [offset, m] : open_) {
        const bool suits = ModuloReader::verdict(member.facts.filter, offset) == Look::Verdict::take;
        ASSERT_FALSE(suits && is_grantable(offset, 0)) << "consumer " << id << " waits for " << offset;
      }
    }
    // The next timer is not later than what is due.
    const Instant timer = queue_->next_timer(now_);
    for (const auto& [offset, m] : open_) {
      if (m.state == State::leased) ASSERT_LE(timer.ns, m.lease_end);
      if (m.state == State::waiting) ASSERT_LE(timer.ns, now_.instant.ns + (m.not_before - now_.wall.ms) * 1'000'000);
    }
  }

  void finish_step(bool is_pull = false, ConsumerId puller = 0) {
    take_grants(is_pull, puller);
    if (testing::Test::HasFatalFailure()) return;
    queue_->outputs().grants.clear();
    queue_->tick(now_);  // a refused input is none
    take_grants(false, 0);
    if (testing::Test::HasFatalFailure()) return;
    for (const Outputs::Death& death : queue_->outputs().deaths) deaths_seen_ += death.last - death.first + 1;
    for (const Outputs::Drained& drained : queue_->outputs().drained) {
      ASSERT_TRUE(draining_.contains(drained.consumer));
      draining_.erase(drained.consumer);
      ASSERT_EQ(drained.unused, members_[drained.consumer].credit);
      members_[drained.consumer].credit = 0;
    }
    for (const Delta& delta : queue_->outputs().deltas) deltas_.push_back(delta);
    const bool has_more = queue_->outputs().has_more;
    queue_->outputs() = {};
    check(has_more);
    if (has_more) {
      finish_step();
      return;
    }
    ASSERT_EQ(deaths_seen_, deaths_wanted_);
    ASSERT_TRUE(draining_.empty());
  }

  void step();
  void arrive();
  void settle();
  void save() {
    saved_ = queue_->snapshot();
    saved_arrivals_ = arrivals_.size();
    deltas_.clear();
  }
  void restore_and_compare();
  void crash();

  QueueOptions options_;
  QueueMetrics metrics_;
  ModuloReader reader_;
  std::mt19937_64 random_;
  Now now_{{1'000'000'000}, {1'000'000}};
  std::unique_ptr<Queue> queue_;
  std::map<Offset, Msg> open_;
  std::map<ConsumerId, Member> members_;
  std::set<ConsumerId> draining_;
  std::vector<ConsumerId> once_done_;
  ConsumerId active_ = 0;
  uint64_t orders_ = 0;
  ConsumerId last_consumer_ = 0;
  Offset end_ = 0;
  Offset start_seen_ = 0;
  bool is_paused_ = false;
  int64_t lease_ms_ = 0;
  int64_t deaths_seen_ = 0;
  int64_t deaths_wanted_ = 0;
  Bytes saved_;
  std::vector<Delta> deltas_;
  std::vector<Arrival> arrivals_;
  size_t saved_arrivals_ = 0;
};

}  // namespace robustmq::queue
