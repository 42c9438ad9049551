// Sessions with an expiry on halls of one and of three cores, on the simulated world and its disk: resumed, taken over, expired,
// capped, and the same after the node was killed. MQTT5 3.1.2.4, 3.1.2.11.2, 3.1.4, 4.1.
#include "broker/session/sessions.h"

#include <gtest/gtest.h>

#include "broker/session/session_rig.h"

namespace robustmq::broker {
namespace {

using test::Client;
using test::SessionRig;

class SessionsTest : public testing::TestWithParam<int>, public SessionRig {
 protected:
  SessionsTest() : SessionRig(static_cast<CoreIndex>(GetParam())) { start(); }
};
INSTANTIATE_TEST_SUITE_P(Cores, SessionsTest, testing::Values(1, 3), testing::PrintToStringParamName());

TEST_P(SessionsTest, ResumesASessionUntilItsExpiryIsOver) {
  Client& first = connect("meter");
  SessionOpened opened = open(first, {.client_id = "meter", .clean_start = false, .expiry_s = 100});
  EXPECT_FALSE(opened.is_present);
  EXPECT_EQ(opened.expiry_s, 100u);
  close(first);
  world.run_for(Duration::seconds(99));
  Client& second = connect("meter");
  EXPECT_TRUE(open(second, {.client_id = "meter", .clean_start = false, .expiry_s = 100}).is_present);
  // The clock stands still while the client is there.
  world.run_for(Duration::seconds(1000));
  close(second);
  world.run_for(Duration::seconds(101));
  EXPECT_EQ(hall_of("meter").session_metrics().expired_total, 1u);
  EXPECT_FALSE(open(connect("meter"), {.client_id = "meter", .clean_start = false, .expiry_s = 100}).is_present);
}

TEST_P(SessionsTest, DropsTheSessionAtACleanStart) {
  Client& first = connect("a");
  open(first, {.client_id = "a", .clean_start = false, .expiry_s = 100});
  follow(first, "t/#", 1);
  close(first);
  Client& second = connect("a");
  EXPECT_FALSE(open(second, {.client_id = "a", .clean_start = true, .expiry_s = 100}).is_present);
  close(second);
  Client& third = connect("a");
  EXPECT_TRUE(open(third, {.client_id = "a", .clean_start = false, .expiry_s = 100}).is_present);
  Client& publisher = connect("p");
  publish(publisher, "t/1", "m", 0);
  settle();
  EXPECT_TRUE(third.received.empty());
}

TEST_P(SessionsTest, FollowsAgainWhatTheSessionFollowed) {
  Client& first = connect("a");
  open(first, {.client_id = "a", .clean_start = false, .expiry_s = 100});
  follow(first, "t/#", 0);
  follow(first, "u", 0);
  unfollow(first, "u");
  close(first);
  Client& second = connect("a");
  open(second, {.client_id = "a", .clean_start = false, .expiry_s = 100});
  Client& publisher = connect("p");
  publish(publisher, "t/1", "m", 0);
  publish(publisher, "u", "n", 0);
  settle();
  ASSERT_EQ(second.received.size(), 1u);
  EXPECT_EQ(second.received[0].value, "m");
}

TEST_P(SessionsTest, TakesASessionOverWhileItsOlderConnectionLives) {
  Client& older = connect("a");
  open(older, {.client_id = "a", .clean_start = false, .expiry_s = 100});
  Client& newer = connect("a");
  EXPECT_TRUE(open(newer, {.client_id = "a", .clean_start = false, .expiry_s = 100}).is_present);
  EXPECT_EQ(older.notices, std::vector<Notice>{Notice::taken_over});
  // The older one's end is nothing to the session.
  close(older);
  world.run_for(Duration::seconds(1000));
  EXPECT_EQ(hall_of("a").session_metrics().connected, 1);
  EXPECT_EQ(hall_of("a").session_metrics().expired_total, 0u);
}

TEST_P(SessionsTest, AnswersAnOlderConnectionThatIsStillOpeningWithAnError) {
  Client& older = connect("a");
  Client& newer = connect("a");
  std::optional<Reply> first;
  std::optional<Reply> second;
  older.hall->execute(older.context, OpenSession{.client_id = "a", .clean_start = false, .expiry_s = 100},
                      [&](Reply reply) { first = std::move(reply); });
  newer.hall->execute(newer.context, OpenSession{.client_id = "a", .clean_start = false, .expiry_s = 100},
                      [&](Reply reply) { second = std::move(reply); });
  EXPECT_TRUE(world.run_until([&] { return first && second; }, Duration::seconds(5)));
  EXPECT_TRUE(std::holds_alternative<Error>(*first));
  EXPECT_TRUE(std::holds_alternative<SessionOpened>(*second));
}

TEST_P(SessionsTest, CapsTheExpiryAndTakesTheGoodbyes) {
  Client& first = connect("a");
  EXPECT_EQ(open(first, {.client_id = "a", .clean_start = true, .expiry_s = kSessionNeverExpires}).expiry_s,
            options.expiry_s_max);
  ask(first, EndSession{.without_will = true, .expiry_s = 5});
  close(first);
  world.run_for(Duration::seconds(6));
  EXPECT_FALSE(open(connect("a"), {.client_id = "a", .clean_start = false, .expiry_s = 10}).is_present);
}

TEST_P(SessionsTest, EndsAPresentSessionThatComesBackWithoutAnExpiry) {
  Client& first = connect("a");
  open(first, {.client_id = "a", .clean_start = false, .expiry_s = 100});
  close(first);
  Client& second = connect("a");
  const SessionOpened opened = open(second, {.client_id = "a", .clean_start = false, .expiry_s = 0});
  EXPECT_TRUE(opened.is_present);
  EXPECT_EQ(opened.expiry_s, 0u);
  close(second);
  EXPECT_FALSE(open(connect("a"), {.client_id = "a", .clean_start = false, .expiry_s = 100}).is_present);
}

TEST_P(SessionsTest, RefusesMoreSessionsThanTheLimit) {
  options.sessions_max = GetParam();
  restart(runtime::sim::CrashKind::process);
  open(connect("a"), {.client_id = "a", .clean_start = false, .expiry_s = 100});
  Client* second = nullptr;
  std::string id;
  do {
    id += "b";
    second = &connect(id);
  } while (second->hall != &hall_of("a"));
  const Reply reply = ask(*second, OpenSession{.client_id = id, .clean_start = false, .expiry_s = 100});
  ASSERT_TRUE(std::holds_alternative<Error>(reply));
  EXPECT_EQ(std::get<Error>(reply).code, Code::quota_exceeded);
}

TEST_P(SessionsTest, HasEverythingAgainAfterAPowerCutAndItsClockRunsOn) {
  Client& first = connect("a");
  open(first, {.client_id = "a", .clean_start = false, .expiry_s = 100});
  follow(first, "t/#", 0);
  close(first);
  Client& there = connect("b");
  open(there, {.client_id = "b", .clean_start = false, .expiry_s = 100});
  world.run_for(Duration::seconds(60));
  restart(runtime::sim::CrashKind::power);
  Client& again = connect("a");
  EXPECT_TRUE(open(again, {.client_id = "a", .clean_start = false, .expiry_s = 100}).is_present);
  Client& publisher = connect("p");
  publish(publisher, "t/1", "m", 0);
  settle();
  EXPECT_EQ(again.received.size(), 1u);
  close(again);
  // Of the one that was connected at the cut the clock began at the start.
  world.run_for(Duration::seconds(60));
  restart(runtime::sim::CrashKind::power);
  world.run_for(Duration::seconds(41));
  EXPECT_FALSE(open(connect("a"), {.client_id = "a", .clean_start = false, .expiry_s = 100}).is_present);
  EXPECT_FALSE(open(connect("b"), {.client_id = "b", .clean_start = false, .expiry_s = 100}).is_present);
}

}  // namespace
}  // namespace robustmq::broker
