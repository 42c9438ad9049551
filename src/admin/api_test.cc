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
    done(Error{Code::internal, "not asked for here"});
  }
  void close(broker::Context&) override {}
  CoreIndex session_home(TenantId, std::string_view) const override { return 0; }

  static broker::TopicFacts facts_of(std::string name) {
    broker::TopicFacts facts;
    facts.name = std::move(name);
    facts.mode = "persistent";
    facts.partitions = 2;
    facts.settings.push_back({"retention_ms", "7", false});
    return facts;
  }

  bool fails = false;
  broker::CreateTopics::One created;
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
  }

  ApiAnswer ask(std::string method, std::string path, std::string body = {}) {
    net::HttpRequestMachine machine({});
    machine.feed(as_bytes(method + " " + path + " HTTP/1.1\r\nhost: x\r\ncontent-length: " + std::to_string(body.size()) +
                          "\r\n\r\n" + body));
    EXPECT_EQ(machine.state(), net::HttpRequestMachine::State::complete);
    ApiAnswer got;
    int answers = 0;
    run_api(seat, machine.take(), [&](ApiAnswer answer) {
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

}  // namespace
}  // namespace robustmq::admin
