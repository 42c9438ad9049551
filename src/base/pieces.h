// Pieces: what is read or sent, as a list of memory slices and stored ranges. Pure.
//
// A stored range names bytes of an open file that may go to a socket without passing through user memory.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "base/bytes.h"

namespace robustmq {

// Something that holds bytes at positions: an open file of the real or the simulated disk (runtime/disk.h derives from it).
class ByteSource {
 public:
  virtual ~ByteSource() = default;
  // The bytes at a position, for a socket that cannot send them from the file: one that encrypts. May wait for the disk, as
  // sending from the file may. Fewer than asked at the end of the file or when they cannot be read.
  virtual Bytes read_now(uint64_t /*position*/, size_t /*size*/) const { return {}; }
};

struct StoredRange {
  std::shared_ptr<const ByteSource> source;
  uint64_t position = 0;
};

// Either memory (`bytes`) or a stored range of `size` bytes.
struct Piece {
  Bytes bytes;
  StoredRange stored;
  uint64_t size = 0;

  static Piece of(Bytes bytes) {
    uint64_t size = bytes.size();
    return {std::move(bytes), {}, size};
  }
  static Piece of(StoredRange stored, uint64_t size) { return {{}, std::move(stored), size}; }
  bool is_stored() const { return stored.source != nullptr; }
};

using Pieces = std::vector<Piece>;

inline uint64_t size_of(const Pieces& pieces) {
  uint64_t size = 0;
  for (const Piece& piece : pieces) size += piece.size;
  return size;
}

}  // namespace robustmq
