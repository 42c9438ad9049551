// The rig: operations, and what is checked of their answers.
#include "storage/conformance/rig.h"

#include <algorithm>

#include "base/check.h"
#include "runtime/sim/disk.h"

namespace robustmq::storage::conformance {

using runtime::sim::CrashKind;
using runtime::sim::SimWorld;

StorageOptions small_options() {
  StorageOptions options;
  options.journal_file_bytes = 64 << 10;
  options.journal_files_max = 3;
  options.checkpoint_ms = 50;
  options.checkpoint_direct_bytes = 64 << 10;
  options.direct_bytes_min = 2500;
  options.round_bytes_max = 16 << 10;
  options.open_files_max = 2;
  options.index_interval_bytes = 512;
  options.index_bytes_max = 128;
  options.kv_log_bytes_max = 4 << 10;
  return options;
}

Bytes make_batch(Offset offset, LeaderEpoch epoch, int64_t timestamp_ms, size_t value_bytes, uint64_t tag, int records) {
  BatchBuilder builder;
  for (int i = 0; i < records; ++i) {
    std::string value(value_bytes / static_cast<size_t>(records), static_cast<char>('a' + (tag + static_cast<uint64_t>(i)) % 26));
    value += std::to_string(tag);
    builder.begin_record(timestamp_ms, std::nullopt, as_bytes(value));
    builder.end_record();
  }
  Bytes batch = builder.finish();
  patch_batch(batch, offset, epoch);
  return batch;
}

Rig::Rig(RigOptions options) : options_(std::move(options)), random_(options_.seed * 7919 + 13) {
  runtime::sim::SimOptions sim;
  sim.seed = options_.seed;
  world_ = std::make_unique<SimWorld>(sim);
  node_ = &world_->add_node({});
}

Rig::~Rig() {
  if (node_->is_up()) node_->crash(CrashKind::process);
  models_.clear();
  memory_.reset();
  segment_.reset();
  budget_.reset();
}

void Rig::fail(const std::string& what) { failures_.push_back("seed " + std::to_string(options_.seed) + ": " + what); }

Rig::Model* Rig::model(int number) {
  auto found = models_.find(number);
  return found == models_.end() ? nullptr : &found->second;
}

bool Rig::start() {
  ++life_;
  under_way_ = 0;
  if (options_.kind == EngineKind::memory) {
    budget_ = std::make_unique<MemoryBudget>(1 << 30);
    memory_ = std::make_unique<MemoryEngine>(*budget_);
    engine_ = memory_.get();
    return true;
  }
  bool is_done = false;
  std::string error;
  SegmentEngine::open(node_->core(0), options_.storage, options_.switches, [&](Result<std::unique_ptr<SegmentEngine>> opened) {
    is_done = true;
    if (opened.ok())
      segment_ = opened.take();
    else
      error = opened.error().to_string();
  });
  world_->run_until([&] { return is_done; }, Duration::seconds(600));
  if (!is_done) fail("the engine's start does not end");
  if (!segment_) {
    if (is_done && disk().faults().sync_errors == 0 && disk().faults().capacity_bytes == UINT64_MAX)
      fail("the engine does not start: " + error);
    return false;
  }
  engine_ = segment_.get();
  check_after_start();
  return true;
}

void Rig::check_after_start() {
  std::vector<ShardId> listed = engine_->list();
  std::set<ShardId> there(listed.begin(), listed.end());
  for (const ShardId& id : gone_) {
    if (there.contains(id)) fail("a removed log came back: " + id.to_string());
  }
  for (auto at = models_.begin(); at != models_.end();) {
    Model& model = at->second;
    const bool exists = there.contains(model.id);
    if (!exists && model.is_created && !model.is_removing && !forgives_losses_) fail("a log is lost: " + model.id.to_string());
    if (!exists) {
      gone_.insert(model.id);
      at = models_.erase(at);
      continue;
    }
    model.is_removing = false;
    there.erase(model.id);
    open_log(at->first, model, true);
    ++at;
  }
  if (!there.empty()) fail("a log that nobody made: " + there.begin()->to_string());
  settle();
  check_all();
  for (auto& [number, model] : models_) {
    model.is_committing = false;
    model.rewritten = {};
  }
}

void Rig::open_log(int number, Model& model, bool must_exist) {
  model.is_opening = true;
  ++under_way_;
  engine_->open(model.id, options_.settings, 0, [this, number, must_exist, life = life_](Result<OpenedLog> opened) {
    if (life != life_) return;
    --under_way_;
    Model& opened_model = models_.at(number);
    opened_model.is_opening = false;
    if (!opened.ok()) {
      if (must_exist)
        fail("open of an existing log: " + opened.error().to_string());
      else if (opened.code() == Code::storage_full)
        models_.erase(number);
      return;
    }
    opened_model.is_created = true;
    if (must_exist) check_opened(opened_model, *opened);
    opened_model.log = std::move(opened->log);
  });
}

// After a start: what was acknowledged is there, nothing that was not issued is, and what is there counts from now on.
void Rig::check_opened(Model& model, const OpenedLog& opened) {
  const Bounds bounds = opened.log->bounds();
  Offset acked = model.acked_end;
  if (model.truncating_to >= 0) acked = std::min(acked, model.truncating_to);
  const std::string name = model.id.to_string() + " ";
  if (bounds.end < acked && !forgives_losses_) {
    fail(name + "lost acknowledged batches: end " + std::to_string(bounds.end) + ", acknowledged to " + std::to_string(acked) +
         "; " + opened.report);
  }
  if (bounds.end > std::max(model.end, model.acked_end)) fail(name + "holds more than was issued: " + std::to_string(bounds.end));
  if (bounds.durable != bounds.end) fail(name + "not all of it is durable after a start");
  if ((bounds.start < model.start || bounds.start > model.start_asked) && !forgives_losses_) {
    fail(name + "start " + std::to_string(bounds.start) + ", trimmed to " + std::to_string(model.start) + ", asked " +
         std::to_string(model.start_asked));
  }
  model.start = model.start_asked = bounds.start;
  while (!model.issued.empty() && model.issued.back().base >= bounds.end) model.issued.pop_back();
  if (!model.issued.empty() && model.issued.back().next != bounds.end && bounds.end > bounds.start)
    fail(name + "ends within a batch");
  model.end = model.acked_end = bounds.end;
  model.under_way = 0;
  bool is_known_state = opened.replica_state.empty() && (!model.has_seal || model.truncating_to >= 0);
  for (const auto& [as_of, state] : model.seals) is_known_state = is_known_state || opened.replica_state.text() == state;
  if (!is_known_state && !opened.replica_state.empty() && !forgives_losses_) fail(name + "a replica state that was never sealed");
  if (!is_known_state && opened.replica_state.empty() && !forgives_losses_) {
    fail(name + "the replica state is lost");
  }
  if (opened.state_as_of > bounds.end) fail(name + "a replica state ahead of the log");
  model.truncating_to = -1;
  model.is_adding = false;
  model.replaced = {};
  model.seals.clear();
  model.has_seal = !opened.replica_state.empty();
  if (model.has_seal) model.seals.emplace_back(opened.state_as_of, std::string(opened.replica_state.text()));
}

void Rig::crash(CrashKind kind) {
  node_->crash(kind);
  ++life_;
  for (auto& [number, model] : models_) close_log(model);
  segment_.reset();
  engine_ = nullptr;
  node_->restart();
}

bool Rig::crash_and_start(CrashKind kind) {
  crash(kind);
  return start();
}

bool Rig::close_and_start() {
  settle();
  for (auto& [number, model] : models_) close_log(model);
  bool is_done = false;
  segment_->close([&](Status status) {
    is_done = true;
    if (!status.ok() && disk().faults().capacity_bytes == UINT64_MAX && !segment_->has_failed())
      fail("close: " + status.error().to_string());
  });
  world_->run_until([&] { return is_done; }, Duration::seconds(600));
  if (!is_done) fail("close does not end");
  segment_.reset();
  engine_ = nullptr;
  return start();
}

void Rig::settle() {
  world_->run_until([&] { return under_way_ == 0; }, Duration::seconds(600));
  if (under_way_ != 0) fail("operations do not end: " + std::to_string(under_way_));
}

void Rig::run_a_little() {
  static constexpr int64_t kMicros[] = {1, 20, 200, 2000, 30000};
  world_->run_for(Duration::micros(static_cast<int64_t>(random_.below(static_cast<uint64_t>(kMicros[random_.below(5)])))));
}

void Rig::create(int number) {
  next_number_ = std::max(next_number_, number + 1);
  Model& model = models_[number];
  model.id = ShardId{Uuid::random(options_.seed, static_cast<uint64_t>(number) + 1), number % 7};
  open_log(number, model, false);
}

int Rig::create_next() {
  create(next_number_);
  return next_number_ - 1;
}

void Rig::append(int number, size_t value_bytes, int batches) {
  Model& model = models_.at(number);
  if (!model.log || model.log->has_failed() || model.truncating_to >= 0) return;
  std::vector<Bytes> list;
  std::vector<uint64_t> serials;
  if (model.log->bounds().end != model.end)
    fail(model.id.to_string() + " end " + std::to_string(model.log->bounds().end) + " instead of " + std::to_string(model.end));
  if (random_.chance(50'000)) ++model.epoch;
  for (int i = 0; i < batches; ++i) {
    Issued issued;
    issued.serial = ++serial_;
    issued.base = model.end;
    issued.timestamp_ms = model.last_timestamp_ms + static_cast<int64_t>(random_.below(20)) - 5;
    model.last_timestamp_ms = issued.timestamp_ms;
    issued.bytes = make_batch(model.end, model.epoch, issued.timestamp_ms, value_bytes, issued.serial,
                              static_cast<int>(random_.between(1, 3)));
    issued.next = model.end = BatchView(issued.bytes).next_offset();
    list.push_back(Bytes::copy_of(issued.bytes));
    serials.push_back(issued.serial);
    model.issued.push_back(std::move(issued));
  }
  ++under_way_;
  ++model.under_way;
  const Offset next = model.end;
  model.log->append(std::move(list), [this, number, serials, next, life = life_](Status status) {
    if (life != life_) return;
    --under_way_;
    auto found = models_.find(number);
    if (found == models_.end()) return;
    Model& m = found->second;
    --m.under_way;
    if (status.ok()) {
      acked_ += serials.size();
      if (next <= m.acked_end) fail("appends are answered out of order");
      m.acked_end = next;
      return;
    }
    ++refused_;
    if (status.code() != Code::storage_full) return;  // unknown
    for (uint64_t serial : serials) {
      auto at = std::find_if(m.issued.begin(), m.issued.end(), [&](const Issued& i) { return i.serial == serial; });
      if (at != m.issued.end()) m.issued.erase(at);
    }
    // Refused ones are the last, until the log takes new ones at its end.
    m.end = m.log ? m.log->bounds().end : m.acked_end;
    while (!m.issued.empty() && m.issued.back().base >= m.end) m.issued.pop_back();
  });
}

void Rig::trim(int number, Offset keep_from) {
  Model& model = models_.at(number);
  if (!model.log) return;
  model.start_asked = std::max(model.start_asked, keep_from);
  ++under_way_;
  ++model.under_way;
  model.log->trim(keep_from, [this, number, keep_from, life = life_](Status status) {
    if (life != life_) return;
    --under_way_;
    auto found = models_.find(number);
    if (found == models_.end()) return;
    --found->second.under_way;
    if (status.ok()) found->second.start = std::max(found->second.start, keep_from);
  });
}

void Rig::retain(int number) {
  Model& model = models_.at(number);
  if (!model.log) return;
  model.log->retain(WallTime{model.last_timestamp_ms}, INT64_MAX);
  const Offset start = model.log->bounds().start;
  model.start_asked = std::max(model.start_asked, start);
  if (options_.kind == EngineKind::memory) model.start = std::max(model.start, start);
}

void Rig::truncate(int number, Offset keep_until) {
  Model& model = models_.at(number);
  if (!model.log || model.log->has_failed() || model.truncating_to >= 0 || model.under_way > 0) return;
  model.truncating_to = keep_until;
  ++under_way_;
  ++model.under_way;
  model.log->truncate(keep_until, [this, number, keep_until, life = life_](Status status) {
    if (life != life_) return;
    --under_way_;
    auto found = models_.find(number);
    if (found == models_.end()) return;
    Model& m = found->second;
    --m.under_way;
    if (!status.ok()) {
      if (status.code() != Code::storage_failed) fail("truncate: " + status.error().to_string());
      return;  // unknown until the next start
    }
    m.truncating_to = -1;
    m.replaced = {};
    while (!m.issued.empty() && m.issued.back().base >= keep_until) m.issued.pop_back();
    m.end = m.acked_end = std::min(keep_until, m.end);
    // A truncation drops a state that is ahead of it.
    const auto is_ahead = [&](const auto& seal) { return seal.first > keep_until; };
    if (!m.seals.empty() && is_ahead(m.seals.front())) m.has_seal = false;
    std::erase_if(m.seals, is_ahead);
  });
}

void Rig::seal(int number) {
  Model& model = models_.at(number);
  if (!model.log || model.truncating_to >= 0 || model.log->has_failed()) return;
  const Offset as_of = model.acked_end;
  std::string state = "state " + std::to_string(++serial_) + std::string(random_.below(300), 's');
  model.seals.emplace_back(as_of, state);
  ++under_way_;
  ++model.under_way;
  model.log->seal(Bytes::copy_of(state), as_of, [this, number, state, life = life_](Status status) {
    if (life != life_) return;
    --under_way_;
    auto found = models_.find(number);
    if (found == models_.end()) return;
    --found->second.under_way;
    auto& seals = found->second.seals;
    auto at = std::find_if(seals.begin(), seals.end(), [&](const auto& seal) { return seal.second == state; });
    if (at == seals.end()) return;
    if (status.ok()) {
      seals.erase(seals.begin(), at);
      found->second.has_seal = true;
    } else if (status.code() == Code::storage_full || status.code() == Code::offset_out_of_range)
      seals.erase(at);
  });
}

void Rig::remove(int number) {
  Model& model = models_.at(number);
  if (!model.log || model.under_way > 0) return;
  close_log(model);
  model.is_removing = true;
  ++under_way_;
  engine_->remove(model.id, [this, number, life = life_](Status status) {
    if (life != life_) return;
    --under_way_;
    Model& m = models_.at(number);
    if (!status.ok()) {
      if (status.code() != Code::storage_failed && status.code() != Code::storage_full)
        fail("remove: " + status.error().to_string());
      return;
    }
    gone_.insert(m.id);
    models_.erase(number);
  });
}

void Rig::reopen(int number) {
  Model& model = models_.at(number);
  if (!model.log || options_.kind == EngineKind::memory || model.under_way > 0) return;
  close_log(model);
  open_log(number, model, false);
}

std::optional<size_t> Rig::index_of(const std::deque<Issued>& issued, Offset offset) {
  for (size_t i = 0; i < issued.size(); ++i) {
    if (offset >= issued[i].base && offset < issued[i].next) return i;
  }
  return std::nullopt;
}

Bytes Rig::bytes_of(const Piece& piece) {
  if (!piece.is_stored()) return piece.bytes;
  const auto& file = static_cast<const runtime::sim::SimFile&>(*piece.stored.source);
  return file.read_now(piece.stored.position, static_cast<size_t>(piece.size));
}

void Rig::check_read(Model& model, Offset from, const ReadLimits& limits, const ReadResult& result) {
  const std::string name = model.id.to_string() + " read from " + std::to_string(from) + ": ";
  Buffer all;
  for (const Piece& piece : result.pieces) {
    Bytes bytes = bytes_of(piece);
    if (bytes.size() != piece.size) return fail(name + "a stored range is shorter than it says");
    all.append(bytes);
  }
  const Bytes bytes = all.take();
  const std::string wrong = judge(model, model.issued, from, limits, bytes, result.next);
  if (wrong.empty()) return;
  // While a rewrite is under way either may be read; which of them a crash left shows with the first read that tells.
  const bool may_be_new = model.is_committing && !model.rewritten.empty();
  if (may_be_new && judge(model, with(model.issued, model.rewritten), from, limits, bytes, result.next).empty()) {
    if (model.rewrite) return;
    model.issued = with(std::move(model.issued), model.rewritten);
    model.rewritten = {};
    return;
  }
  if (!model.replaced.empty() && judge(model, with(model.issued, model.replaced), from, limits, bytes, result.next).empty())
    return;
  fail(name + wrong);
}

void Rig::read(int number, Offset from, ReadLimits limits) {
  Model& model = models_.at(number);
  if (!model.log) return;
  const Bounds bounds = model.log->bounds();
  if (model.under_way == 0) model.replaced = {};
  ++under_way_;
  ++model.under_way;
  const Offset acked_before = model.acked_end;
  model.log->read(from, limits, [this, number, from, limits, bounds, acked_before, life = life_](Result<ReadResult> result) {
    if (life != life_) return;
    --under_way_;
    auto found = models_.find(number);
    if (found == models_.end()) return;
    Model& m = found->second;
    --m.under_way;
    // What was trimmed or cut meanwhile is not judged.
    const bool has_changed =
        !m.log || m.log->bounds().start != bounds.start || m.acked_end < acked_before || m.truncating_to >= 0;
    if (result.ok()) {
      if (!has_changed) check_read(m, from, limits, *result);
    } else if (result.code() == Code::offset_out_of_range) {
      if (from >= bounds.start && from <= bounds.end && !has_changed) fail("read refused at " + std::to_string(from));
    } else if (!forgives_losses_ && !has_changed) {
      fail(m.id.to_string() + " read at " + std::to_string(from) + ": " + result.error().to_string());
    }
  });
}

void Rig::find_by_time(int number, int64_t timestamp_ms) {
  Model& model = models_.at(number);
  if (!model.log || model.under_way > 0) return;
  ++under_way_;
  ++model.under_way;
  const auto before = std::tuple(model.log->bounds().start, model.acked_end, model.rewrites, model.is_committing);
  model.log->find(FindByTime{timestamp_ms}, [this, number, timestamp_ms, before,
                                             life = life_](Result<std::optional<Found>> found) {
    if (life != life_) return;
    --under_way_;
    if (!models_.contains(number)) return;
    Model& m = models_.at(number);
    --m.under_way;
    if (!m.log || m.truncating_to >= 0 || before != std::tuple(m.log->bounds().start, m.acked_end, m.rewrites, m.is_committing))
      return;
    const Issued* expected = nullptr;
    for (const Issued& issued : m.issued) {
      if (!expected && issued.next > m.log->bounds().start && issued.next <= m.acked_end && issued.timestamp_ms >= timestamp_ms)
        expected = &issued;
    }
    if (!found.ok()) return fail("find by time: " + found.error().to_string());
    if (found->has_value() != (expected != nullptr)) return fail("find by time: found or not");
    if (expected && !((*found)->batch == expected->bytes))
      fail("find by time: another batch than at " + std::to_string(expected->base));
  });
}

void Rig::find_max_time(int number) {
  Model& model = models_.at(number);
  if (!model.log || model.under_way > 0) return;
  ++under_way_;
  ++model.under_way;
  const auto before = std::tuple(model.log->bounds().start, model.acked_end, model.rewrites, model.is_committing);
  model.log->find(FindMaxTime{}, [this, number, before, life = life_](Result<std::optional<Found>> found) {
    if (life != life_) return;
    --under_way_;
    if (!models_.contains(number)) return;
    Model& m = models_.at(number);
    --m.under_way;
    if (!m.log || m.truncating_to >= 0 || before != std::tuple(m.log->bounds().start, m.acked_end, m.rewrites, m.is_committing))
      return;
    const Issued* expected = nullptr;
    for (const Issued& issued : m.issued) {
      if (issued.next <= m.log->bounds().start || issued.next > m.acked_end) continue;
      if (!expected || issued.timestamp_ms > expected->timestamp_ms) expected = &issued;
    }
    if (!found.ok()) return fail("find max time: " + found.error().to_string());
    if (found->has_value() != (expected != nullptr)) return fail("find max time: found or not");
    if (expected && !((*found)->batch == expected->bytes))
      fail("find max time: another batch than at " + std::to_string(expected->base));
  });
}

void Rig::check_all() {
  for (auto& [number, model] : models_) {
    if (!model.log || model.is_removing) continue;
    Offset at = model.log->bounds().start;
    while (at < model.acked_end) {
      bool is_done = false;
      Offset next = at;
      ReadLimits limits;
      limits.bytes_max = random_.between(1, 20'000);
      model.log->read(at, limits, [&](Result<ReadResult> result) {
        is_done = true;
        if (!result.ok()) {
          if (!forgives_losses_)
            fail(model.id.to_string() + " check at " + std::to_string(at) + ": " + result.error().to_string());
          return;
        }
        if (!forgives_losses_ || result->next > at) check_read(model, at, limits, *result);
        next = result->next;
      });
      world_->run_until([&] { return is_done; }, Duration::seconds(600));
      if (!is_done) fail("a read does not end");
      if (next == at) {
        if (!forgives_losses_) break;
        // Damage: the next batch must be readable or damaged too, never wrong.
        const std::optional<size_t> i = index_of(model.issued, at);
        if (!i) break;
        next = model.issued[*i].next;
      }
      at = next;
    }
  }
}

Rig::Model* Rig::random_open_model() {
  if (models_.empty()) return nullptr;
  auto at = models_.begin();
  std::advance(at, static_cast<long>(random_.below(models_.size())));
  return at->second.log && !at->second.is_removing ? &at->second : nullptr;
}

void Rig::step() {
  if (models_.empty() || (models_.size() < 4 && random_.chance(60'000))) return create(next_number_);
  Model* model = random_open_model();
  if (!model) return run_a_little();
  int number = 0;
  for (auto& [n, m] : models_) {
    if (&m == model) number = n;
  }
  const Bounds bounds = model->log->bounds();
  const uint64_t dice = random_.below(100);
  if (dice < 45) {
    const bool is_large = random_.chance(150'000);
    append(number, random_.below(is_large ? static_cast<uint64_t>(options_.batch_bytes_max) * 3 : 300),
           static_cast<int>(random_.between(1, 3)));
  } else if (dice < 70) {
    ReadLimits limits;
    limits.bytes_max = random_.between(1, 6000);
    limits.first_batch_over_limit = random_.chance(800'000);
    if (random_.chance(200'000) && !model->issued.empty()) limits.end = model->issued[random_.below(model->issued.size())].base;
    read(number, bounds.start + static_cast<Offset>(random_.below(static_cast<uint64_t>(bounds.end - bounds.start) + 2)), limits);
  } else if (dice < 74) {
    find_by_time(number, 990 + static_cast<int64_t>(
                                   random_.below(static_cast<uint64_t>(std::max<int64_t>(model->last_timestamp_ms - 960, 1)))));
  } else if (dice < 76) {
    find_max_time(number);
  } else if (dice < 80) {
    trim(number,
         std::min(model->acked_end,
                  bounds.start + static_cast<Offset>(random_.below(static_cast<uint64_t>(bounds.end - bounds.start) + 1))));
  } else if (dice < 84) {
    if (model->issued.empty() || model->under_way > 0) return;
    const Issued& issued = model->issued[random_.below(model->issued.size())];
    if (issued.base >= bounds.start && model->start_asked <= issued.base) truncate(number, issued.base);
  } else if (dice < 88) {
    seal(number);
  } else if (dice < 90) {
    remove(number);
  } else if (dice < 92) {
    reopen(number);
  } else if (dice < 93) {
    retain(number);
  } else if (dice < 94 && options_.kind == EngineKind::segment) {
    segment_->checkpoint([](Status) {});
  } else if (dice < 97) {
    rewrite(number);
  } else {
    run_a_little();
  }
}

}  // namespace robustmq::storage::conformance
