// Hall: queues and streams that a subscription makes (ADR 0026): where it names one that is not there, with a filter, the stream
// is made over the filter, as a topic rule, before anything is followed.
#include <algorithm>
#include <utility>

#include "base/topic_names.h"
#include "broker/hall.h"
#include "meta/topic_filters.h"

namespace robustmq::broker {
namespace {

struct DeclaredName {
  std::string name;  // of the stream; empty: it is named by its filter alone
  std::string_view filter;
};

DeclaredName declared_name_of(const FollowOne& wanted) {
  DeclaredName found;
  if (wanted.stream) {
    found = {wanted.stream->name.starts_with('/') ? std::string() : wanted.stream->name, wanted.filter};
  } else {
    const std::string_view text = wanted.filter;
    const size_t slash = std::min(text.find('/'), text.size());
    found = {std::string(text.substr(0, slash)), text.substr(std::min(slash + 1, text.size()))};
  }
  return found;
}

}  // namespace

// What cannot be, and why; or nothing, and what is to be made is added.
std::optional<FollowResult> Hall::declare_one(Context& context, const FollowOne& wanted, CreateTopics& missing) const {
  DeclaredName asked = declared_name_of(wanted);
  if (asked.filter.empty() || rules_.find_filter(asked.filter, asked.name)) return std::nullopt;
  if (asked.name.empty()) asked.name = kafka_name_of_mqtt(asked.filter);
  if (const auto there = meta_.find(context.tenant, asked.name)) {
    if (!there->is_rule || meta::filters_intersect(there->mqtt_filter, asked.filter)) return std::nullopt;
    return FollowResult{Code::invalid_topic, true, asked.name + " has messages of " + there->mqtt_filter + " alone"};
  }
  if (const Code code = authorise(context, Verb::follow, asked.filter); code != Code::ok) return FollowResult{code, true, {}};
  if (wanted.filter.size() > static_cast<size_t>(options_.topic_bytes_max) ||
      topic_levels(wanted.filter) > static_cast<size_t>(options_.filter_levels_max))
    return FollowResult{Code::invalid_topic, true, {}};
  if (subscriptions_of(context) >= static_cast<size_t>(options_.subscriptions_max))
    return FollowResult{Code::quota_exceeded, true, {}};
  CreateTopics::One& one = missing.topics.emplace_back();
  one.name = asked.name;
  one.mqtt_filter = asked.filter;
  one.partitions = declare_options_.partitions;
  one.settings = {{"mode", std::string(enum_name(declare_options_.mode))},
                  {"retention_ms", std::to_string(declare_options_.retention_ms)},
                  {"retention_bytes", std::to_string(declare_options_.retention_bytes)}};
  return std::nullopt;
}

bool Hall::declare_first(Context& context, Follow& request, ReplyTo& done, const std::vector<bool>& exclusive) {
  CreateTopics missing;
  std::vector<size_t> of;  // each of `missing`: which filter wants it
  std::vector<std::optional<FollowResult>> answers(request.filters.size());
  bool has_answers = false;
  for (size_t i = 0; i < request.filters.size(); ++i) {
    if (!std::exchange(request.filters[i].may_make, false)) continue;
    answers[i] = declare_one(context, request.filters[i], missing);
    has_answers |= answers[i].has_value();
    of.resize(missing.topics.size(), i);
  }
  if (missing.topics.empty() && !has_answers) return false;
  auto declaring = std::make_shared<Declaring>();
  declaring->request = std::move(request);
  declaring->exclusive = exclusive;
  declaring->done = std::move(done);
  declaring->answers = std::move(answers);
  declaring_[&context].push_back(declaring);
  ++declaring->waiting;
  topics_.create(std::move(missing), [this, &context, declaring, of = std::move(of)](Reply reply) {
    if (declaring->is_over) return;
    const auto* created = std::get_if<CreatedTopics>(&reply);
    for (size_t i = 0; i < of.size(); ++i) {
      const Code code = created ? created->topics[i].code : std::get<Error>(reply).code;
      const bool is_there =
          code == Code::topic_exists && meta_.find(context.tenant, created->topics[i].facts.name);  // by another
      if (code == Code::ok || is_there || declaring->answers[of[i]]) continue;
      declaring->answers[of[i]] = FollowResult{code, true, created ? created->topics[i].detail : std::string()};
    }
    finish_declaring(context, declaring);
  });
  if (!declaring->is_over) finish_declaring(context, declaring);
  return true;
}

void Hall::finish_declaring(Context& context, const std::shared_ptr<Declaring>& declaring) {
  if (--declaring->waiting > 0) return;
  auto& all = declaring_[&context];
  std::erase(all, declaring);
  if (all.empty()) declaring_.erase(&context);
  Follow rest;
  std::vector<bool> exclusive;
  for (size_t i = 0; i < declaring->answers.size(); ++i) {
    if (declaring->answers[i]) continue;
    rest.filters.push_back(std::move(declaring->request.filters[i]));
    exclusive.push_back(i < declaring->exclusive.size() && declaring->exclusive[i]);
  }
  auto answer = [declaring](Reply reply) {
    auto* followed = std::get_if<Followed>(&reply);
    if (!followed) return declaring->done(std::move(reply));
    Followed whole;
    size_t next = 0;
    for (std::optional<FollowResult>& one : declaring->answers)
      whole.results.push_back(one ? std::move(*one) : std::move(followed->results[next++]));
    declaring->done(std::move(whole));
  };
  if (rest.filters.empty()) return answer(Followed{});
  follow(context, std::move(rest), std::move(answer), exclusive);
}

// Asked for and given up before it was there: nothing is followed.
bool Hall::give_up_declaring(const Context& context, const Unfollow::One& one) {
  const auto found = declaring_.find(&context);
  if (found == declaring_.end()) return false;
  bool was_there = false;
  for (const std::shared_ptr<Declaring>& declaring : found->second) {
    for (size_t i = 0; i < declaring->answers.size(); ++i) {
      const FollowOne& asked = declaring->request.filters[i];
      const bool is_it =
          asked.filter == one.filter && asked.share == one.share && (asked.stream ? asked.stream->name : "") == one.stream;
      if (!is_it || declaring->answers[i]) continue;
      declaring->answers[i] = FollowResult{};
      was_there = true;
    }
  }
  return was_there;
}

void Hall::stop_declaring(const Context& context) {
  const auto found = declaring_.find(&context);
  if (found == declaring_.end()) return;
  for (const std::shared_ptr<Declaring>& declaring : found->second) declaring->is_over = true;
  declaring_.erase(found);
}

void Hall::open_queue_asked(const Context& context, const OpenQueue& request, ReplyTo done) {
  if (!options_.queues_available) return done(Error{Code::not_supported, "there are no queues: set mqtt.queues_available"});
  const QueueName name = queue_name_of(meta_, rules_, context.tenant, request.name);
  if (!name.topic || (!name.filter.empty() && !is_valid_topic_filter(name.filter)))
    return done(QueueOpened{Code::invalid_topic, {}});
  const std::string group = name.group();
  open_queue(context.tenant, group, name.topic,
             [group, done = std::move(done)](Code code) mutable { done(QueueOpened{code, group}); });
}

}  // namespace robustmq::broker
