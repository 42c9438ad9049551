// The promises of the server: options that are refused by name, the format file, a node that starts, stops and starts again.
#include <fmt/core.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <map>
#include <set>

#include "base/hash.h"
#include "protocol/driver/quic_door.h"
#include "runtime/sim/disk.h"
#include "runtime/sim/world.h"
#include "server/data_format.h"
#include "server/metric_list.h"
#include "server/node.h"
#include "server/options.h"
#include "server/reference.h"

namespace robustmq::server {
namespace {

std::string problem_of(std::string file) {
  config::Inputs inputs;
  inputs.file = config::ConfigFile{"robust.toml", std::move(file)};
  const Result<ServerOptions> options = load_options(inputs);
  return options.ok() ? "" : options.error().detail;
}

TEST(Options, StandAsTheyAre) { EXPECT_EQ(problem_of(""), ""); }

TEST(Options, OfTheExampleFilesAreRight) {
  for (const char* path : {"config/node.toml", "config/edge.toml", "config/listeners.toml"}) {
    std::FILE* file = std::fopen(path, "rb");
    ASSERT_NE(file, nullptr) << path;
    std::string text(1 << 16, '\0');
    text.resize(std::fread(text.data(), 1, text.size(), file));
    std::fclose(file);
    EXPECT_EQ(problem_of(text), "") << path;
  }
}

TEST(Options, RefuseByNameAndPlaceWhatIsNotBuilt) {
  const std::string hybrid =
      problem_of("[[topic_rule]]\nfilter = \"a\"\nmode = \"memory\"\n[[topic_rule]]\nfilter = \"b\"\nmode = \"hybrid\"\n");
  EXPECT_TRUE(hybrid.starts_with("robust.toml:4: topic_rule[1]: ")) << hybrid;
  EXPECT_NE(hybrid.find("hybrid"), std::string::npos) << hybrid;
  const std::string tiered = problem_of("[[topic_rule]]\nfilter = \"b\"\ntopic = \"b\"\nmode = \"tiered\"\n");
  EXPECT_NE(tiered.find("tiered"), std::string::npos) << tiered;
  EXPECT_EQ(problem_of("[[topic_rule]]\nfilter = \"b\"\nmode = \"persistent\"\n"), "");
  EXPECT_EQ(problem_of("[[topic_rule]]\nfilter = \"b\"\ntopic = \"b\"\nmode = \"hybrid\"\n"), "");
}

TEST(Options, RefuseAnAddressThatIsNone) {
  EXPECT_EQ(problem_of("[mqtt]\nlisten = \"1883\"\n"),
            "robust.toml:2: mqtt.listen: \"1883\" is no address; allowed is host:port, as in 127.0.0.1:1883");
  EXPECT_EQ(problem_of("[mqtt]\nlisten = \"\"\n"), "");
}

TEST(Options, OfListenersAreChecked) {
  auto row = [](std::string_view text) { return problem_of("[[listener]]\n" + std::string(text) + "\n"); };
  EXPECT_EQ(row(""), "");
  EXPECT_EQ(row("bind = \"/run/robustmq/mqtt.sock\""), "");
  EXPECT_EQ(row("kind = \"amqp\""), "robust.toml:1: listener[0]: kind = \"amqp\" is not spoken; allowed is mqtt or kafka");
  EXPECT_NE(row("kind = \"kafka\"\nwebsocket = true"), "");
  EXPECT_NE(row("kind = \"kafka\"\nbind = \"/run/kafka.sock\""), "");
  EXPECT_NE(row("advertised = \"here:1\""), "");
  EXPECT_NE(row("name = \"a b\""), "");
  EXPECT_NE(row("tls = { certificate = \"c\" }"), "") << "no key";
  EXPECT_NE(row("identity = \"user\""), "") << "no client certificates";
  const std::string tls = "tls = { certificate = \"c\", key = \"k\", ca = \"a\", clients = ";
  EXPECT_EQ(row("identity = \"user\"\n" + tls + "\"required\" }"), "");
  EXPECT_NE(row("identity = \"user\"\n" + tls + "\"optional\" }"), "") << "who has none would say himself who he is";
  EXPECT_EQ(row("websocket = true\nwebsocket_origins = [\"https://shop.example\", \"*\"]"), "");
  EXPECT_NE(row("websocket_origins = [\"*\"]"), "") << "no WebSocket";
  for (const char* bad : {"shop.example", "https://shop.example/", "://x"})
    EXPECT_NE(row("websocket = true\nwebsocket_origins = [\"" + std::string(bad) + "\"]"), "") << bad;
  EXPECT_NE(problem_of("[mqtt]\nwebsocket_origins = [\"shop.example\"]\n"), "");
  EXPECT_EQ(row("mountpoint = \"floor1/${clientid}/\""), "");
  for (const char* bad : {"a/#/", "+/", "$share/g/", "floor1"})
    EXPECT_NE(row("mountpoint = \"" + std::string(bad) + "\""), "") << bad;
  EXPECT_NE(row("kind = \"kafka\"\nmountpoint = \"a/\""), "") << "for MQTT alone";
  EXPECT_NE(row("tls = { key = \"k\" }"), "") << "no certificate";
  EXPECT_NE(row("tls = { certificate = \"c\", key = \"k\", clients = \"required\" }"), "") << "no ca";
  EXPECT_NE(problem_of("[[listener]]\nname = \"a\"\n[[listener]]\nname = \"a\"\n"), "");
  EXPECT_NE(problem_of("[mqtt]\nlisten_tls = \"0.0.0.0:8883\"\n"), "") << "no certificate";
  EXPECT_EQ(problem_of("[listener]\nconnections_max = 5\n"), "") << "its former name";
  EXPECT_EQ(problem_of("[connection]\nconnections_max = 5\n[[listener]]\nport = 1\n"), "");
}

TEST(Options, OfQuicListenersAreChecked) {
  auto row = [](std::string_view text) { return problem_of("[[listener]]\nquic = true\n" + std::string(text) + "\n"); };
  const std::string tls = "tls = { certificate = \"c\", key = \"k\" }\n";
  if (!protocol::driver::kHasQuic) {
    EXPECT_NE(row(tls).find("built without QUIC"), std::string::npos);
    return;
  }
  EXPECT_EQ(row(tls), "");
  EXPECT_NE(row(""), "") << "no certificate";
  EXPECT_NE(row(tls + "kind = \"kafka\""), "");
  EXPECT_NE(row(tls + "websocket = true"), "");
  EXPECT_NE(row(tls + "proxy_protocol = true"), "");
  EXPECT_NE(row(tls + "bind = \"/run/mqtt.sock\""), "");
  EXPECT_NE(problem_of("[mqtt]\nlisten_quic = \"127.0.0.1:1\"\n"), "") << "no certificate";
  EXPECT_NE(problem_of("[mqtt]\nlisten_quic = \"/run/mqtt.sock\"\n[tls]\ncertificate = \"c\"\nkey = \"k\"\n"), "");
  EXPECT_NE(problem_of("[mqtt]\nlisten_quic = \"0.0.0.0:1\"\n[tls]\ncertificate = \"c\"\nkey = \"k\"\n"), "")
      << "other hosts reach it";
}

TEST(Options, AreNotTheVariablesOfOthers) {
  for (const char* other :
       {"PATH", "ROBUSTMQ_API_KEY", "ROBUSTMQ_SERVICE_HOST", "ROBUSTMQ_SERVICE_PORT", "ROBUSTMQ_SERVICE_PORT_MQTT",
        "ROBUSTMQ_PORT_1883_TCP", "ROBUSTMQ_PORT_1883_TCP_ADDR", "ROBUSTMQ_PORT_1883_TCP_PORT", "ROBUSTMQ_PORT_9_UDP_PROTO",
        "ROBUSTMQ_KAFKA_SERVICE_HOST", "ROBUSTMQ_KAFKA_PORT_9092_TCP"})
    EXPECT_FALSE(is_option_variable(other, "x")) << other;
  EXPECT_FALSE(is_option_variable("ROBUSTMQ_PORT", "tcp://10.0.0.1:1883"));
  for (const char* own : {"ROBUSTMQ_MQTT_LISTEN", "ROBUSTMQ_LISTENER_0_PORT", "ROBUSTMQ_ADMIN_API_KEY", "ROBUSTMQ_PORT",
                          "ROBUSTMQ_PORT_X_TCP", "ROBUSTMQ_MQTT_LISTEN_TCP", "ROBUSTMQ_TCP"})
    EXPECT_TRUE(is_option_variable(own, "1883")) << own << ": a wrong one is told";
}

TEST(Options, OpenNoListenerToOtherHostsThatAsksForNothing) {
  const std::string open = problem_of("[mqtt]\nlisten = \"0.0.0.0:1883\"\n");
  EXPECT_EQ(open,
            "robust.toml:2: mqtt.listen: other hosts reach 0.0.0.0:1883, and nobody has to log in: set auth.user_file, or "
            "auth.open_listeners = true to let everybody in");
  EXPECT_NE(problem_of("[mqtt]\nlisten_websocket = \"[::]:8083\"\n"), "");
  EXPECT_NE(problem_of("[mqtt]\nlisten = \"192.0.2.1:1883\"\n"), "");
  EXPECT_TRUE(problem_of("[[listener]]\nbind = \"0.0.0.0\"\n").starts_with("robust.toml:1: listener[0]: other hosts"));
  for (const char* local : {"127.0.0.1:1", "127.1.2.3:1", "[::1]:1", "localhost:1", "/run/mqtt.sock", ""})
    EXPECT_EQ(problem_of("[mqtt]\nlisten = \"" + std::string(local) + "\"\n"), "") << local;
  const std::string users = "[auth]\nuser_file = \"users\"\n";
  const std::string anybody = "[auth]\nopen_listeners = true\n";
  EXPECT_EQ(problem_of(users + "[mqtt]\nlisten = \"0.0.0.0:1883\"\n"), "");
  EXPECT_EQ(problem_of(anybody + "[mqtt]\nlisten = \"0.0.0.0:1883\"\n[kafka]\nlisten = \"0.0.0.0:9092\"\n"), "");
  EXPECT_NE(problem_of(users + "[kafka]\nlisten = \"0.0.0.0:9092\"\n"), "") << "Kafka has no login";
  const std::string tls = "[[listener]]\nbind = \"0.0.0.0\"\ntls = { certificate = \"c\", key = \"k\", ca = \"a\", clients = ";
  EXPECT_EQ(problem_of(tls + "\"required\" }\n"), "");
  EXPECT_NE(problem_of(tls + "\"optional\" }\n"), "");
}

TEST(Listeners, OfTablesTakeThePlaceOfDefaults) {
  auto names = [](const ServerOptions& options) {
    std::string all;
    for (const ListenerPlan& plan : plan_listeners(options)) all += plan.name + " ";
    return all;
  };
  ServerOptions options;
  EXPECT_EQ(names(options), "mqtt mqtt_websocket kafka ");
  options.tls.certificate = "c";
  options.tls.key = "k";
  const std::string quic = protocol::driver::kHasQuic ? "mqtt_quic " : "";
  EXPECT_EQ(names(options), "mqtt mqtt_websocket mqtt_tls mqtt_websocket_tls " + quic + "kafka ");
  options.kafka.listen_tls = "127.0.0.1:9093";
  options.listeners.push_back({.kind = "mqtt", .bind = "/run/mqtt.sock"});
  EXPECT_EQ(names(options), "kafka kafka_tls mqtt_1 ");
  options.mqtt.listen = "0.0.0.0:1883";
  options.listeners.push_back({.kind = "mqtt", .name = "second"});
  EXPECT_EQ(names(options), "mqtt kafka kafka_tls mqtt_1 second ");
}

TEST(Reference, HasAPageOfEachKindAndNoMetricTwice) {
  EXPECT_EQ(reference_files().size(), 4u);
  std::set<std::string> names;
  for_each_metrics_struct([&]<class M>(std::string_view prefix, std::string_view) {
    std::vector<observe::MetricFacts> facts;
    observe::append_metric_facts<M>(prefix, facts);
    for (const observe::MetricFacts& fact : facts) {
      EXPECT_TRUE(names.insert(fact.name).second) << fact.name;
      EXPECT_FALSE(fact.doc.empty()) << fact.name;
    }
  });
}

using runtime::sim::SimWorld;

class FormatFile : public testing::Test {
 protected:
  Status claim() {
    std::optional<Status> result;
    runtime::TaskScope tasks;
    node.core(0).post([&] { tasks.spawn(run(result)); });
    EXPECT_TRUE(world.run_until([&] { return result.has_value(); }, Duration::seconds(1)));
    return *result;
  }
  runtime::Task<void> run(std::optional<Status>& result) {
    Status status = co_await claim_data_directory(node.core(0));
    result = status;
  }
  static std::string line_of(std::string text) { return text + fmt::format("{:08x}\n", crc32c(as_bytes(text))); }

  SimWorld world{{.seed = 1}};
  runtime::sim::SimNode& node = world.add_node();
};

TEST_F(FormatFile, IsWrittenOnceAndSurvivesAPowerCut) {
  EXPECT_TRUE(claim().ok());
  EXPECT_EQ(node.disk().file_paths(), std::vector<std::string>{"format"});
  node.crash(runtime::sim::CrashKind::power);
  node.restart();
  const Result<Bytes> kept = node.disk().contents("format");
  ASSERT_TRUE(kept.ok());
  EXPECT_EQ(kept->text(), line_of("RobustMQ data format 2 "));
  EXPECT_TRUE(claim().ok());
}

TEST_F(FormatFile, AnOlderDirectoryBecomesOneOfThisFormat) {
  node.disk().replace("format", Bytes::copy_of(line_of("RobustMQ data format 1 ")));
  EXPECT_TRUE(claim().ok());
  const Result<Bytes> kept = node.disk().contents("format");
  ASSERT_TRUE(kept.ok());
  EXPECT_EQ(kept->text(), line_of("RobustMQ data format 2 "));
}

TEST_F(FormatFile, RefusesNewerDataByName) {
  node.disk().replace("format", Bytes::copy_of(line_of("RobustMQ data format 3 ")));
  const Status status = claim();
  EXPECT_EQ(status.code(), Code::not_supported);
  EXPECT_EQ(status.error().detail, "the data directory is of format 3, written by a newer version; this one knows up to 2");
}

TEST_F(FormatFile, RefusesADamagedOne) {
  const std::string good = line_of("RobustMQ data format 1 ");
  std::vector<std::string> damaged = {"", "RobustMQ", good.substr(0, good.size() - 1), good + "x",
                                      line_of("RobustMQ data format x ")};
  for (size_t i = 0; i < good.size(); ++i) {
    damaged.push_back(good);
    damaged.back()[i] = static_cast<char>(damaged.back()[i] ^ 1);
  }
  for (const std::string& text : damaged) {
    node.disk().replace("format", Bytes::copy_of(text));
    EXPECT_EQ(claim().code(), Code::corrupt_storage) << text;
  }
}

// Keeps the lines.
class Lines final : public observe::LogSink {
 public:
  Lines(runtime::Core& core, std::string& to) : core_(core), to_(to) {}
  WallTime now() override { return core_.wall_now(); }
  void write(observe::Level, std::string_view line) override { to_ += line; }

 private:
  runtime::Core& core_;
  std::string& to_;
};

class NodeTest : public testing::TestWithParam<int> {
 protected:
  Result<Listening> start(ServerOptions options) {
    node = std::make_unique<Node>(std::move(options), place.core_count(),
                                  [this](runtime::Core& core) { return std::make_unique<Lines>(core, log); });
    node->set_file_reader([this](const std::string& path) -> Result<std::string> {
      const auto found = files.find(path);
      if (found == files.end()) return Error{Code::not_found, path + ": no such file"};
      return found->second;
    });
    for (CoreIndex i = 0; i < place.core_count(); ++i) node->set_up(place.core(i));
    std::optional<Result<Listening>> result;
    place.core(0).post([&] { node->start([&](Result<Listening> listening) { result = std::move(listening); }); });
    EXPECT_TRUE(world.run_until([&] { return result.has_value(); }, Duration::seconds(10)));
    return *result;
  }
  void stop() {
    std::optional<Status> result;
    place.core(0).post([&] { node->stop([&](Status status) { result = std::move(status); }); });
    ASSERT_TRUE(world.run_until([&] { return result.has_value(); }, Duration::seconds(60)));
    EXPECT_TRUE(result->ok()) << result->error().to_string();
    for (CoreIndex i = 0; i < place.core_count(); ++i) node->tear_down(place.core(i));
    node.reset();
  }
  static ServerOptions options() {
    ServerOptions options;
    broker::TopicRule rule;
    rule.filter = "sensors/#";
    rule.topic = "sensors";
    rule.partitions = 4;
    options.topic_rule = {rule};
    return options;
  }

  SimWorld world{{.seed = 7}};
  runtime::sim::SimNode& place = world.add_node({.cores = static_cast<CoreIndex>(GetParam())});
  std::map<std::string, std::string> files;  // that options name
  std::string log;
  std::unique_ptr<Node> node;
};

INSTANTIATE_TEST_SUITE_P(Cores, NodeTest, testing::Values(1, 3), testing::PrintToStringParamName());

TEST_P(NodeTest, StartsStopsAndStartsAgain) {
  for (int life = 0; life < 3; ++life) {
    const Result<Listening> listening = start(options());
    ASSERT_TRUE(listening.ok()) << listening.error().to_string() << "\n" << log;
    ASSERT_EQ(listening->size(), 4u);
    EXPECT_EQ((*listening)[0].first, "mqtt");
    EXPECT_EQ((*listening)[1].first, "mqtt_websocket");
    EXPECT_TRUE(node->is_serving());
    std::string metrics;
    place.core(0).post([&] { node->metrics_text([&](std::string text) { metrics = std::move(text); }); });
    EXPECT_TRUE(world.run_until([&] { return !metrics.empty(); }, Duration::seconds(1)));
    EXPECT_NE(metrics.find("robustmq_listener_connections{protocol=\"mqtt\"} 0\n"), std::string::npos) << metrics;
    stop();
  }
  EXPECT_EQ(log.find(" error "), std::string::npos) << log;
}

TEST_P(NodeTest, StartsAgainAfterAPowerCut) {
  ASSERT_TRUE(start(options()).ok()) << log;
  place.crash(runtime::sim::CrashKind::power);
  node->abandon();
  node.reset();
  place.restart();
  const Result<Listening> again = start(options());
  ASSERT_TRUE(again.ok()) << again.error().to_string() << "\n" << log;
  stop();
}

TEST_P(NodeTest, DoesNotOpenAListenerWithoutAnAddress) {
  ServerOptions without = options();
  without.mqtt.listen_websocket.clear();
  without.kafka.listen.clear();
  without.admin.listen.clear();
  const Result<Listening> listening = start(without);
  ASSERT_TRUE(listening.ok()) << listening.error().to_string();
  ASSERT_EQ(listening->size(), 1u);
  stop();
}

TEST_P(NodeTest, TakesUpAChangedUserFileAndKeepsTheFormerUsersWhenItIsWrong) {
  auth::Users users(std::string(auth::kSecretBytes, 's'));
  users.set("ada", auth::derive("one", std::string(auth::kSaltBytes, 'x'), auth::kIterationsMin));
  files["users"] = users.to_text();
  ServerOptions with = options();
  with.auth.user_file = "users";
  with.auth.check_ms = 1'000;
  ASSERT_TRUE(start(with).ok()) << log;
  const auto metric = [&](const std::string& name) {
    std::string text;
    place.core(0).post([&] { node->metrics_text([&](std::string all) { text = std::move(all); }); });
    EXPECT_TRUE(world.run_until([&] { return !text.empty(); }, Duration::seconds(1)));
    const size_t at = text.find("\nrobustmq_auth_" + name + " ");
    return at == std::string::npos ? -1 : std::stoi(text.substr(text.find(' ', at) + 1));
  };
  EXPECT_EQ(metric("users"), 1);
  world.run_for(Duration::seconds(5));
  EXPECT_EQ(metric("user_file_reads_total"), 1) << "it did not change";
  users.set("bob", auth::derive("two", std::string(auth::kSaltBytes, 'x'), auth::kIterationsMin));
  files["users"] = users.to_text();
  world.run_for(Duration::seconds(2));
  EXPECT_EQ(metric("users"), 2);
  EXPECT_EQ(metric("user_file_reads_total"), 2);
  EXPECT_NE(log.find("users_reloaded"), std::string::npos);
  files["users"] = "garbage\n";
  world.run_for(Duration::seconds(2));
  files.erase("users");
  place.core(0).post([&] { node->reload_users(); });
  world.run_for(Duration::seconds(1));
  EXPECT_EQ(metric("users"), 2);
  EXPECT_GE(metric("user_file_failures_total"), 3);
  EXPECT_NE(log.find("users_not_reloaded"), std::string::npos);
  stop();
}

TEST_P(NodeTest, DoesNotStartWithAUserFileThatIsWrong) {
  ServerOptions with = options();
  with.auth.user_file = "users";
  Result<Listening> listening = start(with);
  ASSERT_FALSE(listening.ok());
  EXPECT_EQ(listening.error().detail, "auth.user_file: users: no such file");
  stop();
  files["users"] = "ada:password\n";
  listening = start(with);
  ASSERT_FALSE(listening.ok());
  EXPECT_TRUE(listening.error().detail.starts_with("auth.user_file: users: line 1: ")) << listening.error().detail;
  stop();
}

TEST_P(NodeTest, SaysWhyItCannotStartAndStopsWhatItStarted) {
  place.disk().replace("format", Bytes::copy_of("garbage"));
  const Result<Listening> listening = start(options());
  ASSERT_FALSE(listening.ok());
  EXPECT_EQ(listening.error().detail, "data: the file \"format\" of the data directory is damaged");
  stop();
}

}  // namespace
}  // namespace robustmq::server
