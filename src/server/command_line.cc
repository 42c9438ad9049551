#include "server/command_line.h"

#include <CLI/CLI.hpp>
#include <cstdio>

namespace robustmq::server {

std::optional<CommandLine> parse_command_line(int argc, char** argv, int& exit_code) {
  CommandLine line;
  CLI::App app{"RobustMQ: one broker for MQTT and Kafka.", "robust-server"};
  app.require_subcommand(1);
  app.footer(
      "A first try:\n"
      "  robust-server start                            defaults, data in ./data\n"
      "  robust-server config > robust.toml             the commented defaults, to change\n"
      "  robust-server start -c robust.toml --mqtt.listen=0.0.0.0:1883\n"
      "  ROBUSTMQ_MQTT_LISTEN=0.0.0.0:1883 robust-server start");

  auto takes_options = [&](CLI::App* command) {
    command->add_option("-c,--config", line.config_file, "TOML file of options");
    command->allow_extras();
    command->footer(
        "Any option: --section.key=value, or ROBUSTMQ_SECTION_KEY=value in the environment.\n"
        "`robust-server config` prints them all with what they mean.");
  };
  CLI::App* start = app.add_subcommand("start", "Start the server in the foreground; Ctrl-C or SIGTERM stops it");
  takes_options(start);
  CLI::App* config = app.add_subcommand("config", "Print the commented default options");
  takes_options(config);
  config->add_flag("--effective", line.effective, "Print what file, environment and flags give together, as JSON");
  CLI::App* version = app.add_subcommand("version", "Print the version");
  CLI::App* docs = app.add_subcommand("docs", "Write the reference of options, metrics and errors")->group("");
  docs->add_option("directory", line.docs_dir, "Where to")->required();

  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    exit_code = app.exit(error) == 0 ? 0 : 2;
    return std::nullopt;
  }
  for (const CLI::App* command : {start, config}) {
    for (const std::string& extra : command->remaining()) {
      if (!extra.starts_with("--") || extra.find('=') == std::string::npos) {
        std::fprintf(stderr, "%s: options are given as --section.key=value\n", extra.c_str());
        exit_code = 2;
        return std::nullopt;
      }
      line.flags.push_back(extra.substr(2));
    }
  }
  if (config->parsed())
    line.command = CommandLine::Command::config;
  else if (version->parsed())
    line.command = CommandLine::Command::version;
  else if (docs->parsed())
    line.command = CommandLine::Command::docs;
  exit_code = 0;
  return line;
}

}  // namespace robustmq::server
