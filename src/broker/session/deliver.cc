// Sessions: what stored sessions are handed and settle, and the packet ids they publish.
#include <algorithm>
#include <map>
#include <utility>

#include "base/wire.h"
#include "broker/session/sessions.h"

namespace robustmq::broker {

// ---- Progress: how far a session has come ----

void Sessions::put_progress(Session& session, Callback<void(Status)> done) {
  ProgressRow row;
  for (uint16_t source = 0; source < session.seen.size(); ++source) row.seen.push_back({source, session.seen[source]});
  for (const Lease& lease : session.leases.all())
    row.leases.push_back({lease.id, lease.qos, lease.is_received, lease.source, lease.offset});
  const uint64_t covered = session.packets.write_to(row);
  storage::KvBatch batch;
  batch.put(progress_key(kDefaultTenant, session.client_id), encode_described(row));
  std::erase_if(session.packet_rows, [&](uint64_t sequence) {
    if (sequence > covered) return false;
    batch.remove(packet_key(kDefaultTenant, session.client_id, sequence));
    return true;
  });
  rows_.write(std::move(batch), counted([this, alive = std::weak_ptr<bool>(alive_), id = session.client_id, covered,
                                         done = std::move(done)](Status status) mutable {
                if (status.ok() && !alive.expired() && covered > 0) {
                  for (uint16_t source = 0; source < spools_.count(); ++source)
                    spools_.at(source, [id, covered](Spool& spool) { spool.unpin(id, covered); });
                }
                done(std::move(status));
              }));
}

void Sessions::touch(Session& session) {
  if (std::exchange(session.is_dirty, true)) return;
  if (dirty_.empty()) core_.arm(flush_timer_, core_.now() + Duration::millis(options_.flush_ms));
  dirty_.push_back(session.client_id);
}

void Sessions::flush() {
  const auto dirty = std::exchange(dirty_, {});
  for (const std::string& client_id : dirty) {
    const auto found = sessions_.find(client_id);
    if (found == sessions_.end()) continue;
    Session& session = *found->second;
    session.is_dirty = false;
    put_progress(session, [](Status) {});
    if (session.live && !session.live->unsent.empty()) write_unsent(session);
  }
  tell_positions(dirty);
}

void Sessions::tell_positions(const std::vector<std::string>& client_ids) {
  for (uint16_t source = 0; source < spools_.count(); ++source) {
    std::vector<std::pair<std::string, Offset>> positions;
    for (const std::string& client_id : client_ids) {
      const auto found = sessions_.find(client_id);
      if (found != sessions_.end()) positions.emplace_back(client_id, found->second->position(source));
    }
    spools_.at(source, [positions = std::move(positions)](Spool& spool) {
      for (const auto& [client_id, position] : positions) spool.settle(client_id, position);
    });
  }
}

// ---- What was handed out before, again ----

void Sessions::send_again(Session& session) {
  std::map<uint16_t, std::vector<Offset>> wanted;
  for (const Lease& lease : session.leases.all()) {
    if (!lease.is_received) wanted[lease.source].push_back(lease.offset);
  }
  struct Gathering {
    std::vector<OwedMessage> messages;  // their offsets lie in the source that `source` names, one for each
    std::vector<uint16_t> sources;
    size_t waiting = 1;
  };
  auto gathering = std::make_shared<Gathering>();
  auto finish_one = [this, alive = std::weak_ptr<bool>(alive_), id = session.client_id, connection = session.connection,
                     gathering] {
    if (--gathering->waiting > 0 || alive.expired()) return;
    finish_again(id, connection, gathering->messages, gathering->sources);
  };
  gathering->waiting += wanted.size();
  for (auto& [source, places] : wanted) {
    std::sort(places.begin(), places.end());
    spools_.at(source, [id = session.client_id, offsets = std::move(places), spools = &spools_.on(source), home = core_.index(),
                        gathering, finish_one, number = source](Spool& spool) mutable {
      spool.read_again(id, std::move(offsets), [spools, home, gathering, finish_one, number](std::vector<OwedMessage> found) {
        spools->back(home, [found = std::move(found), gathering, finish_one, number]() mutable {
          for (OwedMessage& message : found) {
            gathering->messages.push_back(std::move(message));
            gathering->sources.push_back(number);
          }
          finish_one();
        });
      });
    });
  }
  finish_one();
}

void Sessions::finish_again(const std::string& id, uint64_t connection, const std::vector<OwedMessage>& messages,
                            const std::vector<uint16_t>& sources) {
  Session* session = find(id, connection);
  if (!session) return;
  std::map<std::pair<uint16_t, Offset>, const OwedMessage*> by_place;
  for (size_t i = 0; i < messages.size(); ++i) by_place[{sources[i], messages[i].offset}] = &messages[i];
  const std::vector<Lease> leases = session->leases.all();
  for (const Lease& lease : leases) {
    if (lease.is_received) {
      OwedMessage released;
      deliver(*session, released, lease.id, true);
      continue;
    }
    const auto found = by_place.find({lease.source, lease.offset});
    if (found != by_place.end()) {
      deliver(*session, *found->second, lease.id, true);
      continue;
    }
    ++metrics_.messages_lost_total;
    session->leases.end(lease.id);
    touch(*session);
  }
  session->live->is_ready = true;
  for (uint16_t source = 0; source < spools_.count(); ++source)
    spools_.at(source, [place = attachment(*session, source)](Spool& spool) { spool.attach(place); });
}

// ---- New ones ----

void Sessions::take(Handed handed) {
  Session* session = find(handed.client_id, handed.connection);
  if (!session) return;
  auto& buffered = session->live->sources[handed.source].buffered;
  for (OwedMessage& message : handed.messages) buffered.push_back(std::move(message));
  drain(*session);
}

void Sessions::drain(Session& session) {
  Session::Live& live = *session.live;
  if (!live.is_ready || std::exchange(live.is_draining, true)) return;
  do {
    while (take_next(session)) {
    }
    give_credit(session);  // may bring more at once
  } while (take_next(session));
  live.is_draining = false;
  if (!live.unsent.empty()) write_unsent(session);
}

// Takes one message out of a buffer. False: there is none, or too much is leased.
bool Sessions::take_next(Session& session) {
  Session::Live& live = *session.live;
  for (size_t tried = 0; tried < live.sources.size(); ++tried) {
    const auto number = static_cast<uint16_t>(live.next_source % live.sources.size());
    Session::Live::Source& source = live.sources[number];
    if (source.buffered.empty()) {
      ++live.next_source;
      continue;
    }
    OwedMessage& front = source.buffered.front();
    const SessionMatch& match = match_of(session, front);
    const uint8_t qos = std::min(front.qos, match.qos_max);
    const bool is_over = is_expired(front.expiry_s, front.record.timestamp_ms, core_.wall_now().ms);
    const bool is_sent = match.is_wanted && !is_over;
    uint16_t lease = 0;
    if (is_sent && qos > 0) {
      if (session.leases.size() >= live.inflight_max) return false;
      lease = session.leases.take(qos, number, front.offset);
      if (lease == 0) return false;
    }
    metrics_.messages_expired_total += is_over;
    OwedMessage message = std::move(front);
    source.buffered.pop_front();
    ++source.used;
    session.see(number, message.offset + 1);
    touch(session);
    if (!is_sent) return true;
    if (qos == 2 || !live.unsent.empty())
      live.unsent.push_back({std::move(message), lease});
    else
      deliver(session, message, lease, false);
    return true;
  }
  return false;
}

void Sessions::give_credit(Session& session) {
  const uint32_t window = std::min<uint32_t>(session.live->inflight_max, kWindowMax);
  for (uint16_t number = 0; number < session.live->sources.size(); ++number) {
    Session::Live::Source& source = session.live->sources[number];
    if (source.used * 2 < window) continue;
    spools_.at(number, [id = session.client_id, connection = session.connection,
                        credit = std::exchange(source.used, 0)](Spool& spool) { spool.grant(id, connection, credit); });
  }
}

// The packet id before the PUBLISH: what the row has is sent, then the next row is written.
void Sessions::write_unsent(Session& session) {
  if (std::exchange(session.live->is_writing, true)) return;
  put_progress(session, [this, alive = std::weak_ptr<bool>(alive_), id = session.client_id, connection = session.connection,
                         count = session.live->unsent.size()](const Status& status) {
    if (alive.expired()) return;
    Session* mine = find(id, connection);
    if (!mine) return;
    mine->live->is_writing = false;
    if (!status.ok()) {  // the disk is full: tried again with the next change
      touch(*mine);
      return;
    }
    for (size_t i = 0; i < count; ++i) {
      const Session::Waiting next = std::move(mine->live->unsent.front());
      mine->live->unsent.pop_front();
      deliver(*mine, next.message, next.lease, false);
    }
    if (!mine->live->unsent.empty()) write_unsent(*mine);
  });
}

const SessionMatch& Sessions::match_of(Session& session, const OwedMessage& message) {
  Session::Live& live = *session.live;
  if (live.has_match && live.topic == message.topic && !message.is_own) return live.match;
  live.match = session.match(message);
  live.topic = message.topic;
  live.has_match = !message.is_own;
  return live.match;
}

void Sessions::deliver(Session& session, const OwedMessage& message, uint16_t lease, bool is_again) {
  const Lease* known = lease ? session.leases.find(lease) : nullptr;
  DeliveryScratch scratch;
  const SessionMatch& match = match_of(session, message);
  ++metrics_.messages_handed_total;
  if (hooks_.handing) hooks_.handing(*session.context, message.topic, message.record);
  session.context->sink->on_delivery(Delivery{.topic = message.topic,
                                              .record = message.record,
                                              .owner = message.owner,
                                              .qos_max = known ? std::max(known->qos, match.qos_max) : match.qos_max,
                                              .retain_as_published = match.retain_as_published,
                                              .lease = lease,
                                              .is_again = is_again,
                                              .is_received = known && known->is_received,
                                              .subscription_ids = match.ids.empty() ? nullptr : &match.ids,
                                              .scratch = scratch});
}

void Sessions::settle(Context& context, const Settle& request, ReplyTo done) {
  Session* session = of(context);
  Settled reply;
  if (!session) {
    reply.leases.assign(request.leases.size(), Code::not_found);
    return done(std::move(reply));
  }
  bool must_be_stored = false;
  for (const Settle::One& one : request.leases) {
    bool is_known = false;
    if (one.outcome == Settle::Outcome::done) {
      is_known = session->leases.end(one.lease);
    } else if (Lease* lease = session->leases.find(one.lease); lease && lease->qos == 2) {
      is_known = lease->is_received = true;
      must_be_stored = true;
    }
    reply.leases.push_back(is_known ? Code::ok : Code::not_found);
  }
  touch(*session);
  drain(*session);
  if (!must_be_stored) return done(std::move(reply));
  put_progress(*session, [done = std::move(done), reply = std::move(reply)](const Status& status) mutable {
    if (!status.ok()) return done(status.error());
    done(std::move(reply));
  });
}

void Sessions::end_over_limit(const std::string& client_id, uint64_t connection) {
  if (Session* session = find(client_id, connection)) session->context->sink->on_notice(Notice::over_limit);
}

// ---- QoS 2 from the client ----

std::string Sessions::begin_packet(const Context& context, uint16_t packet_id) {
  Session* session = of(context);
  if (!session || packet_id == 0) return {};
  // Every core looks for marks from now on.
  if (!std::exchange(has_marks_, true)) {
    for (uint16_t source = 0; source < core_.count(); ++source)
      spools_.at(source, [spools = &spools_.on(source)](Spool&) { spools->use(); });
  }
  session->packets.begin(packet_id, ++sequence_);
  return encode_packet({sequence_, packet_id, session->client_id});
}

std::optional<storage::KvBatch::Put> Sessions::begin_packet_row(const Context& context, uint16_t packet_id) {
  Session* session = of(context);
  if (!session || packet_id == 0) return std::nullopt;
  session->packets.begin(packet_id, ++sequence_);
  session->packet_rows.push_back(sequence_);
  return storage::KvBatch::Put{packet_key(kDefaultTenant, session->client_id, sequence_),
                               encode_described(PacketRow{packet_id, sequence_})};
}

std::optional<PacketRepeat> Sessions::repeat_of(const Context& context) const {
  const Session* session = of(context);
  return session && session->is_restored ? std::optional(session->packets.settled()) : std::nullopt;
}

void Sessions::finish_packets(std::string_view client_id, const std::vector<std::pair<uint16_t, Code>>& packets) {
  const auto found = sessions_.find(client_id);
  if (found == sessions_.end()) {
    // It ended meanwhile, or the node does: then the spools may be gone.
    const bool is_ending =
        std::any_of(packets.begin(), packets.end(), [](const auto& one) { return one.second == Code::shutting_down; });
    if (!is_ending) unpin({{std::string(client_id), UINT64_MAX}});
    return;
  }
  Session& session = *found->second;
  for (const auto& [packet_id, code] : packets) session.packets.finish(packet_id, code == Code::ok);
  touch(session);
  if (!session.packets.has_under_way()) {
    if (auto quiet = std::exchange(session.when_quiet, {})) quiet();
  }
}

void Sessions::release(Context& context, const Release& request, ReplyTo done) {
  Session* session = of(context);
  if (!session) return done(Released{});
  for (uint16_t packet_id : request.packet_ids) session->packets.release(packet_id);
  put_progress(*session, [done = std::move(done)](const Status& status) mutable {
    if (!status.ok()) return done(status.error());
    done(Released{});
  });
}

void Sessions::restore_packets(const std::vector<PacketPair>& found) {
  if (!is_loaded_) {
    early_packets_.insert(early_packets_.end(), found.begin(), found.end());
    return;
  }
  std::map<std::string, uint64_t> settled;
  for (const PacketPair& pair : found) {
    const auto at = sessions_.find(pair.client_id);
    // Of a session that is over, or known to the row.
    if (at == sessions_.end() || pair.sequence <= at->second->packets.covered()) {
      uint64_t& up_to = settled[pair.client_id];
      up_to = std::max(up_to, pair.sequence);
    } else {
      at->second->packets.restore(pair.packet_id, pair.sequence);
    }
  }
  if (!settled.empty()) unpin(settled);
}

void Sessions::unpin(const std::map<std::string, uint64_t>& up_to) {
  // At a start another core's spools may be read before this one's are counted.
  const uint16_t count = std::max<uint16_t>(spools_.count(), core_.count());
  for (uint16_t source = 0; source < count; ++source) {
    spools_.at(source, [up_to](Spool& spool) {
      for (const auto& [client_id, sequence] : up_to) spool.unpin(client_id, sequence);
    });
  }
}

}  // namespace robustmq::broker
