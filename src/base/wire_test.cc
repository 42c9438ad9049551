#include "base/wire.h"

#include <gtest/gtest.h>

#include <random>

namespace robustmq {
namespace {
enum class Colour : uint8_t { red = 0, green = 1 };
enum class Plain : int16_t { a = -3, b = 900 };
}  // namespace

template <>
struct EnumNames<Colour> {
  static constexpr std::pair<Colour, std::string_view> values[] = {{Colour::red, "red"}, {Colour::green, "green"}};
};

namespace {

struct Inner {
  int32_t number = 7;
  std::string text;
  bool operator==(const Inner&) const = default;
  template <class V>
  static void describe(V& v) {
    v.field("number", &Inner::number);
    v.field("text", &Inner::text);
  }
};

struct All {
  bool flag = false;
  int16_t i16 = 0;
  int32_t i32 = 0;
  int64_t i64 = 0;
  uint8_t u8 = 0;
  uint16_t u16 = 0;
  uint32_t u32 = 0;
  uint64_t u64 = 0;
  double ratio = 0;
  std::string text;
  Uuid id;
  Bytes bytes;
  Colour colour = Colour::red;
  Plain plain = Plain::a;
  Inner inner;
  std::vector<Inner> inners;
  std::vector<std::string> texts;
  std::vector<bool> flags;
  bool operator==(const All&) const = default;
  template <class V>
  static void describe(V& v) {
    v.field("flag", &All::flag, {.doc = "A flag."});
    v.field("i16", &All::i16);
    v.field("i32", &All::i32);
    v.field("i64", &All::i64);
    v.field("u8", &All::u8);
    v.field("u16", &All::u16);
    v.field("u32", &All::u32);
    v.field("u64", &All::u64);
    v.field("ratio", &All::ratio);
    v.field("text", &All::text);
    v.field("id", &All::id);
    v.field("bytes", &All::bytes);
    v.field("colour", &All::colour);
    v.field("plain", &All::plain);
    v.field("inner", &All::inner);
    v.field("inners", &All::inners);
    v.field("texts", &All::texts);
    v.field("flags", &All::flags);
  }
};

All filled() {
  All all;
  all.flag = true;
  all.i16 = INT16_MIN;
  all.i32 = INT32_MIN;
  all.i64 = INT64_MIN;
  all.u8 = 255;
  all.u16 = 65535;
  all.u32 = UINT32_MAX;
  all.u64 = UINT64_MAX;
  all.ratio = -0.25;
  all.text = std::string("a\0b", 3);
  all.id = Uuid::random(1, 2);
  all.bytes = Bytes::copy_of("payload");
  all.colour = Colour::green;
  all.plain = Plain::b;
  all.inner = {-1, "in"};
  all.inners = {{1, "x"}, {2, ""}};
  all.texts = {"", "t"};
  all.flags = {true, false, true};
  return all;
}

TEST(Wire, ReturnsWhatWasWritten) {
  for (const All& value : {All{}, filled()}) {
    Buffer buffer;
    encode_described(value, buffer);
    EXPECT_EQ(as_text(buffer.span()), encode_described(value));
    Result<All> back = decode_described<All>(buffer.span());
    ASSERT_TRUE(back.ok()) << back.error().to_string();
    EXPECT_TRUE(*back == value);
  }
}

TEST(Wire, HasTheseBytes) {
  // version 2, oldest reader 0, length 4, zigzag(-2) = 3, length 2, "ab"
  EXPECT_EQ(encode_described(Inner{-2, "ab"}), std::string("\x02\x00\x04\x00\x00\x00\x03\x02"
                                                           "ab",
                                                           10));
}

struct Older {
  int32_t number = 0;
  template <class V>
  static void describe(V& v) {
    v.field("number", &Older::number);
  }
};
struct Newer {
  int64_t number = 0;  // widened
  std::string text;
  std::string added = "default";
  template <class V>
  static void describe(V& v) {
    v.field("number", &Newer::number);
    v.field("text", &Newer::text);
    v.field("added", &Newer::added);
  }
};
struct Strict {
  static constexpr uint8_t kOldestReader = 3;
  int32_t number = 4;
  std::string text;
  bool must_know = true;
  template <class V>
  static void describe(V& v) {
    v.field("number", &Strict::number);
    v.field("text", &Strict::text);
    v.field("must_know", &Strict::must_know);
  }
};

TEST(Wire, OlderReaderSkipsNewFieldsAndFindsWhatFollows) {
  Buffer buffer;
  encode_described(Newer{5, "x", "y"}, buffer);
  encode_described(Newer{6, "x", "y"}, buffer);
  ByteSpan rest = buffer.span();
  EXPECT_EQ(decode_next_described<Older>(rest)->number, 5);
  EXPECT_EQ(decode_next_described<Older>(rest)->number, 6);
  EXPECT_TRUE(rest.empty());
}

TEST(Wire, NewerReaderKeepsDefaultsForMissingFields) {
  Result<Newer> value = decode_described<Newer>(as_bytes(encode_described(Inner{-9, "t"})));
  ASSERT_TRUE(value.ok());
  EXPECT_EQ(value->number, -9);
  EXPECT_EQ(value->text, "t");
  EXPECT_EQ(value->added, "default");
}

TEST(Wire, RefusesWhatAnOlderReaderMustNotRead) {
  const std::string bytes = encode_described(Strict{});
  EXPECT_EQ(decode_described<Inner>(as_bytes(bytes)).code(), Code::not_supported);
  EXPECT_TRUE(decode_described<Newer>(as_bytes(encode_described(Strict{}))).code() == Code::malformed);  // bool is no string
  EXPECT_TRUE(decode_described<Strict>(as_bytes(bytes)).ok());
}

TEST(Wire, NamesTheFieldThatIsWrong) {
  All value = filled();
  value.inners = {{1, "x"}};
  std::string bytes = encode_described(value);
  // the last byte of the last bool vector
  bytes.back() = 2;
  Result<All> result = decode_described<All>(as_bytes(bytes));
  ASSERT_EQ(result.code(), Code::malformed);
  EXPECT_EQ(result.error().detail, "flags: not a bool");
}

struct Raw {
  uint64_t number = 0;
  template <class V>
  static void describe(V& v) {
    v.field("number", &Raw::number);
  }
};
struct Coloured {
  Colour colour = Colour::red;
  template <class V>
  static void describe(V& v) {
    v.field("colour", &Coloured::colour);
  }
};
struct Small {
  uint16_t number = 0;
  template <class V>
  static void describe(V& v) {
    v.field("number", &Small::number);
  }
};

TEST(Wire, RefusesUnknownEnumValuesLeftOverBytesAndNumbersOutOfRange) {
  EXPECT_EQ(decode_described<Coloured>(as_bytes(encode_described(Raw{2}))).code(), Code::not_supported);
  EXPECT_EQ(decode_described<Coloured>(as_bytes(encode_described(Raw{300}))).code(), Code::malformed);
  EXPECT_EQ(decode_described<Small>(as_bytes(encode_described(Raw{65535})))->number, 65535);
  EXPECT_EQ(decode_described<Small>(as_bytes(encode_described(Raw{65536}))).code(), Code::malformed);
  std::string longer = encode_described(Raw{1}) + "x";
  EXPECT_EQ(decode_described<Raw>(as_bytes(longer)).code(), Code::malformed);
  longer[2] = 2;  // inside the envelope
  EXPECT_EQ(decode_described<Raw>(as_bytes(longer)).code(), Code::malformed);
}

struct Tree {
  std::vector<Tree> children;
  template <class V>
  static void describe(V& v) {
    v.field("children", &Tree::children);
  }
};

TEST(Wire, BoundsDepthAndElementCounts) {
  Tree deep;
  for (int i = 0; i < 100; ++i) {
    Tree parent;
    parent.children.push_back(std::move(deep));
    deep = std::move(parent);
  }
  EXPECT_EQ(decode_described<Tree>(as_bytes(encode_described(deep))).code(), Code::malformed);
  const std::string many("\x01\x00\x05\x00\x00\x00\xff\xff\xff\xff\x0f", 11);
  EXPECT_EQ(decode_described<Tree>(as_bytes(many)).code(), Code::malformed);
}

TEST(Wire, EveryCutAndEveryFlippedByteIsRefusedOrDecodes) {
  const std::string bytes = encode_described(filled());
  for (size_t cut = 0; cut < bytes.size(); ++cut) {
    EXPECT_FALSE(decode_described<All>(as_bytes(std::string(bytes, 0, cut))).ok()) << cut;
  }
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE(seed);
  std::mt19937 random(seed);
  for (int round = 0; round < 20000; ++round) {
    std::string damaged = bytes;
    for (int i = 0; i < 3; ++i) damaged[random() % damaged.size()] = static_cast<char>(random());
    Result<All> result = decode_described<All>(as_bytes(damaged));
    if (result.ok()) {
      EXPECT_TRUE(decode_described<All>(as_bytes(encode_described(*result))).ok());
    }
  }
}

}  // namespace
}  // namespace robustmq
