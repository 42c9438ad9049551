// The commands of robust-ctl, parsed into HTTP requests (but those about a file of this host), and their answers as text. The one
// door to CLI11 in this room.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "net/http_machine.h"
#include "tools/ctl/users.h"

namespace robustmq::ctl {

enum class Show { text, topic_list, topic, retained_list, delayed_list, cleared, rows };

struct Command {
  std::string server;  // "127.0.0.1:58080"
  net::HttpRequest request;
  Show show = Show::text;
  bool as_json = false;
  std::string done_text;  // said when the answer has no body
  std::string list;       // Show::rows: the name of the list in the answer, and of its columns
  std::vector<std::string> columns;
  std::optional<UserCommand> user;  // in place of the request: a file of this host
};

// nullopt: help was printed, or what is wrong; `exit_code` says how to end.
std::optional<Command> parse_commands(int argc, char** argv, int& exit_code);

// What to print for an answer with a good status.
std::string show(const Command& command, const std::string& body);
// What to say of a bad one: the API's code and detail where it is its JSON.
std::string show_error(int status, const std::string& body);

}  // namespace robustmq::ctl
