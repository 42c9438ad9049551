#include "shard/record_reader.h"

#include "compress/codec.h"

namespace robustmq::shard {

Result<OpenedRecords> open_records(const Bytes& batch, size_t bytes_max) {
  if (const Status shape = BatchView::check_shape(batch); !shape.ok()) return shape.error();
  const BatchView header(batch);
  if (header.compression() == Compression::none) return OpenedRecords{header, batch, RecordReader(header, header.records())};
  Result<Bytes> plain = compress::decompress(header.compression(), header.records(), bytes_max);
  if (!plain.ok()) return plain.error();
  const RecordReader records(header, *plain);
  return OpenedRecords{header, plain.take(), records};
}

}  // namespace robustmq::shard
