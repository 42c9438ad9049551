// What this build is. Pure.
#pragma once

#include <string>
#include <string_view>

namespace robustmq::server {

std::string_view version();         // "0.1.0"
std::string version_with_commit();  // "0.1.0 (0123456789ab)"

}  // namespace robustmq::server
