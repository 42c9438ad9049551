#include "broker/extensions/exclusive.h"

#include <memory>
#include <utility>

namespace robustmq::broker {

Exclusive& Exclusive::home_of(const std::string& topic) const { return *peers_[slot_of(kDefaultTenant, topic) % peers_.size()]; }

bool Exclusive::take(const std::string& topic, uint64_t connection) {
  const auto found = holders_.find(topic);
  if (found != holders_.end() && found->second == connection) return true;
  if (found != holders_.end() || static_cast<int64_t>(holders_.size()) >= options_.exclusive_max) {
    ++metrics_.exclusive_refused_total;
    return false;
  }
  holders_.emplace(topic, connection);
  ++metrics_.exclusive_subscriptions;
  return true;
}

void Exclusive::drop(const std::string& topic, uint64_t connection) {
  const auto found = holders_.find(topic);
  if (found == holders_.end() || found->second != connection) return;
  holders_.erase(found);
  --metrics_.exclusive_subscriptions;
}

void Exclusive::claim(uint64_t connection, const std::vector<std::string>& topics, Callback<void(std::vector<Claimed>)> done) {
  struct Claiming {
    Callback<void(std::vector<Claimed>)> done;
    std::vector<Claimed> results;
    size_t waiting;
  };
  auto claiming = std::make_shared<Claiming>(Claiming{std::move(done), std::vector<Claimed>(topics.size()), topics.size()});
  const auto answer = [this, connection, claiming](size_t i, const std::string& topic, uint64_t number, bool has) {
    if (!claims_.contains(connection)) return;  // closed meanwhile; close() has given it back
    claiming->results[i] = settle(connection, topic, number, has);
    if (--claiming->waiting == 0) claiming->done(std::move(claiming->results));
  };
  const uint64_t first = last_number_ + 1;
  last_number_ += topics.size();
  Claims& claims = claims_[connection];
  claims.asked += topics.size();
  for (size_t i = 0; i < topics.size(); ++i) claims.topics[topics[i]] = first + i;
  for (size_t i = 0; i < topics.size(); ++i) {
    const uint64_t number = first + i;
    Exclusive& home = home_of(topics[i]);
    if (&home == this) {
      answer(i, topics[i], number, take(topics[i], connection));
      continue;
    }
    core_.send(home.core_.index(), [this, &home, connection, i, number, topic = topics[i], answer] {
      const bool has = home.take(topic, connection);
      home.core_.send(core_.index(), [i, topic, number, has, answer] { answer(i, topic, number, has); });
    });
  }
}

Claimed Exclusive::settle(uint64_t connection, const std::string& topic, uint64_t number, bool has) {
  Claims& claims = claims_[connection];
  --claims.asked;
  const auto claim = claims.topics.find(topic);
  const bool is_last = claim != claims.topics.end() && claim->second == number;
  if (!has && is_last) claims.topics.erase(claim);
  forget_idle(connection);
  if (!has) return Claimed::refused;
  return is_last ? Claimed::had : Claimed::over;
}

void Exclusive::forget_idle(uint64_t connection) {
  const auto claims = claims_.find(connection);
  if (claims != claims_.end() && claims->second.topics.empty() && claims->second.asked == 0) claims_.erase(claims);
}

void Exclusive::give_back(uint64_t connection, const std::string& topic) {
  Exclusive& home = home_of(topic);
  if (&home == this) return drop(topic, connection);
  core_.send(home.core_.index(), [&home, connection, topic] { home.drop(topic, connection); });
}

void Exclusive::release(uint64_t connection, const std::string& topic) {
  const auto claims = claims_.find(connection);
  if (claims == claims_.end() || claims->second.topics.erase(topic) == 0) return;
  forget_idle(connection);
  give_back(connection, topic);
}

void Exclusive::close(uint64_t connection) {
  const auto claims = claims_.find(connection);
  if (claims == claims_.end()) return;
  const std::map<std::string, uint64_t> topics = std::move(claims->second.topics);
  claims_.erase(claims);
  for (const auto& [topic, number] : topics) give_back(connection, topic);
}

}  // namespace robustmq::broker
