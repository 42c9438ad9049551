// See read_ahead.h.
#include "runtime/posix/read_ahead.h"

#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace robustmq::runtime::posix {

namespace {

constexpr size_t kProbeBytes = 64 << 10;
constexpr size_t kRequestBytes = 128 << 10;  // what readahead() takes at once on a disk with the default settings

// False when reading the byte would wait. A file system that cannot tell counts as there: then sendfile waits, as it would have.
bool is_resident(int descriptor, uint64_t position) {
  char byte;
  const iovec one{&byte, 1};
  return preadv2(descriptor, &one, 1, static_cast<off_t>(position), RWF_NOWAIT) >= 0 || errno != EAGAIN;
}

void begin(int descriptor, uint64_t position, size_t size) {
  for (size_t done = 0; done < size; done += kRequestBytes) {
    if (readahead(descriptor, static_cast<off_t>(position + done), std::min(kRequestBytes, size - done)) != 0) return;
  }
}

}  // namespace

size_t resident_bytes(int descriptor, uint64_t position, size_t size) {
  size_t found = 0;
  while (found < size) {
    if (!is_resident(descriptor, position + found)) return found;
    const size_t next = std::min<uint64_t>(size, found + kProbeBytes - (position + found) % kProbeBytes);
    if (next == size && !is_resident(descriptor, position + size - 1)) return found;
    found = next;
  }
  return size;
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
