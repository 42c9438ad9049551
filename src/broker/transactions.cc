#include "broker/transactions.h"

#include <algorithm>
#include <utility>

#include "base/failpoint.h"
#include "base/wire.h"
#include "broker/group/coordinator.h"
#include "broker/group/pattern.h"
#include "storage/row_key.h"

namespace robustmq::broker {
namespace {

constexpr std::string_view kTransactionPrefix = "kafka.transaction/";
constexpr size_t kTransactionRowsAPage = 1000;
constexpr size_t kIdBytesMax = 32'767;       // Kafka's strings
constexpr int64_t kLongestSleepMs = 60'000;  // the wall clock may be set meanwhile

std::string row_key(const TransactionMachine::Key& key) {
  std::string text(kTransactionPrefix);
  storage::put_big_endian(key.first, 4, text);
  text += key.second;
  return text;
}
Result<TransactionMachine::Key> parse_key(std::string_view text) {
  if (text.size() <= kTransactionPrefix.size() + 4) return Error{Code::corrupt_storage, "not the key of a transactional id"};
  TransactionMachine::Key key;
  key.first = static_cast<TenantId>(storage::big_endian(text.substr(kTransactionPrefix.size(), 4)));
  key.second = text.substr(kTransactionPrefix.size() + 4);
  return key;
}

// What is not there any more has nothing to be ended; where a newer epoch is known, it was ended before.
bool is_as_good_as_ended(Code code) {
  return code == Code::ok || code == Code::unknown_topic || code == Code::unknown_topic_id || code == Code::fenced_producer;
}

}  // namespace

Transactions::Transactions(runtime::Core& core, Rows& rows, meta::Meta& meta, Markers& markers, GroupCoordinator* groups,
                           const TransactionOptions& options, TransactionMetrics& metrics)
    : core_(core),
      rows_(rows),
      meta_(meta),
      markers_(markers),
      groups_(groups),
      options_(options),
      machine_(options, metrics),
      timer_([](void* self) { static_cast<Transactions*>(self)->on_timer(); }, this) {}

Transactions::~Transactions() { *alive_ = false; }

// ---- Start, time ----

void Transactions::load(Callback<void(Status)> done) { load_from(std::string(kTransactionPrefix), std::move(done)); }

void Transactions::load_from(std::string from, Callback<void(Status)> done) {
  rows_.scan(
      std::move(from), storage::end_of(std::string(kTransactionPrefix)), kTransactionRowsAPage,
      [this, alive = alive_, done = std::move(done)](Result<storage::KvRows> rows) mutable {
        if (!*alive) return;
        if (!rows.ok()) return done(rows.error());
        for (const auto& [key, value] : *rows) {
          const Result<Key> id = parse_key(key);
          Result<TransactionRow> row = decode_described<TransactionRow>(as_bytes(value));
          if (!id.ok() || !row.ok())
            return done(Error{Code::corrupt_storage, "a transactional id: " + (id.ok() ? row.error() : id.error()).detail});
          machine_.load(*id, row.take());
        }
        if (rows->size() < kTransactionRowsAPage) return done({});
        load_from(rows->back().first + '\0', std::move(done));
      });
}

void Transactions::start() {
  is_started_ = true;
  carry_out();
}

void Transactions::arm() {
  if (!is_started_) return;
  Instant at = Instant::never();
  if (machine_.next_due() != INT64_MAX) {
    const int64_t left_ms = std::clamp<int64_t>(machine_.next_due() - core_.wall_now().ms, 0, kLongestSleepMs);
    at = core_.now() + Duration::millis(left_ms);
  }
  for (const auto& [key, due] : retries_) at = std::min(at, due);
  if (at == Instant::never()) return timer_.cancel();
  core_.arm(timer_, at);
}

void Transactions::on_timer() {
  machine_.tick(core_.wall_now());
  std::vector<Key> due;
  for (const auto& [key, at] : retries_) {
    if (at <= core_.now()) due.push_back(key);
  }
  for (const Key& key : due) {
    retries_.erase(key);
    end(key);
  }
  carry_out();
}

// ---- The machine's outputs ----

void Transactions::ask(const Key& key, TransactionMachine::Input input, Answered done) {
  if (!std::holds_alternative<TransactionMachine::Add>(input) && machine_.wants_producer_ids()) {
    waiting_for_ids_.push_back({key, std::move(input), std::move(done)});
    if (std::exchange(is_waiting_for_ids_, true)) return;
    return meta_.allocate_producer_ids([this, alive = alive_](Result<ProducerId> first) {
      if (!*alive) return;
      is_waiting_for_ids_ = false;
      if (first.ok()) machine_.add_producer_ids(*first, meta::Meta::kProducerIdBlock);
      for (Waiting& each : std::exchange(waiting_for_ids_, {})) {
        if (first.ok())
          ask_now(each.key, std::move(each.input), std::move(each.done));
        else
          each.done({0, first.code(), -1, -1, {}});
      }
    });
  }
  ask_now(key, std::move(input), std::move(done));
}

void Transactions::ask_now(const Key& key, TransactionMachine::Input input, Answered done) {
  const TransactionMachine::Ticket ticket = ++last_ticket_;
  answers_.emplace(ticket, std::move(done));
  machine_.ask(key, ticket, std::move(input), core_.wall_now());
  carry_out();
}

void Transactions::carry_out() {
  if (!is_started_) return;
  while (machine_.has_outputs()) {
    TransactionMachine::Outputs outputs = machine_.take_outputs();
    for (TransactionMachine::Outputs::Write& write : outputs.writes) {
      const std::string_view state = write.row ? enum_name(write.row->state) : "gone";
      failpoint("transaction_write_", state);
      auto written = [this, alive = alive_, key = write.key, state](const Status& status) {
        if (!*alive) return;
        failpoint("transaction_row_", state);
        machine_.written(key, status.code(), core_.wall_now());
        carry_out();
      };
      if (write.row)
        rows_.put(row_key(write.key), encode_described(*write.row), std::move(written));
      else
        rows_.remove(row_key(write.key), std::move(written));
    }
    for (const Key& key : outputs.ends) end(key);
    for (const Key& key : outputs.ends_to_retry) retries_[key] = core_.now() + Duration::millis(options_.retry_ms);
    for (Answer& answer : outputs.answers) {
      const auto found = answers_.find(answer.ticket);
      ROBUSTMQ_CHECK(found != answers_.end(), "a ticket answered twice");
      Answered done = std::move(found->second);
      answers_.erase(found);
      done(std::move(answer));
    }
  }
  arm();
}

// Tells everyone in a prepared transaction what became of it.
void Transactions::end(const Key& key) {
  const TransactionRow* row = machine_.find(key);
  if (!row || !row->is_prepared()) return;
  struct Ending {
    size_t waiting = 1;
    bool is_ok = true;
  };
  auto ending = std::make_shared<Ending>();
  ending->waiting += row->partitions.size() + row->groups.size();
  auto finish_one = [this, alive = alive_, ending, key](const Status& status) {
    ending->is_ok &= is_as_good_as_ended(status.code());
    if (--ending->waiting > 0 || !*alive) return;
    machine_.ended(key, ending->is_ok, core_.wall_now());
    carry_out();
  };
  const shard::Marker marker{row->producer_id, row->epoch, row->state == TransactionState::prepare_commit};
  // The row may change while it is walked.
  const std::vector<TransactionPartition> partitions = row->partitions;
  const std::vector<std::string> groups = row->groups;
  auto told = [finish_one](std::string_view point) {
    return [finish_one, point](const Status& status) {
      failpoint(point);
      finish_one(status);
    };
  };
  for (const TransactionPartition& each : partitions) {
    failpoint("transaction_marker");
    Located topic;
    if (each.is_light) {
      topic.light = {each.topic, each.id};
    } else {
      topic.stream = meta_.find(each.id);
      if (!topic.stream) {
        finish_one(Code::unknown_topic_id);
        continue;
      }
    }
    markers_.write(topic, each.partition, marker, told("transaction_marker_written"));
  }
  for (const std::string& group : groups) {
    if (groups_)
      groups_->end_transaction(key.first, group, marker.producer, marker.commits, told("transaction_offsets_shown"));
    else
      finish_one({});
  }
  finish_one({});
}

// ---- Requests ----

bool Transactions::takes(const Request& request) {
  return std::visit(
      []<class R>(const R&) {
        return std::is_same_v<R, InitProducer> || std::is_same_v<R, AddToTransaction> ||
               std::is_same_v<R, AddOffsetsToTransaction> || std::is_same_v<R, EndTransaction> ||
               std::is_same_v<R, CommitInTransaction> || std::is_same_v<R, DescribeTransactions> ||
               std::is_same_v<R, ListTransactions>;
      },
      request);
}

std::optional<TransactionPartition> Transactions::resolve(TenantId tenant, const TopicRef& ref, int32_t partition) const {
  if (!ref.name.empty() && !ref.id.is_zero() && !meta_.find(ref.id)) {
    if (partition != 0) return std::nullopt;
    return TransactionPartition{ref.name, ref.id, 0, true};
  }
  const std::shared_ptr<const meta::Topic> topic = ref.id.is_zero() ? meta_.find(tenant, ref.name) : meta_.find(ref.id);
  if (!topic || topic->tenant != tenant || partition < 0 || partition >= topic->partitions) return std::nullopt;
  return TransactionPartition{topic->name, topic->id, partition, false};
}

void Transactions::execute(TenantId tenant, Request request, ReplyTo done) {
  if (!is_started_) return done(Error{Code::coordinator_loading, {}});
  const auto is_bad = [](const std::string& id) { return id.empty() || id.size() > kIdBytesMax; };
  if (auto* init = std::get_if<InitProducer>(&request)) {
    if (is_bad(init->transactional_id)) return done(InitedProducer{Code::invalid_argument, -1, -1});
    return ask(
        {tenant, init->transactional_id}, TransactionMachine::Init{init->timeout_ms, init->id, init->epoch},
        [done = std::move(done)](const Answer& answer) mutable { done(InitedProducer{answer.code, answer.id, answer.epoch}); });
  }
  if (auto* adding = std::get_if<AddToTransaction>(&request)) return add(tenant, *adding, std::move(done));
  if (auto* offsets = std::get_if<AddOffsetsToTransaction>(&request)) {
    const ProducerOf& producer = offsets->producer;
    if (is_bad(producer.transactional_id)) return done(TransactionReply{Code::invalid_argument});
    if (is_bad(offsets->group)) return done(TransactionReply{Code::invalid_group});
    return ask({tenant, producer.transactional_id},
               TransactionMachine::Add{producer.id, producer.epoch, {}, {offsets->group}, false},
               [done = std::move(done)](const Answer& answer) mutable { done(TransactionReply{answer.code}); });
  }
  if (auto* ending = std::get_if<EndTransaction>(&request)) {
    const ProducerOf& producer = ending->producer;
    if (is_bad(producer.transactional_id)) return done(EndedTransaction{Code::invalid_argument, -1, -1});
    return ask({tenant, producer.transactional_id},
               TransactionMachine::End{producer.id, producer.epoch, ending->commits, ending->bumps_epoch},
               [done = std::move(done)](const Answer& answer) mutable {
                 failpoint("transaction_end_answered");
                 done(EndedTransaction{answer.code, answer.id, answer.epoch});
               });
  }
  if (auto* offsets = std::get_if<CommitInTransaction>(&request)) return commit(tenant, std::move(*offsets), std::move(done));
  if (auto* asked = std::get_if<DescribeTransactions>(&request)) {
    DescribedTransactions reply;
    for (const std::string& id : asked->ids) {
      const TransactionRow* row = machine_.find({tenant, id});
      if (row)
        reply.transactions.push_back(describe(id, *row));
      else
        reply.transactions.push_back(
            {.code = Code::transaction_not_found, .transactional_id = id, .state = {}, .partitions = {}});
    }
    return done(std::move(reply));
  }
  if (const auto* list = std::get_if<ListTransactions>(&request)) {
    ListedTransactions reply;
    std::optional<Pattern> pattern;
    if (!list->pattern.empty()) {
      Result<Pattern> compiled = Pattern::compile(list->pattern);
      if (!compiled.ok()) {
        reply.code = compiled.code();
        return done(std::move(reply));
      }
      pattern = compiled.take();
    }
    machine_.for_each([&](const Key& key, const TransactionRow& row) {
      if (key.first != tenant || (pattern && !pattern->matches(key.second))) return;
      reply.transactions.push_back(describe(key.second, row));
      reply.transactions.back().partitions.clear();
    });
    return done(std::move(reply));
  }
  done(Error{Code::not_supported, "not a request of transactions"});
}

DescribedTransaction Transactions::describe(const std::string& id, const TransactionRow& row) const {
  DescribedTransaction described;
  described.transactional_id = id;
  described.state = enum_name(row.state);
  described.producer_id = row.producer_id;
  described.epoch = row.epoch;
  described.timeout_ms = row.timeout_ms;
  described.started_ms = row.started_ms;
  for (const TransactionPartition& each : row.partitions) described.partitions.emplace_back(each.topic, each.partition);
  std::sort(described.partitions.begin(), described.partitions.end());
  return described;
}

void Transactions::add(TenantId tenant, const AddToTransaction& request, ReplyTo done) {
  AddedToTransaction reply;
  if (request.partitions.size() > static_cast<size_t>(options_.partitions_max)) {
    reply.partitions.assign(request.partitions.size(), Code::quota_exceeded);
    return done(std::move(reply));
  }
  std::vector<TransactionPartition> partitions;
  bool is_whole = true;
  for (const PartitionRef& ref : request.partitions) {
    const auto found = resolve(tenant, request.topics[static_cast<size_t>(ref.topic_index)], ref.partition);
    reply.partitions.push_back(found ? Code::not_attempted : Code::unknown_topic);
    is_whole &= found.has_value();
    if (found) partitions.push_back(*found);
  }
  if (!is_whole) return done(std::move(reply));
  check(tenant, request.producer, std::move(partitions), !request.verify_only,
        [done = std::move(done)](std::vector<Code> codes) mutable { done(AddedToTransaction{std::move(codes)}); });
}

void Transactions::check(TenantId tenant, const ProducerOf& producer, std::vector<TransactionPartition> partitions, bool adds,
                         Checked done) {
  const size_t count = partitions.size();
  if (!is_started_) return done(std::vector<Code>(count, Code::coordinator_loading));
  const std::string& id = producer.transactional_id;
  if (id.empty() || id.size() > kIdBytesMax) return done(std::vector<Code>(count, Code::invalid_argument));
  ask({tenant, id}, TransactionMachine::Add{producer.id, producer.epoch, std::move(partitions), {}, !adds},
      [count, adds, done = std::move(done)](const Answer& answer) mutable {
        if (adds || answer.code != Code::ok) return done(std::vector<Code>(count, answer.code));
        done(answer.partitions);
      });
}

void Transactions::commit(TenantId tenant, CommitInTransaction request, ReplyTo done) {
  const size_t count = request.commit.offsets.size();
  const auto refuse = [count](ReplyTo& to, Code code) { to(CommittedOffsets{std::vector<Code>(count, code)}); };
  const std::string id = request.producer.transactional_id;
  if (id.empty() || id.size() > kIdBytesMax) return refuse(done, Code::invalid_argument);
  if (request.commit.group.empty()) return refuse(done, Code::invalid_group);
  if (!groups_) return refuse(done, Code::not_supported);
  const TransactionMachine::Add add{request.producer.id, request.producer.epoch, {}, {request.commit.group}, !request.adds_group};
  ask({tenant, id}, add,
      [this, tenant, refuse, request = std::move(request), done = std::move(done)](const Answer& answer) mutable {
        if (answer.code != Code::ok) return refuse(done, answer.code);
        groups_->commit_in_transaction(tenant, request.producer.id, std::move(request.commit), std::move(done));
      });
}

}  // namespace robustmq::broker
