// /api/v5/publish and /api/v5/publish/bulk: messages by HTTP, as EMQX takes them and answers.
//
// 200 {"id"}: handed on, and stored as the topic's mode says. 202: it went to nobody; a topic that keeps its messages is never
// that. 400: it is not allowed. 503: it was not possible. Of several messages each has its row, and the status is the worst of
// them; a body of which one message is wrong publishes none.
#include <fmt/core.h>

#include <deque>
#include <nlohmann/json.hpp>
#include <variant>

#include "admin/nouns.h"
#include "base/base64.h"
#include "base/batch.h"
#include "base/topic_names.h"

namespace robustmq::admin {
namespace {

using Json = nlohmann::ordered_json;

constexpr size_t kMessagesMax = 1'000;  // of a bulk
constexpr size_t kTextMax = 65'535;     // MQTT5 1.5.4

// MQTT 5's reason codes, as EMQX names them.
constexpr int kNoMatchingSubscribers = 16;
constexpr int kImplementationSpecific = 131;
constexpr int kNotAuthorized = 135;
constexpr int kTopicNameInvalid = 144;
constexpr int kQuotaExceeded = 151;

struct Wanted {
  std::string topic;
  std::string payload;
  Buffer headers;
  int32_t header_count = 0;
  uint8_t qos = 0;
  bool retain = false;
  uint32_t expiry_s = 0;
};

// `reason` 0: the body is not what it should be.
struct Refusal {
  int reason = 0;
  std::string message;
};

std::string short_text_of(const Json& json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n"; }
ApiAnswer answer_of(int status, const Json& json) { return {status, "application/json", short_text_of(json), {}}; }
ApiAnswer bad_request(std::string_view message) { return answer_of(400, {{"code", "BAD_REQUEST"}, {"message", message}}); }
Json reason_json(int reason, std::string_view message) { return {{"reason_code", reason}, {"message", message}}; }
ApiAnswer answer_of(const Refusal& refusal) {
  if (refusal.reason == 0) return bad_request(refusal.message);
  return answer_of(400, reason_json(refusal.reason, refusal.message));
}

void add_header(Wanted& to, std::string_view name, std::string_view value) {
  BatchBuilder::append_header(to.headers, name, as_bytes(value));
  ++to.header_count;
}

bool is_mqtt_text(const Json& value) {
  if (!value.is_string()) return false;
  const auto& text = value.get_ref<const std::string&>();
  return text.size() <= kTextMax && is_utf8(text);
}

// What is wrong with it; empty: nothing.
std::string take_property(Wanted& to, const std::string& name, const Json& value) {
  const auto text = [&]() -> const std::string& { return value.get_ref<const std::string&>(); };
  if (name == "payload_format_indicator") {
    if (value != 0 && value != 1) return "payload_format_indicator is 0 or 1";
    add_header(to, "mqtt.payload_format", value == 0 ? "0" : "1");
  } else if (name == "message_expiry_interval") {
    if (!value.is_number_unsigned() || value.get<uint64_t>() > UINT32_MAX)
      return "message_expiry_interval is a number of seconds from 0 to 4294967295";
    to.expiry_s = value.get<uint32_t>();
    add_header(to, "mqtt.message_expiry_s", std::to_string(to.expiry_s));
  } else if (name == "response_topic") {
    if (!value.is_string() || !is_valid_topic_name(text())) return "response_topic is an MQTT topic name";
    add_header(to, "mqtt.response_topic", text());
  } else if (name == "correlation_data") {
    if (!value.is_string() || text().size() > kTextMax) return "correlation_data is a text of at most 65535 bytes";
    add_header(to, "mqtt.correlation_data", text());
  } else if (name == "content_type") {
    if (!is_mqtt_text(value)) return "content_type is a text of at most 65535 bytes";
    add_header(to, "mqtt.content_type", text());
  } else if (name == "user_properties") {
    if (!value.is_object()) return "user_properties is an object of texts";
    for (const auto& [key, each] : value.items()) {
      if (!is_mqtt_text(Json(key)) || !is_mqtt_text(each)) return "user_properties is an object of texts";
      add_header(to, key.starts_with("mqtt.") ? "mqtt.user." + key : key, each.get_ref<const std::string&>());
    }
  } else {
    return fmt::format("there is no property {}", name);
  }
  return {};
}

std::variant<Wanted, Refusal> wanted_of(const Json& json) {
  if (!json.is_object()) return Refusal{0, "a message is an object"};
  Wanted wanted;
  const Json* properties = nullptr;
  bool is_base64 = false;
  for (const auto& [key, value] : json.items()) {
    if (key == "topic" || key == "payload") {
      if (!value.is_string()) return Refusal{0, key + " is a text"};
      (key == "topic" ? wanted.topic : wanted.payload) = value.get<std::string>();
    } else if (key == "payload_encoding") {
      if (value != "plain" && value != "base64") return Refusal{0, "payload_encoding is plain or base64"};
      is_base64 = value == "base64";
    } else if (key == "qos") {
      if (value != 0 && value != 1 && value != 2) return Refusal{0, "qos is 0, 1 or 2"};
      wanted.qos = value.get<uint8_t>();
    } else if (key == "retain") {
      if (!value.is_boolean()) return Refusal{0, "retain is true or false"};
      wanted.retain = value.get<bool>();
    } else if (key == "properties") {
      if (!value.is_object()) return Refusal{0, "properties is an object"};
      properties = &value;
    } else if (key != "clientid") {  // EMQX takes it no longer, and says nothing
      return Refusal{0, "there is no key " + key};
    }
  }
  if (!json.contains("topic")) return Refusal{0, "a topic is needed"};
  if (!json.contains("payload")) return Refusal{0, "a payload is needed"};
  if (!is_valid_topic_name(wanted.topic)) return Refusal{kTopicNameInvalid, "topic_name_invalid"};
  if (is_base64) {
    std::optional<std::string> payload = bytes_of_base64(wanted.payload);
    if (!payload) return Refusal{kImplementationSpecific, "decode_base64_payload_failed"};
    wanted.payload = std::move(*payload);
  }
  add_header(wanted, "mqtt.qos", std::to_string(wanted.qos));
  if (wanted.retain) add_header(wanted, "mqtt.retain", "1");
  if (properties) {
    for (const auto& [name, value] : properties->items()) {
      std::string wrong = take_property(wanted, name, value);
      if (!wrong.empty()) return Refusal{0, std::move(wrong)};
    }
  }
  return wanted;
}

struct Row {
  int status = 200;
  Json json;
};

Row row_of(const broker::PublishResult& result, const std::string& id) {
  switch (result.code) {
    case Code::ok:
      if (!result.has_followers) return {202, reason_json(kNoMatchingSubscribers, "no_matching_subscribers")};
      return {200, {{"id", id}}};
    case Code::invalid_topic:
      return {400, reason_json(kTopicNameInvalid, "topic_name_invalid")};
    case Code::not_authorised:
      return {400, reason_json(kNotAuthorized, "not_authorized")};
    case Code::too_large:
    case Code::quota_exceeded:
      return {400, reason_json(kQuotaExceeded, "quota_exceeded")};
    default:
      return {503, reason_json(kImplementationSpecific, code_name(result.code))};
  }
}

// `done` gets a row a message.
void publish_all(ApiSeat& seat, const std::deque<Wanted>& messages, Callback<void(std::vector<Row>)> done) {
  broker::Publish request;
  std::vector<std::string> ids;
  for (const Wanted& wanted : messages) {
    ids.push_back(seat.message_id());
    request.messages.push_back({.topic = wanted.topic,
                                .payload = as_bytes(wanted.payload),
                                .raw_headers = wanted.headers.span(),
                                .header_count = wanted.header_count,
                                .wants_reply = true,
                                .qos = wanted.qos,
                                .retain = wanted.retain,
                                .expiry_s = wanted.expiry_s});
  }
  if (seat.metrics) seat.metrics->messages_published_total += messages.size();
  seat.broker->execute(
      *seat.context, std::move(request), [ids = std::move(ids), done = std::move(done)](broker::Reply reply) mutable {
        std::vector<Row> rows;
        const auto* published = std::get_if<broker::Published>(&reply);
        const auto* error = std::get_if<Error>(&reply);
        for (size_t i = 0; i < ids.size(); ++i) {
          const bool has_result = published && i < published->results.size();
          rows.push_back(
              row_of(has_result ? published->results[i] : broker::PublishResult{error ? error->code : Code::internal}, ids[i]));
        }
        done(std::move(rows));
      });
}

void publish(ApiSeat& seat, ApiRequest api, ApiDone done) {
  const Json json = Json::parse(api.http.body, nullptr, false);
  if (json.is_discarded()) return done(bad_request("the body is no JSON"));
  auto wanted = wanted_of(json);
  if (const auto* refusal = std::get_if<Refusal>(&wanted)) return done(answer_of(*refusal));
  std::deque<Wanted> messages;
  messages.push_back(std::move(std::get<Wanted>(wanted)));
  publish_all(seat, messages,
              [done = std::move(done)](const std::vector<Row>& rows) mutable { done(answer_of(rows[0].status, rows[0].json)); });
}

void publish_bulk(ApiSeat& seat, ApiRequest api, ApiDone done) {
  const Json json = Json::parse(api.http.body, nullptr, false);
  if (json.is_discarded() || !json.is_array()) return done(bad_request("the body is no JSON array of messages"));
  if (json.empty()) return done(bad_request("there is no message"));
  if (json.size() > kMessagesMax) return done(bad_request(fmt::format("a bulk has at most {} messages", kMessagesMax)));
  std::deque<Wanted> messages;
  for (const Json& each : json) {
    auto wanted = wanted_of(each);
    if (const auto* refusal = std::get_if<Refusal>(&wanted)) return done(answer_of(*refusal));
    messages.push_back(std::move(std::get<Wanted>(wanted)));
  }
  publish_all(seat, messages, [done = std::move(done)](std::vector<Row> rows) mutable {
    int status = 200;
    Json all = Json::array();
    for (Row& row : rows) {
      status = std::max(status, row.status);
      all.push_back(std::move(row.json));
    }
    done(answer_of(status, all));
  });
}

}  // namespace

void append_publish_routes(std::vector<Route>& to) {
  constexpr std::string_view kBody =
      "{\"topic\": \"a/b\", \"payload\": \"aGk=\", \"payload_encoding\": \"base64\", \"qos\": 1, \"retain\": false,\n"
      " \"properties\": {\"payload_format_indicator\": 1, \"message_expiry_interval\": 60, \"response_topic\": \"r\",\n"
      "                \"correlation_data\": \"c\", \"content_type\": \"text/plain\", \"user_properties\": {\"k\": \"v\"}}}";
  to.push_back(
      {"POST", "/api/v5/publish",
       "Publishes a message, with the body and the answers of EMQX. `topic` and `payload` are needed; `payload_encoding` "
       "is `plain` unless it says `base64`.",
       kBody,
       "200 `{\"id\": \"...\"}`; 202 `{\"reason_code\": 16, \"message\": \"no_matching_subscribers\"}` where it went to "
       "nobody and the topic keeps nothing; 400 `{\"code\": \"BAD_REQUEST\", \"message\"}` or `{\"reason_code\", "
       "\"message\"}`; 503 `{\"reason_code\": 131, \"message\"}`.",
       publish});
  to.push_back({"POST", "/api/v5/publish/bulk", "Publishes up to 1,000 messages, in order. When one is wrong, none is published.",
                "[{\"topic\": \"a/b\", \"payload\": \"1\"}, {\"topic\": \"a/c\", \"payload\": \"2\", \"qos\": 1}]",
                "an array with what the above answers for each; the status is the highest of them.", publish_bulk});
}

}  // namespace robustmq::admin
