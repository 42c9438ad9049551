// Every message and version: any bytes are decoded or refused; what was decoded comes back the same after being encoded.
#include <cstdint>

#include "protocol/kafka/frames/all.h"

namespace robustmq::kafka {
namespace {

template <class M>
Bytes written_of(const M& message, int version) {
  const size_t size = message.size(version);
  Buffer buffer(size + 1);
  Writer writer(buffer.extend(size), size);
  message.encode(writer, version);
  Buffer whole(size + 1);
  size_t at = 0;
  for (const Writer::Cut& cut : writer.cuts()) {
    whole.append(ByteSpan(buffer.data() + at, cut.at - at));
    at = cut.at;
    for (const Piece& piece : *cut.pieces) whole.append(piece.bytes.span());
  }
  whole.append(ByteSpan(buffer.data() + at, size - writer.room_left() - at));
  Bytes written = whole.take();
  ROBUSTMQ_CHECK(written.size() == size, "size() is not what encode() wrote");
  return written;
}

template <class M>
void try_message(ByteSpan body, int version) {
  if (version < M::kVersionMin || version > M::kVersionMax) return;
  const Bytes bytes = Bytes::copy_of(body);
  Reader reader(bytes, 0, decode_memory_max(bytes.size()));
  M message;
  message.decode(reader, version);
  if (!reader.ok()) return;
  const Bytes written = written_of(message, version);
  Reader second(written, 0, decode_memory_max(written.size()) + decode_memory_max(bytes.size()));
  M again;
  again.decode(second, version);
  ROBUSTMQ_CHECK(second.ok() && second.left() == 0, "what was written cannot be read");
  // As bytes: a number that is none is not equal to itself.
  ROBUSTMQ_CHECK(written_of(again, version) == written, "what was written is something else");
}

}  // namespace
}  // namespace robustmq::kafka

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace robustmq::kafka;
  if (size < 2) return 0;
  size_t index = 0;
  for_each_message([&]<class M>() {
    if (index++ == data[0]) try_message<M>({data + 2, size - 2}, data[1]);
  });
  return 0;
}
