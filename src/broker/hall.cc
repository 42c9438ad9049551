#include "broker/hall.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/topic_names.h"
#include "broker/gathering.h"
#include "broker/group/coordinator.h"
#include "broker/retained_list.h"
#include "broker/telling.h"

namespace robustmq::broker {
namespace {

const RetainedOptions kRetainedDefaults;
const DelayedOptions kDelayedDefaults;
const TransactionOptions kTransactionDefaults;
constexpr int32_t kDelayedPageMax = 10'000;
constexpr size_t kDelayedPageBytesMax = 4 << 20;  // of topics and payloads: a page is full with the step that goes over it
constexpr size_t kDelayedStep = 16;               // rows read at once

template <class... Cases>
struct Overload : Cases... {
  using Cases::operator()...;
};

// The record whose time the topic does not take; -1: none.
int32_t record_out_of_time(const RecordTimes& times, const meta::TopicConfig& config, WallTime now) {
  if (config.log_append_time || times.max_record < 0) return -1;
  if (times.max_ms > now.ms && times.max_ms - now.ms > config.timestamp_after_max_ms) return times.max_record;
  if (times.min_ms < now.ms && now.ms - times.min_ms > config.timestamp_before_max_ms) return times.min_record;
  return -1;
}

}  // namespace

Hall::Hall(HallSetup setup, const BrokerOptions& options, const TopicRules& rules, const NodeFacts& node)
    : core_(*setup.core),
      meta_(*setup.meta),
      groups_(setup.groups),
      options_(options),
      rules_(rules),
      node_(node),
      declare_options_(setup.declare),
      rows_(core_, setup.kv),
      retained_(core_, rows_, setup.retained ? *setup.retained : kRetainedDefaults),
      bursts_(core_, retained_),
      follows_(metrics_),
      shared_(core_, options_, metrics_),
      fan_out_(core_, follows_, interest_, shared_, rules_, metrics_),
      lights_(core_, fan_out_, options_, rules_, metrics_, meta_.starts(), *setup.engines.memory, setup.kv),
      streams_(core_, fan_out_, options_, setup.engines, meta_.starts()),
      compactor_(core_, streams_, setup.compaction),
      locator_(core_, meta_, lights_, streams_),
      publisher_(core_, meta_, rules_, fan_out_, lights_, streams_, locator_, retained_, options_, metrics_),
      fetcher_(core_, locator_, options_, metrics_),
      stream_readers_(core_, meta_, fetcher_, fan_out_, rules_, options_, metrics_),
      topics_(core_, meta_, lights_, streams_, options_, rules_, declare_metrics_),
      session_options_(setup.session),
      spools_(core_, rows_, streams_, meta_, *setup.engines.persistent, session_options_, session_metrics_),
      stored_sessions_(core_, rows_, spools_, session_options_, session_metrics_, meta_.starts()),
      wills_(core_, rows_),
      delayed_(core_, rows_, meta_, publisher_, retained_, setup.delayed ? *setup.delayed : kDelayedDefaults),
      markers_(core_, locator_, fan_out_, streams_, lights_, transaction_metrics_),
      dead_letters_(core_, meta_, publisher_, topics_, lease_metrics_),
      queues_(core_, rows_, locator_, lease_metrics_),
      leaser_(core_, locator_, queues_, options_, lease_metrics_),
      queue_readers_(core_, meta_, leaser_, fan_out_, rules_, options_, metrics_),
      extensions_(setup.extensions),
      auto_subscriptions_(std::move(setup.auto_subscribe)),
      rewriter_(setup.topic_rewrite, extension_metrics_),
      exclusive_(core_, extensions_, extension_metrics_),
      sys_(core_, extensions_, extension_metrics_, node_, metrics_, follows_, interest_, shared_, fan_out_),
      ban_options_(setup.bans),
      bans_(core_, rows_, ban_options_, ban_metrics_),
      flapping_(ban_options_, ban_metrics_),
      slow_(extensions_, extension_metrics_),
      auth_options_(setup.logins),
      authenticator_(core_, auth_options_, auth_metrics_),
      quota_options_(setup.quota),
      quotas_(core_, rows_, quota_options_, quota_metrics_,
              setup.quota_board ? std::move(setup.quota_board) : std::make_shared<QuotaBoard>()),
      tick_(&Hall::on_tick, this),
      sweep_tick_(&Hall::on_sweep_tick, this) {
  if (setup.users) authenticator_.use_users(std::move(setup.users));
  follows_.set_bursts(&bursts_);
  follows_.set_watch(&watch_);
  shared_.set_watch(&watch_);
  bans_.set_enforce([this](const Ban& ban) { enforce(ban); });
  publisher_.set_delayed(&delayed_);
  follows_.set_owed(session_options_.keep_qos0);
  fan_out_.set_spools(&spools_);
  publisher_.set_sessions(&stored_sessions_, &spools_);
  if (core_.index() == 0) {
    transactions_ =
        std::make_unique<Transactions>(core_, rows_, meta_, markers_, groups_,
                                       setup.transaction ? *setup.transaction : kTransactionDefaults, transaction_metrics_);
  }
  ROBUSTMQ_CHECK(core_.count() <= Interest::kCoresMax, "at most 64 cores");
  for (const auto& topic : meta_.list(kDefaultTenant)) rules_.add(*topic);
  declare_metrics_.streams = core_.index() == 0 ? static_cast<int64_t>(rules_.made().size()) : 0;
  meta_.watch([this](const meta::CatalogEvent& event) { on_catalog(event); });
  stored_sessions_.set_hooks({.follow = [this](Context& context, const std::vector<FollowOne>& filters,
                                               Callback<void()> done) { follow_again(context, filters, std::move(done)); },
                              .handing =
                                  [this](Context& context, std::string_view topic, const RecordView& record) {
                                    if (context.has_burst) bursts_.note_live(context, topic, record);
                                    watch_.note_out(topic);
                                  },
                              .ended = [this](std::string_view client_id) { wills_.ended(std::string(client_id)); }});
  wills_.set_send([this](const std::string& client_id, const WillRow& will, storage::KvBatch gone, Callback<void(Status)> done) {
    send_will(client_id, will, std::move(gone), std::move(done));
  });
  delayed_.set_forget([this](const std::vector<std::string>& keys) { spools_.forget_from_ledger(keys); });
}

Hall::~Hall() { streams_.end(); }

// ---- The menu ----

void Hall::execute(Context& context, Request request, ReplyTo done) {
  const auto refused = [&](Verb verb, std::string_view resource) {
    const Code code = authorise(context, verb, resource);
    if (code == Code::ok) return false;
    done(Error{code, {}});
    return true;
  };
  std::visit(Overload{
                 [&](Publish& r) {
                   if (!refused(Verb::publish, r.messages.empty() ? std::string_view{} : r.messages[0].topic))
                     publish_asked(context, std::move(r), std::move(done));
                 },
                 [&](Follow& r) {
                   if (!refused(Verb::follow, {})) follow_asked(context, std::move(r), std::move(done));
                 },
                 [&](Unfollow& r) { unfollow_asked(context, std::move(r), std::move(done)); },
                 [&](OpenSession& r) { open_session(context, std::move(r), std::move(done)); },
                 [&](Authenticate& r) { done(authenticator_.take(context, r)); },
                 [&](EndSession& r) {
                   end_session(context, r);
                   done(SessionEnded{});
                 },
                 [&](Release& r) { stored_sessions_.release(context, r, std::move(done)); },
                 [&](Settle& r) { settle(context, std::move(r), std::move(done)); },
                 [&](Produce& r) {
                   if (!refused(Verb::produce, {})) produce(context, std::move(r), std::move(done));
                 },
                 [&](Fetch& r) {
                   if (!refused(Verb::fetch, {})) fetcher_.fetch(context, std::move(r), std::move(done));
                 },
                 [&](LeaseRecords& r) {
                   if (!refused(Verb::fetch, {})) leaser_.lease(context, std::move(r), std::move(done));
                 },
                 [&](SettleLeases& r) {
                   if (!refused(Verb::fetch, {})) leaser_.settle(context, r, std::move(done));
                 },
                 [&](LeaveQueue& r) {
                   leaser_.leave(context, r, queue::Outcome::unread);
                   done(LeftQueue{});
                 },
                 [&](OpenQueue& r) {
                   if (!refused(Verb::use_group, r.name)) open_queue_asked(context, r, std::move(done));
                 },
                 [&]<AboutShareOffsets R>(R& r) {
                   if (!refused(Verb::use_group, {})) ask_share_offsets(context.tenant, std::move(r), std::move(done));
                 },
                 [&](ListOffsets& r) {
                   if (!refused(Verb::describe, {})) fetcher_.list_offsets(std::move(r), std::move(done));
                 },
                 [&](DescribeTopics& r) {
                   if (!refused(Verb::describe, {})) topics_.describe(std::move(r), std::move(done));
                 },
                 [&](CreateTopics& r) {
                   if (!refused(Verb::create, {})) topics_.create(std::move(r), std::move(done));
                 },
                 [&](DeleteTopics& r) {
                   if (!refused(Verb::remove, {})) topics_.remove(std::move(r), std::move(done));
                 },
                 [&](DeleteRecords& r) {
                   if (!refused(Verb::remove, {})) fetcher_.delete_records(std::move(r), std::move(done));
                 },
                 [&](DescribeProducers& r) {
                   if (!refused(Verb::describe, {})) fetcher_.describe_producers(std::move(r), std::move(done));
                 },
                 [&](DescribeLogs& r) {
                   if (!refused(Verb::describe, {})) fetcher_.describe_logs(std::move(r), std::move(done));
                 },
                 [&](GrowTopics& r) {
                   if (!refused(Verb::alter, {})) topics_.grow(std::move(r), std::move(done));
                 },
                 [&](ConfigureTopics& r) {
                   if (!refused(Verb::alter, {})) topics_.configure(std::move(r), std::move(done));
                 },
                 [&](ListRetained& r) {
                   if (!refused(Verb::describe, {})) list_retained(retained_, core_.count(), r, std::move(done));
                 },
                 [&](ClearRetained& r) {
                   if (!refused(Verb::publish, {})) clear_retained(retained_, core_.count(), r, std::move(done));
                 },
                 [&](ListDelayed& r) {
                   if (!refused(Verb::describe, {})) list_delayed(r, std::move(done));
                 },
                 [&](CancelDelayed& r) {
                   if (!refused(Verb::publish, {})) cancel_delayed(r, std::move(done));
                 },
                 [&](ReportSlow& r) {
                   slow_.report(context.session, r.topic, r.waited_ms, core_.wall_now().ms);
                   done(ReportedSlow{});
                 },
                 [&]<AboutClients R>(R& r) {
                   if (!refused(R::kIsChange ? Verb::alter_clients : Verb::describe_clients, {})) ask_clients(r, std::move(done));
                 },
                 [&]<AboutQuotas R>(R& r) {
                   if (!refused(R::kAltersQuotas ? Verb::alter_clients : Verb::describe_clients, {}))
                     ask_quotas(r, std::move(done));
                 },
                 [&](FindQuotas& r) {
                   const std::string& user = context.principal.name;
                   quotas_.find(user.empty() ? std::string(kAnonymousUser) : user, std::move(r.client_id), std::move(done));
                 },
                 [&](CountConnection&) { quotas_.count_connection(context.host, std::move(done)); },
                 [&](DescribeCluster&) {
                   if (!refused(Verb::describe_cluster, {})) done(cluster_facts());
                 },
                 [&](AllocateProducerId&) {
                   if (!refused(Verb::produce, {})) allocate_producer_id(std::move(done));
                 },
                 [&](WriteMarkers& r) {
                   if (!refused(Verb::alter, {})) write_markers(std::move(r), std::move(done));
                 },
                 [&](auto& r) {
                   Request asked(std::move(r));
                   const Verb verb = Transactions::takes(asked) ? Verb::transact : Verb::use_group;
                   if (!refused(verb, {})) ask_home(context.tenant, std::move(asked), std::move(done));
                 },
             },
             request);
}

void Hall::follow(Context& context, Follow request, ReplyTo done, const std::vector<bool>& exclusive) {
  if (declare_first(context, request, done, exclusive)) return;
  auto followed = std::make_shared<Followed>();
  followed->results.resize(request.filters.size());
  std::vector<std::string> first;
  std::vector<FollowOne> granted;                // to be stored
  std::vector<size_t> granted_at;                // their places among the results
  std::vector<FollowOne> replaced;               // what the session had in place of some of them
  Unfollow added;                                // the others
  auto unopened = std::make_shared<Unfollow>();  // queues that could not be opened
  size_t bursts = 0;
  bool has_readers = false;
  auto telling = std::make_shared<Telling>();
  for (size_t index = 0; index < request.filters.size(); ++index) {
    FollowOne& wanted = request.filters[index];
    FollowResult& result = followed->results[index];
    bool is_stored = context.session_state != nullptr;
    if (wanted.filter.size() > static_cast<size_t>(options_.topic_bytes_max) ||
        topic_levels(wanted.filter) > static_cast<size_t>(options_.filter_levels_max)) {
      result.code = Code::invalid_topic;
    } else if (subscriptions_of(context) >= static_cast<size_t>(options_.subscriptions_max) &&
               !has_subscription(context, wanted)) {
      result.code = Code::quota_exceeded;  // one more; one that is there is replaced (MQTT-3.8.4-3)
    } else if (wanted.stream) {
      result = stream_readers_.add(context, wanted);
      is_stored = false;
      has_readers = true;
    } else if (is_of_queue(options_, wanted.share)) {
      ++telling->waiting;
      const FollowResult now = queue_readers_.add(context, wanted, [=, filter = wanted.filter](Code code) {
        if (code != Code::ok) {
          followed->results[index].code = code;
          unopened->filters.push_back({filter, std::string(kQueueShare), {}});
        }
        telling->finish_one();
      });
      result.is_new = now.is_new;
      if (now.code != Code::ok) {
        result.code = now.code;
        --telling->waiting;
      }
      has_readers = true;
    } else if (!wanted.share.empty()) {
      // Retained messages are not sent to it (MQTT5 4.8.2).
      ++telling->waiting;
      result.is_new = shared_.add(context, wanted, [telling] { telling->finish_one(); });
    } else {
      const Follows::Added now = follows_.add(context, wanted);
      result.is_new = now.is_new;
      if (now.is_first) first.push_back(wanted.filter);
      bursts += bursts_.prepare(context, wanted, now.is_new);
      if (index < exclusive.size() && exclusive[index]) is_stored = false;
    }
    if (!is_stored || result.code != Code::ok) continue;
    granted_at.push_back(index);
    if (result.is_new)
      added.filters.push_back({wanted.filter, wanted.share, {}});
    else if (std::optional<FollowOne> before = stored_sessions_.subscription_of(context, wanted.filter, wanted.share))
      replaced.push_back(std::move(*before));
    granted.push_back(std::move(wanted));
  }
  // Known everywhere and stored before it is answered.
  telling->then = [this, id = context.session, connection = context.connection_id, bursts, has_readers, followed, unopened,
                   done = std::move(done)]() mutable {
    if (!unopened->filters.empty()) undo_follow(id, connection, std::move(*unopened), {});
    done(std::move(*followed));
    if (bursts > 0) bursts_.start(connection, bursts);
    if (!has_readers) return;
    stream_readers_.start(connection);
    queue_readers_.start(connection);
  };
  ++telling->waiting;
  announce(std::move(first), true, [telling] { telling->finish_one(); });
  if (!granted.empty()) {
    ++telling->waiting;
    auto stored = [this, telling, followed, id = context.session, connection = context.connection_id,
                   granted_at = std::move(granted_at), added = std::move(added),
                   replaced = std::move(replaced)](const Status& status) mutable {
      if (!status.ok()) {
        for (const size_t at : granted_at) followed->results[at].code = status.code();
        undo_follow(id, connection, std::move(added), std::move(replaced));
      }
      telling->finish_one();
    };
    stored_sessions_.subscribed(context, std::move(granted), std::move(stored));
  }
  telling->finish_one();
}

size_t Hall::subscriptions_of(const Context& context) const {
  return follows_.count_of(context) + shared_.count_of(context) + stream_readers_.count_of(context) +
         queue_readers_.count_of(context);
}

bool Hall::has_subscription(const Context& context, const FollowOne& wanted) const {
  if (wanted.stream) return stream_readers_.has(context, wanted);
  if (is_of_queue(options_, wanted.share)) return queue_readers_.has(context, wanted.filter);
  return wanted.share.empty() ? follows_.has(context, wanted.filter) : shared_.has(context, wanted.filter, wanted.share);
}

// What is not stored is refused, and is not to take effect: nothing is followed that was not before, and the rest as before.
void Hall::undo_follow(const std::string& id, uint64_t connection, Unfollow added, std::vector<FollowOne> replaced) {
  const auto found = sessions_.find(id);
  if (found == sessions_.end() || found->second->connection_id != connection) return;  // it went, and all it followed
  Context& context = *found->second;
  if (!added.filters.empty()) unfollow(context, std::move(added), [](const Reply&) {});
  std::vector<FollowOne> back;
  for (FollowOne& before : replaced) {
    if (!has_subscription(context, before)) continue;  // it may have been given up meanwhile
    if (is_of_queue(options_, before.share))
      queue_readers_.add(context, before, [](Code) {});
    else if (!before.share.empty())
      shared_.add(context, before, [] {});
    else
      follows_.add(context, before);
    back.push_back(std::move(before));
  }
  stored_sessions_.subscribed(context, std::move(back), [](const Status&) {});
}

// A connection that came back to its session follows what the session has.
void Hall::follow_again(Context& context, const std::vector<FollowOne>& filters, Callback<void()> done) {
  std::vector<std::string> first;
  auto telling = std::make_shared<Telling>();
  telling->then = [this, connection = context.connection_id, done = std::move(done)]() mutable {
    done();
    queue_readers_.start(connection);
  };
  for (const FollowOne& wanted : filters) {
    if (is_of_queue(options_, wanted.share)) {
      ++telling->waiting;
      const FollowResult now = queue_readers_.add(context, wanted, [telling](Code) { telling->finish_one(); });
      if (now.code != Code::ok) telling->finish_one();  // its stream is gone
    } else if (!wanted.share.empty()) {
      ++telling->waiting;
      shared_.add(context, wanted, [telling] { telling->finish_one(); });
    } else if (follows_.add(context, wanted).is_first) {
      first.push_back(wanted.filter);
    }
  }
  announce(std::move(first), true, [telling] { telling->finish_one(); });
}

void Hall::unfollow(Context& context, Unfollow request, ReplyTo done) {
  Unfollowed unfollowed;
  std::vector<std::string> last;
  for (const Unfollow::One& one : request.filters) {
    if (give_up_declaring(context, one)) {
      unfollowed.existed.push_back(true);
      continue;
    }
    if (!one.stream.empty()) {
      unfollowed.existed.push_back(stream_readers_.remove(context, one.filter, one.stream));
      continue;
    }
    if (is_of_queue(options_, one.share)) {
      unfollowed.existed.push_back(queue_readers_.remove(context, one.filter));
      continue;
    }
    if (!one.share.empty()) {
      unfollowed.existed.push_back(shared_.remove(context, one.filter, one.share));
      continue;
    }
    const auto removed = follows_.remove(context, one.filter);
    bursts_.stop(context, one.filter);
    unfollowed.existed.push_back(removed.has_value());
    if (removed && removed->is_last) last.push_back(one.filter);
  }
  announce(std::move(last), false, [] {});
  std::erase_if(request.filters, [](const Unfollow::One& one) { return !one.stream.empty(); });  // never stored
  if (!context.session_state || request.filters.empty()) return done(std::move(unfollowed));
  stored_sessions_.unsubscribed(context, request.filters,
                                [done = std::move(done), unfollowed = std::move(unfollowed)](const Status& status) mutable {
                                  if (!status.ok()) return done(status.error());
                                  done(std::move(unfollowed));
                                });
}

// Tells every other core that filters are wanted here, or no longer; `done` when all of them know.
void Hall::announce(std::vector<std::string> filters, bool is_wanted, Callback<void()> done) {
  if (filters.empty() || halls_.size() == 1) return done();
  struct Announcing {
    std::vector<std::string> filters;
    Callback<void()> done;
    size_t waiting;
  };
  auto telling = std::make_shared<Announcing>(Announcing{std::move(filters), std::move(done), halls_.size() - 1});
  for (Hall* peer : halls_) {
    if (peer == this) continue;
    core_.send(peer->core_.index(), [this, peer, telling, is_wanted] {
      for (const std::string& filter : telling->filters) {
        if (is_wanted)
          peer->interest_.add(filter, core_.index());
        else
          peer->interest_.remove(filter, core_.index());
      }
      peer->core_.send(core_.index(), [telling] {
        if (--telling->waiting == 0) telling->done();
      });
    });
  }
}

void Hall::list_delayed(const ListDelayed& request, ReplyTo done) {
  DelayedKey after;
  if (!request.after.empty()) {
    const Result<DelayedKey> parsed = DelayedKey::parse(request.after);
    if (!parsed.ok()) return done(parsed.error());
    after = *parsed;
  }
  auto listing = std::make_shared<DelayedListing>(DelayedListing{std::move(done)});
  listing->left = static_cast<size_t>(std::clamp(request.count_max, 1, kDelayedPageMax));
  list_delayed_from(after, listing);
}

// A few rows at a time: they may be large.
void Hall::list_delayed_from(const DelayedKey& after, const std::shared_ptr<DelayedListing>& listing) {
  const size_t count = std::min(listing->left, kDelayedStep);
  delayed_.list(after, count, [this, count, listing](Result<std::vector<DelayedMessage>> messages) {
    if (!messages.ok()) return listing->done(messages.error());
    DelayedKey last;
    for (DelayedMessage& each : *messages) {
      DelayedRow& row = each.row;
      listing->bytes += row.topic.size() + row.payload.size();
      last = each.key;
      listing->listed.messages.push_back({each.key.to_string(), std::move(row.topic), std::move(row.payload), row.qos, row.retain,
                                          row.accepted_ms, each.key.due_ms, std::move(row.client_id)});
    }
    listing->left -= messages->size();
    if (messages->size() < count) return listing->done(std::move(listing->listed));
    if (listing->left > 0 && listing->bytes < kDelayedPageBytesMax) return list_delayed_from(last, listing);
    listing->listed.next = listing->listed.messages.back().id;
    listing->done(std::move(listing->listed));
  });
}

void Hall::cancel_delayed(const CancelDelayed& request, ReplyTo done) {
  const Result<DelayedKey> key = DelayedKey::parse(request.id);
  if (!key.ok()) return done(key.error());
  delayed_.cancel(*key, [done = std::move(done)](const Status& status) mutable { done(CancelledDelayed{status.code()}); });
}

void Hall::produce(Context& context, Produce request, ReplyTo done) {
  auto producing = std::make_shared<Gathering<Produced>>();
  producing->done = std::move(done);
  producing->whole.partitions.resize(request.partitions.size());
  producing->waiting += request.partitions.size();
  metrics_.batches_produced_total += request.partitions.size();
  TransactionalProduce transactional{context.tenant,           context.connection_id,   core_.index(),
                                     request.transactional_id, request.adds_partitions, {}};
  const auto epoch = static_cast<LeaderEpoch>(meta_.starts());
  for (size_t i = 0; i < request.partitions.size(); ++i) {
    ProducePartition& wanted = request.partitions[i];
    const TopicRef& ref = request.topics[static_cast<size_t>(wanted.topic_index)];
    auto take = [producing, i, epoch](Result<shard::Appended> appended) {
      ProducedPartition& row = producing->whole.partitions[i];
      if (appended) {
        row = {Code::ok, {}, appended->base_offset, appended->append_time_ms, appended->log_start, epoch};
      } else {
        row.code = appended.code();
        row.detail = appended.error().detail;
        row.leader_epoch = epoch;
      }
      producing->finish_one();
    };
    const Located topic = locator_.locate(ref);
    if (topic.stream) {
      if (const int32_t bad = record_out_of_time(wanted.times, topic.stream->config, core_.wall_now()); bad >= 0) {
        producing->whole.partitions[i].bad_record = bad;
        take(Error{Code::invalid_timestamp, "the record's time is too far from the broker's"});
        continue;
      }
      if (wanted.keyless_record >= 0 && meta::compacts(topic.stream->config.cleanup_policy)) {
        producing->whole.partitions[i].bad_record = wanted.keyless_record;
        take(Error{Code::invalid_record, "a record of a compacted topic needs a key"});
        continue;
      }
    }
    if (BatchView(wanted.batch).is_transactional()) {
      transactional.batches.push_back({ref, topic, wanted.partition, std::move(wanted.batch), std::move(take)});
      continue;
    }
    if (topic.stream) {
      publisher_.append_to_stream(topic.stream, wanted.partition, std::move(wanted.batch), context.connection_id,
                                  std::move(take));
    } else {
      publisher_.append_to_light(locator_.home(topic, 0), topic.light, wanted.partition, std::move(wanted.batch),
                                 context.connection_id, std::move(take));
    }
  }
  if (!transactional.batches.empty()) produce_in_transaction(std::move(transactional));
  producing->finish_one();
}

void Hall::allocate_producer_id(ReplyTo done) {
  if (next_producer_id_ < producer_ids_end_) return done(AllocatedProducerId{next_producer_id_++, 0});
  waiting_for_producer_ids_.push_back(std::move(done));
  if (waiting_for_producer_ids_.size() > 1) return;  // a block is on its way
  meta_.allocate_producer_ids([this](Result<ProducerId> first) {
    auto waiting = std::exchange(waiting_for_producer_ids_, {});
    if (first) {
      next_producer_id_ = *first;
      producer_ids_end_ = *first + meta::Meta::kProducerIdBlock;
    }
    for (ReplyTo& done : waiting) {
      if (first)
        allocate_producer_id(std::move(done));
      else
        done(first.error());
    }
  });
}

ClusterFacts Hall::cluster_facts() const {
  ClusterFacts facts;
  facts.cluster_id = meta_.cluster_id().to_string();
  facts.nodes.push_back({node_.id, node_.kafka_host, node_.kafka_port});
  facts.controller = node_.id;
  facts.options = option_facts_;
  return facts;
}

}  // namespace robustmq::broker
