#include "broker/extensions/rewriter.h"

#include <re2/re2.h>

#include <algorithm>

#include "base/topic_names.h"

namespace robustmq::broker {
namespace {

constexpr int kGroupsMax = 9;
constexpr int64_t kExpressionMemoryMax = 1 << 20;

RE2::Options re2_options() {
  RE2::Options options;
  options.set_log_errors(false);
  options.set_max_mem(kExpressionMemoryMax);
  return options;
}

}  // namespace

std::string fill_placeholders(std::string_view text, std::string_view client_id, std::string_view user) {
  std::string filled;
  constexpr std::pair<std::string_view, bool> kPlaceholders[] = {
      {"%c", true}, {"${clientid}", true}, {"%u", false}, {"${username}", false}};
  while (!text.empty()) {
    const auto found = std::find_if(std::begin(kPlaceholders), std::end(kPlaceholders),
                                    [&](const auto& placeholder) { return text.starts_with(placeholder.first); });
    if (found == std::end(kPlaceholders)) {
      filled += text[0];
      text.remove_prefix(1);
      continue;
    }
    filled += found->second ? client_id : user;
    text.remove_prefix(found->first.size());
  }
  return filled;
}

struct Rewriter::Rule {
  explicit Rule(const RewriteRule& rule) : facts(rule), expression(rule.expression, re2_options()) {}
  RewriteRule facts;
  RE2 expression;
};

Status Rewriter::check(const std::vector<RewriteRule>& rules) {
  for (const RewriteRule& rule : rules) {
    if (!is_valid_topic_filter(rule.source)) return Error{Code::invalid_argument, "source is no MQTT topic filter"};
    if (rule.destination.empty()) return Error{Code::invalid_argument, "a destination is needed"};
    const RE2 expression(rule.expression, re2_options());
    if (!expression.ok()) return Error{Code::invalid_argument, "expression: " + expression.error()};
    for (int group = expression.NumberOfCapturingGroups() + 1; group <= kGroupsMax; ++group) {
      if (rule.destination.find('$' + std::to_string(group)) != std::string::npos)
        return Error{Code::invalid_argument, "destination: the expression has no group " + std::to_string(group)};
    }
  }
  return {};
}

Rewriter::Rewriter(const std::vector<RewriteRule>& rules, ExtensionMetrics& metrics) : metrics_(metrics) {
  for (const RewriteRule& rule : rules) {
    rules_.push_back(std::make_unique<Rule>(rule));
    has_placeholders_ |= fill_placeholders(rule.destination, "", "") != rule.destination;
  }
}

Rewriter::~Rewriter() = default;

std::optional<std::string_view> Rewriter::publish(std::string_view topic, std::string_view client_id, std::string_view user) {
  return rules_.empty() ? std::nullopt : rewrite(topic, false, published_, client_id, user);
}

std::optional<std::string_view> Rewriter::subscribe(std::string_view filter, std::string_view client_id, std::string_view user) {
  return rules_.empty() ? std::nullopt : rewrite(filter, true, subscribed_, client_id, user);
}

const Rewriter::Rule* Rewriter::rule_of(std::string_view topic, bool is_subscribe) const {
  for (auto rule = rules_.rbegin(); rule != rules_.rend(); ++rule) {
    const RewriteAction action = (*rule)->facts.action;
    if (action != RewriteAction::all && (action == RewriteAction::subscribe) != is_subscribe) continue;
    if (filter_matches((*rule)->facts.source, topic)) return rule->get();
  }
  return nullptr;
}

std::optional<std::string_view> Rewriter::rewrite(std::string_view topic, bool is_subscribe, Known& known,
                                                  std::string_view client_id, std::string_view user) {
  if (!has_placeholders_) {
    if (const auto found = known.names.find(topic); found != known.names.end()) {
      if (found->second) ++metrics_.topics_rewritten_total;
      return found->second;
    }
  }
  std::optional<std::string> made;
  if (const Rule* rule = rule_of(topic, is_subscribe)) {
    re2::StringPiece groups[kGroupsMax + 1];
    const int count = std::min(rule->expression.NumberOfCapturingGroups(), kGroupsMax) + 1;
    if (rule->expression.Match({topic.data(), topic.size()}, 0, topic.size(), RE2::UNANCHORED, groups, count)) {
      // Placeholders first, so that what a topic or an id says is never taken for one.
      made.emplace();
      const std::string_view to = rule->facts.destination;
      for (size_t i = 0; i < to.size();) {
        if (to[i] == '$' && i + 1 < to.size() && to[i + 1] >= '1' && to[i + 1] <= '9') {
          const re2::StringPiece& group = groups[to[i + 1] - '0'];
          made->append(group.data(), group.size());
          i += 2;
          continue;
        }
        size_t end = to.find('$', i + 1);
        while (end != std::string_view::npos && !(end + 1 < to.size() && to[end + 1] >= '1' && to[end + 1] <= '9'))
          end = to.find('$', end + 1);
        made->append(fill_placeholders(to.substr(i, end - i), client_id, user));
        i = end == std::string_view::npos ? to.size() : end;
      }
      if (!(is_subscribe ? is_valid_topic_filter(*made) : is_valid_topic_name(*made))) {
        ++metrics_.rewrites_invalid_total;
        made.reset();
      }
    }
  }
  if (made) ++metrics_.topics_rewritten_total;
  if (has_placeholders_) {
    if (!made) return std::nullopt;
    last_ = std::move(*made);
    return last_;
  }
  if (known.names.size() >= kKnownMax || known.bytes >= kKnownBytesMax) known = {};
  known.bytes += topic.size() + (made ? made->size() : 0);
  return known.names.emplace(std::string(topic), std::move(made)).first->second;
}

}  // namespace robustmq::broker
