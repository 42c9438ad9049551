// A change of a topic's mode, as it is carried out on core 0 (topic_modes.cc). Pure.
#pragma once

#include <memory>
#include <vector>

#include "broker/topics.h"
#include "meta/topic_settings.h"

namespace robustmq::broker {

struct Topics::ModeChange {
  TopicId topic;
  std::vector<meta::SettingChange> changes;  // all that were asked for with it
  bool replaces_all = false;
  meta::Mode to = meta::Mode::persistent;
  CoreIndex asker = 0;
  Callback<void(Result<std::shared_ptr<const meta::Topic>>)> done;  // on the asker's core
};

}  // namespace robustmq::broker
