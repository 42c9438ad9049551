// The promises of the admin API, against a broker of the test's own.
#include "admin/api.h"

#include <gtest/gtest.h>

namespace robustmq::admin {
namespace {

// Knows the topic "sensors" with two partitions; keeps what it was asked.
class OneTopicBroker final : public broker::Broker {
 public:
  void execute(broker::Context&, broker::Request request, broker::ReplyTo done) override {
    if (fails) return done(Error{Code::overloaded, "busy"});
    if (auto* create = std::get_if<broker::CreateTopics>(&request)) {
      created = create->topics.at(0);
      broker::CreatedTopics reply;
      reply.topics.push_back({created.name == "sensors" ? Code::topic_exists : Code::ok, "", facts_of(created.name)});
      return done(std::move(reply));
    }
    if (auto* remove = std::get_if<broker::DeleteTopics>(&request)) {
      broker::DeletedTopics reply;
      broker::DeletedTopic one;
      one.code = remove->topics.at(0).name == "sensors" ? Code::ok : Code::unknown_topic;
      reply.topics.push_back(one);
      return done(std::move(reply));
    }
    if (auto* describe = std::get_if<broker::DescribeTopics>(&request)) {
      broker::DescribedTopics reply;
      const std::string name = describe->all ? "sensors" : describe->topics.at(0).name;
      reply.topics.push_back({name == "sensors" ? Code::ok : Code::unknown_topic, facts_of(name)});
      return done(std::move(reply));
    }
    if (auto* list = std::get_if<broker::ListOffsets>(&request)) {
      broker::ListedOffsets reply;
      for (const auto& partition : list->partitions) {
        broker::ListedOffset one;
        one.offset = partition.what == broker::ListOffsetsPartition::What::earliest ? 3 : 10 + partition.partition;
        reply.partitions.push_back(one);
      }
      return done(std::move(reply));
    }
    if (auto* list = std::get_if<broker::ListRetained>(&request)) {
      retained = *list;
      broker::ListedRetained reply;
      reply.messages.push_back({"a/b", Bytes::copy_of("21"), 1, 1000, 60});
      reply.messages.push_back({"a/c", Bytes::copy_of(std::string_view("\xff\x00\x01\x02", 4)), 0, 1000, 0});
      reply.next = "0/a/c";
      return done(std::move(reply));
    }
    if (auto* clear = std::get_if<broker::ClearRetained>(&request)) {
      retained.filter = clear->filter;
      return done(broker::ClearedRetained{2});
    }
    if (std::holds_alternative<broker::ListDelayed>(request)) {
      broker::ListedDelayed reply;
      reply.messages.push_back({"1f-2", "t", Bytes::copy_of("v"), 1, false, 1000, 2000, "meter"});
      return done(std::move(reply));
    }
    if (auto* cancel = std::get_if<broker::CancelDelayed>(&request))
      return done(broker::CancelledDelayed{cancel->id == "1f-2" ? Code::ok : Code::not_found});
    if (auto* list = std::get_if<broker::ListClients>(&request)) {
      broker::ListedClients reply;
      reply.clients.push_back({.id = "one", .host = "192.0.2.1", .is_connected = true, .subscriptions = 2});
      reply.clients.push_back({.id = "two", .is_stored = true, .expiry_s = 60, .left_at_ms = 1000});
      if (list->count_max == 2) reply.next = "two";
      return done(std::move(reply));
    }
    if (auto* describe = std::get_if<broker::DescribeClient>(&request)) {
      broker::DescribedClient reply;
      if (describe->id == "a/b") {
        reply.code = Code::ok;
        reply.facts.id = "a/b";
        reply.subscriptions.push_back({"t/#", "g", 1});
      }
      return done(std::move(reply));
    }
    if (auto* end = std::get_if<broker::EndClient>(&request)) {
      ended = *end;
      return done(broker::EndedClient{end->id == "one" ? Code::ok : Code::not_found});
    }
    if (std::holds_alternative<broker::ListBans>(request)) {
      broker::ListedBans reply;
      reply.bans.push_back({broker::BanBy::host, "192.0.2.9", "me", "why", 1000, 2000});
      return done(std::move(reply));
    }
    if (auto* add = std::get_if<broker::AddBan>(&request)) {
      ban = add->ban;
      return done(broker::ChangedBans{ban.who == "many" ? Code::quota_exceeded : Code::ok});
    }
    if (auto* remove = std::get_if<broker::RemoveBan>(&request))
      return done(broker::ChangedBans{remove->by == broker::BanBy::host && remove->who == "::1" ? Code::ok : Code::not_found});
    if (std::holds_alternative<broker::ListSlow>(request)) {
      broker::ListedSlow reply;
      reply.subscriptions.push_back({"one", "t", 700, 1000});
      return done(std::move(reply));
    }
    if (std::holds_alternative<broker::ListWatched>(request)) {
      broker::ListedWatched reply;
      reply.topics.push_back({"a/b", 1000, 3, 30, {1, 2, 0}, 6});
      return done(std::move(reply));
    }
    if (auto* watch = std::get_if<broker::WatchTopic>(&request)) {
      if (watch->is_on) return done(broker::WatchedTopic{watch->topic == "a/b" ? Code::already_exists : Code::ok});
      return done(broker::WatchedTopic{watch->topic == "a/b" ? Code::ok : Code::not_found});
    }
    if (std::holds_alternative<broker::ClearSlow>(request)) return done(broker::ClearedSlow{});
    if (auto* publish = std::get_if<broker::Publish>(&request)) {
      broker::Published reply;
      for (const broker::Message& message : publish->messages) {
        published.push_back({std::string(message.topic), std::string(as_text(message.payload)), message.qos, message.retain,
                             message.expiry_s, headers_of(message)});
        broker::PublishResult result;
        result.has_followers = message.topic != "nobody";
        if (message.topic == "full") result.code = Code::storage_full;
        if (message.topic.starts_with("$SYS/")) result.code = Code::not_authorised;
        reply.results.push_back(result);
      }
      return done(std::move(reply));
    }
    if (std::holds_alternative<broker::ListGroups>(request)) {
      broker::ListedGroups reply;
      reply.groups = {{"g", "consumer", "Stable", "consumer"},
                      {"$queue/jobs/a/+", "share", "Empty", "share"},
                      {"sg", "share", "Empty", "share"}};
      return done(std::move(reply));
    }
    if (auto* describe = std::get_if<broker::DescribeGroupConfigs>(&request)) {
      broker::DescribedGroupConfigs reply;
      for (const std::string& group : describe->groups) reply.groups.push_back({group, {{"queue_dispatch", dispatch, true}}});
      return done(std::move(reply));
    }
    if (auto* configure = std::get_if<broker::ConfigureGroups>(&request)) {
      const auto& one = configure->groups.at(0);
      (one.changes.at(0).name == "queue_dispatch" ? dispatch : last_value) = one.changes.at(0).value.value_or("round_robin");
      broker::ConfiguredGroups reply;
      reply.groups.push_back({dispatch == "fair" ? Code::invalid_config : Code::ok, ""});
      return done(std::move(reply));
    }
    if (auto* stand = std::get_if<broker::DescribeShareOffsets>(&request)) {
      broker::DescribedShareOffsets reply;
      auto& one = reply.groups.emplace_back();
      one.partitions.push_back({.topic = "jobs", .topic_id = {}, .partition = 0, .start = 5, .lag = 3});
      one.partitions.push_back({.topic = "jobs", .topic_id = {}, .partition = 1, .start = 0, .lag = -1});
      asked_group = stand->groups.at(0).group;
      return done(std::move(reply));
    }
    if (auto* open = std::get_if<broker::OpenQueue>(&request)) {
      if (open->name == "nowhere") return done(broker::QueueOpened{Code::invalid_topic, {}});
      return done(broker::QueueOpened{Code::ok, "$queue/" + open->name});
    }
    if (auto* remove = std::get_if<broker::DeleteGroups>(&request))
      return done(broker::DeletedGroups{{remove->groups.at(0) == "$queue/jobs/a/+" ? Code::ok : Code::group_not_found}});
    if (auto* configure = std::get_if<broker::ConfigureTopics>(&request)) {
      changed = configure->topics.at(0);
      return done(broker::ConfiguredTopics{{{Code::ok, {}}}});
    }
    done(Error{Code::internal, "not asked for here"});
  }
  void close(broker::Context&) override {}
  void on_ready(broker::Context&) override {}
  CoreIndex session_home(TenantId, std::string_view) const override { return 0; }

  static broker::TopicFacts facts_of(std::string name) {
    broker::TopicFacts facts;
    facts.name = std::move(name);
    facts.mode = "persistent";
    facts.partitions = 2;
    if (facts.name == "sensors") facts.mqtt_filter = "plant/#";
    facts.settings.push_back({"retention_ms", "7", false});
    return facts;
  }

  struct Got {
    std::string topic;
    std::string payload;
    uint8_t qos = 0;
    bool retain = false;
    uint32_t expiry_s = 0;
    std::string headers;  // "name=value;" each
  };
  static std::string headers_of(const broker::Message& message) {
    RecordView record;
    record.raw_headers = message.raw_headers;
    record.header_count = message.header_count;
    std::string text;
    HeaderReader reader(record);
    for (HeaderView header; reader.next(header);)
      text += std::string(header.key) + "=" + std::string(as_text(*header.value)) + ";";
    return text;
  }

  bool fails = false;
  std::vector<Got> published;
  broker::EndClient ended;
  broker::Ban ban;
  broker::CreateTopics::One created;
  broker::ConfigureTopics::One changed;
  std::string dispatch = "round_robin";
  std::string last_value = "false";
  std::string asked_group;
  broker::ListRetained retained;
};

class Api : public testing::Test {
 protected:
  Api() {
    seat.broker = &broker;
    seat.context = &context;
    seat.is_ready = [this] { return is_ready; };
    seat.metrics_text = [](Callback<void(std::string)> done) { done("robustmq_x_total 1\n"); };
    seat.options_json = [] { return std::string("{}"); };
    seat.message_id = [this] { return "id" + std::to_string(++last_id); };
    seat.metrics = &metrics;
  }

  ApiAnswer ask(std::string method, std::string path, std::string body = {}, const std::string& header = {}) {
    net::HttpRequestMachine machine({});
    machine.feed(as_bytes(method + " " + path + " HTTP/1.1\r\nhost: " + host + "\r\n" + header +
                          "content-length: " + std::to_string(body.size()) + "\r\n\r\n" + body));
    EXPECT_EQ(machine.state(), net::HttpRequestMachine::State::complete);
    ApiAnswer got;
    int answers = 0;
    net::HttpRequest request = machine.take();
    request.peer_host = peer;
    run_api(seat, std::move(request), [&](ApiAnswer answer) {
      got = std::move(answer);
      ++answers;
    });
    EXPECT_EQ(answers, 1);
    return got;
  }

  OneTopicBroker broker;
  broker::Context context;
  ApiSeat seat;
  bool is_ready = true;
  int last_id = 0;
  AdminMetrics metrics;
  std::string peer = "127.0.0.1";
  std::string host = "localhost:58080";
};

TEST_F(Api, TellsHealth) {
  EXPECT_EQ(ask("GET", "/health/live").status, 200);
  EXPECT_EQ(ask("GET", "/health/ready").status, 200);
  is_ready = false;
  EXPECT_EQ(ask("GET", "/health/live").status, 200);
  EXPECT_EQ(ask("GET", "/health/ready").status, 503);
}

TEST_F(Api, GivesMetricsAsText) {
  const ApiAnswer answer = ask("GET", "/metrics");
  EXPECT_EQ(answer.content_type, "text/plain; version=0.0.4; charset=utf-8");
  EXPECT_EQ(answer.body, "robustmq_x_total 1\n");
}

TEST_F(Api, ListsAndDescribesTopics) {
  EXPECT_NE(ask("GET", "/api/v1/topics").body.find("\"name\": \"sensors\""), std::string::npos);
  const std::string body = ask("GET", "/api/v1/topics/sensors").body;
  EXPECT_NE(body.find("\"first_offset\": 3"), std::string::npos) << body;
  EXPECT_NE(body.find("\"next_offset\": 11"), std::string::npos) << body;
  EXPECT_NE(body.find("\"retention_ms\": \"7\""), std::string::npos) << body;
  const ApiAnswer missing = ask("GET", "/api/v1/topics/a%20b%22");
  EXPECT_EQ(missing.status, 404);
  EXPECT_EQ(missing.body, "{\"code\":\"unknown_topic\",\"detail\":\"there is no topic a b\\\"\"}\n");
}

TEST_F(Api, CreatesATopicFromItsBody) {
  const ApiAnswer answer =
      ask("POST", "/api/v1/topics",
          R"({"name": "new", "partitions": 4, "settings": {"mode": "memory", "retention_ms": 60000, "log_append_time": true}})");
  EXPECT_EQ(answer.status, 201) << answer.body;
  EXPECT_EQ(broker.created.name, "new");
  EXPECT_EQ(broker.created.partitions, 4);
  const std::vector<std::pair<std::string, std::string>> settings = {
      {"mode", "memory"}, {"retention_ms", "60000"}, {"log_append_time", "true"}};
  EXPECT_EQ(broker.created.settings, settings);
  EXPECT_EQ(ask("POST", "/api/v1/topics", R"({"name": "sensors"})").status, 409);
}

TEST_F(Api, RefusesABodyThatIsWrong) {
  for (const char* body : {"", "[]", "{", "{\"name\": 1}", "{}", "{\"name\": \"x\", \"partitions\": 0}",
                           "{\"name\": \"x\", \"partitions\": 1e99}", "{\"name\": \"x\", \"partition\": 1}",
                           "{\"name\": \"x\", \"settings\": [1]}", "{\"name\": \"x\", \"settings\": {\"mode\": null}}"}) {
    EXPECT_EQ(ask("POST", "/api/v1/topics", body).status, 400) << body;
  }
  EXPECT_EQ(broker.created.name, "");
}

TEST_F(Api, DeletesATopic) {
  EXPECT_EQ(ask("DELETE", "/api/v1/topics/sensors").status, 204);
  EXPECT_EQ(ask("DELETE", "/api/v1/topics/other").status, 404);
}

TEST_F(Api, TellsWhatTheBrokerRefuses) {
  broker.fails = true;
  for (const char* path : {"/api/v1/topics", "/api/v1/topics/sensors"}) {
    const ApiAnswer answer = ask("GET", path);
    EXPECT_EQ(answer.status, 503);
    EXPECT_EQ(answer.body, "{\"code\":\"overloaded\",\"detail\":\"busy\"}\n");
  }
}

TEST_F(Api, TellsUnknownPathsAndMethodsApart) {
  EXPECT_EQ(ask("GET", "/").status, 404);
  EXPECT_EQ(ask("GET", "/api/v1/topics/a/b").status, 404);
  EXPECT_EQ(ask("GET", "/health").status, 404);
  const ApiAnswer answer = ask("PUT", "/api/v1/topics");
  EXPECT_EQ(answer.status, 405);
  EXPECT_NE(answer.body.find("GET, POST"), std::string::npos);
  EXPECT_EQ(ask("HEAD", "/health/live").status, 200);
}

TEST(Reference, NamesEveryRoute) {
  const std::string text = http_reference();
  for (const Route& route : routes()) {
    EXPECT_NE(text.find("## " + std::string(route.method) + " " + std::string(route.pattern) + "\n"), std::string::npos);
    EXPECT_FALSE(route.summary.empty());
    EXPECT_FALSE(route.answers.empty());
  }
}

TEST_F(Api, ListsAndChangesQueues) {
  EXPECT_EQ(ask("GET", "/api/v1/queues").body.find("\"sg\""), std::string::npos) << "share groups of Kafka are none";
  const ApiAnswer one = ask("GET", "/api/v1/queues/jobs%2Fa%2F%2B");
  EXPECT_EQ(one.status, 200);
  EXPECT_EQ(broker.asked_group, "$queue/jobs/a/+");
  for (const char* part : {"\"name\": \"jobs/a/+\"", "\"dispatch\": \"round_robin\"", "\"stream\": \"jobs\"", "\"messages\": 3"})
    EXPECT_NE(one.body.find(part), std::string::npos) << part << one.body;
  EXPECT_EQ(ask("GET", "/api/v1/queues/none").status, 404);
  EXPECT_EQ(ask("PUT", "/api/v1/queues/jobs%2Fa%2F%2B", R"({"dispatch": "random"})").status, 200);
  EXPECT_EQ(broker.dispatch, "random");
  EXPECT_EQ(ask("PUT", "/api/v1/queues/none", R"({"dispatch": "random"})").status, 404);
  EXPECT_EQ(ask("PUT", "/api/v1/queues/jobs%2Fa%2F%2B", R"({"last_value": true})").status, 200);
  EXPECT_EQ(broker.last_value, "true");
  EXPECT_EQ(ask("PUT", "/api/v1/queues/jobs%2Fa%2F%2B", R"({"last_value": "yes"})").status, 400);
  EXPECT_EQ(ask("PUT", "/api/v1/queues/jobs%2Fa%2F%2B", R"({"dispatch": "fair"})").status, 400);
  EXPECT_EQ(ask("DELETE", "/api/v1/queues/jobs%2Fa%2F%2B").status, 204);
  EXPECT_EQ(ask("DELETE", "/api/v1/queues/none").status, 404);
}

TEST_F(Api, MakesAQueueAndTheStreamThatItNeeds) {
  EXPECT_EQ(
      ask("POST", "/api/v1/queues", R"({"name": "new", "mqtt_filter": "new/#", "partitions": 3, "dispatch": "random"})").status,
      201);
  EXPECT_EQ(broker.created.name, "new");
  EXPECT_EQ(broker.created.mqtt_filter, "new/#");
  EXPECT_EQ(broker.created.partitions, 3);
  EXPECT_EQ(broker.dispatch, "random");
  EXPECT_EQ(ask("POST", "/api/v1/queues", R"({"name": "jobs/a/+"})").status, 409);
  EXPECT_EQ(ask("POST", "/api/v1/queues", R"({"name": "sensors", "mqtt_filter": "a"})").status, 409);
  EXPECT_EQ(ask("POST", "/api/v1/queues", R"({"name": "nowhere"})").status, 404);
  EXPECT_EQ(ask("POST", "/api/v1/queues", R"({"name": "x", "is_lastvalue": true})").status, 501);
  for (const char* body : {"", "[]", "{}", R"({"name": 1})", R"({"name": "x", "partitions": 0})", R"({"name": "x", "colour": 1})",
                           R"({"name": "x", "settings": []})", R"({"name": "x", "settings": {"a": null}})"})
    EXPECT_EQ(ask("POST", "/api/v1/queues", body).status, 400) << body;
}

TEST_F(Api, ListsMakesChangesAndDeletesStreamsOverFilters) {
  EXPECT_NE(ask("GET", "/api/v1/streams").body.find("\"mqtt_filter\": \"plant/#\""), std::string::npos);
  EXPECT_EQ(ask("GET", "/api/v1/streams/sensors").status, 200);
  EXPECT_EQ(ask("GET", "/api/v1/streams/none").status, 404);
  EXPECT_EQ(ask("POST", "/api/v1/streams", R"({"name": "temps", "mqtt_filter": "plant/+/temp"})").status, 201);
  EXPECT_EQ(ask("POST", "/api/v1/streams", R"({"name": "temps"})").status, 400);
  EXPECT_EQ(ask("PUT", "/api/v1/streams/sensors", R"({"settings": {"retention_ms": 5}})").status, 204);
  EXPECT_EQ(broker.changed.changes.at(0).value, "5");
  EXPECT_EQ(ask("PUT", "/api/v1/streams/sensors", R"({"dispatch": "random"})").status, 400);
  EXPECT_EQ(ask("DELETE", "/api/v1/streams/sensors").status, 204);
  EXPECT_EQ(ask("DELETE", "/api/v1/streams/none").status, 404);
}

TEST_F(Api, ListsRetainedMessagesByPagesAndClearsThem) {
  ApiAnswer answer = ask("GET", "/api/v1/retained?filter=a%2F%2B&limit=2&after=0%2Fa%2Fa");
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(broker.retained.filter, "a/+");
  EXPECT_EQ(broker.retained.count_max, 2);
  EXPECT_EQ(broker.retained.after, "0/a/a");
  EXPECT_NE(answer.body.find(R"("payload": "21")"), std::string::npos);
  EXPECT_NE(answer.body.find(R"("payload_base64": "/wABAg==")"), std::string::npos);
  EXPECT_NE(answer.body.find(R"("next": "0/a/c")"), std::string::npos);
  ask("GET", "/api/v1/retained");
  EXPECT_EQ(broker.retained.filter, "#");
  EXPECT_EQ(ask("GET", "/api/v1/retained?limit=0").status, 400);
  EXPECT_EQ(ask("GET", "/api/v1/retained?limit=1001").status, 400);
  EXPECT_EQ(ask("DELETE", "/api/v1/retained").status, 400);
  EXPECT_NE(ask("DELETE", "/api/v1/retained?filter=a%2F%23").body.find(R"("cleared": 2)"), std::string::npos);
  EXPECT_EQ(broker.retained.filter, "a/#");
}

TEST_F(Api, ListsAndCancelsDelayedMessages) {
  EXPECT_NE(ask("GET", "/api/v1/delayed").body.find(R"("id": "1f-2")"), std::string::npos);
  EXPECT_EQ(ask("DELETE", "/api/v1/delayed/1f-2").status, 204);
  EXPECT_EQ(ask("DELETE", "/api/v1/delayed/1f-3").status, 404);
}

// The bodies and answers are those of EMQX's documentation.
TEST_F(Api, PublishesAMessage) {
  ApiAnswer answer = ask("POST", "/api/v5/publish", R"({"topic": "a/b", "payload": "hi"})");
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.body, "{\"id\":\"id1\"}\n");
  ASSERT_EQ(broker.published.size(), 1u);
  EXPECT_EQ(broker.published[0].payload, "hi");
  EXPECT_EQ(broker.published[0].headers, "mqtt.qos=0;");
  answer = ask("POST", "/api/v5/publish",
               R"({"topic": "a", "payload": "/wABAg==", "payload_encoding": "base64", "qos": 1, "retain": true, "clientid": "x",
                   "properties": {"payload_format_indicator": 1, "message_expiry_interval": 60, "response_topic": "r",
                                  "correlation_data": "c", "content_type": "t", "user_properties": {"k": "v", "mqtt.x": "y"}}})");
  EXPECT_EQ(answer.status, 200) << answer.body;
  ASSERT_EQ(broker.published.size(), 2u);
  const auto& got = broker.published[1];
  EXPECT_EQ(got.payload, std::string("\xff\x00\x01\x02", 4));
  EXPECT_EQ(got.qos, 1);
  EXPECT_TRUE(got.retain);
  EXPECT_EQ(got.expiry_s, 60u);
  EXPECT_EQ(got.headers,
            "mqtt.qos=1;mqtt.retain=1;mqtt.payload_format=1;mqtt.message_expiry_s=60;mqtt.response_topic=r;"
            "mqtt.correlation_data=c;mqtt.content_type=t;k=v;mqtt.user.mqtt.x=y;");
  EXPECT_EQ(metrics.messages_published_total, 2u);
}

TEST_F(Api, TellsWhatBecameOfAPublishedMessage) {
  ApiAnswer answer = ask("POST", "/api/v5/publish", R"({"topic": "nobody", "payload": ""})");
  EXPECT_EQ(answer.status, 202);
  EXPECT_EQ(answer.body, "{\"reason_code\":16,\"message\":\"no_matching_subscribers\"}\n");
  EXPECT_EQ(ask("POST", "/api/v5/publish", R"({"topic": "full", "payload": ""})").status, 503);
  answer = ask("POST", "/api/v5/publish", R"({"topic": "$SYS/x", "payload": ""})");
  EXPECT_EQ(answer.status, 400);
  EXPECT_EQ(answer.body, "{\"reason_code\":135,\"message\":\"not_authorized\"}\n");
  broker.fails = true;
  EXPECT_EQ(ask("POST", "/api/v5/publish", R"({"topic": "a", "payload": ""})").status, 503);
}

TEST_F(Api, RefusesAMessageThatIsWrong) {
  for (const char* body :
       {"", "[]", R"({"payload": "x"})", R"({"topic": "a"})", R"({"topic": 1, "payload": "x"})",
        R"({"topic": "a", "payload": 1})", R"({"topic": "a", "payload": "x", "qos": 3})",
        R"({"topic": "a", "payload": "x", "retain": 1})", R"({"topic": "a", "payload": "x", "payload_encoding": "hex"})",
        R"({"topic": "a", "payload": "x", "other": 1})",
        R"({"topic": "a", "payload": "x", "properties": {"user_properties": {"k": 1}}})",
        R"({"topic": "a", "payload": "x", "properties": {"message_expiry_interval": -1}})",
        R"({"topic": "a", "payload": "x", "properties": {"response_topic": "a/+"}})"}) {
    const ApiAnswer answer = ask("POST", "/api/v5/publish", body);
    EXPECT_EQ(answer.status, 400) << body;
    EXPECT_NE(answer.body.find("BAD_REQUEST"), std::string::npos) << body;
  }
  ApiAnswer answer = ask("POST", "/api/v5/publish", R"({"topic": "a/#", "payload": "x"})");
  EXPECT_EQ(answer.status, 400);
  EXPECT_EQ(answer.body, "{\"reason_code\":144,\"message\":\"topic_name_invalid\"}\n");
  answer = ask("POST", "/api/v5/publish", R"({"topic": "a", "payload": "x=", "payload_encoding": "base64"})");
  EXPECT_EQ(answer.body, "{\"reason_code\":131,\"message\":\"decode_base64_payload_failed\"}\n");
  EXPECT_TRUE(broker.published.empty());
}

TEST_F(Api, PublishesManyAtOnceOrNone) {
  ApiAnswer answer =
      ask("POST", "/api/v5/publish/bulk", R"([{"topic": "a", "payload": "1"}, {"topic": "b", "payload": "2", "qos": 2}])");
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.body, "[{\"id\":\"id1\"},{\"id\":\"id2\"}]\n");
  EXPECT_EQ(broker.published[1].qos, 2);
  answer = ask("POST", "/api/v5/publish/bulk", R"([{"topic": "a", "payload": "1"}, {"topic": "nobody", "payload": "2"}])");
  EXPECT_EQ(answer.status, 202);
  EXPECT_EQ(answer.body, "[{\"id\":\"id3\"},{\"reason_code\":16,\"message\":\"no_matching_subscribers\"}]\n");
  answer = ask("POST", "/api/v5/publish/bulk", R"([{"topic": "full", "payload": "1"}, {"topic": "nobody", "payload": "2"}])");
  EXPECT_EQ(answer.status, 503);
  const size_t before = broker.published.size();
  EXPECT_EQ(ask("POST", "/api/v5/publish/bulk", R"([{"topic": "a", "payload": "1"}, {"topic": "+", "payload": "2"}])").status,
            400);
  EXPECT_EQ(ask("POST", "/api/v5/publish/bulk", "[]").status, 400);
  std::string many = R"([{"topic": "a", "payload": "1"})";
  for (int i = 0; i < 1000; ++i) many += R"(,{"topic": "a", "payload": "1"})";
  EXPECT_EQ(ask("POST", "/api/v5/publish/bulk", many + "]").status, 400);
  EXPECT_EQ(broker.published.size(), before);
}

TEST_F(Api, IsRefusedToOtherHostsUntilTheyShowTheKey) {
  peer = "192.0.2.7";
  EXPECT_EQ(ask("GET", "/api/v1/topics").status, 403);
  EXPECT_EQ(ask("POST", "/api/v5/publish", R"({"topic": "a", "payload": ""})").status, 403);
  EXPECT_EQ(ask("GET", "/nothing").status, 403);
  EXPECT_EQ(ask("GET", "/health/live").status, 200);
  EXPECT_EQ(ask("GET", "/metrics").status, 200);
  EXPECT_EQ(metrics.requests_refused_access_total, 3u);
  seat.api_key = "me:secret";
  ApiAnswer answer = ask("GET", "/api/v1/topics");
  EXPECT_EQ(answer.status, 401);
  EXPECT_NE(answer.header("www-authenticate"), "");
  EXPECT_EQ(ask("GET", "/api/v1/topics", "", "authorization: Bearer me:secre\r\n").status, 401);
  EXPECT_EQ(ask("GET", "/api/v1/topics", "", "authorization: Bearer \r\n").status, 401);
  EXPECT_EQ(ask("GET", "/api/v1/topics", "", "authorization: Bearer me:secret\r\n").status, 200);
  EXPECT_EQ(ask("GET", "/api/v1/topics", "", "authorization: basic bWU6c2VjcmV0\r\n").status, 200);
  EXPECT_TRUE(broker.published.empty());
  peer.clear();
  EXPECT_EQ(ask("GET", "/api/v1/topics").status, 401) << "nobody knows who asks";
  for (const char* own : {"127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1", "unix"}) {
    peer = own;
    EXPECT_EQ(ask("GET", "/api/v1/topics").status, 200) << own;
  }
}

TEST_F(Api, IsRefusedByTheHeadersBeforeABodyIsGathered) {
  net::HttpRequest head;
  head.method = "POST";
  head.path = "/api/v1/topics";
  head.segments = {"api", "v1", "topics"};
  head.peer_host = "127.0.0.1";
  EXPECT_FALSE(refuse_by_head(seat, head).has_value());
  head.peer_host = "192.0.2.7";
  ASSERT_TRUE(refuse_by_head(seat, head).has_value());
  EXPECT_EQ(refuse_by_head(seat, head)->status, 403);
  EXPECT_EQ(metrics.requests_refused_access_total, 2u);
  seat.api_key = "secret";
  EXPECT_EQ(refuse_by_head(seat, head)->status, 401);
  head.headers.push_back({"authorization", "Bearer secret"});
  EXPECT_FALSE(refuse_by_head(seat, head).has_value());
  head.headers.clear();
  head.method = "HEAD";
  head.segments = {"health", "ready"};
  EXPECT_FALSE(refuse_by_head(seat, head).has_value()) << "for everybody";
}

TEST_F(Api, IsRefusedToWebPagesWithoutTheKey) {
  EXPECT_EQ(ask("POST", "/api/v5/publish", R"({"topic": "a", "payload": ""})", "origin: http://page.example\r\n").status, 403);
  EXPECT_TRUE(broker.published.empty());
}

TEST_F(Api, IsRefusedByANameThatMayBeAStrangers) {
  for (const char* name : {"page.example", "page.example:58080", "localhost.page.example", "127.0.0.1.page.example", "x"}) {
    host = name;
    EXPECT_EQ(ask("GET", "/api/v1/topics").status, 403) << name;
    EXPECT_EQ(ask("GET", "/health/live").status, 200) << name;
  }
  for (const char* name : {"", "localhost", "LocalHost:58080", "127.0.0.1:58080", "[::1]:58080"}) {
    host = name;
    EXPECT_EQ(ask("GET", "/api/v1/topics").status, 200) << name;
  }
  seat.api_key = "me:secret";
  host = "broker.example";
  EXPECT_EQ(ask("GET", "/api/v1/topics").status, 401);
  EXPECT_EQ(ask("GET", "/api/v1/topics", "", "authorization: Bearer me:secret\r\n").status, 200);
}

TEST_F(Api, ListsAndEndsClients) {
  ApiAnswer answer = ask("GET", "/api/v1/clients?limit=2");
  EXPECT_EQ(answer.status, 200);
  EXPECT_NE(answer.body.find(R"("host": "192.0.2.1")"), std::string::npos) << answer.body;
  EXPECT_NE(answer.body.find(R"("left_at_ms": 1000)"), std::string::npos);
  EXPECT_NE(answer.body.find(R"("next": "two")"), std::string::npos);
  EXPECT_EQ(ask("GET", "/api/v1/clients?limit=0").status, 400);
  answer = ask("GET", "/api/v1/clients/a%2Fb");
  EXPECT_EQ(answer.status, 200);
  EXPECT_NE(answer.body.find(R"("filter": "$share/g/t/#")"), std::string::npos) << answer.body;
  EXPECT_EQ(ask("GET", "/api/v1/clients/x").status, 404);
  EXPECT_EQ(ask("DELETE", "/api/v1/clients/one?session=true").status, 204);
  EXPECT_TRUE(broker.ended.with_session);
  EXPECT_EQ(ask("DELETE", "/api/v1/clients/two").status, 404);
  EXPECT_FALSE(broker.ended.with_session);
  EXPECT_EQ(ask("DELETE", "/api/v1/clients/one?session=maybe").status, 400);
}

TEST_F(Api, ListsAndChangesBans) {
  EXPECT_NE(ask("GET", "/api/v1/bans").body.find(R"("until_ms": 2000)"), std::string::npos);
  ApiAnswer answer = ask("POST", "/api/v1/bans", R"({"by": "client_id", "who": "a", "reason": "r", "until_ms": 5})");
  EXPECT_EQ(answer.status, 204) << answer.body;
  EXPECT_EQ(broker.ban.by, broker::BanBy::client_id);
  EXPECT_EQ(broker.ban.who, "a");
  EXPECT_EQ(broker.ban.until_ms, 5);
  EXPECT_EQ(ask("POST", "/api/v1/bans", R"({"by": "host", "who": "many"})").status, 429);
  for (const char* body : {"", "[]", "{}", R"({"by": "name", "who": "a"})", R"({"by": "host"})", R"({"who": "a"})",
                           R"({"by": "host", "who": "a", "until_ms": -1})", R"({"by": "host", "who": "a", "for_s": 0})",
                           R"({"by": "host", "who": "a", "x": "y"})"})
    EXPECT_EQ(ask("POST", "/api/v1/bans", body).status, 400) << body;
  EXPECT_EQ(ask("DELETE", "/api/v1/bans/host/%3A%3A1").status, 204);
  EXPECT_EQ(ask("DELETE", "/api/v1/bans/client_id/x").status, 404);
  EXPECT_EQ(ask("DELETE", "/api/v1/bans/name/x").status, 400);
}

TEST_F(Api, ListsAndClearsSlowSubscriptions) {
  EXPECT_NE(ask("GET", "/api/v1/slow_subscriptions").body.find(R"("waited_ms": 700)"), std::string::npos);
  EXPECT_EQ(ask("DELETE", "/api/v1/slow_subscriptions").status, 204);
}

TEST_F(Api, CountsTopicsOnDemand) {
  EXPECT_NE(ask("GET", "/api/v1/topic_metrics").body.find(R"("messages_in_qos1": 2)"), std::string::npos);
  EXPECT_EQ(ask("POST", "/api/v1/topic_metrics", R"({"topic": "x"})").status, 204);
  EXPECT_EQ(ask("POST", "/api/v1/topic_metrics", R"({"topic": "a/b"})").status, 409);
  EXPECT_EQ(ask("POST", "/api/v1/topic_metrics", R"({"topic": 1})").status, 400);
  EXPECT_EQ(ask("DELETE", "/api/v1/topic_metrics/a%2Fb").status, 204);
  EXPECT_EQ(ask("DELETE", "/api/v1/topic_metrics/x").status, 404);
}

}  // namespace
}  // namespace robustmq::admin
