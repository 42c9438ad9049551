// SCRAM-SHA-256 by the example of RFC 7677, and by clients that do what RFC 5802 forbids.
#include "auth/scram.h"

#include <gtest/gtest.h>

#include "base/base64.h"

namespace robustmq::auth {
namespace {

// RFC 7677 3: user "user", password "pencil".
constexpr std::string_view kNonce = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
constexpr std::string_view kClientFirst = "n,,n=user,r=rOprNGfwEbeRWgbNEkqO";
constexpr std::string_view kServerFirst =
    "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
constexpr std::string_view kClientFinal =
    "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
constexpr std::string_view kServerFinal = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";

Users one_user(std::string_view name = "user") {
  Users users(std::string(kSecretBytes, 's'));
  users.set(std::string(name), derive("pencil", *bytes_of_base64("W22ZaJ0SNY7soEsUEjb6gQ=="), 4096));
  return users;
}

std::string hex_of(const Digest& digest) {
  std::string text;
  for (const uint8_t byte : digest) {
    text += "0123456789abcdef"[byte >> 4];
    text += "0123456789abcdef"[byte & 15];
  }
  return text;
}

// A client that knows the password; what it sends last, for a server's first message.
std::string final_message(std::string_view header, std::string_view bare, std::string_view server_first,
                          std::string_view password, std::string_view more = "") {
  const size_t salt_at = server_first.find(",s=") + 3;
  const size_t iterations_at = server_first.find(",i=");
  const std::string salt = *bytes_of_base64(server_first.substr(salt_at, iterations_at - salt_at));
  const Digest salted = pbkdf2_sha256(password, as_bytes(salt),
                                      static_cast<uint32_t>(std::stoul(std::string(server_first.substr(iterations_at + 3)))));
  const Digest client_key = hmac_sha256(salted, "Client Key");
  const std::string without_proof =
      "c=" + base64_of(as_bytes(header)) + "," + std::string(server_first.substr(0, salt_at - 3)) + std::string(more);
  Digest proof = hmac_sha256(sha256(client_key), std::string(bare) + "," + std::string(server_first) + "," + without_proof);
  for (size_t i = 0; i < proof.size(); ++i) proof[i] = static_cast<uint8_t>(proof[i] ^ client_key[i]);
  return without_proof + ",p=" + base64_of(proof);
}

TEST(Crypto, KnowsThePublishedVectors) {
  EXPECT_EQ(base64_of(sha256(as_bytes("abc"))), "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=");  // FIPS 180-4
  // RFC 4231 4.3, RFC 7914 11
  EXPECT_EQ(hex_of(hmac_sha256(as_bytes("Jefe"), "what do ya want for nothing?")),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
  EXPECT_EQ(hex_of(pbkdf2_sha256("passwd", as_bytes("salt"), 1)),
            "55ac046e56e3089fec1691c22544b605f94185216dde0465e68b9d57c20dacbc");
  EXPECT_TRUE(is_same(as_bytes("abc"), as_bytes("abc")));
  EXPECT_FALSE(is_same(as_bytes("abc"), as_bytes("abd")));
  EXPECT_FALSE(is_same(as_bytes("abc"), as_bytes("abcd")));
  std::string secret = "secret";
  wipe(secret);
  EXPECT_TRUE(secret.empty());
}

TEST(Scram, SpeaksTheExampleOfRfc7677) {
  ScramServer server;
  const auto first = server.first(kClientFirst, one_user(), kNonce);
  ASSERT_TRUE(first.ok()) << first.why;
  EXPECT_EQ(first.message, kServerFirst);
  const auto last = server.last(kClientFinal);
  ASSERT_TRUE(last.ok()) << last.why;
  EXPECT_EQ(last.message, kServerFinal);
  EXPECT_EQ(server.user(), "user");
}

TEST(Scram, ChecksPlainPasswordsAgainstTheSameKeys) {
  const Users users = one_user();
  EXPECT_TRUE(is_password_of(users.find("user").credential, "pencil"));
  EXPECT_FALSE(is_password_of(users.find("user").credential, "pencil "));
  EXPECT_FALSE(is_password_of(users.find("user").credential, ""));
  EXPECT_FALSE(is_password_of(users.find("nobody").credential, "pencil"));
}

TEST(Scram, TellsAnUnknownUserNothingElseThanAWrongPassword) {
  const Users users = one_user();
  std::string answers[2];
  for (int round = 0; round < 2; ++round) {
    ScramServer server;
    const auto first = server.first("n,,n=nobody,r=abc", users, "xyz");
    ASSERT_TRUE(first.ok());
    answers[round] = first.message;
    const auto last = server.last(final_message("n,,", "n=nobody,r=abc", first.message, "pencil"));
    EXPECT_EQ(last.why, ScramServer::kWrong);
    EXPECT_EQ(last.message, "");
  }
  EXPECT_EQ(answers[0], answers[1]) << "the same salt each time";
  EXPECT_TRUE(answers[0].ends_with(",i=4096"));
  ScramServer other;
  EXPECT_NE(other.first("n,,n=nobody2,r=abc", users, "xyz").message, answers[0]);
  ScramServer known;
  const auto first = known.first("n,,n=user,r=abc", users, "xyz");
  EXPECT_EQ(first.message.size(), answers[0].size());
  EXPECT_EQ(known.last(final_message("n,,", "n=user,r=abc", first.message, "pen")).why, ScramServer::kWrong);
}

TEST(Scram, TakesWhatTheStandardAllows) {
  const Users users = one_user("us,e=r");
  const struct {
    std::string_view header, bare, more;
  } cases[] = {
      {"n,,", "n=us=2Ce=3Dr,r=abc", ""},
      {"y,,", "n=us=2Ce=3Dr,r=abc", ""},  // it could bind channels, and we did not offer it
      {"n,a=us=2Ce=3Dr,", "n=us=2Ce=3Dr,r=abc", ""},
      {"n,,", "n=us=2Ce=3Dr,r=abc,x=optional,Y=too", ""},
      {"n,,", "n=us=2Ce=3Dr,r=a=b", ",x=optional"},
  };
  for (const auto& each : cases) {
    ScramServer server;
    const auto first = server.first(std::string(each.header) + std::string(each.bare), users, "xyz");
    ASSERT_TRUE(first.ok()) << each.bare << ": " << first.why;
    const auto last = server.last(final_message(each.header, each.bare, first.message, "pencil", each.more));
    EXPECT_TRUE(last.ok()) << each.bare << ": " << last.why;
    EXPECT_EQ(server.user(), "us,e=r");
  }
}

TEST(Scram, RefusesFirstMessagesThatAreNone) {
  const Users users = one_user();
  for (std::string_view bad : {"",
                               "n",
                               "n,",
                               "n,,",
                               "n,,n=user",
                               "n,,n=user,",
                               "n,,r=abc,n=user",
                               "n,,n=user,r=",
                               "n,,n=user,r=abc,",
                               "n,,n=user,r=abc,x",
                               "n,,n=user,r=abc,x=",
                               "n,,n=user,r=abc,1=2",
                               "n,,n=user,r=abc,,x=y",
                               "x,,n=user,r=abc",
                               "n=user,r=abc",
                               ",,n=user,r=abc",
                               "n,b=c,n=user,r=abc",
                               "n,a=,n=user,r=abc",
                               "n,a==2,n=user,r=abc",
                               "n,,n=,r=abc",
                               "n,,n=us=2cer,r=abc",
                               "n,,n=us=er,r=abc",
                               "n,,n=user=,r=abc",
                               "n,,n=us\x01"
                               "er,r=abc",
                               "n,,n=us\xC3\xA9r,r=abc",
                               "n,,n=user,r=a bc",
                               "n,,n=user,r=a\x7F",
                               "n,,n=user,r=\xC3\xA9"}) {
    ScramServer server;
    EXPECT_FALSE(server.first(bad, users, "xyz").ok()) << bad;
    EXPECT_FALSE(server.last("c=biws,r=abcxyz,p=AAAA").ok());
  }
  const auto why = [&](std::string_view message) {
    ScramServer server;
    return server.first(message, users, "xyz").why;
  };
  EXPECT_NE(why("p=tls-unique,,n=user,r=abc").find("channel binding"), std::string_view::npos);
  EXPECT_NE(why("n,,m=x,n=user,r=abc").find("extensions"), std::string_view::npos);
  EXPECT_NE(why("n,a=admin,n=user,r=abc").find("another"), std::string_view::npos);
  EXPECT_NE(why("n,,n=user,r=" + std::string(kNonceBytesMax + 1, 'r')).find("too long"), std::string_view::npos);
  EXPECT_NE(why("n,,n=" + std::string(kNameBytesMax + 1, 'u') + ",r=abc"), "");
  const std::string with_nul("n,,n=user,r=abc,x=\0y", 20);
  EXPECT_NE(why(with_nul), "");
}

TEST(Scram, RefusesFinalMessagesOfAnotherExchange) {
  const Users users = one_user();
  const auto final_of = [&](auto make) {
    ScramServer server;
    const auto first = server.first("n,,n=user,r=abc", users, "xyz");
    return server.last(make(final_message("n,,", "n=user,r=abc", first.message, "pencil"))).why;
  };
  const auto replaced = [](std::string text, std::string_view what, std::string_view by) {
    return text.replace(text.find(what), what.size(), by);
  };
  EXPECT_EQ(final_of([](std::string right) { return right; }), "");
  EXPECT_NE(final_of([&](std::string right) { return replaced(right, "c=biws", "c=eSws"); }).find("binding"),
            std::string_view::npos);
  for (std::string_view nonce : {"abc", "xyz", "abcxy", "abcxyz2", "xyzabc", "ABCXYZ"})
    EXPECT_NE(final_of([&](std::string right) { return replaced(right, "abcxyz", nonce); }).find("nonce"),
              std::string_view::npos);
  for (std::string_view bad :
       {"", ",p=", "p=AAAA", "c=biws,r=abcxyz", "c=biws,r=abcxyz,p=", "c=biws,r=abcxyz,p=AAAA", "r=abcxyz,c=biws,p=AAAA"})
    EXPECT_NE(final_of([&](std::string) { return std::string(bad); }), "");
  EXPECT_NE(final_of([](std::string right) { return right + ",x=y"; }), "") << "the proof comes last";
  EXPECT_NE(final_of([](std::string right) { return right.insert(right.find(",p="), ","); }), "");
  // A bit of the proof.
  EXPECT_EQ(final_of([](std::string right) {
              char& c = right[right.find(",p=") + 5];
              c = c == 'A' ? 'B' : 'A';
              return right;
            }),
            ScramServer::kWrong);
}

TEST(Scram, EndsWithTheFirstAttempt) {
  ScramServer server;
  EXPECT_FALSE(server.last(kClientFinal).ok()) << "nothing has begun";
  ASSERT_TRUE(server.first(kClientFirst, one_user(), kNonce).ok());
  EXPECT_FALSE(server.last("c=biws,r=x,p=AAAA").ok());
  EXPECT_FALSE(server.last(kClientFinal).ok());
}

TEST(Scram, NoncesAreOfManyBitsWithoutCommas) {
  const std::string nonce = nonce_of(1, UINT64_MAX, 0x2C2C2C2C2C2C2C2C);
  EXPECT_EQ(nonce.size(), 32u);
  EXPECT_EQ(nonce.find(','), std::string::npos);
  EXPECT_NE(nonce, nonce_of(2, UINT64_MAX, 0x2C2C2C2C2C2C2C2C));
}

}  // namespace
}  // namespace robustmq::auth
