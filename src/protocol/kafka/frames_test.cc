// The generated codecs against an independent encoding (tests/corpus/kafka_golden.txt) and against themselves.
#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <sstream>

#include "protocol/kafka/frames/all.h"
#include "protocol/kafka/frames/apis.h"

namespace robustmq::kafka {
namespace {

template <class T>
concept HasFields = requires(T& t, size_t n) { t.size(static_cast<int>(n)); };

// Fills every field of a version by one rule: the n-th field visited has n (mod 100 for int8), true, "s<n>", "b<n>" or a UUID of
// bytes n; arrays have two elements. With `nulls`, what may be null is null and still counts as visited.
class Filler {
 public:
  Filler(int version, bool nulls) : version_(version), nulls_(nulls) {}

  template <class T>
  void field(std::string_view, T& value, bool nullable) {
    fill(value, nullable);
  }

 private:
  template <class T>
  void fill(std::optional<T>& value, bool nullable) {
    if (nulls_ && nullable) {
      ++n_;
      value.reset();
      return;
    }
    fill(value.emplace(), false);
  }
  template <class T>
  void fill(std::vector<T>& value, bool) {
    value.assign(2, T{});
    for (T& element : value) fill(element, false);
  }
  template <HasFields T>
  void fill(T& value, bool) {
    value.visit(*this, version_);
  }
  void fill(bool& value, bool) {
    ++n_;
    value = true;
  }
  void fill(int8_t& value, bool) { value = static_cast<int8_t>(++n_ % 100); }
  void fill(int16_t& value, bool) { value = static_cast<int16_t>(++n_); }
  void fill(int32_t& value, bool) { value = ++n_; }
  void fill(int64_t& value, bool) { value = ++n_; }
  void fill(double& value, bool) { value = ++n_; }
  void fill(Uuid& value, bool) { value.bytes.fill(static_cast<uint8_t>(++n_)); }
  void fill(std::string_view& value, bool) { value = texts_.emplace_back("s" + std::to_string(++n_)); }
  void fill(Bytes& value, bool) { value = Bytes::copy_of("b" + std::to_string(++n_)); }
  void fill(Records& value, bool) { value.pieces = {Piece::of(Bytes::copy_of("b" + std::to_string(++n_)))}; }

  int version_;
  bool nulls_;
  int n_ = 0;
  std::deque<std::string> texts_;
};

// What a message is on the wire, with its records in place.
template <class M>
std::string encoded(const M& message, int version) {
  const size_t size = message.size(version);
  std::string head(size, '\0');
  Writer writer(reinterpret_cast<uint8_t*>(head.data()), size);
  message.encode(writer, version);
  head.resize(size - writer.room_left());
  std::string whole;
  size_t at = 0;
  for (const Writer::Cut& cut : writer.cuts()) {
    whole += head.substr(at, cut.at - at);
    at = cut.at;
    for (const Piece& piece : *cut.pieces) whole += piece.bytes.text();
  }
  whole += head.substr(at);
  if (whole.size() != size) ADD_FAILURE() << "size() is not what was written";
  return whole;
}

// Decodes; "" or the fault. `left` are bytes behind the message.
template <class M>
std::string decode(M& message, const Bytes& bytes, int version, size_t* left = nullptr) {
  Reader reader(bytes, 0, decode_memory_max(bytes.size()));
  message.decode(reader, version);
  if (left) *left = reader.left();
  return reader.ok() ? "" : reader.fault();
}

std::string to_hex(std::string_view bytes) {
  std::string hex;
  for (uint8_t byte : bytes) {
    hex += "0123456789abcdef"[byte >> 4];
    hex += "0123456789abcdef"[byte & 15];
  }
  return hex;
}

// (name, version, case) -> hex.
const std::map<std::tuple<std::string, int, std::string>, std::string>& golden() {
  static const auto* table = [] {
    auto* rows = new std::map<std::tuple<std::string, int, std::string>, std::string>;
    std::ifstream in("tests/corpus/kafka_golden.txt");
    std::string line;
    while (std::getline(in, line)) {
      std::istringstream words(line);
      std::string name, kind, hex;
      int version;
      if (line.starts_with("#") || !(words >> name >> version >> kind)) continue;
      words >> hex;
      (*rows)[{name, version, kind}] = hex;
    }
    return rows;
  }();
  return *table;
}

// One message's codec without its type, so that the tests below are compiled once and not for each message.
struct Kind {
  std::string_view name;
  int version_min, version_max, flexible_from;
  // The message of a case, encoded.
  std::string (*make)(int version, std::string_view kase);
  // Decodes: the fault, or "". Tells how many bytes are left and whether it is the message of the case.
  std::string (*read)(const Bytes& bytes, int version, std::string_view kase, size_t& left, bool& is_same);
};

template <class M>
void fill(M& message, Filler& filler, int version, std::string_view kase) {
  if (kase != "default") message.visit(filler, version);
}
template <class M>
std::string make(int version, std::string_view kase) {
  Filler filler(version, kase == "null");
  M message;
  fill(message, filler, version, kase);
  return encoded(message, version);
}
template <class M>
std::string read(const Bytes& bytes, int version, std::string_view kase, size_t& left, bool& is_same) {
  Filler filler(version, kase == "null");
  M message, again;
  fill(message, filler, version, kase);
  const std::string fault = decode(again, bytes, version, &left);
  is_same = again == message;
  return fault;
}

struct Case {
  const Kind& kind;
  int version;
  std::string_view kase;

  std::string label() const { return std::string(kind.name) + " version " + std::to_string(version) + " " + std::string(kase); }
  std::string bytes() const { return kind.make(version, kase); }
  std::string read(const std::string& from, size_t& left, bool& is_same) const {
    return kind.read(Bytes::copy_of(from), version, kase, left, is_same);
  }
};

// Each version of each message, with the three cases.
std::vector<Case> cases() {
  static const auto* kinds = [] {
    auto* all = new std::vector<Kind>;
    for_each_message(
        [&]<class M>() { all->push_back({M::kName, M::kVersionMin, M::kVersionMax, M::kFlexibleFrom, &make<M>, &read<M>}); });
    return all;
  }();
  std::vector<Case> all;
  for (const Kind& kind : *kinds) {
    for (int version = kind.version_min; version <= kind.version_max; ++version) {
      for (const char* kase : {"default", "filled", "null"}) all.push_back({kind, version, kase});
    }
  }
  return all;
}

TEST(Frames, AreWhatAnIndependentEncoderWrites) {
  size_t compared = 0;
  for (const Case& one : cases()) {
    const auto row = golden().find({std::string(one.kind.name), one.version, std::string(one.kase)});
    if (row == golden().end()) continue;
    ++compared;
    EXPECT_EQ(to_hex(one.bytes()), row->second) << one.label();
  }
  EXPECT_EQ(compared, golden().size());
  EXPECT_GT(compared, 800u);
}

TEST(Frames, ComeBackAsTheyWent) {
  for (const Case& one : cases()) {
    size_t left = 1;
    bool is_same = false;
    EXPECT_EQ(one.read(one.bytes(), left, is_same), "") << one.label();
    EXPECT_EQ(left, 0u) << one.label();
    EXPECT_TRUE(is_same) << one.label();
  }
}

TEST(Frames, PassOverUnknownTags) {
  for (const Case& one : cases()) {
    if (one.version < one.kind.flexible_from || one.kase != "default") continue;
    std::string bytes = one.bytes();
    ASSERT_EQ(bytes.back(), '\0') << one.label();  // no tags
    bytes.pop_back();
    bytes += std::string("\x02\x63\x03xyz\xe4\x07\x00", 9);  // tags 99 of 3 bytes and 996 of none
    size_t left = 1;
    bool is_same = false;
    EXPECT_EQ(one.read(bytes, left, is_same), "") << one.label();
    EXPECT_EQ(left, 0u) << one.label();
    EXPECT_TRUE(is_same) << one.label();
  }
}

TEST(Frames, CutShortAreMalformed) {
  for (const Case& one : cases()) {
    if (one.kase != "filled") continue;
    const std::string bytes = one.bytes();
    for (size_t size = 0; size < bytes.size(); ++size) {
      size_t left = 0;
      bool is_same = false;
      EXPECT_NE(one.read(bytes.substr(0, size), left, is_same), "") << one.label() << " of " << size << " bytes";
    }
  }
}

TEST(Frames, ATableOfVersionsIsKafkas) {
  // Kafka 4.3 (what ApiVersions says).
  struct Row {
    int key, min, max;
  };
  const Row rows[] = {{0, 0, 13}, {1, 4, 18}, {2, 1, 11}, {3, 0, 13}, {8, 2, 10}, {9, 1, 10}, {10, 0, 6}, {11, 0, 9}, {12, 0, 4},
                      {13, 0, 5}, {14, 0, 5}, {15, 0, 6}, {16, 0, 5}, {18, 0, 4}, {19, 2, 7}, {20, 1, 6}, {21, 0, 2}, {22, 0, 5},
                      {23, 2, 4}, {24, 0, 5}, {25, 0, 4}, {26, 0, 5}, {27, 1, 2}, {28, 0, 5}, {32, 1, 4}, {33, 0, 2}, {35, 1, 5},
                      {37, 0, 3}, {42, 0, 2}, {43, 0, 2}, {44, 0, 1}, {45, 0, 1}, {46, 0, 0}, {47, 0, 0}, {48, 0, 1}, {49, 0, 1},
                      {57, 0, 2}, {60, 0, 2}, {61, 0, 0}, {65, 0, 0}, {66, 0, 2}, {68, 0, 1}, {69, 0, 1}, {74, 0, 1}, {75, 0, 0},
                      {76, 1, 1}, {77, 1, 1}, {78, 1, 2}, {79, 1, 2}, {90, 0, 1}, {91, 0, 0}, {92, 0, 0}};
  ASSERT_EQ(std::size(kApis), std::size(rows));
  for (size_t i = 0; i < std::size(rows); ++i) {
    EXPECT_EQ(kApis[i].key, rows[i].key);
    EXPECT_EQ(kApis[i].advertised_min, rows[i].min) << kApis[i].name;
    EXPECT_EQ(kApis[i].advertised_max, rows[i].max) << kApis[i].name;
    EXPECT_EQ(kApis[i].version_max, rows[i].max) << kApis[i].name;
  }
  EXPECT_EQ(api_of(0)->version_min, 3);
  EXPECT_EQ(api_of(17), nullptr);
}

TEST(Reader, TakesNoMoreElementsThanBytes) {
  // An int32 array that claims 2^31 - 1 elements, and a compact one that claims 2^32 - 2.
  MetadataRequest request;
  EXPECT_EQ(decode(request, Bytes::copy_of(std::string("\x7f\xff\xff\xff", 4)), 1), "an array is longer than the frame");
  EXPECT_EQ(decode(request, Bytes::copy_of(std::string("\xff\xff\xff\xff\x0f", 5)), 9), "an array is longer than the frame");
}

TEST(Reader, BoundsTheMemoryOfArrays) {
  // 4 bytes an element on the wire, far more as a struct.
  const uint32_t count = 1 << 20;
  std::string bytes(4 + 2 * count, '\0');
  for (int i = 0; i < 4; ++i) bytes[static_cast<size_t>(i)] = static_cast<char>(count >> (24 - 8 * i));
  MetadataRequest request;
  EXPECT_EQ(decode(request, Bytes::copy_of(bytes), 1), "the arrays of the frame take too much memory");
}

TEST(Reader, RefusesWhatIsNotAllowed) {
  HeartbeatRequest heartbeat;
  EXPECT_EQ(decode(heartbeat, Bytes::copy_of(std::string("\xff\xff", 2)), 0), "a string is null");
  EXPECT_EQ(decode(heartbeat, Bytes::copy_of(std::string("\xff\xfe", 2)), 0), "a length is negative");
  EXPECT_EQ(decode(heartbeat, Bytes::copy_of(std::string("\xff\xff\xff\xff\x10", 5)), 4), "a variable-length number is too long");
  EXPECT_EQ(decode(heartbeat, Bytes::copy_of(std::string("\x80\x80\x02", 3)), 4), "a string is too long");
}

TEST(Reader, ReadsVarintsOfAnyForm) {
  // Padded with zero groups, as some encoders write them.
  HeartbeatRequest heartbeat;
  const Bytes bytes = Bytes::copy_of(std::string("\x82\x80\x00g\x00\x00\x00\x07\x01\x00\x00", 11));
  EXPECT_EQ(decode(heartbeat, bytes, 4), "");
  EXPECT_EQ(heartbeat.group_id, "g");
  EXPECT_EQ(heartbeat.generation_id, 7);
}

TEST(Reader, SharesRecordsWithTheFrame) {
  ProduceRequest request;
  Filler filler(9, false);
  request.visit(filler, 9);
  const Bytes frame = Bytes::copy_of(encoded(request, 9));
  ProduceRequest again;
  ASSERT_EQ(decode(again, frame, 9), "");
  const Bytes& records = *again.topic_data[0].partition_data[0].records;
  EXPECT_GE(records.data(), frame.data());
  EXPECT_LT(records.data(), frame.end());
}

TEST(Writer, CutsStringsOfItsOwnThatAreTooLong) {
  const std::string text(40'000, 'x');
  FindCoordinatorResponse response;
  response.error_message = text;
  const Bytes bytes = Bytes::copy_of(encoded(response, 1));
  FindCoordinatorResponse again;
  EXPECT_EQ(decode(again, bytes, 1), "");
  EXPECT_EQ(again.error_message->size(), kStringBytesMax);
}

}  // namespace
}  // namespace robustmq::kafka
