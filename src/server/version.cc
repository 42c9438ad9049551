#include "server/version.h"

#include "version_stamp.h"

namespace robustmq::server {

std::string_view version() { return ROBUSTMQ_VERSION; }
std::string version_with_commit() { return ROBUSTMQ_VERSION " (" ROBUSTMQ_COMMIT ")"; }

}  // namespace robustmq::server
