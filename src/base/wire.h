// The wire codec of described structs (base/describe.h): between nodes, in the catalog's log, in key-value rows and snapshots.
// Pure.
//
// Format of a struct: an envelope of 6 bytes, then its fields in the order of describe(), without names:
//   0 version (1): how many fields the writer knew     1 oldest reader (1): how many fields a reader must know to understand it
//   2 length (4, little-endian) of the fields          6 fields
// A reader that knows fewer fields skips the rest by the length, one that knows more keeps its defaults for those that are not
// there: so fields are only ever appended. A struct whose new field must not be overlooked declares
// `static constexpr uint8_t kOldestReader = n;` and readers that know fewer than n fields refuse it.
//
// Fields: bool 1 byte, 0 or 1; unsigned integers and enums as varints (7 bits a byte, low first), signed ones zigzag before
// (so a field's type may be widened); double 8 bytes little-endian; Uuid 16 bytes; string and Bytes: varint length, bytes;
// vector: varint count, elements; described struct: its own envelope.
//
// Decoding is bounded by the input: nothing is allocated that the bytes present do not carry. Errors: malformed (cut, over-long,
// out of range, bytes left over), not_supported (the writer is too new); the detail names the field.
#pragma once

#include <bit>
#include <concepts>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "base/bytes.h"
#include "base/check.h"
#include "base/describe.h"
#include "base/ids.h"
#include "base/result.h"
#include "base/varint.h"

namespace robustmq {

namespace wire {

constexpr size_t kEnvelopeBytes = 6;
constexpr int kDepthMax = 32;  // structs and vectors inside each other

void put_uvarint(uint64_t value, Buffer& to);
void put_fixed(uint64_t value, size_t bytes, Buffer& to);  // little-endian
// Writes an envelope whose length is not known yet; returns where it begins. finish_envelope fills it.
size_t begin_envelope(Buffer& to);
void finish_envelope(size_t at, size_t version, uint8_t oldest_reader, Buffer& to);

// Takes values from the front of a span. After the first failure every read fails.
class Reader {
 public:
  explicit Reader(ByteSpan bytes) : rest_(bytes) {}

  size_t left() const { return rest_.size(); }
  ByteSpan rest() const { return rest_; }
  bool failed() const { return error_.code != Code::ok; }
  Error take_error() { return std::move(error_); }
  // Keeps the first failure only.
  void fail(Code code, std::string_view what);
  // Puts the field's name in front of the failure's detail.
  void name_failure(std::string_view field);

  uint64_t uvarint();
  uint64_t fixed(size_t bytes);
  ByteSpan take(uint64_t length);

 private:
  ByteSpan rest_;
  Error error_{Code::ok, {}};
};

template <class T>
struct IsVector : std::false_type {};
template <class T>
struct IsVector<std::vector<T>> : std::true_type {
  using Element = T;
};

template <class T>
constexpr uint8_t oldest_reader_of() {
  if constexpr (requires { T::kOldestReader; }) return T::kOldestReader;
  return 0;
}

template <Described T>
void encode(const T& value, Buffer& to);
template <Described T>
void decode(Reader& from, int depth, T& out);

template <class T>
void encode_value(const T& value, Buffer& to) {
  if constexpr (std::is_same_v<T, bool>) {
    to.append_u8(value ? 1 : 0);
  } else if constexpr (std::is_enum_v<T>) {
    encode_value(static_cast<std::underlying_type_t<T>>(value), to);
  } else if constexpr (std::signed_integral<T>) {
    put_uvarint(zigzag(value), to);
  } else if constexpr (std::unsigned_integral<T>) {
    put_uvarint(value, to);
  } else if constexpr (std::is_same_v<T, double>) {
    put_fixed(std::bit_cast<uint64_t>(value), 8, to);
  } else if constexpr (std::is_same_v<T, Uuid>) {
    to.append(ByteSpan(value.bytes));
  } else if constexpr (std::is_same_v<T, std::string>) {
    put_uvarint(value.size(), to);
    to.append(std::string_view(value));
  } else if constexpr (std::is_same_v<T, Bytes>) {
    put_uvarint(value.size(), to);
    to.append(value.span());
  } else if constexpr (IsVector<T>::value) {
    put_uvarint(value.size(), to);
    for (const typename IsVector<T>::Element& element : value) encode_value(element, to);
  } else {
    static_assert(Described<T>, "the wire codec has no spelling for this field type");
    encode(value, to);
  }
}

template <class T>
void decode_value(Reader& from, int depth, T& out) {
  if constexpr (std::is_same_v<T, bool>) {
    const uint64_t value = from.fixed(1);
    if (value > 1) from.fail(Code::malformed, "not a bool");
    out = value == 1;
  } else if constexpr (std::is_enum_v<T>) {
    std::underlying_type_t<T> number{};
    decode_value(from, depth, number);
    if (from.failed()) return;
    if constexpr (NamedEnum<T>) {
      for (const auto& [candidate, name] : EnumNames<T>::values) {
        if (candidate == static_cast<T>(number)) {
          out = candidate;
          return;
        }
      }
      from.fail(Code::not_supported, "unknown value");
    } else {
      out = static_cast<T>(number);
    }
  } else if constexpr (std::signed_integral<T>) {
    const int64_t value = unzigzag(from.uvarint());
    if (value < std::numeric_limits<T>::min() || value > std::numeric_limits<T>::max())
      from.fail(Code::malformed, "number out of range");
    out = static_cast<T>(value);
  } else if constexpr (std::unsigned_integral<T>) {
    const uint64_t value = from.uvarint();
    if (value > std::numeric_limits<T>::max()) from.fail(Code::malformed, "number out of range");
    out = static_cast<T>(value);
  } else if constexpr (std::is_same_v<T, double>) {
    out = std::bit_cast<double>(from.fixed(8));
  } else if constexpr (std::is_same_v<T, Uuid>) {
    const ByteSpan bytes = from.take(out.bytes.size());
    if (!from.failed()) std::copy(bytes.begin(), bytes.end(), out.bytes.begin());
  } else if constexpr (std::is_same_v<T, std::string>) {
    out = as_text(from.take(from.uvarint()));
  } else if constexpr (std::is_same_v<T, Bytes>) {
    out = Bytes::copy_of(from.take(from.uvarint()));
  } else if constexpr (IsVector<T>::value) {
    if (depth >= kDepthMax) return from.fail(Code::malformed, "nested too deeply");
    const uint64_t count = from.uvarint();
    // Every element takes at least a byte.
    if (count > from.left()) return from.fail(Code::malformed, "more elements than bytes");
    out.clear();
    for (uint64_t i = 0; i < count && !from.failed(); ++i) {
      typename IsVector<T>::Element element{};
      decode_value(from, depth + 1, element);
      if (!from.failed()) out.push_back(std::move(element));
    }
  } else {
    static_assert(Described<T>, "the wire codec has no spelling for this field type");
    decode(from, depth + 1, out);
  }
}

template <class Object>
struct EncodeVisitor {
  const Object& object;
  Buffer& to;
  size_t fields = 0;

  template <class Owner, class T>
  void field(std::string_view, T Owner::* member, const FieldFacts& = {}) {
    encode_value(object.*member, to);
    ++fields;
  }
};

template <class Object>
struct DecodeVisitor {
  Object& object;
  Reader& from;
  size_t fields_there;  // as many as the writer knew
  int depth;
  size_t fields = 0;  // as many as this reader knows

  template <class Owner, class T>
  void field(std::string_view name, T Owner::* member, const FieldFacts& = {}) {
    if (fields++ >= fields_there || from.failed()) return;
    decode_value(from, depth, object.*member);
    if (from.failed()) from.name_failure(name);
  }
};

template <Described T>
void encode(const T& value, Buffer& to) {
  const size_t at = begin_envelope(to);
  EncodeVisitor<T> visitor{value, to};
  T::describe(visitor);
  finish_envelope(at, visitor.fields, oldest_reader_of<T>(), to);
}

template <Described T>
void decode(Reader& from, int depth, T& out) {
  if (depth > kDepthMax) return from.fail(Code::malformed, "nested too deeply");
  const uint64_t version = from.fixed(1);
  const uint64_t oldest_reader = from.fixed(1);
  Reader body(from.take(from.fixed(4)));
  if (from.failed()) return;
  DecodeVisitor<T> visitor{out, body, version, depth};
  T::describe(visitor);
  if (oldest_reader > visitor.fields)
    return from.fail(Code::not_supported, "written by a newer version that older ones must not read");
  // A writer that knew no more than this reader leaves nothing behind.
  if (!body.failed() && version <= visitor.fields && body.left() != 0) body.fail(Code::malformed, "bytes left over");
  if (body.failed()) {
    Error error = body.take_error();
    from.fail(error.code, error.detail);
  }
}

}  // namespace wire

// Appends `value` to `to`.
template <Described T>
void encode_described(const T& value, Buffer& to) {
  wire::encode(value, to);
}
// The same as a value of a key-value row.
template <Described T>
std::string encode_described(const T& value) {
  Buffer buffer;
  wire::encode(value, buffer);
  return std::string(as_text(buffer.span()));
}

// Takes one struct from the front of `from` and moves `from` behind it.
template <Described T>
Result<T> decode_next_described(ByteSpan& from) {
  wire::Reader reader(from);
  T value{};
  wire::decode(reader, 0, value);
  if (reader.failed()) return reader.take_error();
  from = reader.rest();
  return value;
}

// The one struct that `from` holds, with nothing behind it.
template <Described T>
Result<T> decode_described(ByteSpan from) {
  Result<T> value = decode_next_described<T>(from);
  if (value.ok() && !from.empty()) return Error{Code::malformed, "bytes left over"};
  return value;
}

}  // namespace robustmq
