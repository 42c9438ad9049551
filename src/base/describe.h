// Describe once: a struct names its fields, docs, ranges and defaults in one static function, and every reader (config file,
// environment, flags, reference docs, JSON, wire codec, snapshots) is a visitor of it. Pure.
//
//   struct SegmentOptions {
//     int64_t segment_bytes = 128 << 20;
//     template <class Visitor>
//     static void describe(Visitor& v) {
//       v.field("segment_bytes", &SegmentOptions::segment_bytes, {.doc = "Size at which a segment is sealed.", .unit = "bytes",
//       .min = 1 << 16});
//     }
//   };
//
// The default is the member's own initialiser. Fields are only ever appended: the wire codec (base/wire.h) counts them.
// Field types: bool, int16/32/64, uint8/16/32/64, double, std::string, Uuid, Bytes, enums with describe_enum, described
// structs, and std::vector of these.
#pragma once

#include <cstdint>
#include <limits>
#include <string_view>
#include <type_traits>
#include <vector>

namespace robustmq {

struct FieldFacts {
  std::string_view doc = {};
  std::string_view unit = {};
  double min = -std::numeric_limits<double>::infinity();
  double max = std::numeric_limits<double>::infinity();
  bool secret = false;             // never printed
  bool live = false;               // may change while the node runs
  std::string_view formerly = {};  // a section's former name, that sources may still use
};

namespace detail {
struct ProbeVisitor {
  template <class Owner, class T>
  void field(std::string_view, T Owner::*, FieldFacts = {}) {}
};
}  // namespace detail

template <class T>
concept Described = requires(detail::ProbeVisitor& v) { T::describe(v); };

// Names of an enum's values, in order: specialise with
//   template <> struct EnumNames<Mode> { static constexpr std::pair<Mode, std::string_view> values[] = {...}; };
template <class E>
struct EnumNames;

template <class E>
concept NamedEnum = std::is_enum_v<E> && requires { EnumNames<E>::values; };

template <NamedEnum E>
std::string_view enum_name(E value) {
  for (const auto& [candidate, name] : EnumNames<E>::values) {
    if (candidate == value) return name;
  }
  return "?";
}

template <NamedEnum E>
bool enum_from_name(std::string_view name, E& out) {
  for (const auto& [candidate, text] : EnumNames<E>::values) {
    if (text == name) {
      out = candidate;
      return true;
    }
  }
  return false;
}

}  // namespace robustmq
