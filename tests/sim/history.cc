#include "tests/sim/history.h"

namespace robustmq::sim {

void History::read_finally(const Place& place, const std::vector<std::pair<Offset, std::string>>& log) {
  std::map<std::string, uint64_t> last;
  for (const auto& [offset, message] : log) {
    read(place, offset, message);
    if (!final_.insert(message).second) problems_.push_back("duplicate: " + message);
    const size_t hash = message.find('#');
    if (hash == std::string::npos) {
      problems_.push_back("phantom: " + message);
      continue;
    }
    const uint64_t number = std::stoull(message.substr(hash + 1));
    auto [at, is_first] = last.emplace(message.substr(0, hash), number);
    if (!is_first && number <= at->second)
      problems_.push_back("disorder: " + message + " behind number " + std::to_string(at->second));
    at->second = number;
  }
}

std::vector<std::string> History::judge() const {
  std::vector<std::string> problems = problems_;
  for (const std::string& message : acknowledged_) {
    if (!final_.contains(message)) problems.push_back("lost: " + message);
  }
  for (const std::string& message : final_) {
    if (!sent_.contains(message)) problems.push_back("phantom: " + message + " was never sent");
  }
  for (const std::string& message : delivered_) {
    if (!final_.contains(message)) problems.push_back("phantom: " + message + " was delivered and is gone");
  }
  for (const auto& [place, log] : by_offset_) {
    for (const auto& [offset, message] : log) {
      if (!final_.contains(message)) problems.push_back("phantom: " + message + " was read and is gone");
    }
  }
  return problems;
}

}  // namespace robustmq::sim
