// Bytes: an immutable, reference-counted slice of memory; the one way data moves between rooms and cores. Pure.
//
// A Bytes is a view (pointer, length) plus a share in the block that holds the memory. Slicing shares the block. A block
// lives until its last slice goes; the count is atomic, so slices may cross cores. Memory pinned by a slice is the whole
// block: who keeps a slice past the turn calls compact() when the block is more than twice the slice.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace robustmq {

using ByteSpan = std::span<const uint8_t>;

inline ByteSpan as_bytes(std::string_view text) { return {reinterpret_cast<const uint8_t*>(text.data()), text.size()}; }
inline std::string_view as_text(ByteSpan bytes) { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }

// The memory that slices share. Allocated with its bytes behind it.
struct BytesBlock {
  std::atomic<uint32_t> references;
  size_t capacity;

  static BytesBlock* allocate(size_t capacity);
  uint8_t* data() { return reinterpret_cast<uint8_t*>(this + 1); }
  void share() { references.fetch_add(1, std::memory_order_relaxed); }
  void release() {
    // A sole owner needs no atomic write: nobody else can raise the count.
    if (references.load(std::memory_order_acquire) == 1 || references.fetch_sub(1, std::memory_order_acq_rel) == 1) destroy(this);
  }

 private:
  static void destroy(BytesBlock* block);
};

class Bytes {
 public:
  Bytes() = default;
  Bytes(const Bytes& other) : data_(other.data_), size_(other.size_), block_(other.block_) {
    if (block_) block_->share();
  }
  Bytes(Bytes&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)),
        size_(std::exchange(other.size_, 0)),
        block_(std::exchange(other.block_, nullptr)) {}
  Bytes& operator=(Bytes other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    std::swap(block_, other.block_);
    return *this;
  }
  ~Bytes() {
    if (block_) block_->release();
  }

  static Bytes copy_of(ByteSpan source);
  static Bytes copy_of(std::string_view text) { return copy_of(as_bytes(text)); }
  // A view of memory that outlives every use, such as a literal.
  static Bytes unowned(ByteSpan source) {
    Bytes bytes;
    bytes.data_ = source.data();
    bytes.size_ = source.size();
    return bytes;
  }
  // Takes one reference that the caller holds on `block`; the view must lie inside it.
  static Bytes adopt(BytesBlock* block, const uint8_t* data, size_t size) {
    Bytes bytes;
    bytes.data_ = data;
    bytes.size_ = size;
    bytes.block_ = block;
    return bytes;
  }

  const uint8_t* data() const { return data_; }
  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  const uint8_t* begin() const { return data_; }
  const uint8_t* end() const { return data_ + size_; }
  uint8_t operator[](size_t i) const { return data_[i]; }
  ByteSpan span() const { return {data_, size_}; }
  operator ByteSpan() const { return span(); }  // NOLINT: a Bytes is a span with an owner
  std::string_view text() const { return as_text(span()); }

  // A slice that shares the block. The caller ensures from + length <= size().
  Bytes slice(size_t from, size_t length) const {
    Bytes part = *this;
    part.data_ += from;
    part.size_ = length;
    return part;
  }
  Bytes slice(size_t from) const { return slice(from, size_ - from); }

  // The bytes themselves, to patch fields in place. Only for the one who made this slice and has not handed it on yet.
  uint8_t* patchable() { return const_cast<uint8_t*>(data_); }

  // Bytes of memory this slice keeps alive.
  size_t pinned() const { return block_ ? block_->capacity : 0; }
  // This slice, copied when it pins more than twice its size.
  Bytes compact() const { return pinned() > 2 * size_ + 64 ? copy_of(span()) : *this; }

 private:
  const uint8_t* data_ = nullptr;
  size_t size_ = 0;
  BytesBlock* block_ = nullptr;
};

inline bool operator==(const Bytes& a, const Bytes& b) { return a.text() == b.text(); }

// A growing byte buffer with one owner; take() turns what was written into a Bytes without a copy.
class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(size_t reserve) { this->reserve(reserve); }
  Buffer(Buffer&& other) noexcept : block_(std::exchange(other.block_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  Buffer& operator=(Buffer&& other) noexcept {
    std::swap(block_, other.block_);
    std::swap(size_, other.size_);
    return *this;
  }
  Buffer(const Buffer&) = delete;
  ~Buffer() {
    if (block_) block_->release();
  }

  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  size_t capacity() const { return block_ ? block_->capacity : 0; }
  uint8_t* data() { return block_ ? block_->data() : nullptr; }
  const uint8_t* data() const { return block_ ? block_->data() : nullptr; }
  ByteSpan span() const { return {data(), size_}; }

  void reserve(size_t capacity) {
    if (capacity > this->capacity()) grow(capacity);
  }
  // Room for `length` more bytes, counted as written; returns where they begin.
  uint8_t* extend(size_t length) {
    if (size_ + length > capacity()) grow(size_ + length);
    uint8_t* at = block_->data() + size_;
    size_ += length;
    return at;
  }
  void append(ByteSpan source) {
    if (!source.empty()) std::memcpy(extend(source.size()), source.data(), source.size());
  }
  void append(std::string_view text) { append(as_bytes(text)); }
  void append_u8(uint8_t value) { *extend(1) = value; }
  // Drops bytes from the end. The caller ensures length <= size().
  void shorten_to(size_t length) { size_ = length; }
  void clear() { size_ = 0; }
  // What was written, as a Bytes that owns it; this buffer is empty afterwards.
  Bytes take();

 private:
  void grow(size_t capacity_min);

  BytesBlock* block_ = nullptr;
  size_t size_ = 0;
};

}  // namespace robustmq
