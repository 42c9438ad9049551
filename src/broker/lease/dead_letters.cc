#include "broker/lease/dead_letters.h"

#include <utility>

namespace robustmq::broker {
namespace {

constexpr std::string_view kReservedPrefix = "__";
constexpr size_t kLetterOverheadBytes = 64;  // of a record, beside what it holds; about

// What Kafka's readers of dead letters find in the header of this name.
std::string_view text_of(queue::DeathCause cause) {
  switch (cause) {
    case queue::DeathCause::rejected:
      return "Offset rejected by client.";
    case queue::DeathCause::delivery_limit:
      return "Offset delivery count exceeded the threshold.";
    case queue::DeathCause::expired:
      return "Offset expired.";
    case queue::DeathCause::overflow:
      return "Offset dropped because the queue is full.";
    case queue::DeathCause::none:
      break;
  }
  return "";
}

std::optional<ByteSpan> span_of(const std::optional<Bytes>& bytes) { return bytes ? std::optional(bytes->span()) : std::nullopt; }

}  // namespace

struct DeadLetters::Writing {
  QueueKey queue;
  std::string source;
  QueueSettings::DeadLetters to;
  std::vector<DeadLetter> letters;
  Done done;
  std::shared_ptr<const meta::Topic> topic;
  size_t written = 0;
};

void DeadLetters::write(const QueueKey& queue, const std::string& source, const QueueSettings::DeadLetters& to,
                        std::vector<DeadLetter> letters, Done done) {
  auto writing = std::make_shared<Writing>(Writing{queue, source, to, std::move(letters), std::move(done), nullptr, 0});
  // Looked at each time: settings of the group, the node and the topic may have changed.
  if (!to.topic.starts_with(to.prefix) || to.topic.starts_with(kReservedPrefix))
    return writing->done(Error{Code::invalid_topic, "dead letters may not go to " + to.topic}, 0);
  writing->topic = meta_.find(queue.tenant, to.topic);
  if (!writing->topic) return make_topic(writing);
  append_next(writing);
}

void DeadLetters::make_topic(const std::shared_ptr<Writing>& writing) {
  if (!writing->to.may_make) return writing->done(Error{Code::unknown_topic, "no topic " + writing->to.topic}, 0);
  CreateTopics request;
  request.topics.push_back({writing->to.topic, -1, -1, {{"takes_dead_letters", "true"}, {"log_append_time", "false"}}});
  topics_.create(std::move(request), [this, alive = std::weak_ptr<bool>(alive_), writing](const Reply& reply) {
    if (alive.expired()) return;
    const auto* created = std::get_if<CreatedTopics>(&reply);
    const Code code = created ? created->topics.at(0).code : std::get<Error>(reply).code;
    // Another core may have been first.
    writing->topic = meta_.find(writing->queue.tenant, writing->to.topic);
    if (!writing->topic) return writing->done(code == Code::ok ? Code::unknown_topic : code, 0);
    append_next(writing);
  });
}

void DeadLetters::add(const Writing& writing, const DeadLetter& letter, bool with_copy, BatchBuilder& to) const {
  const auto header = [&](std::string_view name, std::string_view value) { to.add_header(name, as_bytes(value)); };
  to.begin_record(core_.wall_now().ms, with_copy ? span_of(letter.key) : std::nullopt,
                  with_copy ? span_of(letter.value) : std::nullopt);
  header("__dlq.errors.topic", writing.source);
  header("__dlq.errors.partition", std::to_string(writing.queue.shard.partition));
  header("__dlq.errors.offset", std::to_string(letter.offset));
  header("__dlq.errors.group", writing.queue.name);
  header("__dlq.errors.delivery.count", std::to_string(letter.deliveries));
  header("__dlq.errors.message", text_of(letter.cause));
  to.end_record();
}

// As many as one batch of the topic takes.
void DeadLetters::append_next(const std::shared_ptr<Writing>& writing) {
  const size_t first = writing->written;
  if (first == writing->letters.size()) return writing->done({}, first);
  const meta::TopicConfig& config = writing->topic->config;
  if (!config.takes_dead_letters)
    return writing->done(Error{Code::invalid_config, writing->to.topic + " takes no dead letters"}, first);
  if (config.mode != meta::Mode::persistent)
    return writing->done(Error{Code::invalid_config, writing->to.topic + " is not persistent"}, first);
  const size_t bytes_max = static_cast<size_t>(config.message_bytes_max);
  BatchBuilder builder;
  size_t next = first;
  for (; next < writing->letters.size(); ++next) {
    const DeadLetter& letter = writing->letters[next];
    if (meta::compacts(config.cleanup_policy) && !letter.key) {
      if (next == first) return writing->done(Error{Code::invalid_record, writing->to.topic + " is compacted"}, first);
      break;
    }
    const size_t copied = (letter.key ? letter.key->size() : 0) + (letter.value ? letter.value->size() : 0);
    const size_t named = writing->source.size() + writing->queue.name.size() + 6 * kLetterOverheadBytes;
    if (next > first && kBatchHeaderBytes + builder.size_bytes() + copied + named > bytes_max) break;
    add(*writing, letter, true, builder);
    const bool may_cut = copied > 0 && !meta::compacts(config.cleanup_policy);
    if (next == first && may_cut && kBatchHeaderBytes + builder.size_bytes() > bytes_max) {
      // With its copy it would be taken never: that it died is what must not be lost.
      builder = BatchBuilder();
      ++metrics_.dead_letters_without_copy_total;
      add(*writing, letter, false, builder);
    }
  }
  const int32_t partition = writing->queue.shard.partition % writing->topic->partitions;
  publisher_.append_to_stream(writing->topic, partition, builder.finish(), 0,
                              [this, alive = std::weak_ptr<bool>(alive_), writing, next](Result<shard::Appended> appended) {
                                if (alive.expired()) return;
                                if (!appended.ok()) return writing->done(appended.error(), writing->written);
                                metrics_.dead_letters_written_total += next - writing->written;
                                writing->written = next;
                                append_next(writing);
                              });
}

}  // namespace robustmq::broker
