#include "tests/sim/kafka_clients.h"

#include "base/batch.h"

namespace robustmq::sim {

template <class Request>
void KafkaClient::ask(const Request& request, int16_t version) {
  kafka::RequestHeader header;
  header.request_api_key = Request::kApiKey;
  header.request_api_version = version;
  header.correlation_id = ++correlation_;
  header.client_id = id_;
  const int header_version = version >= Request::kFlexibleFrom ? 2 : 1;
  const size_t size = header.size(header_version) + request.size(version);
  Buffer out;
  kafka::Writer writer(out.extend(4 + size), 4 + size);
  writer.i32(static_cast<int32_t>(size));
  header.encode(writer, header_version);
  request.encode(writer, version);
  send(out.take());
}

size_t KafkaClient::on_bytes(const Bytes& bytes) {
  size_t taken = 0;
  while (is_connected() && bytes.size() - taken >= 4) {
    const size_t size = static_cast<size_t>(bytes[taken]) << 24 | static_cast<size_t>(bytes[taken + 1]) << 16 |
                        static_cast<size_t>(bytes[taken + 2]) << 8 | bytes[taken + 3];
    if (bytes.size() - taken - 4 < size) break;
    const Bytes frame = bytes.slice(taken + 4, size);
    taken += 4 + size;
    on_response(frame);
  }
  return taken;
}

void KafkaProducer::pump() {
  if (!is_connected() || !in_flight_.empty() || wanted_ == 0) return;
  --wanted_;
  BatchBuilder builder;
  const int count = 1 + static_cast<int>(core_.random() % 4);
  // Now and then one that is large enough to go past the journal.
  const std::string filler(core_.random() % 8 == 0 ? 40'000 : 0, 'f');
  for (int i = 0; i < count; ++i) {
    in_flight_.push_back(History::message(id_, ++number_));
    history_.sent(in_flight_.back());
    builder.begin_record(core_.wall_now().ms, as_bytes(id_), as_bytes(in_flight_.back()));
    if (!filler.empty() && i == 0) builder.add_header("filler", as_bytes(filler));
    builder.end_record();
  }
  kafka::ProduceRequest request;
  request.acks = -1;
  request.timeout_ms = 30'000;
  request.topic_data.emplace_back();
  request.topic_data[0].name = place_.topic;
  request.topic_data[0].partition_data.push_back({place_.partition, builder.finish()});
  ask(request, kVersion);
}

void KafkaProducer::on_response(const Bytes& frame) {
  kafka::Reader reader(frame, 4, kafka::decode_memory_max(frame.size()));
  kafka::ProduceResponse response;
  response.decode(reader, kVersion);
  if (!reader.ok() || response.responses.size() != 1 || in_flight_.empty()) return drop();
  const auto& partition = response.responses[0].partition_responses[0];
  if (partition.error_code == 0) {
    Offset offset = partition.base_offset;
    for (const std::string& message : in_flight_) {
      history_.acknowledged(message);
      history_.read(place_, offset++, message);
    }
    acknowledged_ += in_flight_.size();
  } else {
    ++refused_;
  }
  in_flight_.clear();
  pump();
}

void KafkaReader::fetch() {
  kafka::FetchRequest request;
  request.max_wait_ms = 100;
  request.min_bytes = 1;
  request.max_bytes = 1 << 20;
  request.topics.emplace_back();
  request.topics[0].topic = topic_;
  for (size_t p = 0; p < next_.size(); ++p) {
    auto& partition = request.topics[0].partitions.emplace_back();
    partition.partition = static_cast<int32_t>(p);
    partition.fetch_offset = next_[p];
    partition.partition_max_bytes = 64 << 10;
  }
  ask(request, kVersion);
}

void KafkaReader::on_response(const Bytes& frame) {
  kafka::Reader reader(frame, 4, kafka::decode_memory_max(frame.size()));
  kafka::FetchResponse response;
  response.decode(reader, kVersion);
  if (!reader.ok() || response.responses.size() != 1) return drop();
  bool has_failed = false;
  for (const auto& partition : response.responses[0].partitions) {
    const auto p = static_cast<size_t>(partition.partition_index);
    has_failed |= partition.error_code != 0;
    if (p >= next_.size() || partition.error_code != 0) continue;
    high_[p] = partition.high_watermark;
    if (!partition.records) continue;
    for (const Piece& piece : partition.records->pieces) {
      ByteSpan rest = piece.bytes.span();
      while (const auto size = BatchView::size_at(rest)) {
        if (*size > rest.size()) break;
        const BatchView batch(rest.first(*size));
        rest = rest.subspan(*size);
        RecordReader records(batch, batch.records());
        RecordView record;
        while (records.next(record)) {
          if (record.offset < next_[p]) continue;
          logs_[p].emplace_back(record.offset, std::string(as_text(record.value.value_or(ByteSpan{}))));
          history_.read({topic_, partition.partition_index}, record.offset, logs_[p].back().second);
          ++records_;
        }
        next_[p] = std::max(next_[p], batch.next_offset());
      }
    }
  }
  if (!has_failed) return fetch();
  // As clients do: not at once.
  core_.arm(retry_, core_.now() + Duration::millis(100));
}

bool KafkaReader::is_at_end() const {
  for (size_t p = 0; p < next_.size(); ++p) {
    if (high_[p] < 0 || next_[p] < high_[p]) return false;
  }
  return true;
}

void KafkaReader::hand_over() const {
  for (size_t p = 0; p < logs_.size(); ++p) history_.read_finally({topic_, static_cast<int32_t>(p)}, logs_[p]);
}

}  // namespace robustmq::sim
