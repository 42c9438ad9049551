// The generated reference: options, metrics and errors as Markdown. Pure.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace robustmq::server {

// File names (within docs/reference) and their texts.
std::vector<std::pair<std::string, std::string>> reference_files();

}  // namespace robustmq::server
