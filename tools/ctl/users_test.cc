// The promises of `robust-ctl user`: the file is made for its owner alone, changed whole or not at all, and holds no password.
#include "tools/ctl/users.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "auth/users.h"
#include "tools/ctl/commands.h"

namespace robustmq::ctl {
namespace {

class UserFile : public testing::Test {
 protected:
  UserFile() {
    std::string pattern = testing::TempDir() + "robust-users-XXXXXX";
    folder_ = mkdtemp(pattern.data());
    path_ = folder_ + "/users";
  }
  ~UserFile() override { std::filesystem::remove_all(folder_); }

  Result<std::string> run(UserCommand::What what, const std::string& name = "", const std::string& password = "") {
    return run_user_command({what, path_, name, auth::kIterationsMin}, password);
  }
  std::string text() const {
    std::ifstream file(path_);
    return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  }
  size_t files() const {
    return static_cast<size_t>(
        std::distance(std::filesystem::directory_iterator(folder_), std::filesystem::directory_iterator()));
  }
  using What = UserCommand::What;
  std::string folder_;
  std::string path_;
};

TEST_F(UserFile, IsMadeChangedAndListed) {
  EXPECT_EQ(run(What::list).code(), Code::not_found);
  EXPECT_EQ(run(What::remove, "ada").code(), Code::not_found);
  EXPECT_EQ(*run(What::add, "ada", "one"), "added ada\n");
  EXPECT_EQ(*run(What::add, "bob", "two"), "added bob\n");
  EXPECT_EQ(*run(What::add, "ada", "three"), "changed the password of ada\n");
  const Result<auth::Users> users = auth::Users::parse(text());
  ASSERT_TRUE(users.ok());
  EXPECT_TRUE(auth::is_password_of(users->find("ada").credential, "three"));
  EXPECT_TRUE(auth::is_password_of(users->find("bob").credential, "two"));
  EXPECT_NE(users->find("ada").credential.salt, users->find("bob").credential.salt);
  EXPECT_EQ(*run(What::list), "NAME  MECHANISM      ITERATIONS\nada   SCRAM-SHA-256  4096\nbob   SCRAM-SHA-256  4096\n");
  EXPECT_EQ(*run(What::remove, "ada"), "removed ada\n");
  EXPECT_EQ(run(What::remove, "ada").code(), Code::not_found);
  EXPECT_EQ(*run(What::remove, "bob"), "removed bob\n");
  EXPECT_EQ(*run(What::list), "There are none.\n");
  EXPECT_EQ(files(), 1u) << "nothing is left beside it";
}

TEST_F(UserFile, IsForItsOwnerAlone) {
  ASSERT_TRUE(run(What::add, "ada", "secret word").ok());
  struct stat facts{};
  ASSERT_EQ(::stat(path_.c_str(), &facts), 0);
  EXPECT_EQ(facts.st_mode & 0777, 0600u);
  EXPECT_EQ(text().find("secret"), std::string::npos);
  if (::geteuid() != 0) return;
  ASSERT_EQ(::chown(path_.c_str(), 65534, 65534), 0);
  ASSERT_TRUE(run(What::add, "bob", "two").ok());
  ASSERT_EQ(::stat(path_.c_str(), &facts), 0);
  EXPECT_EQ(facts.st_uid, 65534u) << "the server goes on reading it";
  EXPECT_EQ(facts.st_mode & 0777, 0600u);
}

TEST_F(UserFile, KeepsWhatUnknownUsersAreTold) {
  ASSERT_TRUE(run(What::add, "ada", "one").ok());
  const auto before = auth::Users::parse(text())->find("nobody").credential;
  ASSERT_TRUE(run(What::add, "bob", "two").ok());
  EXPECT_EQ(auth::Users::parse(text())->find("nobody").credential, before);
}

TEST_F(UserFile, StaysAsItIsWhenSomethingIsWrong) {
  for (const char* name : {"", "a\tb", "\xC3\xA9"}) EXPECT_EQ(run(What::add, name, "one").code(), Code::invalid_argument);
  for (const char* password : {"", "a\nb", "\xC3\xA9"}) EXPECT_EQ(run(What::add, "ada", password).code(), Code::invalid_argument);
  EXPECT_EQ(files(), 0u);
  std::ofstream(path_) << "somebody else's file\n";
  EXPECT_EQ(run(What::add, "ada", "one").code(), Code::malformed);
  EXPECT_EQ(run(What::list).code(), Code::malformed);
  EXPECT_EQ(text(), "somebody else's file\n");
  EXPECT_EQ(files(), 1u);
  UserCommand nowhere{What::add, folder_ + "/gone/users", "ada", auth::kIterationsMin};
  EXPECT_EQ(run_user_command(nowhere, "one").code(), Code::storage_failed);
}

TEST(UserCommands, AreParsed) {
  const auto parse = [](std::vector<std::string> words, int& code) {
    words.insert(words.begin(), "robust-ctl");
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    return parse_commands(static_cast<int>(words.size()), argv.data(), code);
  };
  int code = 0;
  auto add = parse({"user", "add", "ada", "-f", "users", "-i", "5000"}, code);
  ASSERT_TRUE(add && add->user);
  EXPECT_EQ(add->user->what, UserCommand::What::add);
  EXPECT_EQ(add->user->file, "users");
  EXPECT_EQ(add->user->name, "ada");
  EXPECT_EQ(add->user->iterations, 5000u);
  add = parse({"user", "add", "ada", "--file", "users"}, code);
  ASSERT_TRUE(add && add->user);
  EXPECT_EQ(add->user->iterations, auth::kIterationsDefault);
  const auto remove = parse({"user", "remove", "ada", "-f", "users"}, code);
  ASSERT_TRUE(remove && remove->user);
  EXPECT_EQ(remove->user->what, UserCommand::What::remove);
  const auto list = parse({"user", "list", "-f", "users"}, code);
  ASSERT_TRUE(list && list->user);
  EXPECT_EQ(list->user->what, UserCommand::What::list);
  testing::internal::CaptureStderr();
  testing::internal::CaptureStdout();
  EXPECT_FALSE(parse({"user", "add", "ada"}, code)) << "which file?";
  EXPECT_EQ(code, 2);
  EXPECT_FALSE(parse({"user", "add", "ada", "secret", "-f", "users"}, code)) << "a password is no argument";
  EXPECT_FALSE(parse({"user", "add", "ada", "-f", "users", "-i", "100"}, code));
  testing::internal::GetCapturedStderr();
  testing::internal::GetCapturedStdout();
}

}  // namespace
}  // namespace robustmq::ctl
