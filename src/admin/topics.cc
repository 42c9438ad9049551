// /api/v1/topics: topics listed, described, created and deleted through the broker's menu.
#include <fmt/core.h>

#include <nlohmann/json.hpp>

#include "admin/nouns.h"

namespace robustmq::admin {

namespace {

using Json = nlohmann::ordered_json;

std::string pretty_text_of(const Json& json) { return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n"; }

Json json_of(const broker::TopicFacts& facts) {
  Json json = {{"name", facts.name},
               {"id", facts.id.to_string()},
               {"kind", facts.is_light ? "light" : "stream"},
               {"mode", facts.mode},
               {"partitions", facts.partitions}};
  if (!facts.mqtt_name.empty()) json["mqtt_name"] = facts.mqtt_name;
  return json;
}

ApiAnswer wrong_reply(const broker::Reply& reply) {
  if (const Error* error = std::get_if<Error>(&reply)) return error_answer(*error);
  return error_answer(Error{Code::internal, "an unexpected reply"});
}

void list(ApiSeat& seat, ApiRequest, ApiDone done) {
  broker::DescribeTopics request;
  request.all = true;
  request.with_unstored = true;
  seat.broker->execute(*seat.context, std::move(request), [done = std::move(done)](broker::Reply reply) mutable {
    const auto* described = std::get_if<broker::DescribedTopics>(&reply);
    if (!described) return done(wrong_reply(reply));
    Json topics = Json::array();
    for (const broker::DescribedTopic& topic : described->topics) {
      if (topic.code == Code::ok) topics.push_back(json_of(topic.facts));
    }
    done({200, "application/json", pretty_text_of({{"topics", std::move(topics)}})});
  });
}

// Adds what each partition holds, by its earliest and its latest offset.
void describe_partitions(ApiSeat& seat, broker::TopicFacts facts, ApiDone done) {
  broker::ListOffsets request;
  request.topics.push_back({facts.name, facts.id});
  for (int32_t partition = 0; partition < facts.partitions; ++partition) {
    for (auto what : {broker::ListOffsetsPartition::What::earliest, broker::ListOffsetsPartition::What::latest}) {
      broker::ListOffsetsPartition one;
      one.partition = partition;
      one.what = what;
      request.partitions.push_back(one);
    }
  }
  seat.broker->execute(*seat.context, std::move(request),
                       [facts = std::move(facts), done = std::move(done)](broker::Reply reply) mutable {
                         const auto* listed = std::get_if<broker::ListedOffsets>(&reply);
                         if (!listed || listed->partitions.size() != static_cast<size_t>(facts.partitions) * 2)
                           return done(wrong_reply(reply));
                         Json json = json_of(facts);
                         Json partitions = Json::array();
                         for (size_t i = 0; i + 1 < listed->partitions.size(); i += 2) {
                           const broker::ListedOffset& first = listed->partitions[i];
                           const broker::ListedOffset& next = listed->partitions[i + 1];
                           Json row = {{"partition", i / 2}};
                           if (first.code == Code::ok && next.code == Code::ok) {
                             row["first_offset"] = first.offset;
                             row["next_offset"] = next.offset;
                           } else {
                             row["error"] = code_name(first.code == Code::ok ? next.code : first.code);
                           }
                           partitions.push_back(std::move(row));
                         }
                         json["partition_offsets"] = std::move(partitions);
                         Json settings = Json::object();
                         for (const broker::TopicFacts::Setting& setting : facts.settings) settings[setting.name] = setting.value;
                         json["settings"] = std::move(settings);
                         done({200, "application/json", pretty_text_of(json), {}});
                       });
}

void describe(ApiSeat& seat, ApiRequest api, ApiDone done) {
  broker::DescribeTopics request;
  request.with_unstored = true;
  request.topics.push_back({api.parts["name"], {}});
  seat.broker->execute(*seat.context, std::move(request),
                       [&seat, name = api.parts["name"], done = std::move(done)](broker::Reply reply) mutable {
                         auto* described = std::get_if<broker::DescribedTopics>(&reply);
                         if (!described || described->topics.size() != 1) return done(wrong_reply(reply));
                         broker::DescribedTopic& topic = described->topics[0];
                         if (topic.code != Code::ok)
                           return done(error_answer(Error{topic.code, fmt::format("there is no topic {}", name)}));
                         describe_partitions(seat, std::move(topic.facts), std::move(done));
                       });
}

// The body of a POST, or why it is wrong.
Result<broker::CreateTopics::One> topic_of(const std::string& body) {
  const Json json = Json::parse(body, nullptr, false);
  if (json.is_discarded() || !json.is_object()) return Error{Code::malformed, "the body is no JSON object"};
  broker::CreateTopics::One topic;
  for (const auto& [key, value] : json.items()) {
    if (key == "name") {
      if (!value.is_string()) return Error{Code::invalid_argument, "name is a text"};
      topic.name = value.get<std::string>();
    } else if (key == "partitions") {
      if (!value.is_number_integer() || value.get<int64_t>() < 1 || value.get<int64_t>() > INT32_MAX) {
        return Error{Code::invalid_partitions, "partitions is an integer from 1 on"};
      }
      topic.partitions = static_cast<int32_t>(value.get<int64_t>());
    } else if (key == "settings") {
      if (!value.is_object()) return Error{Code::invalid_argument, "settings is an object of names and values"};
      for (const auto& [name, setting] : value.items()) {
        if (setting.is_structured() || setting.is_null())
          return Error{Code::invalid_config, fmt::format("settings.{} is no value", name)};
        topic.settings.emplace_back(name, setting.is_string() ? setting.get<std::string>() : setting.dump());
      }
    } else {
      return Error{Code::invalid_argument, fmt::format("there is no key {}; known are name, partitions, settings", key)};
    }
  }
  if (topic.name.empty()) return Error{Code::invalid_argument, "a name is needed"};
  return topic;
}

void create(ApiSeat& seat, ApiRequest api, ApiDone done) {
  Result<broker::CreateTopics::One> topic = topic_of(api.http.body);
  if (!topic) return done(error_answer(topic.error()));
  broker::CreateTopics request;
  request.topics.push_back(topic.take());
  seat.broker->execute(*seat.context, std::move(request), [done = std::move(done)](broker::Reply reply) mutable {
    const auto* created = std::get_if<broker::CreatedTopics>(&reply);
    if (!created || created->topics.size() != 1) return done(wrong_reply(reply));
    const broker::CreatedTopic& one = created->topics[0];
    if (one.code != Code::ok) return done(error_answer(Error{one.code, one.detail}));
    done({201, "application/json", pretty_text_of(json_of(one.facts)), {}});
  });
}

// The body of a PATCH: settings by name, null for the default.
Result<broker::ConfigureTopics::One> changes_of(const std::string& name, const std::string& body) {
  const Json json = Json::parse(body, nullptr, false);
  if (json.is_discarded() || !json.is_object()) return Error{Code::malformed, "the body is no JSON object"};
  if (json.size() != 1 || !json.contains("settings") || !json["settings"].is_object())
    return Error{Code::invalid_argument, "the body has one key: settings, an object of names and values"};
  broker::ConfigureTopics::One topic;
  topic.name = name;
  for (const auto& [setting, value] : json["settings"].items()) {
    if (value.is_structured()) return Error{Code::invalid_config, fmt::format("settings.{} is no value", setting)};
    broker::ConfigureTopics::Change& change = topic.changes.emplace_back();
    change.name = setting;
    if (!value.is_null()) change.value = value.is_string() ? value.get<std::string>() : value.dump();
  }
  return topic;
}

void configure(ApiSeat& seat, ApiRequest api, ApiDone done) {
  Result<broker::ConfigureTopics::One> topic = changes_of(api.parts["name"], api.http.body);
  if (!topic) return done(error_answer(topic.error()));
  broker::ConfigureTopics request;
  request.topics.push_back(topic.take());
  seat.broker->execute(*seat.context, std::move(request),
                       [&seat, api = std::move(api), done = std::move(done)](broker::Reply reply) mutable {
                         const auto* configured = std::get_if<broker::ConfiguredTopics>(&reply);
                         if (!configured || configured->topics.size() != 1) return done(wrong_reply(reply));
                         const broker::ConfiguredTopics::One& one = configured->topics[0];
                         if (one.code != Code::ok) return done(error_answer(Error{one.code, one.detail}));
                         describe(seat, std::move(api), std::move(done));
                       });
}

void remove(ApiSeat& seat, ApiRequest api, ApiDone done) {
  broker::DeleteTopics request;
  request.topics.push_back({api.parts["name"], {}});
  seat.broker->execute(*seat.context, std::move(request),
                       [name = api.parts["name"], done = std::move(done)](broker::Reply reply) mutable {
                         const auto* deleted = std::get_if<broker::DeletedTopics>(&reply);
                         if (!deleted || deleted->topics.size() != 1) return done(wrong_reply(reply));
                         const broker::DeletedTopic& one = deleted->topics[0];
                         if (one.code == Code::unknown_topic)
                           return done(error_answer(Error{one.code, fmt::format("there is no topic {}", name)}));
                         if (one.code != Code::ok) return done(error_answer(Error{one.code, one.detail}));
                         done({204, "application/json", "", {}});
                       });
}

}  // namespace

void append_topics_routes(std::vector<Route>& to) {
  to.push_back({"GET", "/api/v1/topics", "All streams, by name.", "",
                "200 `{\"topics\": [{\"name\", \"id\", \"kind\", \"mode\", \"partitions\"}]}`.", list});
  to.push_back(
      {"GET", "/api/v1/topics/{name}", "One topic, by its Kafka name: its settings and what each partition holds.", "",
       "200 with the topic, `settings`, and `partition_offsets` of `first_offset` and `next_offset`; 404 `unknown_topic`.",
       describe});
  to.push_back(
      {"POST", "/api/v1/topics",
       "Makes a stream. Settings left out are the defaults; a topic rule of [options.md](options.md) makes streams for MQTT.",
       "{\"name\": \"sensors\", \"partitions\": 4, \"settings\": {\"mode\": \"persistent\", \"retention_ms\": 604800000}}",
       "201 with the topic; 409 `topic_exists`; 400 `invalid_topic`, `invalid_partitions`, `invalid_config`.", create});
  to.push_back(
      {"PATCH", "/api/v1/topics/{name}",
       "Changes settings of a stream while it runs, its mode too: when the answer comes, every record that can be read is "
       "as durable as the new mode says. Null sets the default.",
       "{\"settings\": {\"mode\": \"hybrid\", \"flush_ms\": 20, \"retention_ms\": null}}",
       "200 with the topic as described; 404 `unknown_topic`; 400 `invalid_config`; 507 `storage_full`: the mode is as it "
       "was.",
       configure});
  to.push_back({"DELETE", "/api/v1/topics/{name}", "Deletes a stream and its records.", "", "204; 404 `unknown_topic`.", remove});
}

}  // namespace robustmq::admin
