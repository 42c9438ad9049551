// /api/v1/queues and /api/v1/streams: queues of MQTT, and the streams over an MQTT filter that they work on.
//
// A queue is named as a subscription names it: NAME, or NAME/FILTER (percent-encoded in a path). It is the share group
// `$queue/NAME[/FILTER]`, so what is asked here is asked of that.
#include <fmt/core.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>

#include "admin/nouns.h"

namespace robustmq::admin {
namespace {

using Json = nlohmann::ordered_json;

ApiAnswer json_answer(const Json& json, int status = 200) {
  return {status, "application/json", json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n", {}};
}
ApiAnswer no_queue(const std::string& name) {
  return error_answer(Error{Code::not_found, fmt::format("there is no queue {}", name)});
}
std::string group_of(const std::string& name) { return std::string(broker::kQueueGroup) + name; }

// Asks, and goes on with the reply of that kind; another one is the answer.
template <class T, class Then>
void ask(ApiSeat& seat, broker::Request request, ApiDone done, Then then) {
  seat.broker->execute(*seat.context, std::move(request),
                       [done = std::move(done), then = std::move(then)](broker::Reply reply) mutable {
                         auto* found = std::get_if<T>(&reply);
                         if (!found) return done(wrong_reply(reply));
                         then(std::move(*found), std::move(done));
                       });
}

// ---- The body of a POST or PUT ----

struct WantedQueue {
  std::string name;
  std::string mqtt_filter;
  std::optional<std::string> dispatch;
  std::optional<bool> last_value;
  int32_t partitions = -1;
  std::vector<std::pair<std::string, std::string>> settings;  // of the stream
};

Status read_key(const std::string& key, const Json& value, bool is_queue, bool is_new, WantedQueue& to) {
  const auto text = [&](std::string& into) {
    if (!value.is_string()) return Status(Error{Code::invalid_argument, key + " is a text"});
    into = value.get<std::string>();
    return Status();
  };
  if (is_queue && key == "last_value") {
    if (!value.is_boolean()) return Error{Code::invalid_argument, "last_value is true or false"};
    to.last_value = value.get<bool>();
    return {};
  }
  if (key == "is_lastvalue" || key == "key_expression")
    return Error{Code::not_supported,
                 "a message's key is its topic, and cannot be chosen; for queues of last values say last_value"};
  if (is_new && key == "name") return text(to.name);
  if (is_new && key == "mqtt_filter") return text(to.mqtt_filter);
  if (is_queue && key == "dispatch") return text(to.dispatch.emplace());
  if (is_new && key == "partitions") {
    if (!value.is_number_integer() || value.get<int64_t>() < 1 || value.get<int64_t>() > INT32_MAX)
      return Error{Code::invalid_partitions, "partitions is an integer from 1 on"};
    to.partitions = static_cast<int32_t>(value.get<int64_t>());
    return {};
  }
  if (key == "settings" && (is_new || !is_queue)) {
    if (!value.is_object()) return Error{Code::invalid_argument, "settings is an object of names and values"};
    for (const auto& [name, setting] : value.items()) {
      if (setting.is_structured() || setting.is_null()) return Error{Code::invalid_config, "settings." + name + " is no value"};
      to.settings.emplace_back(name, setting.is_string() ? setting.get<std::string>() : setting.dump());
    }
    return {};
  }
  return Error{Code::invalid_argument, fmt::format("there is no key {} here; see docs/reference/http-api.md", key)};
}

Result<WantedQueue> wanted_of(const std::string& body, bool is_queue, bool is_new) {
  const Json json = Json::parse(body, nullptr, false);
  if (json.is_discarded() || !json.is_object()) return Error{Code::malformed, "the body is no JSON object"};
  WantedQueue wanted;
  for (const auto& [key, value] : json.items()) {
    if (Status read = read_key(key, value, is_queue, is_new, wanted); !read.ok()) return read.error();
  }
  if (is_new && wanted.name.empty()) return Error{Code::invalid_argument, "a name is needed"};
  return wanted;
}

broker::CreateTopics stream_of(const WantedQueue& wanted) {
  broker::CreateTopics request;
  broker::CreateTopics::One& one = request.topics.emplace_back();
  one.name = wanted.name;
  one.mqtt_filter = wanted.mqtt_filter;
  one.partitions = wanted.partitions;
  one.settings = wanted.settings;
  return request;
}

// ---- Streams ----

Json stream_json(const broker::TopicFacts& facts) {
  return {{"name", facts.name},
          {"mqtt_filter", facts.mqtt_filter},
          {"from", facts.is_rule ? "run_time" : "configuration"},
          {"mode", facts.mode},
          {"partitions", facts.partitions}};
}

void list_streams(ApiSeat& seat, ApiRequest, ApiDone done) {
  ask<broker::DescribedTopics>(seat, broker::DescribeTopics{.all = true}, std::move(done),
                               [](const auto& described, ApiDone answer) {
                                 Json streams = Json::array();
                                 for (const broker::DescribedTopic& topic : described.topics) {
                                   if (topic.code == Code::ok && !topic.facts.mqtt_filter.empty())
                                     streams.push_back(stream_json(topic.facts));
                                 }
                                 answer(json_answer({{"streams", std::move(streams)}}));
                               });
}

// Goes on with the facts of a stream over a filter.
template <class Then>
void with_stream(ApiSeat& seat, const std::string& name, ApiDone done, Then then) {
  broker::DescribeTopics request;
  request.topics.push_back({name, {}});
  ask<broker::DescribedTopics>(
      seat, std::move(request), std::move(done),
      [name, then = std::move(then)](broker::DescribedTopics described, ApiDone answer) mutable {
        const broker::DescribedTopic& topic = described.topics.at(0);
        if (topic.code != Code::ok || topic.facts.mqtt_filter.empty())
          return answer(error_answer(Error{Code::unknown_topic, fmt::format("there is no stream {} over an MQTT filter", name)}));
        then(topic.facts, std::move(answer));
      });
}

void describe_stream(ApiSeat& seat, ApiRequest api, ApiDone done) {
  with_stream(seat, api.parts["name"], std::move(done), [](const broker::TopicFacts& facts, ApiDone answer) {
    Json json = stream_json(facts);
    Json settings = Json::object();
    for (const broker::TopicFacts::Setting& setting : facts.settings) settings[setting.name] = setting.value;
    json["settings"] = std::move(settings);
    answer(json_answer(json));
  });
}

void create_stream(ApiSeat& seat, ApiRequest api, ApiDone done) {
  Result<WantedQueue> wanted = wanted_of(api.http.body, false, true);
  if (wanted && wanted->mqtt_filter.empty())
    wanted = Error{Code::invalid_argument, "a filter is needed: mqtt_filter; streams without one are made at /api/v1/topics"};
  if (!wanted) return done(error_answer(wanted.error()));
  ask<broker::CreatedTopics>(seat, stream_of(*wanted), std::move(done), [](const auto& created, ApiDone answer) {
    const broker::CreatedTopic& one = created.topics.at(0);
    answer(one.code == Code::ok ? json_answer(stream_json(one.facts), 201) : error_answer(Error{one.code, one.detail}));
  });
}

void change_stream(ApiSeat& seat, ApiRequest api, ApiDone done) {
  Result<WantedQueue> wanted = wanted_of(api.http.body, false, false);
  if (!wanted) return done(error_answer(wanted.error()));
  const std::string name = api.parts["name"];
  with_stream(seat, name, std::move(done), [&seat, name, wanted = wanted.take()](const broker::TopicFacts&, ApiDone answer) {
    broker::ConfigureTopics request;
    broker::ConfigureTopics::One& one = request.topics.emplace_back();
    one.name = name;
    for (const auto& [setting, value] : wanted.settings) one.changes.push_back({.name = setting, .value = value});
    ask<broker::ConfiguredTopics>(seat, std::move(request), std::move(answer), [](const auto& configured, ApiDone last) {
      const auto& row = configured.topics.at(0);
      last(row.code == Code::ok ? ApiAnswer{204, "application/json", "", {}} : error_answer(Error{row.code, row.detail}));
    });
  });
}

void delete_stream(ApiSeat& seat, ApiRequest api, ApiDone done) {
  const std::string name = api.parts["name"];
  with_stream(seat, name, std::move(done), [&seat, name](const broker::TopicFacts&, ApiDone answer) {
    broker::DeleteTopics request;
    request.topics.push_back({name, {}});
    ask<broker::DeletedTopics>(seat, std::move(request), std::move(answer), [](const auto& deleted, ApiDone last) {
      const broker::DeletedTopic& one = deleted.topics.at(0);
      last(one.code == Code::ok ? ApiAnswer{204, "application/json", "", {}} : error_answer(Error{one.code, one.detail}));
    });
  });
}

// ---- Queues ----

// Goes on with the names of all queues.
template <class Then>
void with_queues(ApiSeat& seat, ApiDone done, Then then) {
  ask<broker::ListedGroups>(seat, broker::ListGroups{}, std::move(done),
                            [then = std::move(then)](const broker::ListedGroups& listed, ApiDone answer) mutable {
                              std::vector<std::string> names;
                              for (const auto& each : listed.groups) {
                                if (each.type == "share" && each.group.starts_with(broker::kQueueGroup))
                                  names.push_back(each.group.substr(broker::kQueueGroup.size()));
                              }
                              then(std::move(names), std::move(answer));
                            });
}
template <class Then>
void with_queue(ApiSeat& seat, const std::string& name, ApiDone done, Then then) {
  with_queues(seat, std::move(done),
              [name, then = std::move(then)](const std::vector<std::string>& names, ApiDone answer) mutable {
                if (std::find(names.begin(), names.end(), name) == names.end()) return answer(no_queue(name));
                then(std::move(answer));
              });
}

// A row of each, with what they are set to.
void describe_queues(ApiSeat& seat, std::vector<std::string> names, ApiDone done, Callback<void(Json, ApiDone)> then) {
  broker::DescribeGroupConfigs request;
  for (const std::string& name : names) request.groups.push_back(group_of(name));
  ask<broker::DescribedGroupConfigs>(
      seat, std::move(request), std::move(done),
      [names = std::move(names), then = std::move(then)](const broker::DescribedGroupConfigs& described, ApiDone answer) mutable {
        Json rows = Json::array();
        for (size_t i = 0; i < names.size() && i < described.groups.size(); ++i) {
          Json row = {{"name", names[i]}};
          for (const broker::TopicFacts::Setting& setting : described.groups[i].settings) {
            if (setting.name == "queue_dispatch") row["dispatch"] = setting.value;
            if (setting.name == "queue_last_value") row["last_value"] = setting.value == "true";
          }
          rows.push_back(std::move(row));
        }
        then(std::move(rows), std::move(answer));
      });
}

void list_queues(ApiSeat& seat, ApiRequest, ApiDone done) {
  with_queues(seat, std::move(done), [&seat](std::vector<std::string> names, ApiDone answer) {
    describe_queues(seat, std::move(names), std::move(answer),
                    [](Json rows, ApiDone last) { last(json_answer({{"queues", std::move(rows)}})); });
  });
}

// How far it is: of each partition the first message that is not done, and how many are not.
void show_queue(ApiSeat& seat, const std::string& name, int status, ApiDone done) {
  auto then = [&seat, name, status](Json rows, ApiDone answer) {
    broker::DescribeShareOffsets request;
    request.groups.push_back({.group = group_of(name), .all = true, .topics = {}, .partitions = {}});
    auto show = [json = std::move(rows.at(0)), status](const broker::DescribedShareOffsets& described, ApiDone last) mutable {
      const broker::DescribedShareOffsets::One& one = described.groups.at(0);
      if (one.code != Code::ok) return last(error_answer(Error{one.code, one.detail}));
      int64_t waiting = 0;
      Json partitions = Json::array();
      for (const auto& each : one.partitions) {
        if (each.code != Code::ok) continue;
        json["stream"] = each.topic;
        waiting += std::max<int64_t>(each.lag, 0);
        partitions.push_back({{"partition", each.partition}, {"offset", each.start}, {"messages", each.lag}});
      }
      json["messages"] = waiting;
      json["partitions"] = std::move(partitions);
      last(json_answer(json, status));
    };
    ask<broker::DescribedShareOffsets>(seat, std::move(request), std::move(answer), std::move(show));
  };
  describe_queues(seat, {name}, std::move(done), std::move(then));
}

void describe_queue(ApiSeat& seat, ApiRequest api, ApiDone done) {
  const std::string name = api.parts["name"];
  with_queue(seat, name, std::move(done), [&seat, name](ApiDone answer) { show_queue(seat, name, 200, std::move(answer)); });
}

// What of its settings is given, if any.
void configure_queue(ApiSeat& seat, const std::string& name, const WantedQueue& wanted, ApiDone done,
                     Callback<void(ApiDone)> then) {
  broker::ConfigureGroups request;
  broker::ConfigureTopics::One& one = request.groups.emplace_back();
  one.name = group_of(name);
  if (wanted.dispatch)
    one.changes.push_back({.name = "queue_dispatch", .value = wanted.dispatch->empty() ? std::nullopt : wanted.dispatch});
  if (wanted.last_value) one.changes.push_back({.name = "queue_last_value", .value = *wanted.last_value ? "true" : "false"});
  if (one.changes.empty()) return then(std::move(done));
  ask<broker::ConfiguredGroups>(seat, std::move(request), std::move(done),
                                [then = std::move(then)](const auto& configured, ApiDone answer) mutable {
                                  const auto& row = configured.groups.at(0);
                                  if (row.code != Code::ok) return answer(error_answer(Error{row.code, row.detail}));
                                  then(std::move(answer));
                                });
}

void open_queue(ApiSeat& seat, WantedQueue wanted, ApiDone done) {
  broker::OpenQueue request{wanted.name};
  ask<broker::QueueOpened>(
      seat, std::move(request), std::move(done), [&seat, wanted = std::move(wanted)](const auto& opened, ApiDone answer) {
        if (opened.code == Code::invalid_topic)
          return answer(error_answer(
              Error{Code::unknown_topic, fmt::format("there is no stream for a queue {}: name one, or a filter", wanted.name)}));
        if (opened.code != Code::ok) return answer(error_answer(Error{opened.code, {}}));
        const std::string name = opened.group.substr(broker::kQueueGroup.size());
        configure_queue(seat, name, wanted, std::move(answer),
                        [&seat, name](ApiDone last) { show_queue(seat, name, 201, std::move(last)); });
      });
}

// With a filter its stream is made first. What was made stays when a later step fails, and the request may be made again.
void create_queue(ApiSeat& seat, ApiRequest api, ApiDone done) {
  Result<WantedQueue> read = wanted_of(api.http.body, true, true);
  if (!read) return done(error_answer(read.error()));
  WantedQueue wanted = read.take();
  with_queues(seat, std::move(done),
              [&seat, wanted = std::move(wanted)](const std::vector<std::string>& names, ApiDone answer) mutable {
                if (std::find(names.begin(), names.end(), wanted.name) != names.end())
                  return answer(error_answer(Error{Code::already_exists, fmt::format("there is a queue {}", wanted.name)}));
                if (wanted.mqtt_filter.empty()) return open_queue(seat, std::move(wanted), std::move(answer));
                broker::CreateTopics request = stream_of(wanted);
                ask<broker::CreatedTopics>(seat, std::move(request), std::move(answer),
                                           [&seat, wanted = std::move(wanted)](const auto& created, ApiDone last) mutable {
                                             const broker::CreatedTopic& one = created.topics.at(0);
                                             if (one.code != Code::ok) return last(error_answer(Error{one.code, one.detail}));
                                             open_queue(seat, std::move(wanted), std::move(last));
                                           });
              });
}

void change_queue(ApiSeat& seat, ApiRequest api, ApiDone done) {
  Result<WantedQueue> wanted = wanted_of(api.http.body, true, false);
  if (!wanted) return done(error_answer(wanted.error()));
  const std::string name = api.parts["name"];
  with_queue(seat, name, std::move(done), [&seat, name, wanted = wanted.take()](ApiDone answer) {
    configure_queue(seat, name, wanted, std::move(answer),
                    [&seat, name](ApiDone last) { show_queue(seat, name, 200, std::move(last)); });
  });
}

void delete_queue(ApiSeat& seat, ApiRequest api, ApiDone done) {
  const std::string name = api.parts["name"];
  ask<broker::DeletedGroups>(
      seat, broker::DeleteGroups{{group_of(name)}}, std::move(done), [name](const auto& deleted, ApiDone answer) {
        const Code code = deleted.groups.at(0);
        if (code == Code::group_not_found) return answer(no_queue(name));
        answer(code == Code::ok ? ApiAnswer{204, "application/json", "", {}} : error_answer(Error{code, {}}));
      });
}

}  // namespace

void append_queues_routes(std::vector<Route>& to) {
  to.push_back({"GET", "/api/v1/queues", "All queues of MQTT.", "",
                "200 `{\"queues\": [{\"name\", \"dispatch\", \"last_value\"}]}`.", list_queues});
  to.push_back({"GET", "/api/v1/queues/{name}",
                "One queue: how far it is and what waits. Its name is `NAME` or `NAME/FILTER`, percent-encoded.", "",
                "200 with `stream`, `messages` that are not done, and `partitions`; 404 `not_found`.", describe_queue});
  to.push_back({"POST", "/api/v1/queues",
                "Makes a queue, which begins with what comes. With `mqtt_filter` its stream is made over that first; without it, "
                "there is one. "
                "Left out: `dispatch` is consumer_group.queue_dispatch, `partitions` and `settings` are those of a stream.",
                "{\"name\": \"jobs\", \"mqtt_filter\": \"jobs/#\", \"dispatch\": \"least_inflight\", \"partitions\": 4, "
                "\"settings\": {\"retention_ms\": 604800000}}",
                "201 with the queue; 409 `already_exists`, `topic_exists` (of the stream); 404 `unknown_topic`; 501 "
                "`not_supported`: others claim "
                "some of the topics, or there are no queues; 400; 429 `quota_exceeded`.",
                create_queue});
  to.push_back({"PUT", "/api/v1/queues/{name}",
                "Changes a queue: `dispatch` is `round_robin`, `random`, `least_inflight`, or empty: the option's; `last_value` "
                "is `true` or `false`, of a queue "
                "without a filter of its own.",
                "{\"dispatch\": \"random\", \"last_value\": true}", "200 with the queue; 404 `not_found`; 400 `invalid_config`.",
                change_queue});
  to.push_back({"DELETE", "/api/v1/queues/{name}", "Deletes a queue; its subscriptions end. The messages stay in its stream.", "",
                "204; 404 `not_found`.", delete_queue});
  to.push_back({"GET", "/api/v1/streams", "All streams over an MQTT filter.", "",
                "200 `{\"streams\": [{\"name\", \"mqtt_filter\", \"from\", \"mode\", \"partitions\"}]}`; `from` is `run_time` or "
                "`configuration`.",
                list_streams});
  to.push_back(
      {"GET", "/api/v1/streams/{name}", "One of them, with its settings.", "", "200; 404 `unknown_topic`.", describe_stream});
  to.push_back(
      {"POST", "/api/v1/streams", "Makes a stream over an MQTT filter: it gets what is published from now on.",
       "{\"name\": \"temps\", \"mqtt_filter\": \"plant/+/temp\", \"partitions\": 4, \"settings\": {\"retention_ms\": 604800000}}",
       "201 with the stream; 409 `topic_exists`; 501 `not_supported`: others claim some of the topics; 400 `invalid_topic`, "
       "`invalid_config`; 429 `quota_exceeded`.",
       create_stream});
  to.push_back({"PUT", "/api/v1/streams/{name}", "Changes settings of a stream; those not named stay.",
                "{\"settings\": {\"retention_ms\": 86400000}}", "204; 404 `unknown_topic`; 400 `invalid_config`.",
                change_stream});
  to.push_back({"DELETE", "/api/v1/streams/{name}",
                "Deletes a stream with its messages and queues. Its filter ends with it, unless the configuration has it: then "
                "it is empty.",
                "", "204; 404 `unknown_topic`.", delete_stream});
}

}  // namespace robustmq::admin
