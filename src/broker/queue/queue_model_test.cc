// The Queue against a naive model: one row a message.
#include "broker/queue/queue_model_rig.h"

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
    s.outcome = static_cast<Outcome>(pick(5));
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
          come_back(m, s.outcome, s.not_before.ms);
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
    const Outcome outcomes[] = {Outcome::fail, Outcome::release, Outcome::unread};
    const Outcome outcome = outcomes[pick(3)];
    if (members_.contains(some)) {
      for (auto& [offset, m] : open_) {
        if (m.holder == some) come_back(m, outcome, 0);
      }
      drop_done();
      members_.erase(some);
      if (active_ == some) active_ = 0;
      activate();
    }
    queue_->remove_consumer(some, outcome, now_);
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
    std::erase_if(open_, [&](const auto& e) { return e.first < upto && e.second.state != State::dead; });
    drop_done();
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

namespace {

uint64_t seed_of_run() {
  const char* given = std::getenv("SEED");
  return given ? std::strtoull(given, nullptr, 10) : std::random_device{}();
}

TEST(Queue, DoesWhatTheModelDoes) {
  const uint64_t seed = seed_of_run();
  std::printf("SEED=%llu\n", static_cast<unsigned long long>(seed));
  for (uint64_t round = 0; round < 16 && !HasFailure(); ++round) {
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
