// The promises of the user file: it is read as it is written, or not at all.
#include "auth/users.h"

#include <gtest/gtest.h>

#include "base/base64.h"

namespace robustmq::auth {
namespace {

const std::string kSecret(kSecretBytes, 's');

Credential some(std::string_view password, uint32_t iterations = kIterationsMin) {
  return derive(password, std::string(kSaltBytes, 'x'), iterations);
}

std::string head() { return "robustmq-users 1 " + base64_of(as_bytes(kSecret)) + "\n"; }
std::string line(std::string_view name, std::string_view iterations = "4096") {
  const std::string key = base64_of(as_bytes(kSecret));
  return std::string(name) + ":SCRAM-SHA-256:" + std::string(iterations) + ":" + base64_of(as_bytes("12345678")) + ":" + key +
         ":" + key + "\n";
}
std::string problem_of(const std::string& text) {
  const Result<Users> users = Users::parse(text);
  return users.ok() ? "" : users.error().detail;
}

TEST(Users, AreReadAsTheyWereWritten) {
  Users users(kSecret);
  EXPECT_TRUE(users.set("ada", some("one")));
  EXPECT_TRUE(users.set("b:c %41", some("two", 5000)));
  EXPECT_TRUE(users.set("gone", some("three")));
  EXPECT_FALSE(users.set("ada", some("four")));
  EXPECT_TRUE(users.remove("gone"));
  EXPECT_FALSE(users.remove("gone"));
  const Result<Users> read = Users::parse(users.to_text());
  ASSERT_TRUE(read.ok()) << read.error().detail;
  EXPECT_EQ(read->to_text(), users.to_text());
  EXPECT_EQ(read->size(), 2u);
  EXPECT_TRUE(is_password_of(read->find("ada").credential, "four"));
  EXPECT_TRUE(is_password_of(read->find("b:c %41").credential, "two"));
  EXPECT_FALSE(read->find("gone").is_known);
  EXPECT_TRUE(read->has("ada", some("four")));
  EXPECT_FALSE(read->has("ada", some("one")));
  EXPECT_FALSE(read->has("gone", some("three")));
  EXPECT_EQ(users.to_text().find("four"), std::string::npos);
}

TEST(Users, WithoutAnybodyAreAFileToo) {
  const Result<Users> users = Users::parse(head());
  ASSERT_TRUE(users.ok());
  EXPECT_EQ(users->size(), 0u);
  EXPECT_FALSE(users->find("ada").is_known);
  EXPECT_EQ(users->find("ada").credential.iterations, kIterationsDefault);
}

TEST(Users, ThatAreUnknownHaveACredentialOfTheFilesKind) {
  Users users(kSecret);
  users.set("a", some("x", 4096));
  users.set("b", some("x", 8192));
  size_t of_4096 = 0;
  for (int i = 0; i < 100; ++i) {
    const std::string name = "unknown" + std::to_string(i);
    const Users::Found found = users.find(name);
    EXPECT_FALSE(found.is_known);
    EXPECT_EQ(found.credential, users.find(name).credential);
    EXPECT_EQ(found.credential.salt.size(), kSaltBytes);
    EXPECT_TRUE(found.credential.iterations == 4096 || found.credential.iterations == 8192);
    of_4096 += found.credential.iterations == 4096;
  }
  EXPECT_GT(of_4096, 0u);
  EXPECT_LT(of_4096, 100u);
  Users others(std::string(kSecretBytes, 't'));
  EXPECT_NE(others.find("unknown").credential.salt, users.find("unknown").credential.salt) << "the secret is in it";
}

TEST(Users, OfAFileThatIsWrongAreNone) {
  EXPECT_EQ(problem_of(head() + line("ada") + line("b%3Ac%25") + line("d", "10000000")), "");
  EXPECT_NE(problem_of(""), "");
  EXPECT_NE(problem_of("ada:pass\n"), "");
  EXPECT_NE(problem_of("robustmq-users 2 " + base64_of(as_bytes(kSecret)) + "\n"), "") << "of a newer version";
  EXPECT_NE(problem_of("robustmq-users 1 \n"), "");
  EXPECT_NE(problem_of("robustmq-users 1 " + base64_of(as_bytes("short")) + "\n"), "");
  EXPECT_NE(problem_of("robustmq-users 1 " + base64_of(as_bytes(kSecret))), "");
  const std::string good = head() + line("ada");
  EXPECT_EQ(problem_of(good.substr(0, good.size() - 1)), "the last line is cut");
  EXPECT_EQ(problem_of(head() + line("a") + "\n" + line("b")),
            "line 3: a user has six fields: name, mechanism, iterations, salt, stored key, server key");
  EXPECT_EQ(problem_of(good + line("ada")), "line 3: the name came before");
  for (std::string_view name : {"", "a\x01", "\xC3\xA9", "a%", "a%41", "a%3a"})
    EXPECT_NE(problem_of(head() + line(name)).find("the name is not"), std::string::npos) << name;
  EXPECT_NE(problem_of(head() + line(std::string(kNameBytesMax + 1, 'n'))), "");
  for (std::string_view count : {"", "0", "-1", "4095", "10000001", "99999999999", "4096x", " 4096"})
    EXPECT_NE(problem_of(head() + line("a", count)).find("the iterations"), std::string::npos) << count;
  EXPECT_NE(problem_of(head() + "# a remark\n"), "");
  EXPECT_NE(problem_of(head() + "a:SCRAM-SHA-1:4096:AAAA:AAAA:AAAA\n").find("mechanism"), std::string::npos);
  const std::string key = base64_of(as_bytes(kSecret));
  EXPECT_NE(problem_of(head() + "a:SCRAM-SHA-256:4096:AAAA:" + key + ":" + key + "\n").find("salt"), std::string::npos);
  EXPECT_NE(problem_of(head() + "a:SCRAM-SHA-256:4096:MTIzNDU2Nzg=:" + key + ":AAAA\n").find("key"), std::string::npos);
  EXPECT_NE(problem_of(head() + "a:SCRAM-SHA-256:4096:MTIzNDU2Nzg=:" + key + ":" + key + ":\n"), "") << "a field too many";
  EXPECT_NE(problem_of(head() + std::string(kUserFileBytesMax, 'x')), "");
}

TEST(Names, AndPasswordsArePrintableAscii) {
  EXPECT_TRUE(is_name("plant 7/line#1"));
  EXPECT_TRUE(is_password("~!@ $%^"));
  for (std::string_view bad : {"", "a\tb", "a\x7F", "\xC3\xA9", "a\xC2\xA0"}) {
    EXPECT_FALSE(is_name(bad));
    EXPECT_FALSE(is_password(bad));
  }
  EXPECT_FALSE(is_password(std::string(kPasswordBytesMax + 1, 'p')));
}

}  // namespace
}  // namespace robustmq::auth
