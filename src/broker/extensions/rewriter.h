// Rewriter: topics rewritten by rules with regular expressions. Pure. RE2 comes in here alone: its time is linear in the topic,
// whatever the expression.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "broker/extensions/options.h"

namespace robustmq::broker {

// `%c` and `${clientid}`, `%u` and `${username}` replaced.
std::string fill_placeholders(std::string_view text, std::string_view client_id, std::string_view user);

class Rewriter {
 public:
  // Refuses a source that is no filter, an expression that is none, a destination with a group that the expression does not have.
  static Status check(const std::vector<RewriteRule>& rules);

  // The rules were checked.
  Rewriter(const std::vector<RewriteRule>& rules, ExtensionMetrics& metrics);
  Rewriter(const Rewriter&) = delete;
  ~Rewriter();

  bool is_empty() const { return rules_.empty(); }
  // What the topic or filter becomes; nullopt: it stays. Never an invalid one. The view lives until the next call.
  std::optional<std::string_view> publish(std::string_view topic, std::string_view client_id, std::string_view user);
  std::optional<std::string_view> subscribe(std::string_view filter, std::string_view client_id, std::string_view user);

 private:
  struct Rule;
  struct Known {
    std::unordered_map<std::string, std::optional<std::string>, TextHash, std::equal_to<>> names;
    size_t bytes = 0;  // of the names
  };
  static constexpr size_t kKnownMax = 65'536;
  static constexpr size_t kKnownBytesMax = 8 << 20;
  std::optional<std::string_view> rewrite(std::string_view topic, bool is_subscribe, Known& known, std::string_view client_id,
                                          std::string_view user);
  const Rule* rule_of(std::string_view topic, bool is_subscribe) const;

  ExtensionMetrics& metrics_;
  std::vector<std::unique_ptr<Rule>> rules_;
  bool has_placeholders_ = false;  // what a topic becomes depends on the client: nothing is remembered
  Known published_;
  Known subscribed_;
  std::string last_;
};

}  // namespace robustmq::broker
