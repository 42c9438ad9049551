// The promises of logins: whom the broker lets in, by password and by SCRAM, on cores of one and of three, and what a changed
// user file does to those who are in.
#include <gtest/gtest.h>

#include "base/base64.h"
#include "broker/hall_rig.h"

namespace robustmq::broker {
namespace {

using Why = LoginRefused::Why;

auth::Users users_of(const std::vector<std::pair<std::string, std::string>>& all) {
  auth::Users users(std::string(auth::kSecretBytes, 's'));
  for (const auto& [name, password] : all)
    users.set(name, auth::derive(password, std::string(auth::kSaltBytes, 'x'), auth::kIterationsMin));
  return users;
}

// What a client sends last, for the server's first message.
std::string last_message(std::string_view bare, std::string_view server_first, std::string_view password) {
  const auth::Digest salted = auth::pbkdf2_sha256(password, as_bytes(std::string(auth::kSaltBytes, 'x')), auth::kIterationsMin);
  const auth::Digest client_key = auth::hmac_sha256(salted, "Client Key");
  const std::string without_proof = "c=biws," + std::string(server_first.substr(0, server_first.find(",s=")));
  auth::Digest proof =
      auth::hmac_sha256(auth::sha256(client_key), std::string(bare) + "," + std::string(server_first) + "," + without_proof);
  for (size_t i = 0; i < proof.size(); ++i) proof[i] = static_cast<uint8_t>(proof[i] ^ client_key[i]);
  return without_proof + ",p=" + base64_of(proof);
}

class LoginsTest : public testing::TestWithParam<int> {
 protected:
  LoginsTest() : rig_(GetParam()) {
    rig_.users = std::make_shared<const auth::Users>(users_of({{"ada", "one"}, {"bob", "two"}}));
  }
  RigClient& at_home_of(const std::string& id) { return rig_.client(slot_of(kDefaultTenant, id) % rig_.node.core_count()); }
  // nullopt: let in.
  static std::optional<Why> verdict_of(const Reply& reply) {
    const auto* refused = std::get_if<LoginRefused>(&reply);
    EXPECT_TRUE(refused || std::holds_alternative<SessionOpened>(reply));
    return refused ? std::optional(refused->why) : std::nullopt;
  }
  std::optional<Why> open(RigClient& client, const std::string& id, const std::string& user = "",
                          const std::optional<std::string>& password = std::nullopt) {
    return verdict_of(rig_.ask(client, OpenSession{.client_id = id, .user = user, .password = password}));
  }
  Reply scram(RigClient& client, std::string_view user, std::string_view password) {
    const std::string bare = "n=" + std::string(user) + ",r=abc";
    Reply first = rig_.ask(client, Authenticate{"SCRAM-SHA-256", "n,," + bare, true});
    const auto* answer = std::get_if<Authenticated>(&first);
    if (!answer) return first;
    EXPECT_FALSE(answer->is_done);
    return rig_.ask(client, Authenticate{"SCRAM-SHA-256", last_message(bare, answer->data, password), false});
  }
  uint64_t sum(uint64_t AuthMetrics::* metric) {
    uint64_t all = 0;
    for (size_t i = 0; i < rig_.node.core_count(); ++i) all += rig_.hall(i).auth_metrics().*metric;
    return all;
  }
  void use(const std::vector<std::pair<std::string, std::string>>& all) {
    const auto users = std::make_shared<const auth::Users>(users_of(all));
    for (size_t i = 0; i < rig_.node.core_count(); ++i) rig_.hall(i).use_users(users);
  }

  HallRig rig_;
};
INSTANTIATE_TEST_SUITE_P(Cores, LoginsTest, testing::Values(1, 3), testing::PrintToStringParamName());

TEST_P(LoginsTest, LetsInWhoHasThePassword) {
  rig_.start();
  RigClient& client = at_home_of("a");
  EXPECT_EQ(open(client, "a", "ada", "one"), std::nullopt);
  EXPECT_EQ(client.context.principal.name, "ada");
  EXPECT_EQ(client.context.proof, Proof::user_file);
  EXPECT_EQ(sum(&AuthMetrics::logins_password_total), 1u);
  EXPECT_EQ(sum(&AuthMetrics::checks_total), 1u);
}

TEST_P(LoginsTest, RefusesEverybodyElseInTheSameWay) {
  rig_.start();
  const struct {
    const char* user;
    std::optional<std::string> password;
  } cases[] = {{"ada", "two"}, {"eve", "one"},         {"ada", ""},      {"ada", std::nullopt},          {"", "one"},
               {"Ada", "one"}, {"ada", "one\xC3\xA9"}, {"a\tda", "one"}, {"ada", std::string(2000, 'x')}};
  for (const auto& each : cases) {
    RigClient& client = at_home_of("a");
    EXPECT_EQ(open(client, "a", each.user, each.password), Why::wrong) << each.user;
    EXPECT_EQ(client.context.proof, Proof::none);
    EXPECT_EQ(client.context.session, "");
  }
  EXPECT_EQ(sum(&AuthMetrics::refused_wrong_total), std::size(cases));
  EXPECT_EQ(sum(&AuthMetrics::checks_total), 3u) << "an unknown user is checked as a known one is";
}

TEST_P(LoginsTest, LetsAnonymousClientsInOnlyWhereTheOptionSaysSo) {
  rig_.start();
  EXPECT_EQ(open(at_home_of("a"), "a"), Why::missing);
  EXPECT_EQ(sum(&AuthMetrics::refused_missing_total), 1u);
  rig_.crash(runtime::sim::CrashKind::process);
  rig_.logins.allow_anonymous = true;
  rig_.start();
  RigClient& client = at_home_of("a");
  EXPECT_EQ(open(client, "a"), std::nullopt);
  EXPECT_EQ(client.context.principal.name, "");
  EXPECT_EQ(open(at_home_of("b"), "b", "ada", "wrong"), Why::wrong) << "who names a user has to be it";
  EXPECT_EQ(open(at_home_of("c"), "c", "ada"), Why::wrong);
  EXPECT_EQ(sum(&AuthMetrics::logins_anonymous_total), 1u);
}

TEST_P(LoginsTest, AsksNobodyWithoutAUserFile) {
  rig_.users.reset();
  rig_.start();
  RigClient& client = at_home_of("a");
  EXPECT_EQ(open(client, "a", "whoever", "anything"), std::nullopt);
  EXPECT_EQ(client.context.principal.name, "whoever");
  EXPECT_EQ(client.context.proof, Proof::none);
  const Reply reply = scram(at_home_of("b"), "ada", "one");
  ASSERT_TRUE(std::holds_alternative<LoginRefused>(reply));
  EXPECT_EQ(std::get<LoginRefused>(reply).why, Why::mechanism);
}

TEST_P(LoginsTest, LetsInWhoHasACertificate) {
  rig_.start();
  RigClient& client = at_home_of("a");
  client.context.principal.name = "device";
  client.context.proof = Proof::certificate;
  EXPECT_EQ(open(client, "a", "ada", "wrong"), std::nullopt);
  EXPECT_EQ(client.context.principal.name, "device");
  const Reply reply = scram(client, "ada", "one");
  EXPECT_TRUE(std::holds_alternative<LoginRefused>(reply)) << "and who it is does not change";
}

TEST_P(LoginsTest, RemembersWhatWasRight) {
  rig_.start();
  for (int i = 0; i < 3; ++i) EXPECT_EQ(open(at_home_of("a"), "a", "ada", "one"), std::nullopt);
  EXPECT_EQ(sum(&AuthMetrics::checks_total), 1u);
  EXPECT_EQ(sum(&AuthMetrics::checks_remembered_total), 2u);
  EXPECT_EQ(open(at_home_of("a"), "a", "ada", "two"), Why::wrong) << "but nothing else";
  EXPECT_EQ(sum(&AuthMetrics::checks_total), 2u);
  use({{"ada", "other"}, {"bob", "two"}});
  EXPECT_EQ(open(at_home_of("a"), "a", "ada", "one"), Why::wrong) << "and only while it is right";
  EXPECT_EQ(open(at_home_of("a"), "a", "ada", "other"), std::nullopt);
}

TEST_P(LoginsTest, SpeaksScram) {
  rig_.start();
  RigClient& client = at_home_of("a");
  Reply reply = scram(client, "ada", "one");
  const auto* done = std::get_if<Authenticated>(&reply);
  ASSERT_TRUE(done);
  EXPECT_TRUE(done->is_done);
  EXPECT_EQ(done->user, "ada");
  EXPECT_TRUE(done->data.starts_with("v="));
  EXPECT_EQ(open(client, "a", "somebody else"), std::nullopt);
  EXPECT_EQ(client.context.principal.name, "ada");
  EXPECT_EQ(sum(&AuthMetrics::logins_scram_total), 1u);
  EXPECT_EQ(sum(&AuthMetrics::checks_total), 0u);
  for (const auto& [user, password] : {std::pair{"ada", "two"}, {"eve", "one"}}) {
    RigClient& other = at_home_of("b");
    reply = scram(other, user, password);
    ASSERT_TRUE(std::holds_alternative<LoginRefused>(reply)) << user;
    EXPECT_EQ(std::get<LoginRefused>(reply).why, Why::wrong);
    EXPECT_EQ(open(other, "b"), Why::missing) << "a failed exchange lets nobody in";
  }
}

TEST_P(LoginsTest, TakesTheMessagesOfAnExchangeInTheirOrder) {
  rig_.start();
  RigClient& client = at_home_of("a");
  const auto why = [&](const Authenticate& request) {
    const Reply reply = rig_.ask(client, request);
    const auto* refused = std::get_if<LoginRefused>(&reply);
    return refused ? std::optional(refused->why) : std::nullopt;
  };
  EXPECT_EQ(why({"SCRAM-SHA-1", "n,,n=ada,r=abc", true}), Why::mechanism);
  EXPECT_EQ(why({"SCRAM-SHA-256", "c=biws,r=abc,p=AAAA", false}), Why::wrong) << "nothing has begun";
  EXPECT_EQ(why({"SCRAM-SHA-256", "", true}), Why::wrong);
  EXPECT_EQ(why({"SCRAM-SHA-256", "n,,n=ada,r=abc", true}), std::nullopt);
  EXPECT_EQ(why({"SCRAM-SHA-256", "c=biws,r=abc,p=AAAA", false}), Why::wrong);
  EXPECT_EQ(why({"SCRAM-SHA-256", "c=biws,r=abc,p=AAAA", false}), Why::wrong) << "it is over";
  EXPECT_EQ(why({"SCRAM-SHA-256", "n,,n=ada,r=abc", true}), std::nullopt);
  const Reply again = scram(client, "ada", "one");  // anew
  EXPECT_TRUE(std::holds_alternative<Authenticated>(again));
}

TEST_P(LoginsTest, ProvesAgainOnlyWhoItIs) {
  rig_.start();
  RigClient& client = at_home_of("a");
  ASSERT_TRUE(std::holds_alternative<Authenticated>(scram(client, "ada", "one")));
  ASSERT_EQ(open(client, "a"), std::nullopt);
  EXPECT_TRUE(std::holds_alternative<Authenticated>(scram(client, "ada", "one")));
  EXPECT_EQ(sum(&AuthMetrics::reauthentications_total), 1u);
  EXPECT_TRUE(std::holds_alternative<LoginRefused>(scram(client, "bob", "two")));
  EXPECT_EQ(client.context.principal.name, "ada");
}

TEST_P(LoginsTest, NobodyTakesOverAnothersClient) {
  rig_.start();
  RigClient& first = at_home_of("a");
  ASSERT_EQ(open(first, "a", "ada", "one"), std::nullopt);
  EXPECT_EQ(open(at_home_of("a"), "a", "bob", "two"), Why::not_own);
  EXPECT_TRUE(first.notices.empty());
  EXPECT_EQ(open(at_home_of("a"), "a", "ada", "one"), std::nullopt);
  EXPECT_EQ(first.notices, std::vector{Notice::taken_over});
}

TEST_P(LoginsTest, NobodyHasAnothersStoredSession) {
  rig_.logins.allow_anonymous = true;
  rig_.start();
  const auto lasting = [&](const std::string& id, const std::string& user, const std::optional<std::string>& password) {
    RigClient& client = at_home_of(id);
    const Reply reply = rig_.ask(
        client, OpenSession{.client_id = id, .clean_start = false, .expiry_s = 1000, .user = user, .password = password});
    client.close();
    rig_.settle();
    return verdict_of(reply);
  };
  EXPECT_EQ(lasting("a", "ada", "one"), std::nullopt);
  EXPECT_EQ(lasting("b", "", std::nullopt), std::nullopt);
  EXPECT_EQ(lasting("a", "bob", "two"), Why::not_own);
  EXPECT_EQ(lasting("a", "", std::nullopt), Why::not_own);
  EXPECT_EQ(lasting("b", "bob", "two"), std::nullopt) << "an anonymous one is anybody's";
  rig_.crash(runtime::sim::CrashKind::power);
  rig_.start();
  EXPECT_EQ(lasting("a", "bob", "two"), Why::not_own) << "after a crash too";
  EXPECT_EQ(lasting("a", "ada", "one"), std::nullopt);
  rig_.crash(runtime::sim::CrashKind::process);
  rig_.users.reset();
  rig_.start();
  EXPECT_EQ(lasting("a", "bob", std::nullopt), std::nullopt) << "without a login it is whoever's";
}

TEST_P(LoginsTest, EndsWhoseUserIsGoneOrHasAnotherPassword) {
  rig_.users = std::make_shared<const auth::Users>(users_of({{"ada", "one"}, {"bob", "two"}, {"cleo", "three"}}));
  rig_.start();
  RigClient& ada = at_home_of("a");
  RigClient& bob = at_home_of("b");
  RigClient& cleo = at_home_of("c");
  RigClient& device = at_home_of("d");
  device.context.principal.name = "bob";
  device.context.proof = Proof::certificate;
  ASSERT_EQ(open(ada, "a", "ada", "one"), std::nullopt);
  ASSERT_EQ(open(bob, "b", "bob", "two"), std::nullopt);
  ASSERT_EQ(open(cleo, "c", "cleo", "three"), std::nullopt);
  ASSERT_EQ(open(device, "d"), std::nullopt);
  use({{"ada", "one"}, {"cleo", "new"}, {"dora", "four"}});
  EXPECT_TRUE(ada.notices.empty());
  EXPECT_EQ(bob.notices, std::vector{Notice::ended});
  EXPECT_EQ(cleo.notices, std::vector{Notice::ended});
  EXPECT_TRUE(device.notices.empty()) << "its certificate is not the file's";
  EXPECT_EQ(sum(&AuthMetrics::revoked_connections_total), 2u);
  EXPECT_EQ(open(at_home_of("b"), "b", "bob", "two"), Why::wrong);
  EXPECT_EQ(open(at_home_of("e"), "e", "dora", "four"), std::nullopt);
}

TEST_P(LoginsTest, AFileThatChangesMeanwhileIsWhatCounts) {
  rig_.start();
  RigClient& by_scram = at_home_of("b");
  ASSERT_TRUE(std::holds_alternative<Authenticated>(scram(by_scram, "ada", "one")));
  RigClient& client = at_home_of("a");
  std::optional<Reply> reply;
  client.hall->execute(client.context, OpenSession{.client_id = "a", .user = "ada", .password = "one"},
                       [&](Reply answer) { reply = std::move(answer); });
  EXPECT_FALSE(reply.has_value()) << "the password is being checked";
  use({{"bob", "two"}});
  rig_.settle();
  ASSERT_TRUE(reply.has_value());
  EXPECT_EQ(verdict_of(*reply), Why::wrong);
  EXPECT_EQ(open(by_scram, "b"), Why::wrong);
}

TEST_P(LoginsTest, BoundsWhatWaitsAndForgetsWhoHasGone) {
  rig_.logins.checks_waiting_max = 3;
  rig_.logins.checks_waiting_per_host_max = 2;
  rig_.start();
  std::vector<Why> refused;
  size_t answers = 0;
  const auto ask = [&](RigClient& client, const std::string& host) {
    client.context.host = host;
    client.hall->execute(client.context, OpenSession{.client_id = "a", .user = "ada", .password = "wrong"}, [&](Reply reply) {
      ++answers;
      if (const auto* why = std::get_if<LoginRefused>(&reply)) refused.push_back(why->why);
    });
  };
  std::vector<RigClient*> clients;
  for (int i = 0; i < 7; ++i) clients.push_back(&at_home_of("a"));
  ask(*clients[0], "192.0.2.1");  // under way
  ask(*clients[1], "192.0.2.1");
  ask(*clients[2], "192.0.2.1");
  ask(*clients[3], "192.0.2.1");
  EXPECT_EQ(refused, std::vector{Why::busy}) << "too many of one address";
  ask(*clients[4], "192.0.2.2");
  ask(*clients[5], "192.0.2.3");
  EXPECT_EQ(refused, (std::vector{Why::busy, Why::busy})) << "too many in all";
  clients[0]->close();
  clients[1]->close();
  ask(*clients[6], "192.0.2.3");
  rig_.settle();
  EXPECT_EQ(answers, 5u) << "those that went are not answered";
  EXPECT_EQ(sum(&AuthMetrics::refused_busy_total), 2u);
  EXPECT_EQ(sum(&AuthMetrics::refused_wrong_total), 3u);
  EXPECT_EQ(sum(&AuthMetrics::checks_total), 4u);
  int64_t waiting = 0;
  for (size_t i = 0; i < rig_.node.core_count(); ++i) waiting += rig_.hall(i).auth_metrics().checks_waiting;
  EXPECT_EQ(waiting, 0);
}

TEST_P(LoginsTest, AHallThatGoesAnswersNobody) {
  rig_.start();
  bool is_answered = false;
  RigClient& client = at_home_of("a");
  client.hall->execute(client.context, OpenSession{.client_id = "a", .user = "ada", .password = "one"},
                       [&](const Reply&) { is_answered = true; });
  rig_.crash(runtime::sim::CrashKind::process);
  rig_.start();
  rig_.settle();
  EXPECT_FALSE(is_answered);
}

}  // namespace
}  // namespace robustmq::broker
