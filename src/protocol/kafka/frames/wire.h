// Kafka's wire forms: Reader and Writer, and the sizes that generated code adds up before it writes. Pure.
//
// All integers are big-endian. In flexible versions the lengths of strings, bytes and arrays are uvarint(n + 1) with 0 for null,
// and each struct ends with tagged fields: uvarint count, then (uvarint tag, uvarint size, size bytes) in ascending order.
// Before that, strings have an int16 length and bytes and arrays an int32 length, with -1 for null.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/check.h"
#include "base/ids.h"
#include "base/pieces.h"

namespace robustmq::kafka {

// What a string may have at most, in every version.
constexpr size_t kStringBytesMax = 32767;

// The records of a response: memory or stored ranges, sent as they are.
struct Records {
  Pieces pieces;

  uint64_t size() const { return size_of(pieces); }
  bool empty() const { return size() == 0; }
  // For tests: same bytes; stored ranges compare by source and position.
  bool operator==(const Records& other) const;
};

// Reads one frame. After the first fault every verb gives zero or nothing, and fault() names it: the caller looks once, at the
// end. What it gives are views into the frame, or slices that share its block.
// Limits: an array has no more elements than bytes are left, and all arrays together take at most `memory_max` bytes.
class Reader {
 public:
  // Reads `frame` from `from` on. The frame must outlive the views.
  Reader(const Bytes& frame, size_t from, size_t memory_max)
      : frame_(frame), at_(frame.data() + from), end_(frame.data() + frame.size()), memory_left_(memory_max) {}

  bool ok() const { return fault_ == nullptr; }
  // nullptr: none.
  const char* fault() const { return fault_; }
  size_t left() const { return static_cast<size_t>(end_ - at_); }
  void fail(const char* fault) {
    if (!fault_) fault_ = fault;
    at_ = end_;
  }

  bool boolean() { return u8() != 0; }
  int8_t i8() { return static_cast<int8_t>(u8()); }
  int16_t i16() { return static_cast<int16_t>(fixed<uint16_t>()); }
  uint16_t u16() { return fixed<uint16_t>(); }
  int32_t i32() { return static_cast<int32_t>(fixed<uint32_t>()); }
  uint32_t u32() { return fixed<uint32_t>(); }
  int64_t i64() { return static_cast<int64_t>(fixed<uint64_t>()); }
  double f64() { return std::bit_cast<double>(fixed<uint64_t>()); }
  Uuid uuid();
  uint32_t uvarint();

  std::string_view string(bool flexible);
  void nullable_string(std::optional<std::string_view>& to, bool flexible, bool null_allowed);
  Bytes bytes(bool flexible);
  void nullable_bytes(std::optional<Bytes>& to, bool flexible, bool null_allowed);
  void records(Bytes& to, bool flexible) { to = bytes(flexible); }
  void records(Records& to, bool flexible);
  void nullable_records(std::optional<Bytes>& to, bool flexible, bool null_allowed) {
    nullable_bytes(to, flexible, null_allowed);
  }
  void nullable_records(std::optional<Records>& to, bool flexible, bool null_allowed);

  template <class T, class Each>
  void array(std::vector<T>& to, bool flexible, Each&& each) {
    const int64_t count = length(flexible, flexible ? 0 : 4);
    if (count < 0) return fail("an array is null");
    elements(to, static_cast<size_t>(count), each);
  }
  template <class T, class Each>
  void nullable_array(std::optional<std::vector<T>>& to, bool flexible, bool null_allowed, Each&& each) {
    const int64_t count = length(flexible, flexible ? 0 : 4);
    if (count < 0) {
      to.reset();
      if (!null_allowed) fail("an array is null");
      return;
    }
    elements(to.emplace(), static_cast<size_t>(count), each);
  }
  template <class T, class Each>
  void nullable_struct(std::optional<T>& to, bool null_allowed, Each&& each) {
    to.reset();
    if (i8() >= 0) {
      if (ok()) each(to.emplace());
    } else if (!null_allowed) {
      fail("a struct is null");
    }
  }
  // Reads a struct's tagged fields: known(tag) reads the value and returns true, or returns false to have it skipped.
  template <class Known>
  void tags(Known&& known) {
    for (uint32_t count = uvarint(); count > 0 && ok(); --count) {
      const uint32_t tag = uvarint();
      const uint32_t size = uvarint();
      if (size > left()) return fail("a tagged field is longer than the frame");
      const uint8_t* const next = at_ + size;
      const uint8_t* const end = std::exchange(end_, next);
      if (ok() && known(tag) && at_ != next) fail("a tagged field has another length than its value");
      at_ = ok() ? next : end;
      end_ = end;
    }
  }
  void skip_tags() {
    tags([](uint32_t) { return false; });
  }

 private:
  uint8_t u8() { return fixed<uint8_t>(); }
  template <class T>
  T fixed() {
    if (left() < sizeof(T)) {
      fail("the frame ends too early");
      return 0;
    }
    T value = 0;
    for (size_t i = 0; i < sizeof(T); ++i) value = static_cast<T>(static_cast<uint64_t>(value) << 8 | at_[i]);
    at_ += sizeof(T);
    return value;
  }
  // The length of a string, bytes or array: -1 null. `width` is 2 or 4 bytes, or 0 for a uvarint.
  int64_t length(bool flexible, int width);
  Bytes slice(size_t size);

  template <class T, class Each>
  void elements(std::vector<T>& to, size_t count, Each& each) {
    to.clear();
    if (count > left()) return fail("an array is longer than the frame");
    if (count * sizeof(T) > memory_left_) return fail("the arrays of the frame take too much memory");
    memory_left_ -= count * sizeof(T);
    to.reserve(count);
    for (size_t i = 0; i < count && ok(); ++i) each(to.emplace_back());
  }

  const Bytes& frame_;
  const uint8_t* at_;
  const uint8_t* end_;
  size_t memory_left_;
  const char* fault_ = nullptr;
};

// Bytes that decoding a frame of this size may take for arrays.
constexpr size_t decode_memory_max(size_t frame_bytes) { return (size_t{1} << 20) + 4 * frame_bytes; }

// ---- Sizes ----

constexpr size_t size_of_uvarint(uint64_t value) { return value == 0 ? 1 : (std::bit_width(value) + 6) / 7; }
constexpr size_t size_of_length(size_t count, bool flexible, size_t width = 4) {
  return flexible ? size_of_uvarint(count + 1) : width;
}
// Strings of our own making may be longer than the wire allows: they are cut.
inline std::string_view clipped(std::string_view text) { return text.substr(0, kStringBytesMax); }
inline size_t size_of_string(std::string_view text, bool flexible) {
  return size_of_length(clipped(text).size(), flexible, 2) + clipped(text).size();
}
inline size_t size_of_nullable_string(const std::optional<std::string_view>& text, bool flexible) {
  return text ? size_of_string(*text, flexible) : (flexible ? 1 : 2);
}
inline size_t size_of_bytes(const Bytes& bytes, bool flexible) { return size_of_length(bytes.size(), flexible) + bytes.size(); }
inline size_t size_of_nullable_bytes(const std::optional<Bytes>& bytes, bool flexible) {
  return bytes ? size_of_bytes(*bytes, flexible) : (flexible ? 1 : 4);
}
template <class R>
size_t size_of_records(const R& records, bool flexible) {
  return size_of_length(records.size(), flexible) + records.size();
}
template <class R>
size_t size_of_nullable_records(const std::optional<R>& records, bool flexible) {
  return records ? size_of_records(*records, flexible) : (flexible ? 1 : 4);
}
template <class T, class Each>
size_t size_of_array(const std::vector<T>& array, bool flexible, Each&& each) {
  size_t size = size_of_length(array.size(), flexible);
  for (const T& element : array) size += each(element);
  return size;
}
template <class T, class Each>
size_t size_of_nullable_array(const std::optional<std::vector<T>>& array, bool flexible, Each&& each) {
  return array ? size_of_array(*array, flexible, each) : (flexible ? 1 : 4);
}
constexpr size_t size_of_tag(uint32_t tag, size_t size) { return size_of_uvarint(tag) + size_of_uvarint(size) + size; }

// Writes into memory of exactly the size that was added up before. Records that are Pieces are not copied: the writer notes
// where they belong, and finish() of their owner puts them between what was written.
class Writer {
 public:
  struct Cut {
    size_t at;  // bytes written before the records
    const Pieces* pieces;
  };

  Writer(uint8_t* to, size_t size) : begin_(to), at_(to), end_(to + size) {}

  void boolean(bool value) { *room(1) = value ? 1 : 0; }
  void i8(int8_t value) { *room(1) = static_cast<uint8_t>(value); }
  void i16(int16_t value) { fixed(static_cast<uint16_t>(value)); }
  void u16(uint16_t value) { fixed(value); }
  void i32(int32_t value) { fixed(static_cast<uint32_t>(value)); }
  void u32(uint32_t value) { fixed(value); }
  void i64(int64_t value) { fixed(static_cast<uint64_t>(value)); }
  void f64(double value) { fixed(std::bit_cast<uint64_t>(value)); }
  void uuid(const Uuid& value) { std::memcpy(room(16), value.bytes.data(), 16); }
  void uvarint(uint64_t value);
  void raw(ByteSpan bytes) {
    if (!bytes.empty()) std::memcpy(room(bytes.size()), bytes.data(), bytes.size());
  }

  void string(std::string_view text, bool flexible) {
    length(clipped(text).size(), flexible, 2);
    raw(as_bytes(clipped(text)));
  }
  // Null where null is not allowed in this version is written as empty.
  void nullable_string(const std::optional<std::string_view>& text, bool flexible, bool null_allowed) {
    if (text || !null_allowed) return string(text.value_or(std::string_view{}), flexible);
    null(flexible, 2);
  }
  void bytes(const Bytes& value, bool flexible) {
    length(value.size(), flexible, 4);
    raw(value);
  }
  void nullable_bytes(const std::optional<Bytes>& value, bool flexible, bool null_allowed) {
    if (value) return bytes(*value, flexible);
    null_allowed ? null(flexible, 4) : length(0, flexible, 4);
  }
  void records(const Bytes& value, bool flexible) { bytes(value, flexible); }
  void records(const Records& value, bool flexible) {
    length(value.size(), flexible, 4);
    if (!value.empty()) cuts_.push_back({static_cast<size_t>(at_ - begin_), &value.pieces});
  }
  template <class R>
  void nullable_records(const std::optional<R>& value, bool flexible, bool null_allowed) {
    if (value) return records(*value, flexible);
    null_allowed ? null(flexible, 4) : length(0, flexible, 4);
  }
  template <class T, class Each>
  void array(const std::vector<T>& value, bool flexible, Each&& each) {
    length(value.size(), flexible, 4);
    for (const T& element : value) each(element);
  }
  template <class T, class Each>
  void nullable_array(const std::optional<std::vector<T>>& value, bool flexible, bool null_allowed, Each&& each) {
    if (value) return array(*value, flexible, each);
    null_allowed ? null(flexible, 4) : length(0, flexible, 4);
  }
  template <class T, class Each>
  void nullable_struct(const std::optional<T>& value, Each&& each) {
    i8(value ? 1 : -1);
    if (value) each(*value);
  }
  void tag(uint32_t number, size_t size) {
    uvarint(number);
    uvarint(size);
  }

  const std::vector<Cut>& cuts() const { return cuts_; }
  size_t room_left() const { return static_cast<size_t>(end_ - at_); }

 private:
  uint8_t* room(size_t size) {
    ROBUSTMQ_CHECK(size <= room_left(), "a message is longer than its size() said");
    return std::exchange(at_, at_ + size);
  }
  template <class T>
  void fixed(T value) {
    uint8_t* to = room(sizeof(T));
    for (size_t i = sizeof(T); i-- > 0; value = static_cast<T>(static_cast<uint64_t>(value) >> 8))
      to[i] = static_cast<uint8_t>(value);
  }
  void length(size_t count, bool flexible, int width) {
    if (flexible) return uvarint(uint64_t{count} + 1);
    width == 2 ? i16(static_cast<int16_t>(count)) : i32(static_cast<int32_t>(count));
  }
  void null(bool flexible, int width) {
    if (flexible) return uvarint(0);
    width == 2 ? i16(-1) : i32(-1);
  }

  uint8_t* begin_;
  uint8_t* at_;
  uint8_t* end_;
  std::vector<Cut> cuts_;
};

}  // namespace robustmq::kafka
