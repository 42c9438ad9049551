#include "broker/publisher.h"

#include <utility>

#include "base/hash.h"
#include "base/topic_names.h"
#include "broker/delayed.h"
#include "broker/origin.h"
#include "broker/session/sessions.h"
#include "broker/session/spools.h"

namespace robustmq::broker {

Publisher::Publisher(runtime::Core& core, meta::Meta& meta, const TopicRules& rules, FanOut& fan_out, LightTopics& lights,
                     Streams& streams, Locator& locator, RetainedHome& retained, const BrokerOptions& options,
                     BrokerMetrics& metrics)
    : core_(core),
      meta_(meta),
      rules_(rules),
      fan_out_(fan_out),
      lights_(lights),
      streams_(streams),
      locator_(locator),
      retained_(retained),
      options_(options),
      metrics_(metrics) {
  too_long_.refusal = Code::invalid_topic;
}

Publisher::Route& Publisher::route_of(std::string_view topic) {
  if (topic.size() > static_cast<size_t>(options_.topic_bytes_max)) return too_long_;
  const auto found = routes_.find(topic);
  if (found != routes_.end() && !(found->second.kind == Kind::refused)) return found->second;
  if (const auto older = older_routes_.find(topic); older != older_routes_.end() && found == routes_.end()) {
    const auto back = routes_.insert(older_routes_.extract(older)).position;
    young_names_bytes_ += topic.size();
    if (back->second.kind != Kind::refused) return back->second;
  }
  const auto [made, is_new] = routes_.try_emplace(std::string(topic));
  if (is_new) young_names_bytes_ += topic.size();
  made->second.name = &made->first;
  find_route(made->second, topic);
  return made->second;
}

void Publisher::find_route(Route& route, std::string_view topic) {
  route.kind = Kind::refused;
  if (topic.starts_with('$')) {
    route.refusal = Code::not_authorised;  // $-topics are the broker's own
    return;
  }
  const TopicRule* rule = rules_.find(topic);
  if (rule && rule->mode == meta::Mode::none) {
    route.kind = Kind::nobody;
    route.known = std::make_unique<FollowedHere>();
    return;
  }
  const std::string kafka_name = kafka_name_of_mqtt(topic);
  const bool is_rule_stream = rule && !rule->topic.empty();
  auto stream = meta_.find(kDefaultTenant, is_rule_stream ? rule->topic : kafka_name);
  if (stream && stream->config.mode == meta::Mode::none) {
    route.kind = Kind::nobody;
    route.known = std::make_unique<FollowedHere>();
    return;
  }
  if (stream) {
    route.kind = Kind::stream;
    route.partition = partition_of(as_bytes(topic), stream->partitions);
    route.home = home_of({stream->id, route.partition}, core_.count());
    route.stream = std::move(stream);
    return;
  }
  if (is_rule_stream) {
    route.refusal = Code::unknown_topic;  // deleted; it is made again at once, try again
    return;
  }
  route.home = static_cast<CoreIndex>(slot_of(kDefaultTenant, kafka_name) % core_.count());
  if (route.home != core_.index()) {
    route.kind = Kind::light_elsewhere;
    return;
  }
  route.light = lights_.find(topic);
  if (!route.light) {
    const Result<LightTopic*> made = lights_.make(topic, kafka_name, rule);
    if (!made) {
      route.refusal = made.code();
      return;
    }
    route.light = *made;
  }
  route.kind = Kind::light_here;
}

void Publisher::add_stream_record(BatchBuilder& to, const Message& message, int64_t timestamp_ms, std::string_view mark) {
  to.begin_record(timestamp_ms, as_bytes(message.topic), message.payload);
  to.add_header("mqtt.topic", as_bytes(message.topic));
  if (!mark.empty()) to.add_header(kPacketHeader, as_bytes(mark));
  to.add_encoded_headers(message.raw_headers, message.header_count);
  to.end_record();
}

void Publisher::add_light_record(BatchBuilder& to, const Message& message, int64_t timestamp_ms, std::string_view mark) {
  to.begin_record(timestamp_ms, std::nullopt, message.payload);
  if (!mark.empty()) to.add_header(kPacketHeader, as_bytes(mark));
  to.add_encoded_headers(message.raw_headers, message.header_count);
  to.end_record();
}

Publisher::StoredPlace Publisher::stored_place(std::string_view topic) {
  const Route& route = route_of(topic);
  if (route.kind == Kind::light_here && route.light->is_persistent) return {nullptr, 0, true};
  if (route.kind != Kind::stream || route.stream->config.mode < meta::Mode::persistent) return {};
  return {route.stream, route.partition, false};
}

Publisher::AppendDone Publisher::owed(AppendDone done) {
  if (!spools_ || !spools_->is_used()) return done;
  return [this, done = std::move(done)](Result<shard::Appended> appended) mutable {
    const uint64_t ticket = appended.ok() && !appended->is_repeat ? spools_->current() : 0;
    if (ticket == 0) return done(std::move(appended));
    spools_->mine().when_stored(ticket, [done = std::move(done), appended = std::move(appended)](const Status& status) mutable {
      if (!status.ok()) return done(status.error());
      done(std::move(appended));
    });
  };
}

// A repeat may have been stored and not be owed: the spool refused it, or the node went between the two.
Publisher::AppendDone Publisher::owed_once(const std::shared_ptr<const meta::Topic>& stream, const ShardId& shard,
                                           const Bytes& batch, uint64_t origin, AppendDone done) {
  const BatchView header(batch);
  // The ledger knows its own (DelayedSender).
  const bool may_be_repeated = header.producer_id() >= 0 && !header.is_transactional() && origin != 0;
  if (!spools_ || !spools_->is_used() || !may_be_repeated) return owed(std::move(done));
  return [this, stream, shard, batch, origin, done = owed(std::move(done))](Result<shard::Appended> appended) mutable {
    if (!appended.ok() || !appended->is_repeat) return done(std::move(appended));
    const uint64_t ticket = owe_repeated(stream, shard, batch, appended->base_offset, origin);
    if (ticket == 0) return done(std::move(appended));
    spools_->mine().when_stored(ticket, [done = std::move(done), appended = std::move(appended)](const Status& status) mutable {
      if (!status.ok()) return done(status.error());
      done(std::move(appended));
    });
  };
}

uint64_t Publisher::owe_repeated(const std::shared_ptr<const meta::Topic>& stream, const ShardId& shard, const Bytes& batch,
                                 Offset base, uint64_t origin) {
  const LightTopic* light = stream ? nullptr : lights_.find(shard.topic);
  const shard::Shard* known = stream ? streams_.find(shard) : light && light->open ? light->open->shard.get() : nullptr;
  if (!known) return 0;
  Bytes again = Bytes::copy_of(batch);
  patch_batch(again, base, known->epoch_at(base));
  return stream ? fan_out_.owe_again(stream, shard, again, origin)
                : fan_out_.owe_light_again(light->name(), shard, again, origin);
}

void Publisher::add(const Context& context, Pending& pending, const Message& message) {
  const int64_t now_ms = core_.wall_now().ms;
  std::string mark;
  if (message.packet_id != 0 && sessions_) mark = sessions_->begin_packet(context, message.packet_id);
  if (message.is_repeat && !mark.empty()) pending.repeat = sessions_->repeat_of(context);
  pending.has_marks |= !mark.empty();
  if (pending.route->kind == Kind::stream)
    add_stream_record(pending.builder, message, now_ms, mark);
  else
    add_light_record(pending.builder, message, now_ms, mark);
}

void Publisher::publish(const Context& context, Publish request, ReplyTo done) {
  // Routes in use further out on the stack stay where they are.
  if (depth_ == 0 && (routes_.size() >= kYoungRoutesMax || young_names_bytes_ >= kYoungNamesBytesMax)) {
    older_routes_ = std::move(routes_);
    routes_.clear();
    young_names_bytes_ = 0;
  }
  ++depth_;
  ++requests_;
  metrics_.messages_published_total += request.messages.size();
  std::shared_ptr<Operation> operation;
  // Held by name while batches complete: a completion may come back here.
  std::vector<Pending> pending = std::exchange(pending_, {});
  size_t count = 0;
  size_t refused = 0;
  std::vector<std::pair<const Message*, uint32_t>> retains;  // and which results they answer
  std::vector<std::pair<const Message*, uint32_t>> delays;
  for (const Message& message : request.messages) {
    if (message.topic.starts_with(kDelayedPrefix)) {
      delays.emplace_back(&message, 0);
      if (!message.wants_reply) continue;
      if (!operation) operation = std::make_shared<Operation>();
      delays.back().second = static_cast<uint32_t>(operation->reply.results.size());
      operation->reply.results.emplace_back();
      continue;
    }
    Route& route = route_of(message.topic);
    uint32_t reply = 0;
    if (message.wants_reply) {
      if (!operation) operation = std::make_shared<Operation>();
      reply = static_cast<uint32_t>(operation->reply.results.size());
      operation->reply.results.push_back({route.refusal, true});
    }
    if (route.kind == Kind::refused) {
      ++refused;
      continue;
    }
    if (message.retain) {
      if (const Code code = retained_.check(message); code != Code::ok) {
        if (message.wants_reply) operation->reply.results[reply].code = code;
        ++refused;
        continue;
      }
      retains.emplace_back(&message, reply);
    }
    const bool is_alone = message.is_repeat || (route.request == requests_ && pending[route.pending].repeat);
    if (route.request != requests_ || is_alone) {
      route.request = requests_;
      route.pending = count++;
      if (pending.size() < count) pending.emplace_back();
      pending[route.pending].route = &route;
      pending[route.pending].replies.clear();
      pending[route.pending].has_marks = false;
      pending[route.pending].repeat.reset();
    }
    Pending& part = pending[route.pending];
    add(context, part, message);
    if (message.wants_reply) part.replies.push_back(reply);
  }
  metrics_.messages_refused_total += refused;
  if (operation) {
    operation->done = std::move(done);
    operation->waiting = 1;  // this call itself
    for (size_t i = 0; i < count; ++i) operation->waiting += !pending[i].replies.empty();
  }
  // Before the messages themselves: whoever follows from now on gets at least the newest one.
  for (const auto& [message, reply] : retains) retain(context, *message, reply, operation);
  for (const auto& [message, reply] : delays) delay(context, *message, reply, operation);
  for (size_t i = 0; i < count; ++i) send(pending[i], context.connection_id, operation);
  --depth_;
  if (pending_.empty()) pending_ = std::move(pending);
  if (!operation) return done(Published{});
  if (--operation->waiting == 0) operation->done(std::move(operation->reply));
}

// The ack waits for the row, whatever the topic's mode.
void Publisher::retain(const Context& context, const Message& message, uint32_t reply,
                       const std::shared_ptr<Operation>& operation) {
  const uint64_t publisher = context.session.empty() ? 0 : hash64(as_bytes(context.session));
  if (!message.wants_reply) return retained_.publish(message, publisher, [](Status) {});
  ++operation->waiting;
  retained_.publish(message, publisher, [operation, reply](const Status& status) {
    if (!status.ok()) operation->reply.results[reply].code = status.code();
    if (--operation->waiting == 0) operation->done(std::move(operation->reply));
  });
}

void Publisher::delay(const Context& context, const Message& message, uint32_t reply,
                      const std::shared_ptr<Operation>& operation) {
  const size_t name_at = message.topic.find('/', kDelayedPrefix.size());
  if (name_at != std::string_view::npos && message.topic.size() - name_at - 1 > static_cast<size_t>(options_.topic_bytes_max)) {
    ++metrics_.messages_refused_total;
    if (message.wants_reply) operation->reply.results[reply].code = Code::invalid_topic;
    return;
  }
  if (!message.wants_reply) return delayed_->accept(context, message, {}, [](const Status&) {});
  ++operation->waiting;
  storage::KvBatch beside;
  if (message.packet_id != 0 && sessions_) {
    if (auto mark = sessions_->begin_packet_row(context, message.packet_id)) beside.changes.emplace_back(std::move(*mark));
  }
  delayed_->accept(context, message, std::move(beside), [operation, reply](const Status& status) {
    operation->reply.results[reply].code = status.code();
    if (--operation->waiting == 0) operation->done(std::move(operation->reply));
  });
}

void Publisher::send(Pending& pending, uint64_t connection, const std::shared_ptr<Operation>& operation) {
  Route& route = *pending.route;
  const uint64_t origin = connection | (pending.has_marks ? kMarkedOrigin : 0);
  Bytes batch = pending.builder.finish();
  const bool wants_reply = !pending.replies.empty();
  if (route.kind == Kind::nobody) {
    const bool is_followed = fan_out_.light(*route.name, nullptr, batch, origin, *route.known);
    if (!wants_reply) return;
    for (uint32_t reply : pending.replies) operation->reply.results[reply].has_followers = is_followed;
    const uint64_t ticket = spools_ && spools_->is_used() ? spools_->current() : 0;
    if (ticket == 0) {
      --operation->waiting;  // never the last one: publish() holds one
      return;
    }
    spools_->mine().when_stored(ticket, [operation, replies = pending.replies](const Status& status) {
      for (uint32_t reply : replies) {
        if (!status.ok()) operation->reply.results[reply].code = status.code();
      }
      if (--operation->waiting == 0) operation->done(std::move(operation->reply));
    });
    return;
  }
  AppendDone done;
  if (wants_reply) {
    done = [this, operation, replies = pending.replies](Result<shard::Appended> appended) {
      if (!appended) {
        metrics_.messages_refused_total += replies.size();
        for (uint32_t reply : replies) operation->reply.results[reply].code = appended.code();
      }
      if (--operation->waiting == 0) operation->done(std::move(operation->reply));
    };
  }
  switch (route.kind) {
    case Kind::light_here:
      if (!wants_reply) done = counting_refusals();
      return append_light(*route.light, std::move(batch), origin, std::move(pending.repeat), std::move(done));
    case Kind::stream:
      if (!wants_reply) done = counting_refusals();
      return append_to_stream(route.stream, route.partition, std::move(batch), origin, std::move(done));
    case Kind::light_elsewhere: {
      Publisher* peer = peers_[route.home];
      // Nobody waits for the outcome here: what is refused is counted there, and no message comes back.
      if (!wants_reply) {
        core_.send(route.home, [peer, name = *route.name, batch = std::move(batch), origin]() mutable {
          peer->light_from_elsewhere(name, std::move(batch), origin, {}, peer->counting_refusals());
        });
        return;
      }
      core_.send(route.home, [peer, name = *route.name, batch = std::move(batch), origin, repeat = std::move(pending.repeat),
                              back = core_.index(), done = std::move(done)]() mutable {
        peer->light_from_elsewhere(
            name, std::move(batch), origin, std::move(repeat),
            [peer, back, done = std::move(done)](Result<shard::Appended> result) mutable {
              peer->core_.send(back, [done = std::move(done), result = std::move(result)]() mutable { done(std::move(result)); });
            });
      });
      return;
    }
    case Kind::nobody:
    case Kind::refused:
      return;
  }
}

void Publisher::owe_light_here(const std::string& topic, const Bytes& batch, Callback<void(Status)> done) {
  if (!spools_ || !spools_->is_used() || !fan_out_.owe_light(topic, nullptr, batch, 0)) return done({});
  spools_->mine().when_stored(spools_->current(), std::move(done));
}

Publisher::AppendDone Publisher::counting_refusals() {
  return [this](Result<shard::Appended> appended) {
    if (!appended) ++metrics_.messages_refused_total;
  };
}

// Of a repeat that the topic has, stored sessions are owed what the spool lacks, before it is acknowledged.
void Publisher::append_light(LightTopic& light, Bytes batch, uint64_t origin, std::optional<PacketRepeat> repeat,
                             AppendDone done) {
  if (!repeat || !light.is_persistent) return lights_.append(light, std::move(batch), origin, owed(std::move(done)));
  auto on_looked = [this, name = std::string(light.name()), batch, origin,
                    done = std::move(done)](Result<LightTopics::Looked> looked) mutable {
    if (!looked) return done(looked.error());
    if (!looked->found) return looked->shard->append(std::move(batch), origin, owed(std::move(done)));
    ++metrics_.packets_repeated_total;
    Bytes again = Bytes::copy_of(batch);
    patch_batch(again, *looked->found, looked->shard->epoch_at(*looked->found));
    shard::Appended appended{.base_offset = *looked->found, .is_repeat = true};
    const uint64_t ticket = fan_out_.owe_light_again(name, looked->shard->id(), again, origin);
    if (ticket == 0) return done(std::move(appended));
    spools_->mine().when_stored(ticket, [done = std::move(done), appended](const Status& status) mutable {
      if (!status.ok()) return done(status.error());
      done(std::move(appended));
    });
  };
  lights_.look_for(light, std::move(batch), std::move(*repeat), std::move(on_looked));
}

void Publisher::light_from_elsewhere(const std::string& topic, Bytes batch, uint64_t origin, std::optional<PacketRepeat> repeat,
                                     AppendDone done) {
  Route& route = route_of(topic);
  if (route.kind == Kind::light_here)
    return append_light(*route.light, std::move(batch), origin, std::move(repeat), std::move(done));
  // The catalog changed while the message was on its way. Where a rule claims the topic now, it came before that.
  if (route.kind == Kind::stream && route.stream->is_rule) {
    LightTopic* light = lights_.find(topic);
    const Result<LightTopic*> found = light ? light : lights_.make(topic, kafka_name_of_mqtt(topic), nullptr);
    if (found) return append_light(**found, std::move(batch), origin, std::move(repeat), std::move(done));
    return done(found.error());
  }
  done(route.kind == Kind::refused ? route.refusal : Code::unknown_topic);
}

void Publisher::append_to_stream(std::shared_ptr<const meta::Topic> topic, int32_t partition, Bytes batch, uint64_t origin,
                                 AppendDone done) {
  const CoreIndex home = home_of({topic->id, partition}, core_.count());
  if (home == core_.index()) {
    streams_.with(topic, partition,
                  [this, topic, batch = std::move(batch), origin, done = std::move(done)](Result<shard::Shard*> shard) mutable {
                    if (!shard) return done(shard.error());
                    auto answer = owed_once(topic, (*shard)->id(), batch, origin, std::move(done));
                    (*shard)->append(std::move(batch), origin, std::move(answer));
                  });
    return;
  }
  Publisher* peer = peers_[home];
  core_.send(home, [peer, topic = std::move(topic), partition, batch = std::move(batch), origin, back = core_.index(),
                    done = std::move(done)]() mutable {
    peer->append_to_stream(
        std::move(topic), partition, std::move(batch), origin,
        [peer, back, done = std::move(done)](Result<shard::Appended> result) mutable {
          peer->core_.send(back, [done = std::move(done), result = std::move(result)]() mutable { done(std::move(result)); });
        });
  });
}

void Publisher::append_to_light(CoreIndex home, TopicRef topic, int32_t partition, Bytes batch, uint64_t origin,
                                AppendDone done) {
  if (home == core_.index()) {
    const Located located{nullptr, std::move(topic)};
    locator_.with_shard(located, partition,
                        [this, batch = std::move(batch), origin, done = std::move(done)](Result<shard::Shard*> shard) mutable {
                          if (!shard) return done(shard.error());
                          auto answer = owed_once(nullptr, (*shard)->id(), batch, origin, std::move(done));
                          (*shard)->append(std::move(batch), origin, std::move(answer));
                        });
    return;
  }
  Publisher* peer = peers_[home];
  core_.send(home, [peer, home, topic = std::move(topic), partition, batch = std::move(batch), origin, back = core_.index(),
                    done = std::move(done)]() mutable {
    peer->append_to_light(
        home, std::move(topic), partition, std::move(batch), origin,
        [peer, back, done = std::move(done)](Result<shard::Appended> result) mutable {
          peer->core_.send(back, [done = std::move(done), result = std::move(result)]() mutable { done(std::move(result)); });
        });
  });
}

}  // namespace robustmq::broker
