// Hall: consumer groups and the coordinator of transactions, which live on core 0.
#include <algorithm>
#include <utility>

#include "broker/group/coordinator.h"
#include "broker/hall.h"

namespace robustmq::broker {
namespace {

// The topics that a request of a consumer group or a transaction names; nullptr: it names none.
std::vector<TopicRef>* topics_of(Request& request) {
  if (auto* commit = std::get_if<CommitOffsets>(&request)) return &commit->topics;
  if (auto* fetch = std::get_if<FetchOffsets>(&request)) return &fetch->topics;
  if (auto* remove = std::get_if<DeleteOffsets>(&request)) return &remove->topics;
  if (auto* add = std::get_if<AddToTransaction>(&request)) return &add->topics;
  if (auto* commit = std::get_if<CommitInTransaction>(&request)) return &commit->commit.topics;
  return nullptr;
}

}  // namespace

// Requests of both go to core 0 and come back. Light topics have no row in the catalog, so they are named in full
// first.
// A share group's queues are over streams: a light topic may be forgotten, with what the group was not done with.
void Hall::check_share_topics(TenantId tenant, HeartbeatShare request, ReplyTo done) {
  DescribeTopics unknown;
  for (const std::string& name : *request.topics) {
    if (!meta_.find(tenant, name)) unknown.topics.push_back({name, {}});
  }
  if (unknown.topics.empty()) return send_home(tenant, std::move(request), std::move(done));
  topics_.describe(std::move(unknown), [this, tenant, request = std::move(request), done = std::move(done)](Reply reply) mutable {
    const auto* rows = std::get_if<DescribedTopics>(&reply);
    if (!rows) return done(std::move(reply));
    for (const DescribedTopic& row : rows->topics) {
      if (row.code != Code::ok || !row.facts.is_light) continue;
      ConsumerHeartbeatReply refusal;
      refusal.code = Code::invalid_argument;
      refusal.detail = "Topic " + row.facts.name + " is a light topic, which share groups cannot read.";
      refusal.member_id = request.member_id;
      return done(std::move(refusal));
    }
    send_home(tenant, std::move(request), std::move(done));
  });
}

void Hall::ask_home(TenantId tenant, Request request, ReplyTo done) {
  if (auto* beat = std::get_if<HeartbeatShare>(&request); beat && beat->topics)
    return check_share_topics(tenant, std::move(*beat), std::move(done));
  std::vector<TopicRef>* topics = topics_of(request);
  const auto is_light = [&](const TopicRef& topic) { return !locator_.locate(topic).stream; };
  if (!topics || std::none_of(topics->begin(), topics->end(), is_light))
    return send_home(tenant, std::move(request), std::move(done));
  topics_.describe({.topics = *topics},
                   [this, tenant, request = std::move(request), done = std::move(done)](Reply reply) mutable {
                     auto* rows = std::get_if<DescribedTopics>(&reply);
                     if (!rows) return done(std::move(reply));
                     auto& wanted = *topics_of(request);
                     for (size_t i = 0; i < wanted.size(); ++i) {
                       const DescribedTopic& row = rows->topics[i];
                       if (row.code == Code::ok && row.facts.is_light) wanted[i] = {row.facts.name, row.facts.id};
                     }
                     send_home(tenant, std::move(request), std::move(done));
                   });
}

void Hall::execute_home(TenantId tenant, Request request, ReplyTo done) {
  if (Transactions::takes(request)) return transactions_->execute(tenant, std::move(request), std::move(done));
  groups_->execute(tenant, std::move(request), std::move(done));
}

void Hall::send_home(TenantId tenant, Request request, ReplyTo done) {
  if (core_.index() == 0) return execute_home(tenant, std::move(request), std::move(done));
  Hall* home = halls_[0];
  core_.send(0, [home, tenant, back = core_.index(), request = std::move(request), done = std::move(done)]() mutable {
    home->execute_home(tenant, std::move(request), [home, back, done = std::move(done)](Reply reply) mutable {
      home->core_.send(back, [done = std::move(done), reply = std::move(reply)]() mutable { done(std::move(reply)); });
    });
  });
}

}  // namespace robustmq::broker
