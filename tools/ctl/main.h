// robust-ctl: the command line of the admin API, and of user files.
#pragma once

namespace robustmq::ctl {

// Exit codes: 0 done, 1 the node refused or could not be reached, or the file could not be changed, 2 wrong command line.
int robust_ctl_main(int argc, char** argv);

}  // namespace robustmq::ctl
