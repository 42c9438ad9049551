#include "server/data_format.h"

#include <fmt/core.h>

#include <charconv>
#include <string>
#include <vector>

#include "base/hash.h"
#include "runtime/disk.h"

namespace robustmq::server {

namespace {

using runtime::completion;
using runtime::DiskStep;
using runtime::FilePtr;

constexpr std::string_view kMagic = "RobustMQ data format ";
constexpr size_t kBytesMax = 128;

std::string format_line() {
  std::string line = fmt::format("{}{} ", kMagic, kDataFormat);
  line += fmt::format("{:08x}\n", crc32c(as_bytes(line)));
  return line;
}

Result<uint32_t> format_of(std::string_view line) {
  const Error damaged{Code::corrupt_storage, "the file \"format\" of the data directory is damaged"};
  if (line.size() < kMagic.size() + 11 || !line.starts_with(kMagic) || line.back() != '\n') return damaged;
  const std::string_view checked = line.substr(0, line.size() - 9);
  if (fmt::format("{:08x}\n", crc32c(as_bytes(checked))) != line.substr(line.size() - 9)) return damaged;
  uint32_t format = 0;
  const std::string_view number = checked.substr(kMagic.size(), checked.size() - kMagic.size() - 1);
  const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), format);
  if (error != std::errc() || end != number.data() + number.size()) return damaged;
  if (format > kDataFormat) {
    return Error{Code::not_supported,
                 fmt::format("the data directory is of format {}, written by a newer version; this one knows up to {}", format,
                             kDataFormat)};
  }
  return format;
}

}  // namespace

runtime::Task<Status> claim_data_directory(runtime::Core& core) {
  runtime::Disk& disk = core.disk();
  Result<FilePtr> existing = co_await completion<Result<FilePtr>>([&](auto done) { disk.open("format", {}, std::move(done)); });
  if (existing.ok()) {
    Result<Bytes> line =
        co_await completion<Result<Bytes>>([&](auto done) { disk.read(*existing, 0, kBytesMax, std::move(done)); });
    if (!line.ok()) co_return line.error();
    const Result<uint32_t> format = format_of(line->text());
    if (!format.ok()) co_return format.error();
    if (*format == kDataFormat) co_return Status{};
  } else if (existing.code() != Code::not_found) {
    co_return existing.error();
  }

  Result<FilePtr> fresh =
      co_await completion<Result<FilePtr>>([&](auto done) { disk.open("format.tmp", {.create = true}, std::move(done)); });
  if (!fresh.ok()) co_return fresh.error();
  std::vector<DiskStep> steps;
  steps.push_back(DiskStep::truncate(*fresh, 0));
  std::vector<Bytes> pieces;
  pieces.push_back(Bytes::copy_of(format_line()));
  steps.push_back(DiskStep::write(*fresh, 0, std::move(pieces)));
  steps.push_back(DiskStep::sync(*fresh));
  steps.push_back(DiskStep::rename("format.tmp", "format"));
  steps.push_back(DiskStep::sync_directory(""));
  std::vector<Status> statuses =
      co_await completion<std::vector<Status>>([&](auto done) { disk.run(std::move(steps), std::move(done)); });
  for (const Status& status : statuses) {
    if (!status.ok()) co_return status;
  }
  co_return Status{};
}

}  // namespace robustmq::server
