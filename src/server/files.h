// Files that an operator names: the configuration, certificates, users. Not pure.
#pragma once

#include <cstddef>
#include <string>

#include "base/result.h"

namespace robustmq::server {

// The whole file; of one larger than `bytes_max` a little more than that. Waits for the disk. Error: the path and why.
Result<std::string> read_file(const std::string& path, size_t bytes_max);

}  // namespace robustmq::server
