#include "server/files.h"

#include <fmt/core.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

namespace robustmq::server {

Result<std::string> read_file(const std::string& path, size_t bytes_max) {
  std::FILE* file = std::fopen(path.c_str(), "rb");
  if (!file) return Error{Code::not_found, fmt::format("{}: {}", path, std::strerror(errno))};
  std::string text;
  char block[16 << 10];
  size_t size = 0;
  while (text.size() <= bytes_max && (size = std::fread(block, 1, sizeof block, file)) > 0) text.append(block, size);
  const bool failed = std::ferror(file) != 0;
  std::fclose(file);
  if (failed) return Error{Code::storage_failed, fmt::format("{}: cannot be read", path)};
  return text;
}

}  // namespace robustmq::server
