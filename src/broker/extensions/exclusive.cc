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

void Exclusive::claim(uint64_t connection, const std::vector<std::string>& topics, Callback<void(std::vector<bool>)> done) {
  struct Claiming {
    Callback<void(std::vector<bool>)> done;
    std::vector<bool> has;
    size_t waiting;
  };
  auto claiming = std::make_shared<Claiming>(Claiming{std::move(done), std::vector<bool>(topics.size()), topics.size()});
  const auto answer = [this, connection, claiming](size_t i, const std::string& topic, bool has) {
    const auto claims = claims_.find(connection);
    if (claims == claims_.end()) return;  // closed meanwhile; close() has given it back
    if (!has) {
      if (const auto at = claims->second.find(topic); at != claims->second.end()) claims->second.erase(at);
    }
    claiming->has[i] = has;
    if (--claiming->waiting == 0) claiming->done(std::move(claiming->has));
  };
  for (const std::string& topic : topics) claims_[connection].insert(topic);
  for (size_t i = 0; i < topics.size(); ++i) {
    Exclusive& home = home_of(topics[i]);
    if (&home == this) {
      answer(i, topics[i], take(topics[i], connection));
      continue;
    }
    core_.send(home.core_.index(), [this, &home, connection, i, topic = topics[i], answer] {
      const bool has = home.take(topic, connection);
      home.core_.send(core_.index(), [i, topic, has, answer] { answer(i, topic, has); });
    });
  }
}

void Exclusive::release(uint64_t connection, const std::string& topic) {
  const auto claims = claims_.find(connection);
  if (claims == claims_.end() || claims->second.erase(topic) == 0) return;
  if (claims->second.empty()) claims_.erase(claims);
  Exclusive& home = home_of(topic);
  if (&home == this) return drop(topic, connection);
  core_.send(home.core_.index(), [&home, connection, topic] { home.drop(topic, connection); });
}

void Exclusive::close(uint64_t connection) {
  const auto claims = claims_.find(connection);
  if (claims == claims_.end()) return;
  const std::multiset<std::string> topics = std::move(claims->second);
  claims_.erase(claims);
  for (const std::string& topic : topics) {
    Exclusive& home = home_of(topic);
    if (&home == this)
      drop(topic, connection);
    else
      core_.send(home.core_.index(), [&home, connection, topic] { home.drop(topic, connection); });
  }
}

}  // namespace robustmq::broker
