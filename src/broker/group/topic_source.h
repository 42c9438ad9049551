// What consumer groups with server-side assignment may follow: the streams of a tenant, as a group's machine asks for them. Pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"

namespace robustmq::broker {

struct FollowableTopic {
  TopicId id;
  std::string name;
  int32_t partitions = 0;
};

class TopicSource {
 public:
  virtual std::optional<FollowableTopic> find(std::string_view name) const = 0;
  virtual std::optional<FollowableTopic> find(const TopicId& id) const = 0;
  virtual std::vector<FollowableTopic> list() const = 0;

 protected:
  ~TopicSource() = default;
};

}  // namespace robustmq::broker
