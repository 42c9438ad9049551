// The command line of robust-server, parsed. The one door to CLI11 in this room.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace robustmq::server {

struct CommandLine {
  enum class Command { start, config, version, docs };
  Command command = Command::start;
  std::string config_file;         // empty: none
  std::vector<std::string> flags;  // "mqtt.listen=0.0.0.0:1883"
  bool effective = false;          // config: what the sources together give, as JSON
  std::string docs_dir;            // docs: where the reference is written
};

// nullopt: nothing is left to do (help was printed, or the mistake was); `exit_code` says how to end.
std::optional<CommandLine> parse_command_line(int argc, char** argv, int& exit_code);

}  // namespace robustmq::server
