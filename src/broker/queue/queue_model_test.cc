// The Queue against a naive model: one row a message.
#include "broker/queue/queue.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <random>
#include <set>
#include <utility>

#include "base/wire.h"

namespace robustmq::queue {
namespace {

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

std::string shown(const Queue& queue) {
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
      if (m.state == State::leased && m.lease_end <= now_.instant.ns) come_back(m, true, 0);
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
  void come_back(Msg& m, bool failure, int64_t not_before) {
    ++m.acquired;
    m.failed += failure ? 1 : 0;
    m.holder = 0;
    m.lease = 0;
    m.state = State::available;
    m.not_before = 0;
    const int deliveries = options_.limit_counts_releases ? m.acquired : m.failed;
    if (options_.delivery_limit > 0 && deliveries >= options_.delivery_limit) return die(m, DeathCause::delivery_limit);
    if (m.expires != 0 && m.expires <= now_.wall.ms) return die(m, DeathCause::expired);
    if (not_before > now_.wall.ms) m.state = State::waiting, m.not_before = not_before;
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

void Model::arrive() {
  Arrival a;
  a.first = end_ + static_cast<Offset>(pick(8) == 0 ? pick(3) : 0);
  a.last = a.first + static_cast<Offset>(pick(3) == 0 ? pick(30) : 0);
  if (pick(4) == 0) a.lane = static_cast<uint8_t>(pick(3) * 15);
  if (pick(4) == 0) a.not_before = {now_.wall.ms + static_cast<int64_t>(pick(600)) - 100};
  if (pick(5) == 0) a.expires = {now_.wall.ms + 1 + static_cast<int64_t>(pick(2000))};
  if (pick(3) == 0 && a.first % 100 != 77) a.group = std::string(1, static_cast<char>('a' + pick(4))), a.last = a.first;
  const Code code = queue_->arrive(a, now_);
  const bool has_room = a.group.empty() || std::count_if(open_.begin(), open_.end(), [](const auto& e) {
                                             return !e.second.group.empty() || !e.second.annotations.empty();
                                           }) < options_.extras_max;
  if (!has_room) ASSERT_EQ(code, Code::quota_exceeded);
  if (code != Code::ok) {
    ASSERT_EQ(code, Code::quota_exceeded);
    return;
  }
  arrivals_.push_back(a);
  for (Offset offset = a.first; offset <= a.last; ++offset) {
    Msg m;
    m.lane = a.lane;
    m.group = a.group;
    m.expires = a.expires.ms;
    if (a.not_before > now_.wall) m.state = State::waiting, m.not_before = a.not_before.ms;
    open_[offset] = m;
  }
  end_ = a.last + 1;
  ASSERT_EQ(queue_->next_arrival(), end_);
  // Grants come before the oldest die; but for those of groups whose head died.
  auto& grants = queue_->outputs().grants;
  sync_gone();
  std::vector<Outputs::Grant> later;
  for (size_t i = 0; i < grants.size(); ++i) {
    const Msg& head = open_.at(grants[i].first);
    const bool is_blocked = !head.group.empty() && std::any_of(open_.begin(), open_.find(grants[i].first), [&](const auto& e) {
      return e.second.group == head.group && e.second.state == State::available;
    });
    if (!is_blocked) continue;
    later.assign(grants.begin() + static_cast<ptrdiff_t>(i), grants.end());
    grants.resize(i);
  }
  take_grants(false, 0);
  grants = later;
  if (options_.length_max != 0 && !options_.is_overflow_rejected) {
    while (count(State::available) > options_.length_max) {
      Offset first = -1;
      for (const auto& [offset, m] : open_) {
        if (is_grantable(offset, 0)) {
          first = offset;
          break;
        }
      }
      if (first < 0) break;
      die(open_.at(first), DeathCause::overflow);
      drop_done();
    }
  }
}

void Model::settle() {
  std::vector<Settlement> all;
  std::vector<Code> wanted;
  std::map<Offset, Msg>& open = open_;
  const size_t wishes = 1 + pick(3);
  for (size_t i = 0; i < wishes; ++i) {
    std::vector<Offset> held;
    for (const auto& [offset, m] : open) {
      if (m.state == State::leased) held.push_back(offset);
    }
    Settlement s;
    s.outcome = static_cast<Outcome>(pick(4));
    if (pick(3) == 0) s.outcome = Outcome::accept;
    if (!held.empty() && pick(10) != 0) {
      s.first = held[pick(held.size())];
      s.consumer = open[s.first].holder;
      if (pick(2) == 0) s.lease = open[s.first].lease;
      s.last = s.first;
      while (pick(4) != 0 && open.contains(s.last + 1) && open[s.last + 1].holder == s.consumer) ++s.last;
    } else {
      s.first = static_cast<Offset>(pick(static_cast<uint64_t>(end_) + 2));
      s.last = s.first + static_cast<Offset>(pick(3));
      s.consumer = 1 + pick(last_consumer_ + 1);
    }
    if (pick(3) == 0) s.not_before = {now_.wall.ms + static_cast<int64_t>(pick(500)) - 50};
    if (pick(6) == 0 && s.first == s.last && (s.outcome == Outcome::release || s.outcome == Outcome::fail))
      s.annotations = std::string(1 + pick(6), 'n');
    Code code = Code::ok;
    for (Offset offset = s.first; offset <= s.last; ++offset) {
      if (!open.contains(offset) || open[offset].state != State::leased || open[offset].holder != s.consumer ||
          (s.lease != 0 && open[offset].lease != s.lease))
        code = Code::not_found;
    }
    if (code == Code::ok && !s.annotations.empty()) {
      if (static_cast<int64_t>(s.annotations.size()) > options_.annotation_bytes_max) code = Code::too_large;
      const auto extras = std::count_if(open.begin(), open.end(),
                                        [](const auto& e) { return !e.second.group.empty() || !e.second.annotations.empty(); });
      if (code == Code::ok && extras >= options_.extras_max) code = Code::quota_exceeded;
    }
    if (code == Code::ok) {
      for (Offset offset = s.first; offset <= s.last; ++offset) {
        Msg& m = open[offset];
        if (s.outcome == Outcome::accept) {
          m.state = State::done;
        } else if (s.outcome == Outcome::reject) {
          ++m.acquired;
          die(m, DeathCause::rejected);
        } else {
          if (!s.annotations.empty()) m.annotations = s.annotations;
          come_back(m, s.outcome == Outcome::fail, s.not_before.ms);
        }
      }
      drop_done();
    }
    all.push_back(s);
    wanted.push_back(code);
  }
  ASSERT_EQ(queue_->settle(all, now_), wanted);
}

void Model::step() {
  pass_time();
  bool is_pull = false;
  ConsumerId puller = 0;
  lease_ms_ = 0;
  const uint64_t verb = pick(100);
  const ConsumerId some = 1 + pick(last_consumer_ + 1);
  if (verb < 25) {
    if (open_.size() < kOpenMax) arrive();
  } else if (verb < 32) {
    ConsumerFacts facts;
    facts.id = pick(10) == 0 ? some : last_consumer_ + 1;
    facts.priority = static_cast<int32_t>(pick(3));
    facts.is_exclusive = pick(12) == 0;
    facts.filter = pick(3) == 0 ? static_cast<FilterId>(2 + pick(3)) : 0;
    if (pick(3) == 0) facts.in_flight_max = static_cast<int64_t>(1 + pick(5));
    Code wanted = Code::ok;
    std::set<FilterId> filters;
    bool has_exclusive = false;
    for (const auto& [id, member] : members_) filters.insert(member.facts.filter), has_exclusive |= member.facts.is_exclusive;
    filters.insert(facts.filter);
    if (members_.contains(facts.id) || has_exclusive || (facts.is_exclusive && !members_.empty()))
      wanted = Code::already_exists;
    else if (static_cast<int64_t>(members_.size()) >= options_.consumers_max ||
             static_cast<int64_t>(filters.size()) > options_.filters_max)
      wanted = Code::quota_exceeded;
    ASSERT_EQ(queue_->add_consumer(facts, now_), wanted);
    if (wanted == Code::ok) {
      members_[facts.id] = {facts, ++orders_, 0, false};
      last_consumer_ = std::max(last_consumer_, facts.id);
      activate();
    }
  } else if (verb < 36) {
    const bool failure = pick(2) == 0;
    if (members_.contains(some)) {
      for (auto& [offset, m] : open_) {
        if (m.holder == some) come_back(m, failure, 0);
      }
      drop_done();
      members_.erase(some);
      if (active_ == some) active_ = 0;
      activate();
    }
    queue_->remove_consumer(some, failure ? Outcome::fail : Outcome::release, now_);
  } else if (verb < 55) {
    LeaseRequest request{.consumer = some, .messages_max = static_cast<int64_t>(1 + pick(12))};
    if (pick(3) == 0) request.bytes_max = static_cast<int64_t>(1 + pick(20));
    if (pick(3) == 0) request.lease_ms = lease_ms_ = static_cast<int64_t>(1 + pick(300));
    request.is_waiting = pick(4) == 0 && request.lease_ms == 0;
    const Result<int64_t> got = queue_->lease(request, now_);
    ASSERT_EQ(got.ok(), members_.contains(some));
    if (got.ok()) {
      is_pull = true;
      puller = some;
      int64_t granted = 0;
      int64_t bytes = 0;
      const auto& grants = queue_->outputs().grants;
      // Standing consumers were served first; the last lease is the pulled one.
      for (const auto& grant : grants) {
        if (got.value() > 0 && grant.lease == grants.back().lease) {
          ASSERT_EQ(grant.consumer, some);
          for (Offset o = grant.first; o <= grant.last; ++o) ++granted, bytes += ModuloReader::bytes(o);
        }
      }
      ASSERT_EQ(granted, got.value());
      ASSERT_LE(granted, request.messages_max);
      if (granted > 1) ASSERT_LE(bytes, request.bytes_max);
      Member& member = members_[some];
      if (granted == 0 && request.is_waiting) {
        take_grants(false, 0);
        queue_->outputs().grants.clear();
        member.credit = request.messages_max;
        member.is_once = true;
      }
      // Only the pulled lease is without credit: take what stood first.
      if (granted > 0) {
        auto& all = queue_->outputs().grants;
        const LeaseId pulled = all.back().lease;
        std::vector<Outputs::Grant> mine;
        for (const auto& grant : all) {
          if (grant.lease == pulled) mine.push_back(grant);
        }
        std::erase_if(all, [&](const auto& grant) { return grant.lease == pulled; });
        const int64_t lease_ms = std::exchange(lease_ms_, 0);
        take_grants(false, 0);
        lease_ms_ = lease_ms;
        all = mine;
      } else {
        is_pull = false;
        puller = 0;
      }
    }
  } else if (verb < 63) {
    const auto messages = static_cast<int64_t>(pick(10));
    const bool drain = pick(4) == 0;
    if (members_.contains(some)) {
      members_[some].credit = messages;
      members_[some].is_once = false;
      if (drain) draining_.insert(some);
    }
    ASSERT_EQ(queue_->credit(some, messages, drain, now_), members_.contains(some) ? Code::ok : Code::not_found);
  } else if (verb < 88) {
    settle();
  } else if (verb < 91) {
    std::vector<Offset> held;
    for (const auto& [offset, m] : open_) {
      if (m.state == State::leased) held.push_back(offset);
    }
    if (!held.empty()) {
      const Offset offset = held[pick(held.size())];
      const auto ms = static_cast<int64_t>(1 + pick(400));
      Msg& m = open_[offset];
      ASSERT_EQ(queue_->renew(m.holder + 1'000'000, offset, offset, ms, 0, now_), Code::not_found);
      ASSERT_EQ(queue_->renew(m.holder, offset, offset, ms, m.lease, now_), Code::ok);
      m.lease_end = (now_.instant + Duration::millis(ms)).ns;
    }
  } else if (verb < 92) {
    const auto upto = static_cast<Offset>(pick(static_cast<uint64_t>(end_) + 1));
    int64_t purged = 0;
    for (auto& [offset, m] : open_) {
      if (offset < upto && (m.state == State::available || m.state == State::waiting)) m.state = State::done, ++purged;
    }
    drop_done();
    ASSERT_EQ(queue_->purge(upto, now_), purged);
  } else if (verb < 93) {
    const Offset first = open_.empty() ? end_ : open_.begin()->first;
    const Offset upto = first + static_cast<Offset>(pick(6));
    std::erase_if(open_, [&](const auto& e) { return e.first < upto; });
    queue_->trim(upto, now_);
    end_ = std::max(end_, upto);
  } else if (verb < 94) {
    is_paused_ = true;
    queue_->pause();
  } else if (verb < 96) {
    is_paused_ = false;
    queue_->resume(now_);
  } else if (verb < 98) {
    queue_->tick(now_);
    for (auto& [offset, m] : open_) {
      if (m.state != State::dead) continue;
      ASSERT_EQ(queue_->confirm_dead(offset, offset, now_), Code::ok);
      m.state = State::done;
      break;
    }
    drop_done();
    queue_->tick(now_);
  } else if (verb < 99) {
    if (pick(20) == 0) {
      const Offset to = pick(2) == 0 ? end_ : static_cast<Offset>(pick(static_cast<uint64_t>(end_) + 10));
      queue_->seek(to, now_);
      open_.clear();
      end_ = to;
      start_seen_ = 0;
      std::erase_if(arrivals_, [&](const Arrival& a) { return a.last >= to; });
      finish_step();
      save();
      return;
    }
    if (pick(2) == 0) save();
    restore_and_compare();
  } else {
    crash();
    return;
  }
  if (testing::Test::HasFatalFailure()) return;
  finish_step(is_pull, puller);
  if (testing::Test::HasFatalFailure()) return;
  ASSERT_GE(queue_->start(), start_seen_);
  start_seen_ = queue_->start();
}

// Snapshot and deltas, and the arrivals since, make the same queue.
void Model::restore_and_compare() {
  queue_->tick(now_);
  mature();
  finish_step();
  if (testing::Test::HasFailure()) return;
  QueueMetrics metrics;
  Result<std::unique_ptr<Queue>> whole = Queue::restore(options_, metrics, &reader_, queue_->snapshot().span(), now_);
  ASSERT_TRUE(whole.ok()) << whole.error().detail;
  EXPECT_EQ((*whole)->fingerprint(), queue_->fingerprint());
  EXPECT_EQ((*whole)->start(), queue_->start());
  // What was leased is ready now; the oldest of it do not die of that here.
  QueueOptions options = options_;
  options.length_max = 0;
  Result<std::unique_ptr<Queue>> again = Queue::restore(options, metrics, &reader_, saved_.span(), now_);
  ASSERT_TRUE(again.ok()) << again.error().detail;
  for (const Delta& delta : deltas_) {
    Result<Delta> stored = decode_described<Delta>(as_bytes(encode_described(delta)));
    ASSERT_TRUE(stored.ok());
    ASSERT_TRUE((*again)->replay(*stored, now_).ok());
  }
  for (size_t i = 0; i < arrivals_.size(); ++i) {
    if (arrivals_[i].first < (*again)->next_arrival()) {
      if (arrivals_[i].last < (*again)->next_arrival()) continue;
      Arrival rest = arrivals_[i];
      rest.first = (*again)->next_arrival();
      ASSERT_EQ((*again)->arrive(rest, now_), Code::ok);
    } else {
      const Code code = (*again)->arrive(arrivals_[i], now_);
      ASSERT_EQ(code, Code::ok);
    }
  }
  (*again)->tick(now_);
  // A lease outlives its message's time; without the lease the message dies.
  for (const auto& [offset, m] : open_) {
    if (m.state == State::leased && m.expires != 0 && m.expires <= now_.wall.ms) return;
  }
  EXPECT_EQ((*again)->fingerprint(), queue_->fingerprint()) << shown(**again) << "is not\n" << shown(*queue_);
}

// The node ends; its queue comes back without leases and consumers.
void Model::crash() {
  restore_and_compare();
  if (testing::Test::HasFailure()) return;
  Result<std::unique_ptr<Queue>> again = Queue::restore(options_, metrics_, &reader_, queue_->snapshot().span(), now_);
  ASSERT_TRUE(again.ok());
  queue_ = std::move(*again);
  members_.clear();
  draining_.clear();
  active_ = 0;
  for (auto& [offset, m] : open_) {
    if (m.state == State::leased) m.state = State::available, m.holder = 0, m.lease = 0;
    if (m.state == State::dead) ++deaths_wanted_;
  }
  mature();
  queue_->tick(now_);
  finish_step();
  save();
}

uint64_t seed_of_run() {
  const char* given = std::getenv("SEED");
  return given ? std::strtoull(given, nullptr, 10) : std::random_device{}();
}

TEST(Queue, DoesWhatTheModelDoes) {
  const uint64_t seed = seed_of_run();
  std::printf("SEED=%llu\n", static_cast<unsigned long long>(seed));
  for (uint64_t round = 0; round < 40 && !HasFailure(); ++round) {
    SCOPED_TRACE("SEED=" + std::to_string(seed + round));
    std::mt19937_64 random(seed + round);
    QueueOptions options;
    options.lease_ms = 200 + static_cast<int64_t>(random() % 800);
    options.lease_ms_max = 1000;
    options.delivery_limit = static_cast<int32_t>(random() % 5);
    options.limit_counts_releases = random() % 2 == 0;
    options.length_max = random() % 3 == 0 ? static_cast<int64_t>(5 + random() % 20) : 0;
    options.is_overflow_rejected = random() % 3 == 0;
    options.is_single_active = random() % 4 == 0;
    options.is_death_confirmed = random() % 2 == 0;
    options.consumers_max = 6;
    options.filters_max = 3;
    options.in_flight_max = random() % 3 == 0 ? 10 : 1000;
    options.extras_max = 12;
    options.annotation_bytes_max = 4;
    options.scan_max = random() % 2 == 0 ? 7 : 1000;
    Model(options, seed + round).run(800);
  }
}

}  // namespace
}  // namespace robustmq::queue
