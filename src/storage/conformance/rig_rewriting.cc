// The rig: rewrites, and what may be read while one is under way.
#include <utility>

#include "base/empty_batch.h"
#include "storage/conformance/rig.h"

namespace robustmq::storage::conformance {

std::string Rig::judge(const Model& model, const std::deque<Issued>& issued, Offset from, const ReadLimits& limits,
                       ByteSpan bytes, Offset result_next) const {
  size_t at = 0;
  Offset next = from;
  for (std::optional<size_t> i = index_of(issued, from); at < bytes.size(); ++*i) {
    if (!i || *i >= issued.size()) return "gives more than was issued";
    const Issued& one = issued[*i];
    Bytes expected = one.bytes;
    if (forgives_losses_ && bytes.size() - at >= kBatchHeaderBytes) {
      // The leader epoch lies outside a batch's CRC: damage there is not seen.
      expected = Bytes::copy_of(expected);
      std::memcpy(expected.patchable() + 12, bytes.data() + at + 12, 4);
    }
    if (expected.size() > bytes.size() - at || std::memcmp(expected.data(), bytes.data() + at, expected.size()) != 0)
      return "batch at " + std::to_string(one.base) + " differs";
    if (one.base >= limits.end) return "a batch past the asked end";
    if (one.next > model.acked_end && model.truncating_to < 0) return "a batch that is not durable yet";
    at += one.bytes.size();
    if (at > limits.bytes_max && !(limits.first_batch_over_limit && at == one.bytes.size())) return "more bytes than asked";
    next = one.next;
  }
  if (result_next != next) return "next is " + std::to_string(result_next) + " instead of " + std::to_string(next);
  const Offset end = std::min(limits.end, model.acked_end);
  if (bytes.empty() && from < end && limits.first_batch_over_limit && model.truncating_to < 0)
    return "nothing, though there is more";
  return "";
}

std::deque<Rig::Issued> Rig::with(std::deque<Issued> issued, const Range& range) {
  std::deque<Issued> result;
  bool is_in = false;
  for (Issued& one : issued) {
    const bool is_within = one.base >= range.from && one.next <= range.until;
    if (is_within && !is_in) {
      is_in = true;
      for (const Issued& other : range.batches) result.push_back(other);
    }
    if (!is_within) result.push_back(std::move(one));
  }
  return result;
}

Rig::Range Rig::range_of(const std::deque<Issued>& issued, Offset from, Offset until) {
  Range range{from, until, {}};
  for (const Issued& one : issued) {
    if (one.base >= from && one.next <= until) range.batches.push_back(one);
  }
  return range;
}

// Some batches as they are, for the others empty ones, of neighbours together where their epoch is one.
Rig::Range Rig::other_batches(const Model& model, Offset from, Offset until) {
  Range range{from, until, {}};
  EmptyBatch gap;
  bool has_gap = false;
  const auto end_gap = [&] {
    if (!std::exchange(has_gap, false)) return;
    range.batches.push_back({gap.base, gap.last + 1, encode_empty_batch(gap), -1, ++serial_});
  };
  for (const Issued& one : range_of(model.issued, from, until).batches) {
    const LeaderEpoch epoch = BatchView(one.bytes).leader_epoch();
    if (random_.chance(600'000)) {
      end_gap();
      range.batches.push_back(one);
      continue;
    }
    if (has_gap && gap.leader_epoch != epoch) end_gap();
    if (!has_gap) gap = {.base = one.base, .leader_epoch = epoch};
    has_gap = true;
    gap.last = one.next - 1;
  }
  end_gap();
  return range;
}

void Rig::rewrite(int number) {
  Model& model = models_.at(number);
  if (!model.log || model.truncating_to >= 0 || model.is_committing || model.is_adding) return;
  if (!model.rewrite) {
    const size_t first = random_.below(4);
    return begin_rewrite(number, first, random_.between(1, 3));
  }
  model.is_committing = true;
  ++under_way_;
  ++model.under_way;
  model.rewrite->commit([this, number, life = life_](Status status) {
    if (life != life_) return;
    --under_way_;
    auto found = models_.find(number);
    if (found == models_.end()) return;
    Model& m = found->second;
    --m.under_way;
    if (status.ok()) {
      ++rewrites_;
      ++m.rewrites;
      m.replaced = range_of(m.issued, m.rewritten.from, m.rewritten.until);
      m.issued = with(std::move(m.issued), m.rewritten);
    } else if (status.code() == Code::storage_failed) {
      return;  // unknown until the next start
    } else if (status.code() != Code::not_attempted && status.code() != Code::storage_full) {
      fail("rewrite: " + status.error().to_string());
    }
    m.is_committing = false;
    m.rewritten = {};
    m.rewrite.reset();
  });
}

void Rig::begin_rewrite(int number, size_t first_part, size_t parts) {
  Model& model = models_.at(number);
  ++under_way_;
  ++model.under_way;
  model.log->list_parts([this, number, first_part, parts, life = life_](std::vector<SealedPart> there) {
    if (life != life_) return;
    --under_way_;
    if (!models_.contains(number)) return;
    Model& m = models_.at(number);
    --m.under_way;
    if (!m.log || m.truncating_to >= 0 || m.rewrite || m.is_removing) return;
    for (const SealedPart& part : there) {
      const std::optional<size_t> at = index_of(m.issued, part.begin);
      if (part.end > m.acked_end || !at || m.issued[*at].base != part.begin) return fail("a part that is none");
    }
    if (first_part >= there.size()) return;
    const SealedPart& last = there[std::min(first_part + parts, there.size()) - 1];
    const Offset from = there[first_part].begin;
    Range range = other_batches(m, from, last.end);
    ++under_way_;
    ++m.under_way;
    const uint64_t operation = ++rewrite_last_;
    m.rewriting = operation;
    m.log->rewrite(
        from, last.end,
        [this, number, operation, range = std::move(range), life = life_](Result<std::unique_ptr<Rewrite>> begun) mutable {
          if (life != life_) return;
          --under_way_;
          if (!models_.contains(number)) return;
          Model& rewriting = models_.at(number);
          --rewriting.under_way;
          if (!begun.ok() || rewriting.rewriting != operation || rewriting.rewrite || rewriting.truncating_to >= 0) return;
          rewriting.rewrite = begun.take();
          rewriting.rewritten = std::move(range);
          rewriting.is_adding = true;
          add_rewritten(number, 0);
        });
  });
}

void Rig::add_rewritten(int number, size_t from) {
  Model& model = models_.at(number);
  const std::vector<Issued>& batches = model.rewritten.batches;
  if (from == batches.size()) {
    model.is_adding = false;
    return;
  }
  std::vector<Bytes> some;
  for (size_t left = random_.between(1, 6); left > 0 && from < batches.size(); --left) some.push_back(batches[from++].bytes);
  ++under_way_;
  ++model.under_way;
  model.rewrite->add(std::move(some), [this, number, from, life = life_](Status status) {
    if (life != life_) return;
    --under_way_;
    if (!models_.contains(number)) return;
    Model& m = models_.at(number);
    --m.under_way;
    if (!m.rewrite) return;
    if (status.ok()) return add_rewritten(number, from);
    m.is_adding = false;
    m.rewritten = {};
    m.rewrite.reset();
  });
}

}  // namespace robustmq::storage::conformance
