// Decode, encode, decode again: the second packet says what the first said, and nothing reads past the input.
// Input: a byte that picks version and side, then packets.
#include <cstdlib>

#include "protocol/mqtt/codec.h"
#include "protocol/mqtt/packet_text.h"

using namespace robustmq;
using namespace robustmq::mqtt;

namespace {

void require(bool holds) {
  if (!holds) std::abort();
}

void check_packet(const Frame& frame, Version version, Side from) {
  Packet packet;
  if (decode(frame, version, from, packet)) return;
  const std::string said = packet_text::of(packet, version);
  Buffer again;
  encode(packet, version, again);
  require(again.size() == encoded_size(packet, version));
  require(again.size() <= frame.size);
  Frame second_frame;
  require(frame_at(again.span(), second_frame) == FrameState::whole && second_frame.size == again.size());
  Packet second;
  require(!decode(second_frame, version, from, second));
  require(packet_text::of(second, version) == said);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  if (size == 0) return 0;
  constexpr Version kVersions[] = {Version::v3_1, Version::v3_1_1, Version::v5, Version::v5};
  const Version version = kVersions[bytes[0] & 3];
  const Side from = bytes[0] & 4 ? Side::server : Side::client;
  ByteSpan rest(bytes + 1, size - 1);
  for (Frame frame; frame_at(rest, frame) == FrameState::whole; rest = rest.subspan(frame.size))
    check_packet(frame, version, from);
  return 0;
}
