#include "server/main.h"

#include <fmt/core.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string>

#include "base/failpoint.h"
#include "config/config.h"
#include "runtime/posix/failpoints.h"
#include "server/command_line.h"
#include "server/files.h"
#include "server/options.h"
#include "server/output.h"
#include "server/reference.h"
#include "server/run.h"
#include "server/version.h"

namespace robustmq::server {

namespace {

constexpr int kWrongUse = 2;

bool write_whole_file(const std::filesystem::path& path, const std::string& text) {
  std::FILE* file = std::fopen(path.c_str(), "wb");
  if (!file) return false;
  const bool good = std::fwrite(text.data(), 1, text.size(), file) == text.size();
  return std::fclose(file) == 0 && good;
}

Result<config::Inputs> gather(const CommandLine& line) {
  config::Inputs inputs;
  inputs.flags = line.flags;
  if (!line.config_file.empty()) {
    Result<std::string> text = read_file(line.config_file, config::kFileBytesMax);
    if (!text) return text.error();
    inputs.file = config::ConfigFile{line.config_file, text.take()};
  }
  for (char** variable = environ; variable && *variable; ++variable) {
    const std::string_view whole = *variable;
    const size_t equals = whole.find('=');
    if (equals == std::string_view::npos || !is_option_variable(whole.substr(0, equals), whole.substr(equals + 1))) continue;
    inputs.environment.emplace_back(whole.substr(0, equals), whole.substr(equals + 1));
  }
  return inputs;
}

Result<ServerOptions> options_of(const CommandLine& line) {
  const Result<config::Inputs> inputs = gather(line);
  if (!inputs) return inputs.error();
  return load_options(*inputs);
}

int print_config(const CommandLine& line) {
  if (!line.effective) {
    ServerOptions defaults;
    tell("# The options of robust-server with their defaults. Take the '#' before a name away to change it.\n");
    tell(config::commented_file(config::bind(defaults)));
    return 0;
  }
  Result<ServerOptions> options = options_of(line);
  if (!options) {
    complain(options.error().detail);
    return kWrongUse;
  }
  tell(config::to_json(config::bind(*options)));
  return 0;
}

int write_docs(const std::string& directory) {
  std::error_code error;
  std::filesystem::create_directories(directory, error);
  for (const auto& [name, text] : reference_files()) {
    const std::filesystem::path path = std::filesystem::path(directory) / name;
    if (!write_whole_file(path, text)) {
      complain(fmt::format("{}: cannot be written: {}", path.string(), std::strerror(errno)));
      return 1;
    }
  }
  return 0;
}

int start(const CommandLine& line) {
  const Result<ServerOptions> options = options_of(line);
  if (!options) {
    complain(options.error().detail);
    return kWrongUse;
  }
  NodeSwitches switches;
  const char* skip_sync = std::getenv("ROBUSTMQ_UNSAFE_SKIP_SYNC");  // only tests set it; the node says so loudly
  switches.unsafe_skip_sync = skip_sync && std::string_view(skip_sync) == "1";
  if constexpr (kHasFailpoints) {
    const char* failpoint = std::getenv("ROBUSTMQ_UNSAFE_FAILPOINT");  // tests again: where this process is to end
    if (failpoint && !runtime::posix::arm_failpoint(failpoint)) {
      complain("ROBUSTMQ_UNSAFE_FAILPOINT is none");
      return kWrongUse;
    }
  }
  return run_server(*options, switches);
}

}  // namespace

int robust_server_main(int argc, char** argv) {
  int exit_code = 0;
  const std::optional<CommandLine> line = parse_command_line(argc, argv, exit_code);
  if (!line) return exit_code;
  switch (line->command) {
    case CommandLine::Command::start:
      return start(*line);
    case CommandLine::Command::config:
      return print_config(*line);
    case CommandLine::Command::version:
      tell(fmt::format("robustmq {}", version_with_commit()));
      return 0;
    case CommandLine::Command::docs:
      return write_docs(line->docs_dir);
  }
  return exit_code;
}

}  // namespace robustmq::server
