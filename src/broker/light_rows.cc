// LightTopics, its persistent half: loading their rows, opening and closing them.
#include <utility>

#include "base/check.h"
#include "base/topic_names.h"
#include "base/wire.h"
#include "broker/light_topics.h"
#include "shard/record_reader.h"

namespace robustmq::broker {
namespace {

// About the rows of one slot where there are a million, as those of other cores lie between.
constexpr size_t kRowsARead = 256;
constexpr size_t kRowKeyBytes = 1 + 16;

struct LightRow {
  std::string name;        // MQTT's spelling
  int64_t start = 0;       // no offset below it is given again, also when there is no record
  int64_t oldest_ms = -1;  // no record is older
  bool has_producers = false;

  template <class V>
  static void describe(V& v) {
    v.field("name", &LightRow::name);
    v.field("start", &LightRow::start);
    v.field("oldest_ms", &LightRow::oldest_ms);
    v.field("has_producers", &LightRow::has_producers);
  }
};

std::string row_key(const TopicId& id) { return std::string(1, 't') + std::string(as_text(id.bytes)); }
std::string first_row_key(Slot slot) { return {'t', static_cast<char>(slot >> 4), static_cast<char>((slot & 15) << 4)}; }

}  // namespace

storage::KvBatch::Put OpenRows::row(Offset start, bool has_producers) {
  LightRow row;
  row.name = topic.name();
  row.start = start;
  row.oldest_ms = log->known().oldest_ms;
  row.has_producers = has_producers;
  return {row_key(topic.id), encode_described(row)};
}

// ---- Loading ----

// Reads the rows of this core's slots, some at a time; passes over the slots of others. A loop where the rows answer inline.
class LightTopics::Loading : public std::enable_shared_from_this<Loading> {
 public:
  Loading(LightTopics& topics, Callback<void(Status)> done)
      : topics_(topics), self_(topics.anchor_.anchor(&topics)), at_("t"), done_(std::move(done)) {}

  void run() {
    while (!is_over_) {
      in_call_ = true;
      came_inline_ = false;
      topics_.kv_->scan(at_, "u", kRowsARead, [self = shared_from_this()](Result<storage::KvRows> rows) {
        if (self->self_.get()) self->take(std::move(rows));
      });
      in_call_ = false;
      if (!came_inline_) return;
    }
    done_(std::move(status_));
  }

 private:
  void take(Result<storage::KvRows> rows) {
    if (!rows.ok()) {
      status_ = rows.error();
      is_over_ = true;
    } else {
      is_over_ = rows->size() < kRowsARead;
      for (const auto& [key, value] : *rows) {
        status_ = topics_.add_row(key, value);
        if (!status_.ok()) is_over_ = true;
        if (is_over_ && !status_.ok()) break;
      }
      if (!rows->empty()) pass_over(rows->back().first);
    }
    came_inline_ = in_call_;
    if (!in_call_) run();
  }
  // Goes on behind `key`, at the next slot of this core.
  void pass_over(const std::string& key) {
    at_ = key + '\0';
    if (key.size() != kRowKeyBytes) return;
    const CoreIndex cores = topics_.core_.count();
    uint32_t slot = static_cast<uint32_t>(static_cast<uint8_t>(key[1]) << 4 | static_cast<uint8_t>(key[2]) >> 4);
    if (slot % cores == topics_.core_.index()) return;
    while (slot < kSlotCount && slot % cores != topics_.core_.index()) ++slot;
    if (slot == kSlotCount)
      is_over_ = true;
    else
      at_ = first_row_key(static_cast<Slot>(slot));
  }

  LightTopics& topics_;
  Anchor<LightTopics> self_;
  std::string at_;
  Callback<void(Status)> done_;
  Status status_;
  bool is_over_ = false;
  bool in_call_ = false;
  bool came_inline_ = false;
};

void LightTopics::load(Callback<void(Status)> done) {
  if (!kv_) return done({});
  std::make_shared<Loading>(*this, std::move(done))->run();
}

Status LightTopics::add_row(std::string_view key, std::string_view value) {
  const Error damaged{Code::corrupt_storage, "the row of a light topic is damaged"};
  if (key.size() != kRowKeyBytes) return damaged;
  TopicId id;
  std::memcpy(id.bytes.data(), key.data() + 1, id.bytes.size());
  if (slot_of_light(id) % core_.count() != core_.index()) return {};
  ByteSpan bytes = as_bytes(value);
  Result<LightRow> row = decode_next_described<LightRow>(bytes);
  if (!row.ok()) return row.code() == Code::not_supported ? row.error() : damaged;
  if (find(id)) return {};
  // A name has one topic. Where there are two (older versions could leave a forgotten one's row), the later one began behind the
  // other's end.
  if (LightTopic* known = find(row->name)) {
    const bool is_later = row->start > known->known.start;
    kv_->write(rows_of(is_later ? known->id : id), [](const Status&) {});
    if (!is_later) return {};
    take_out(*known);
  }
  const TopicRule* rule = rules_.find(row->name);
  auto topic = std::make_unique<LightTopic>(row->name, id, settings_of(rule), true);
  topic->known = {row->start, LightTopic::kUnknown, 0, row->oldest_ms, true, row->has_producers};
  add(std::move(topic));
  return {};
}

// ---- Opening and closing ----

void LightTopics::touch(OpenRows& rows) {
  rows.unlink();
  open_.push_back(rows);
}

void LightTopics::append_to_rows(LightTopic& topic, Bytes batch, uint64_t origin, Callback<void(Result<shard::Appended>)> done) {
  if (!topic.open) open(topic);
  if (!topic.open) return done(Code::storage_failed);
  OpenRows& rows = *topic.rows();
  touch(rows);
  if (!rows.is_opening) return rows.shard->append(std::move(batch), origin, std::move(done));
  rows.waiting.push_back([batch = std::move(batch), origin, done = std::move(done)](Result<shard::Shard*> shard) mutable {
    if (!shard) return done(shard.error());
    (*shard)->append(std::move(batch), origin, std::move(done));
  });
}

void LightTopics::with(LightTopic& topic, UseShard use) {
  if (!topic.is_persistent) return use(topic.open->shard.get());
  if (!topic.open) open(topic);
  if (!topic.open) return use(Code::storage_failed);
  OpenRows& rows = *topic.rows();
  touch(rows);
  if (!rows.is_opening) return use(rows.shard.get());
  rows.waiting.push_back(std::move(use));
}

void LightTopics::open(LightTopic& topic) {
  auto made = std::make_unique<OpenRows>(fan_out_, topic);
  OpenRows& rows = *made;
  topic.open = std::move(made);
  ++metrics_.light_topics_open;
  if (metrics_.light_topics_open > options_.light_open_max / core_.count()) core_.defer(*this);
  if (topic.known.end != LightTopic::kUnknown) return open_shard(topic);
  rows.is_opening = true;
  kv_->last(storage::RowLog::first_key(topic.id), storage::RowLog::end_key(topic.id),
            [self = anchor_.anchor(this), id = topic.id](Result<storage::KvRows> last) {
              LightTopics* topics = self.get();
              LightTopic* found = topics ? topics->find(id) : nullptr;
              if (!found) return;
              if (!last.ok()) return topics->finish_opening(*found, last.error());
              found->known.end = storage::RowLog::end_of(*last, found->known.start);
              topics->open_shard(*found);
              if (!found->known.has_producers) topics->finish_opening(*found, {});
            });
}

// Makes the shard of a topic whose bounds are known. One with idempotent producers reads its batches first.
void LightTopics::open_shard(LightTopic& topic) {
  OpenRows& rows = *topic.rows();
  const Settings& settings = settings_[topic.settings];
  auto log = std::make_unique<storage::RowLog>(*kv_, rows, topic.id, topic.known, settings.shard.log);
  rows.log = log.get();
  storage::OpenedLog opened;
  opened.log = std::move(log);
  opened.state_as_of = topic.known.has_producers ? topic.known.start : topic.known.end;
  rows.shard = std::make_unique<shard::Shard>(core_, ShardId{topic.id, 0}, std::move(opened), epoch_, settings.shard);
  rows.shard->set_commit_listener(&rows);
  if (!topic.known.has_producers) return;
  rows.is_opening = true;
  rows.shard->recover([self = anchor_.anchor(this), id = topic.id](Status status) {
    LightTopics* topics = self.get();
    LightTopic* found = topics ? topics->find(id) : nullptr;
    if (found && found->open) topics->finish_opening(*found, std::move(status));
  });
}

void LightTopics::finish_opening(LightTopic& topic, Status status) {
  OpenRows& rows = *topic.rows();
  if (status.ok()) {
    // What comes meanwhile goes behind those that wait.
    for (size_t i = 0; i < rows.waiting.size(); ++i) {
      UseShard use = std::move(rows.waiting[i]);
      use(rows.shard.get());
      if (!rows.is_looking) continue;
      rows.waiting.erase(rows.waiting.begin(), rows.waiting.begin() + static_cast<ptrdiff_t>(i) + 1);
      return;
    }
    rows.waiting.clear();
    rows.waiting.shrink_to_fit();
    rows.is_opening = false;
    return;
  }
  std::vector<UseShard> waiting = std::exchange(rows.waiting, {});
  --metrics_.light_topics_open;
  rows.unlink();
  core_.post([gone = std::move(topic.open)] {});  // it may be on the stack
  for (UseShard& use : waiting) use(status.error());
}

void LightTopics::close(LightTopic& topic) {
  if (!topic.open) return;
  topic.known = topic.rows()->log->known();
  topic.open.reset();
  --metrics_.light_topics_open;
}

// ---- Repeats ----

// Reads a topic's batches, some at a time, up to where it ended when this began. A loop where the rows answer inline.
class LightTopics::Looking : public std::enable_shared_from_this<Looking> {
 public:
  Looking(LightTopics& topics, const OpenRows& rows, Bytes again, PacketRepeat repeat, Callback<void(Result<Looked>)> done)
      : topics_(topics.anchor_.anchor(&topics)),
        id_(rows.topic.id),
        log_(*rows.log),
        shard_(rows.shard.get()),
        at_(rows.log->known().start),
        end_(rows.log->known().end),
        again_(std::move(again)),
        repeat_(std::move(repeat)),
        done_(std::move(done)) {}

  void run() {
    while (!is_over_ && at_ < end_) {
      in_call_ = true;
      came_inline_ = false;
      log_.read(at_, {.bytes_max = kBytesARead, .end = end_}, [self = shared_from_this()](Result<storage::ReadResult> read) {
        if (self->topics_.get()) self->take(std::move(read));
      });
      in_call_ = false;
      if (!came_inline_) return;
    }
    LightTopics* topics = topics_.get();
    if (status_.ok())
      done_(Looked{shard_, found_});
    else
      done_(status_.error());
    topics->finish_looking(id_);
  }

 private:
  static constexpr size_t kBytesARead = 256 << 10;

  void take(Result<storage::ReadResult> read) {
    if (!read.ok()) {
      // What retention drops meanwhile was too old to be a repeat.
      if (read.code() == Code::offset_out_of_range && log_.bounds().start > at_)
        at_ = log_.bounds().start;
      else
        fail(read.error());
    } else {
      is_over_ = read->pieces.empty();
      at_ = read->next;
      for (const Piece& piece : read->pieces) look_at(piece.bytes);
    }
    came_inline_ = in_call_;
    if (!in_call_) run();
  }
  void fail(const Error& error) {
    status_ = error;
    is_over_ = true;
  }
  void look_at(const Bytes& batch) {
    Result<shard::OpenedRecords> stored = shard::open_records(batch, shard::kOpenedBytesMax);
    Result<shard::OpenedRecords> again = shard::open_records(again_, shard::kOpenedBytesMax);
    RecordView repeated;
    if (!stored || stored->header.is_control() || !again || !again->records.next(repeated)) return;
    for (RecordView record; stored->records.next(record);) {
      if (!is_same_packet(record, repeated, repeat_)) continue;
      found_ = record.offset;
      is_over_ = true;
      return;
    }
  }

  Anchor<LightTopics> topics_;
  TopicId id_;
  storage::RowLog& log_;  // stays open as long as it is looked through
  shard::Shard* shard_;
  Offset at_;
  Offset end_;
  Bytes again_;
  PacketRepeat repeat_;
  Callback<void(Result<Looked>)> done_;
  std::optional<Offset> found_;
  Status status_;
  bool is_over_ = false;
  bool in_call_ = false;
  bool came_inline_ = false;
};

void LightTopics::look_for(LightTopic& topic, Bytes again, PacketRepeat repeat, Callback<void(Result<Looked>)> done) {
  with(topic, [this, id = topic.id, again = std::move(again), repeat = std::move(repeat),
               done = std::move(done)](Result<shard::Shard*> shard) mutable {
    if (!shard) return done(shard.error());
    OpenRows& rows = *find(id)->rows();
    rows.is_opening = rows.is_looking = true;
    std::make_shared<Looking>(*this, rows, std::move(again), std::move(repeat), std::move(done))->run();
  });
}

void LightTopics::finish_looking(const TopicId& id) {
  LightTopic& topic = *find(id);
  topic.rows()->is_looking = false;
  finish_opening(topic, {});
}

// Closes those used longest ago that nobody waits for, when too many are open.
void LightTopics::run_deferred() {
  const int64_t open_max = options_.light_open_max / core_.count();
  for (int64_t looks = 2 * (metrics_.light_topics_open - open_max); looks > 0 && metrics_.light_topics_open > open_max; --looks) {
    if (open_.empty()) return;
    OpenRows& oldest = open_.front();
    if (!oldest.is_opening && oldest.log->is_idle() && oldest.shard->is_idle())
      close(oldest.topic);
    else
      touch(oldest);
  }
}

}  // namespace robustmq::broker
