// The bare loop: the least a broker must do with Kafka's bytes, as the yardstick beside it. A process of its own with one thread.
// Produce: recv, CRC of the batch, write to a file, one fdatasync for all that a turn of the loop brought, answer.
// Fetch: read from that file, send. It checks nothing, keeps no index and knows no topic.
#pragma once

#include <string>

#include "tools/bench/measure.h"

namespace robustmq::bench {

class BareLoop {
 public:
  BareLoop() = default;
  BareLoop(const BareLoop&) = delete;
  ~BareLoop();  // ends the process and removes its file

  // Starts the process; sets options.port and options.pid to its own.
  void start(Options& options);

 private:
  int pid_ = 0;
  std::string path_;
};

}  // namespace robustmq::bench
