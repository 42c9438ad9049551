// robust-ctl user: makes and changes a user file (auth/users.h) on this host. A change is a new file beside the old one, synced
// and renamed over it, so a server that reads it meanwhile sees the one or the other; one robust-ctl at a time changes a file.
#pragma once

#include <cstdint>
#include <string>

#include "base/result.h"

namespace robustmq::ctl {

struct UserCommand {
  enum class What : uint8_t { list, add, remove };
  What what = What::list;
  std::string file;
  std::string name;
  uint32_t iterations = 0;  // add
};

// What to print. add takes the password as its argument: whoever calls has read it from standard input. An error's detail is for
// people.
Result<std::string> run_user_command(const UserCommand& command, std::string password);

// The first line of standard input; asked for twice, and not shown, where that is a terminal.
Result<std::string> read_password();

}  // namespace robustmq::ctl
