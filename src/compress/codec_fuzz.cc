// Any bytes through any codec: no crash, output within the limit, and what was compressed comes back.
#include "base/check.h"
#include "compress/codec.h"

using namespace robustmq;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  constexpr size_t kBytesMax = 1 << 18;
  if (size < 1) return 0;
  const auto codec = static_cast<Compression>(data[0] & 7);
  const ByteSpan input(data + 1, size - 1);
  Result<Bytes> plain = compress::decompress(codec, input, kBytesMax);
  if (plain.ok()) ROBUSTMQ_CHECK(plain->size() <= kBytesMax, "over the limit");
  if (Result<Bytes> packed = compress::compress(codec, input); packed.ok()) {
    Result<Bytes> back = compress::decompress(codec, *packed, input.size());
    ROBUSTMQ_CHECK(back.ok() && as_text(*back) == as_text(input), "does not come back");
  }
  return 0;
}
