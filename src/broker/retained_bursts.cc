#include "broker/retained_bursts.h"

#include <algorithm>
#include <utility>

#include "base/hash.h"

namespace robustmq::broker {
namespace {

bool has_wildcard(std::string_view filter) { return filter.find_first_of("+#") != std::string_view::npos; }

bool is_published_as_retained(const RecordView& record) {
  if (record.header_count == 0) return false;
  HeaderReader headers(record);
  HeaderView header;
  while (headers.next(header)) {
    if (header.key == "mqtt.retain") return true;
  }
  return false;
}

}  // namespace

RetainedBursts::RetainedBursts(runtime::Core& core, RetainedHome& home)
    : core_(core),
      home_(home),
      looks_(
          core,
          [this](uint64_t connection_id) -> SinkLooks::Pace* {
            const auto found = bursts_.find(connection_id);
            return found == bursts_.end() ? nullptr : &found->second->pace;
          },
          // Nothing while it asks or is held.
          [this](uint64_t connection_id) { advance(BurstPtr(bursts_.at(connection_id))); }) {}

bool RetainedBursts::prepare(Context& context, const FollowOne& wanted, bool is_new) {
  if (!wanted.share.empty() || wanted.retain_handling == RetainHandling::never) return false;
  if (wanted.retain_handling == RetainHandling::if_new && !is_new) return false;
  stop(context, wanted.filter);  // an older burst of the same subscription
  BurstPtr& burst = bursts_[context.connection_id];
  if (!burst) {
    context.has_burst = true;
    burst = std::make_shared<Burst>(context);
    ++home_.metrics().bursts;
  }
  burst->wanted.push_back(wanted);
  ++burst->held;
  return true;
}

void RetainedBursts::start(uint64_t connection_id, size_t count) {
  const auto found = bursts_.find(connection_id);
  if (found == bursts_.end()) return;
  found->second->held -= std::min(found->second->held, count);
  advance(BurstPtr(found->second));
}

void RetainedBursts::stop(const Context& context, std::string_view filter) {
  const auto found = bursts_.find(context.connection_id);
  if (found == bursts_.end()) return;
  Burst& burst = *found->second;
  const auto is_it = [&](const FollowOne& one) { return one.filter == filter; };
  const bool is_being_read = !burst.wanted.empty() && is_it(burst.wanted.front());
  const auto behind = burst.wanted.begin() + (burst.wanted.empty() ? 0 : 1);
  burst.wanted.erase(std::remove_if(behind, burst.wanted.end(), is_it), burst.wanted.end());
  if (!is_being_read) return;
  // Its answer, if one is on the way, is not waited for.
  next_filter(burst);
  advance(BurstPtr(found->second));
}

void RetainedBursts::close(const Context& context) {
  const auto found = bursts_.find(context.connection_id);
  if (found == bursts_.end() || found->second->context != &context) return;
  found->second->is_over = true;
  found->second->context->has_burst = false;
  bursts_.erase(found);
  --home_.metrics().bursts;
}

void RetainedBursts::note_live(const Context& context, std::string_view topic, const RecordView& record) {
  const auto found = bursts_.find(context.connection_id);
  if (found == bursts_.end() || found->second->live.size() >= kLiveTopicsMax) return;
  if (is_published_as_retained(record)) found->second->live.emplace(topic);
}

void RetainedBursts::next_filter(Burst& burst) {
  burst.wanted.pop_front();
  burst.piece = {};
  burst.next = 0;
  burst.is_begun = false;
  burst.is_asking = false;
  ++burst.question;
}

void RetainedBursts::advance(const BurstPtr& burst) {
  while (!burst->is_over && !burst->is_asking && burst->held == 0) {
    if (!deliver(burst)) {
      if (!burst->is_over) looks_.wait(burst->context->connection_id, burst->pace, *burst->context);
      return;
    }
    if (burst->wanted.empty()) return close(*burst->context);
    const std::string& filter = burst->wanted.front().filter;
    const bool is_wild = has_wildcard(filter);
    if (!burst->is_begun) {
      burst->is_begun = true;
      burst->core = is_wild ? 0 : home_.home_of(filter);
    } else if (burst->piece.is_last) {
      burst->piece = {};
      if (!is_wild || ++burst->core == core_.count()) {
        next_filter(*burst);
        continue;
      }
    }
    ask(burst);
  }
}

void RetainedBursts::ask(const BurstPtr& burst) {
  burst->is_asking = true;
  const uint64_t question = ++burst->question;
  home_.read(burst->core, burst->wanted.front().filter, std::move(burst->piece.at), {},
             [this, alive = std::weak_ptr<bool>(alive_), burst, question](RetainedHome::Piece piece) {
               if (alive.expired() || burst->is_over || burst->question != question) return;
               burst->is_asking = false;
               burst->piece = std::move(piece);
               burst->next = 0;
               advance(burst);
             });
}

bool RetainedBursts::deliver(const BurstPtr& burst) {
  while (burst->next < burst->piece.messages.size()) {
    Context& context = *burst->context;
    if (!context.sink->is_ready()) {
      ++home_.metrics().bursts_paused_total;
      return false;
    }
    // Taken out: a delivery may end the burst.
    const auto [topic, message] = std::move(burst->piece.messages[burst->next++]);
    const FollowOne& wanted = burst->wanted.front();
    if (burst->live.contains(topic)) continue;
    if (message.expires_at_ms() <= core_.wall_now().ms) continue;
    if (wanted.no_local && message.publisher != 0 && message.publisher == hash64(as_bytes(context.session))) continue;
    const std::vector<uint32_t> ids(wanted.subscription_id != 0 ? 1 : 0, wanted.subscription_id);
    ++home_.metrics().messages_delivered_total;
    burst->pace.has_sent = true;
    DeliveryScratch scratch;
    const RecordView record = message.record();
    context.sink->on_delivery(Delivery{.topic = topic,
                                       .record = record,
                                       .owner = message.body,
                                       .qos_max = wanted.qos_max,
                                       .retain_as_published = wanted.retain_as_published,
                                       .is_retained = true,
                                       .subscription_ids = ids.empty() ? nullptr : &ids,
                                       .scratch = scratch});
    if (burst->is_over) return false;
  }
  return true;
}

}  // namespace robustmq::broker
