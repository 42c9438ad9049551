// What a core may send from a file without waiting for the disk, and what brings in the rest. On Linux sendfile() from a file
// that is not in the page cache puts its thread to sleep until the disk has answered; a core's thread must not.
#pragma once

#include <cstddef>
#include <cstdint>

namespace robustmq::runtime::posix {

constexpr size_t kReadAheadBytes = 1 << 20;  // brought in for a sender that waits; as much again is begun after it

// How many of the `size` bytes from `position` on are in the page cache and read. Of at most 64 KiB the first and the last are
// looked at; of more, every page. What cannot be told counts as there. Does not wait. About 8 us a MiB.
size_t resident_bytes(int descriptor, uint64_t position, size_t size);

// Returns when `size` bytes from `position` on have been read into the page cache, or cannot be; begins to read the
// kReadAheadBytes after them. Copies nothing. Blocks: for a thread of the workers.
void bring_in(int descriptor, uint64_t position, size_t size);

}  // namespace robustmq::runtime::posix
