// Hall: what is done to requests of clients before they take their course: rewritten topics, exclusive and automatic
// subscriptions, $SYS.
#include <algorithm>
#include <deque>
#include <utility>

#include "base/topic_names.h"
#include "broker/hall.h"

namespace robustmq::broker {

namespace {

constexpr std::string_view kStreamPrefix = "$stream/";

// NAME[/FILTER]: under a prefix, of all what lies there.
std::string under_prefix(const std::string& prefix, const std::string& name) {
  if (prefix.empty()) return name;
  const size_t slash = std::min(name.find('/'), name.size());
  const std::string filter = slash < name.size() ? name.substr(slash + 1) : "#";
  return name.substr(0, slash) + '/' + prefix + filter;
}

// nullopt: it would not be valid, or follow more than it says: an id with a wildcard.
std::optional<FollowOne> subscription_of(const AutoSubscription& wanted, std::string filter, const std::string& prefix,
                                         bool has_queues) {
  const auto wildcards = [](std::string_view text) {
    return std::count_if(text.begin(), text.end(), [](char c) { return c == '+' || c == '#'; });
  };
  if (wildcards(filter) != wildcards(wanted.filter)) return std::nullopt;
  FollowOne one{.qos_max = wanted.qos,
                .no_local = wanted.no_local,
                .retain_as_published = wanted.retain_as_published,
                .retain_handling = static_cast<RetainHandling>(wanted.retain_handling)};
  if (filter.starts_with(kQueueGroup)) {
    one.share = kQueueShare;
    one.filter = filter.substr(kQueueGroup.size());
    one.filter = has_queues ? under_prefix(prefix, one.filter) : prefix + one.filter;
  } else if (filter.starts_with(kStreamPrefix)) {
    const std::string whole = under_prefix(prefix, filter.substr(kStreamPrefix.size()));
    const size_t slash = std::min(whole.find('/'), whole.size());
    auto read = std::make_shared<StreamRead>();
    read->name = whole.substr(0, slash);
    if (wanted.from_start) read->starts.push_back({.at = StreamRead::Start::At::earliest});
    one.stream = std::move(read);
    if (slash == whole.size()) return one;  // all of it
    one.filter = whole.substr(slash + 1);
  } else {
    one.filter = prefix + filter;
  }
  if (!is_valid_topic_filter(one.filter)) return std::nullopt;
  return one;
}

}  // namespace

void Hall::publish_asked(Context& context, Publish request, ReplyTo done) {
  if (rewriter_.is_empty() && watch_.is_empty()) return publish(context, std::move(request), std::move(done));
  std::deque<std::string> names;  // live until publish() returns
  for (Message& message : request.messages) {
    const auto name = rewriter_.publish(message.topic, context.session, context.principal.name);
    if (name) message.topic = names.emplace_back(*name);
    watch_.note_in(message);
  }
  publish(context, std::move(request), std::move(done));
}

void Hall::follow_asked(Context& context, Follow request, ReplyTo done) {
  std::vector<std::string> wanted;  // exclusively
  std::vector<bool> is_exclusive;   // each filter
  for (FollowOne& one : request.filters) {
    if (one.stream) {
      is_exclusive.push_back(false);
      continue;
    }
    is_exclusive.push_back(extensions_.exclusive_available && one.share.empty() && one.filter.starts_with(kExclusivePrefix));
    if (is_exclusive.back()) one.filter.erase(0, kExclusivePrefix.size());
    if (const auto filter = rewriter_.subscribe(one.filter, context.session, context.principal.name)) one.filter = *filter;
    if (is_exclusive.back()) wanted.push_back(one.filter);
  }
  if (sys_.is_heard()) done = telling_of(context, request, std::move(done));
  if (wanted.empty()) return follow(context, std::move(request), std::move(done));
  // The connection outlives the call of `claimed`, or it is not called.
  auto claimed = [this, &context, request = std::move(request), is_exclusive = std::move(is_exclusive),
                  done = std::move(done)](const std::vector<Claimed>& claims) mutable {
    Follow granted;
    std::vector<std::optional<FollowResult>> answered;  // each filter asked; nullopt: it is followed
    std::vector<bool> is_granted_exclusive;             // each filter granted
    std::vector<std::string> exclusively;               // as it; empty: not so
    size_t next = 0;
    for (size_t i = 0; i < request.filters.size(); ++i) {
      const Claimed claim = is_exclusive[i] ? claims[next++] : Claimed::had;
      if (claim == Claimed::refused) {
        answered.emplace_back(FollowResult{Code::quota_exceeded, true});
      } else if (claim == Claimed::over) {  // given back meanwhile, or asked for again: nothing is left to do
        answered.emplace_back(FollowResult{Code::ok, true});
      } else {
        answered.emplace_back(std::nullopt);
        exclusively.push_back(is_exclusive[i] ? request.filters[i].filter : std::string());
        granted.filters.push_back(std::move(request.filters[i]));
        is_granted_exclusive.push_back(is_exclusive[i]);
      }
    }
    auto answer = [this, connection = context.connection_id, answered = std::move(answered), exclusively = std::move(exclusively),
                   done = std::move(done)](Reply reply) mutable {
      auto* followed = std::get_if<Followed>(&reply);
      if (!followed) return done(std::move(reply));
      Followed all;
      size_t given = 0;
      for (const std::optional<FollowResult>& one : answered) {
        if (!one && followed->results[given].code != Code::ok && !exclusively[given].empty())
          exclusive_.release(connection, exclusively[given]);  // nobody has it for nothing
        all.results.push_back(one ? *one : followed->results[given++]);
      }
      done(std::move(all));
    };
    follow(context, std::move(granted), std::move(answer), is_granted_exclusive);
  };
  exclusive_.claim(context.connection_id, wanted, std::move(claimed));
}

// Tells of those that were granted, behind the answer.
ReplyTo Hall::telling_of(const Context& context, const Follow& request, ReplyTo done) {
  std::vector<std::pair<std::string, uint8_t>> filters;
  for (const FollowOne& one : request.filters)
    filters.emplace_back(one.stream ? as_asked(one.stream->name, one.filter) : one.filter, one.qos_max);
  return [this, id = context.session, user = context.principal.name, filters = std::move(filters),
          done = std::move(done)](Reply reply) mutable {
    std::vector<FollowResult> results;
    if (const auto* followed = std::get_if<Followed>(&reply)) results = followed->results;
    done(std::move(reply));
    for (size_t i = 0; i < results.size(); ++i) {
      if (results[i].code == Code::ok)
        sys_.tell(SysTopics::ClientEvent::subscribed, id, user, filters[i].first, filters[i].second);
    }
  };
}

void Hall::unfollow_asked(Context& context, Unfollow request, ReplyTo done) {
  for (Unfollow::One& one : request.filters) {
    if (!one.stream.empty()) {
      sys_.tell(SysTopics::ClientEvent::unsubscribed, context.session, context.principal.name, as_asked(one.stream, one.filter));
      continue;
    }
    const bool is_exclusive = extensions_.exclusive_available && one.share.empty() && one.filter.starts_with(kExclusivePrefix);
    if (is_exclusive) one.filter.erase(0, kExclusivePrefix.size());
    if (const auto filter = rewriter_.subscribe(one.filter, context.session, context.principal.name)) one.filter = *filter;
    if (is_exclusive) exclusive_.release(context.connection_id, one.filter);
    sys_.tell(SysTopics::ClientEvent::unsubscribed, context.session, context.principal.name, one.filter);
  }
  unfollow(context, std::move(request), std::move(done));
}

// In a turn of its own: the connection has to know first that its session is open.
void Hall::welcome(const Context& opened, const std::string& prefix) {
  sys_.tell(SysTopics::ClientEvent::connected, opened.session, opened.principal.name);
  if (auto_subscriptions_.empty()) return;
  core_.post([this, id = opened.session, connection = opened.connection_id, prefix] {
    const auto found = sessions_.find(id);
    if (found == sessions_.end() || found->second->connection_id != connection) return;
    Context& context = *found->second;
    Follow request;
    for (const AutoSubscription& wanted : auto_subscriptions_) {
      std::optional<FollowOne> one = subscription_of(wanted, fill_placeholders(wanted.filter, id, context.principal.name), prefix,
                                                     options_.queues_available);
      if (one)
        request.filters.push_back(std::move(*one));
      else
        ++extension_metrics_.auto_subscriptions_invalid_total;
    }
    extension_metrics_.auto_subscriptions_total += request.filters.size();
    if (!request.filters.empty()) follow(context, std::move(request), [](const Reply&) {});
  });
}

void Hall::say_goodbye(const Context& context) {
  sys_.tell(SysTopics::ClientEvent::disconnected, context.session, context.principal.name);
}

}  // namespace robustmq::broker
