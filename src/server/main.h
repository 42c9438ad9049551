// robust-server: the program's commands.
#pragma once

namespace robustmq::server {

// Exit codes: 0 stopped cleanly, 1 failed while running or starting, 2 wrong options or command line.
int robust_server_main(int argc, char** argv);

}  // namespace robustmq::server
