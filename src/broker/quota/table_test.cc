// Which quota holds for whom, what an entity may be, and what a filter finds.
#include "broker/quota/table.h"

#include <gtest/gtest.h>

#include <cmath>

namespace robustmq::broker {
namespace {

using Part = QuotaPart;
using How = DescribeQuotas::Match::How;

QuotaEntity client(Part user, Part client_id) { return {std::move(user), std::move(client_id), {}}; }
QuotaEntity host(Part part) { return {{}, {}, std::move(part)}; }

void put(QuotaTable& table, const QuotaEntity& entity, QuotaKind kind, double value) {
  table.set(entity, table.changed({entity, {{kind, value}}}));
}

// The order of Kafka's documentation, the most particular first.
struct Rung {
  QuotaEntity entity;
  QuotaEntity shared_by;  // as found for user "u" and client "c"
};
std::vector<Rung> rungs() {
  const Part u = Part::of("u"), c = Part::of("c"), any = Part::of_any(), none;
  return {{client(u, c), client(u, c)},       {client(u, any), client(u, c)},      {client(u, none), client(u, none)},
          {client(any, c), client(u, c)},     {client(any, any), client(u, c)},    {client(any, none), client(u, none)},
          {client(none, c), client(none, c)}, {client(none, any), client(none, c)}};
}

TEST(Case67QuotaTable, TheMostParticularHoldsInKafkasOrder) {
  QuotaTable table;
  double value = 1;
  for (const Rung& rung : rungs()) put(table, rung.entity, QuotaKind::produce, value++);
  value = 1;
  for (const Rung& rung : rungs()) {
    const auto hit = table.find(QuotaKind::produce, "u", "c");
    ASSERT_TRUE(hit);
    EXPECT_EQ(hit->per_second, value);
    EXPECT_EQ(hit->shared_by, rung.shared_by) << value;
    table.set(rung.entity, {});
    ++value;
  }
  EXPECT_FALSE(table.find(QuotaKind::produce, "u", "c"));
  EXPECT_EQ(table.size(), 0u);
}

TEST(Case67QuotaTable, TheExamplesOfKafkasDocumentation) {
  // kafka.apache.org, "Setting quotas": (user1, clientA), user1, clientA; then the defaults of each.
  QuotaTable table;
  put(table, client(Part::of("user1"), Part::of("clientA")), QuotaKind::produce, 1024);
  put(table, client(Part::of("user1"), {}), QuotaKind::produce, 2048);
  put(table, client({}, Part::of("clientA")), QuotaKind::produce, 3072);
  const auto rate = [&](const char* user, const char* id) {
    const auto hit = table.find(QuotaKind::produce, user, id);
    return hit ? hit->per_second : 0;
  };
  EXPECT_EQ(rate("user1", "clientA"), 1024);
  EXPECT_EQ(rate("user1", "clientB"), 2048);
  EXPECT_EQ(rate("user2", "clientA"), 3072);
  EXPECT_EQ(rate("user2", "clientB"), 0);
  put(table, client(Part::of_any(), Part::of_any()), QuotaKind::produce, 10);
  EXPECT_EQ(rate("user2", "clientA"), 10) << "a default with a user goes before a client id by name";
  EXPECT_EQ(rate("user1", "clientB"), 2048) << "a user by name before that";
}

TEST(Case67QuotaTable, EachKindIsLookedUpForItself) {
  QuotaTable table;
  put(table, client(Part::of("u"), Part::of("c")), QuotaKind::fetch, 5);
  put(table, client({}, Part::of_any()), QuotaKind::produce, 7);
  EXPECT_EQ(table.find(QuotaKind::produce, "u", "c")->per_second, 7);
  EXPECT_EQ(table.find(QuotaKind::fetch, "u", "c")->per_second, 5);
  EXPECT_FALSE(table.find(QuotaKind::request, "u", "c"));
}

TEST(Case67QuotaTable, HostsHaveTheirOwnOrTheDefault) {
  QuotaTable table;
  EXPECT_FALSE(table.find_host("192.0.2.1"));
  put(table, host(Part::of_any()), QuotaKind::connection, 3);
  put(table, host(Part::of("192.0.2.1")), QuotaKind::connection, 9);
  EXPECT_TRUE(table.limits_hosts());
  EXPECT_FALSE(table.limits_clients());
  EXPECT_EQ(table.find_host("192.0.2.1")->per_second, 9);
  EXPECT_EQ(table.find_host("192.0.2.2")->per_second, 3);
  EXPECT_EQ(table.find_host("192.0.2.2")->shared_by, host(Part::of("192.0.2.2"))) << "each its own";
  table.set(host(Part::of_any()), {});
  table.set(host(Part::of("192.0.2.1")), {});
  EXPECT_FALSE(table.limits_hosts());
}

TEST(Case67QuotaTable, RefusesWhatIsNoEntityOrNoValue) {
  const auto code = [](const QuotaEntity& entity, QuotaKind kind, std::optional<double> value) {
    return QuotaTable::check({entity, {{kind, value}}}).code();
  };
  const QuotaEntity c = client({}, Part::of("c"));
  EXPECT_EQ(code(c, QuotaKind::produce, 1), Code::ok);
  EXPECT_EQ(code(c, QuotaKind::produce, std::nullopt), Code::ok);
  EXPECT_EQ(code({}, QuotaKind::produce, 1), Code::invalid_argument);
  EXPECT_EQ(code({{}, Part::of("c"), Part::of_any()}, QuotaKind::produce, 1), Code::invalid_argument) << "a host stands alone";
  EXPECT_EQ(code(client(Part::of(""), {}), QuotaKind::produce, 1), Code::invalid_argument);
  EXPECT_EQ(code(client(Part::of(std::string(32'768, 'u')), {}), QuotaKind::produce, 1), Code::invalid_argument);
  EXPECT_EQ(code(c, QuotaKind::connection, 1), Code::invalid_argument);
  EXPECT_EQ(code(host(Part::of_any()), QuotaKind::produce, 1), Code::invalid_argument);
  EXPECT_EQ(code(host(Part::of_any()), QuotaKind::connection, 1), Code::ok);
  EXPECT_EQ(code(host(Part::of("nowhere.example")), QuotaKind::connection, 1), Code::invalid_argument);
  for (const double bad : {0.0, -1.0, 1.5, 1e19, std::nan(""), std::numeric_limits<double>::infinity()})
    EXPECT_EQ(code(c, QuotaKind::fetch, bad), Code::invalid_argument) << bad;
  EXPECT_EQ(code(c, QuotaKind::request, 0.5), Code::ok);
  EXPECT_EQ(code(c, QuotaKind::mutation, 0.1), Code::ok);
  EXPECT_EQ(code(host(Part::of_any()), QuotaKind::connection, 3e9), Code::invalid_argument) << "an int in Kafka";
  EXPECT_EQ(code(c, QuotaKind::request, 0), Code::invalid_argument);
}

TEST(QuotaTable, SpellsAddressesOneWay) {
  const auto plain = [](std::string_view text) { return QuotaTable::plain_address(text).value_or("none"); };
  EXPECT_EQ(plain("192.0.2.1"), "192.0.2.1");
  EXPECT_EQ(plain("::ffff:192.0.2.1"), "192.0.2.1");
  EXPECT_EQ(plain("::1"), "0:0:0:0:0:0:0:1");
  EXPECT_EQ(plain("::"), "0:0:0:0:0:0:0:0");
  EXPECT_EQ(plain("2001:DB8::00ff"), "2001:db8:0:0:0:0:0:ff");
  EXPECT_EQ(plain("1:2:3:4:5:6:7:8"), "1:2:3:4:5:6:7:8");
  EXPECT_EQ(plain("64:ff9b::192.0.2.1"), "64:ff9b:0:0:0:0:c000:201");
  for (const char* bad :
       {"", "1.2.3", "1.2.3.4.5", "256.1.1.1", "01.2.3.4", "1.2.3.4 ", ":", ":::", "1::2::3", "1:2:3:4:5:6:7",
        "1:2:3:4:5:6:7:8:9", "1:2:3:4:5:6:7:8::", "12345::", "g::", "::1:", "::1.2.3", "::1.2.3.4:5", "localhost"})
    EXPECT_EQ(plain(bad), "none") << bad;
}

TEST(Case67QuotaTable, FiltersAsKafkaDoes) {
  QuotaTable table;
  const Part u = Part::of("u"), c = Part::of("c"), any = Part::of_any(), none;
  for (const QuotaEntity& entity : {client(u, none), client(any, none), client(u, c), client(u, any), client(none, c)})
    put(table, entity, QuotaKind::produce, 1);
  put(table, host(any), QuotaKind::connection, 1);
  const auto found = [&](DescribeQuotas::Match user, DescribeQuotas::Match id, bool strict) {
    DescribeQuotas wanted{std::move(user), std::move(id), {}, strict};
    return table.describe(wanted).entries.size();
  };
  EXPECT_EQ(found({}, {}, false), 6u) << "no components: all";
  EXPECT_EQ(found({}, {}, true), 0u);
  EXPECT_EQ(found({How::exact, "u"}, {}, false), 3u);
  EXPECT_EQ(found({How::exact, "u"}, {}, true), 1u);
  EXPECT_EQ(found({How::any, ""}, {}, false), 1u);
  EXPECT_EQ(found({How::specified, ""}, {}, false), 4u);
  EXPECT_EQ(found({How::specified, ""}, {How::specified, ""}, true), 2u);
  EXPECT_EQ(found({How::exact, "u"}, {How::any, ""}, true), 1u);
  EXPECT_EQ(found({}, {How::exact, "c"}, true), 1u);
  EXPECT_EQ(found({How::exact, "other"}, {}, false), 0u);
}

}  // namespace
}  // namespace robustmq::broker
