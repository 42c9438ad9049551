// See read_ahead.h.
#include "runtime/posix/read_ahead.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <vector>

namespace robustmq::runtime::posix {

namespace {

constexpr size_t kPageBytes = 4096;
constexpr size_t kProbeBytes = 64 << 10;
constexpr size_t kRequestBytes = 128 << 10;  // what readahead() takes at once on a disk with the default settings

// A byte as preadv2() gives it without waiting: 1, 0 past the end, below 0 when it would wait or cannot be read.
ssize_t look_at(int descriptor, uint64_t position) {
  char byte;
  const iovec one{&byte, 1};
  return preadv2(descriptor, &one, 1, static_cast<off_t>(position), RWF_NOWAIT);
}

// A file system that cannot tell counts as there: then sendfile waits, as it would have.
bool is_resident(int descriptor, uint64_t position) { return look_at(descriptor, position) >= 0 || errno != EAGAIN; }

void begin(int descriptor, uint64_t position, size_t size) {
  for (size_t done = 0; done < size; done += kRequestBytes) {
    if (readahead(descriptor, static_cast<off_t>(position + done), std::min(kRequestBytes, size - done)) != 0) return;
  }
}

}  // namespace

size_t resident_bytes(int descriptor, uint64_t position, size_t size) {
  if (size == 0 || !is_resident(descriptor, position)) return 0;
  if (size <= kProbeBytes) return is_resident(descriptor, position + size - 1) ? size : 0;
  // A page that is being read is in the cache and not yet of use: mincore() tells the two apart.
  const uint64_t begin = position / kPageBytes * kPageBytes;
  const size_t length = position + size - begin;
  void* at = mmap(nullptr, length, PROT_READ, MAP_SHARED, descriptor, static_cast<off_t>(begin));
  if (at == MAP_FAILED) return size;
  std::vector<unsigned char> pages((length + kPageBytes - 1) / kPageBytes);
  const bool is_told = mincore(at, length, pages.data()) == 0;
  munmap(at, length);
  const auto missing =
      is_told ? std::find_if(pages.begin(), pages.end(), [](unsigned char page) { return (page & 1) == 0; }) : pages.end();
  if (missing == pages.end()) return size;
  const uint64_t hole = begin + static_cast<uint64_t>(missing - pages.begin()) * kPageBytes;
  if (look_at(descriptor, hole) == 0) return size;
  return hole > position ? hole - position : 0;
}

void bring_in(int descriptor, uint64_t position, size_t size) {
  begin(descriptor, position, size);
  // A byte of each stretch: its page is locked until it was read.
  char byte;
  for (size_t done = 0; done < size; done += kProbeBytes) {
    if (pread(descriptor, &byte, 1, static_cast<off_t>(position + done)) <= 0) return;
  }
  if (size > 0 && pread(descriptor, &byte, 1, static_cast<off_t>(position + size - 1)) <= 0) return;
  begin(descriptor, position + size, kReadAheadBytes);
}

}  // namespace robustmq::runtime::posix
