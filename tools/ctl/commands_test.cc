// The promises of robust-ctl's command line.
#include "tools/ctl/commands.h"

#include <gtest/gtest.h>

#include <vector>

namespace robustmq::ctl {
namespace {

std::optional<Command> parse(std::vector<std::string> words, int* exit_code = nullptr) {
  words.insert(words.begin(), "robust-ctl");
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  int code = 0;
  std::optional<Command> command = parse_commands(static_cast<int>(words.size()), argv.data(), code);
  if (exit_code) *exit_code = code;
  return command;
}

TEST(Commands, BecomeRequests) {
  auto list = parse({"topics", "list"});
  ASSERT_TRUE(list);
  EXPECT_EQ(list->server, "127.0.0.1:58080");
  EXPECT_EQ(list->request.method, "GET");
  EXPECT_EQ(list->request.path, "/api/v1/topics");

  auto create =
      parse({"-s", "h:1", "topics", "create", "a b", "--partitions", "4", "--set", "mode=memory", "--set", "retention_ms=5"});
  ASSERT_TRUE(create);
  EXPECT_EQ(create->server, "h:1");
  EXPECT_EQ(create->request.method, "POST");
  EXPECT_EQ(create->request.body, R"({"name":"a b","partitions":4,"settings":{"mode":"memory","retention_ms":"5"}})");

  auto set = parse({"topics", "set", "a b", "mode=hybrid", "retention_ms="});
  EXPECT_EQ(set->request.method, "PATCH");
  EXPECT_EQ(set->request.path, "/api/v1/topics/a%20b");
  EXPECT_EQ(set->request.body, R"({"settings":{"mode":"hybrid","retention_ms":null}})");
  auto remove = parse({"topics", "delete", "a/b"});
  ASSERT_TRUE(remove);
  EXPECT_EQ(remove->request.method, "DELETE");
  EXPECT_EQ(remove->request.path, "/api/v1/topics/a%2Fb");
  EXPECT_EQ(show(*remove, ""), "deleted a/b\n");
}

TEST(Commands, LookAfterQueuesAndStreams) {
  auto list = parse({"queues", "list"});
  ASSERT_TRUE(list);
  EXPECT_EQ(list->request.path, "/api/v1/queues");
  EXPECT_EQ(show(*list, R"({"queues":[{"name":"jobs","dispatch":"random","last_value":false}]})"),
            "NAME  DISPATCH  LAST VALUE\njobs  random    false\n");
  auto create =
      parse({"queues", "create", "jobs", "--filter", "jobs/#", "--dispatch", "random", "-p", "4", "--set", "retention_ms=5"});
  ASSERT_TRUE(create);
  EXPECT_EQ(create->request.method, "POST");
  EXPECT_EQ(create->request.path, "/api/v1/queues");
  EXPECT_EQ(create->request.body,
            R"({"name":"jobs","mqtt_filter":"jobs/#","dispatch":"random","partitions":4,"settings":{"retention_ms":"5"}})");
  auto set = parse({"queues", "set", "jobs/a/+", "--dispatch", "least_inflight"});
  ASSERT_TRUE(set);
  EXPECT_EQ(set->request.method, "PUT");
  EXPECT_EQ(set->request.path, "/api/v1/queues/jobs%2Fa%2F%2B");
  EXPECT_EQ(set->request.body, R"({"dispatch":"least_inflight"})");
  auto last = parse({"queues", "set", "jobs", "--last-value", "true"});
  ASSERT_TRUE(last);
  EXPECT_EQ(last->request.body, R"({"last_value":true})");
  auto change = parse({"streams", "set", "temps", "--set", "retention_ms=5"});
  ASSERT_TRUE(change);
  EXPECT_EQ(change->request.path, "/api/v1/streams/temps");
  EXPECT_EQ(change->request.body, R"({"settings":{"retention_ms":"5"}})");
  EXPECT_EQ(show(*change, ""), "changed temps\n");
  auto remove = parse({"streams", "delete", "temps"});
  ASSERT_TRUE(remove);
  EXPECT_EQ(remove->request.method, "DELETE");
  int code = 0;
  EXPECT_FALSE(parse({"queues", "set", "jobs", "--dispatch", "fair"}, &code));
  EXPECT_EQ(code, 2);
  EXPECT_FALSE(parse({"streams", "create", "temps", "--set", "=5"}, &code));
  EXPECT_EQ(code, 2);
}

TEST(Commands, ListAndClearMessages) {
  auto list = parse({"retained", "list", "a/+", "--limit", "5", "--after", "0/a b"});
  ASSERT_TRUE(list);
  EXPECT_EQ(list->request.path, "/api/v1/retained");
  EXPECT_EQ(list->request.query, "limit=5&filter=a%2F%2B&after=0%2Fa%20b");
  EXPECT_EQ(show(*list, R"({"messages":[{"topic":"a/b","qos":1,"payload":"21"}],"next":"0/a/b"})"),
            "TOPIC  QOS  PAYLOAD\na/b    1    21\nthere is more: --after '0/a/b'\n");
  auto clear = parse({"retained", "clear", "a/#"});
  ASSERT_TRUE(clear);
  EXPECT_EQ(clear->request.method, "DELETE");
  EXPECT_EQ(clear->request.query, "filter=a%2F%23");
  EXPECT_EQ(show(*clear, R"({"cleared":3})"), "cleared 3\n");
  auto delayed = parse({"delayed", "list"});
  ASSERT_TRUE(delayed);
  EXPECT_EQ(show(*delayed, R"({"messages":[]})"), "No delayed message waits.\n");
  auto cancel = parse({"delayed", "cancel", "1f-2"});
  ASSERT_TRUE(cancel);
  EXPECT_EQ(cancel->request.method, "DELETE");
  EXPECT_EQ(cancel->request.path, "/api/v1/delayed/1f-2");
  EXPECT_EQ(show(*cancel, ""), "cancelled 1f-2\n");
}

TEST(Commands, LookAfterClientsAndBans) {
  auto list = parse({"clients", "list", "--limit", "2", "--after", "a"});
  ASSERT_TRUE(list);
  EXPECT_EQ(list->request.path, "/api/v1/clients");
  EXPECT_EQ(list->request.query, "limit=2&after=a");
  EXPECT_EQ(show(*list, R"({"clients":[{"id":"b","connected":true,"host":"::1","stored":false,"subscriptions":3}],"next":"b"})"),
            "ID  CONNECTED  HOST  STORED  SUBSCRIPTIONS\nb   true       ::1   false   3\nthere is more: --after 'b'\n");
  EXPECT_EQ(show(*list, R"({"clients":[]})"), "There are none.\n");
  auto end = parse({"clients", "end", "a/b", "--session"});
  ASSERT_TRUE(end);
  EXPECT_EQ(end->request.method, "DELETE");
  EXPECT_EQ(end->request.path, "/api/v1/clients/a%2Fb");
  EXPECT_EQ(end->request.query, "session=true");
  auto add = parse({"bans", "add", "client_id", "x", "--for", "60", "--reason", "floods"});
  ASSERT_TRUE(add);
  EXPECT_EQ(add->request.body, R"({"by":"client_id","who":"x","author":"robust-ctl","reason":"floods","for_s":60})");
  auto remove = parse({"bans", "remove", "host", "::1"});
  ASSERT_TRUE(remove);
  EXPECT_EQ(remove->request.path, "/api/v1/bans/host/%3A%3A1");
  EXPECT_FALSE(parse({"bans", "add", "name", "x"}));
  auto slow = parse({"slow", "list"});
  ASSERT_TRUE(slow);
  EXPECT_EQ(slow->request.path, "/api/v1/slow_subscriptions");
}

TEST(Commands, PublishAMessage) {
  auto publish = parse({"-k", "secret", "publish", "a/b", "on", "-q", "1", "--retain"});
  ASSERT_TRUE(publish);
  EXPECT_EQ(publish->request.method, "POST");
  EXPECT_EQ(publish->request.path, "/api/v5/publish");
  EXPECT_EQ(publish->request.body, R"({"topic":"a/b","payload":"on","qos":1,"retain":true})");
  EXPECT_EQ(publish->request.headers.at(0).value, "Bearer secret");
}

TEST(Commands, RefuseWhatTheyDoNotKnow) {
  int code = 0;
  EXPECT_FALSE(parse({"topics", "burn"}, &code));
  EXPECT_EQ(code, 2);
  EXPECT_FALSE(parse({"topics", "create", "x", "--set", "mode"}, &code));
  EXPECT_EQ(code, 2);
  EXPECT_FALSE(parse({"--help"}, &code));
  EXPECT_EQ(code, 0);
}

TEST(Answers, AreShownInColumns) {
  const auto list = parse({"topics", "list"});
  EXPECT_EQ(show(*list, R"({"topics":[{"name":"sensors","kind":"stream","mode":"persistent","partitions":4}]})"),
            "NAME     KIND    MODE        PARTITIONS\nsensors  stream  persistent  4\n");
  EXPECT_EQ(show(*list, R"({"topics":[]})"), "There are no streams. Make one: robust-ctl topics create NAME\n");
  const auto describe = parse({"topics", "describe", "x"});
  const std::string text =
      show(*describe,
           R"({"name":"x","settings":{"mode":"memory"},"partition_offsets":[{"partition":0,"first_offset":1,"next_offset":9}]})");
  EXPECT_NE(text.find("name  x\n"), std::string::npos) << text;
  EXPECT_NE(text.find("0          1             9\n"), std::string::npos) << text;
}

TEST(Answers, TellErrorsInWords) {
  EXPECT_EQ(show_error(404, R"({"code":"unknown_topic","detail":"there is no topic x"})"),
            "there is no topic x (unknown_topic)\n");
  EXPECT_EQ(show_error(503, R"({"status":"not ready"})"), "not ready\n");
  EXPECT_EQ(show_error(400, R"({"reason_code":144,"message":"topic_name_invalid"})"), "topic_name_invalid (reason code 144)\n");
  EXPECT_EQ(show_error(400, R"({"code":"BAD_REQUEST","message":"a topic is needed"})"), "a topic is needed (BAD_REQUEST)\n");
  EXPECT_EQ(show_error(500, "oops"), "HTTP status 500: oops\n");
}

}  // namespace
}  // namespace robustmq::ctl
