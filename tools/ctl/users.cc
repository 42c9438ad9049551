#include "tools/ctl/users.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <utility>

#include "auth/scram.h"
#include "auth/users.h"

namespace robustmq::ctl {

namespace {

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(const Descriptor&) = delete;
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  int get() const { return fd_; }
  bool is_open() const { return fd_ >= 0; }

 private:
  int fd_;
};

Error failed(const std::string& path, std::string_view what) {
  return {Code::storage_failed, fmt::format("{}: {}: {}", path, what, std::strerror(errno))};
}

std::string random_bytes(size_t count) {
  std::string bytes(count, '\0');
  if (getrandom(bytes.data(), count, 0) != static_cast<ssize_t>(count)) std::abort();
  return bytes;
}

std::string folder_of(const std::string& path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

// nullopt: there is no such file.
Result<std::optional<std::string>> contents(const std::string& path) {
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file.is_open()) {
    if (errno == ENOENT) return std::optional<std::string>();
    return failed(path, "cannot be read");
  }
  std::string text;
  char block[16 << 10];
  for (;;) {
    const ssize_t size = ::read(file.get(), block, sizeof block);
    if (size < 0) return failed(path, "cannot be read");
    if (size == 0) return std::optional(std::move(text));
    text.append(block, static_cast<size_t>(size));
    if (text.size() > auth::kUserFileBytesMax) return Error{Code::too_large, path + ": the file is too large for a user file"};
  }
}

// The new file belongs to whom the old one did; the first one, made by root, to whom the folder does: the server has to read it.
Status give_to_owner(int fd, const std::string& path, const std::string& folder) {
  struct stat owner{};
  if (::stat(path.c_str(), &owner) != 0 && (errno != ENOENT || ::stat(folder.c_str(), &owner) != 0))
    return failed(path, "cannot be looked at");
  if (owner.st_uid == ::geteuid() && owner.st_gid == ::getegid()) return {};
  if (::fchown(fd, owner.st_uid, owner.st_gid) == 0 || ::geteuid() != 0) return {};
  return failed(path, "cannot be given to its owner");
}

Status write_all(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = ::write(fd, text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return Error{Code::storage_failed, std::strerror(errno)};
    text.remove_prefix(static_cast<size_t>(written));
  }
  return {};
}

Status replace(const std::string& path, int folder_fd, std::string_view text) {
  std::string made = path + ".XXXXXX";
  const Descriptor file(::mkostemp(made.data(), O_CLOEXEC));  // with mode 0600
  if (!file.is_open()) return failed(made, "cannot be made");
  Status status = give_to_owner(file.get(), path, folder_of(path));
  if (status.ok()) status = write_all(file.get(), text);
  if (status.ok() && ::fsync(file.get()) != 0) status = failed(made, "cannot be synced");
  if (status.ok() && ::rename(made.c_str(), path.c_str()) != 0) status = failed(path, "cannot be replaced");
  if (!status.ok()) {
    ::unlink(made.c_str());
    return status;
  }
  if (::fsync(folder_fd) != 0) return failed(folder_of(path), "cannot be synced");
  return {};
}

Result<auth::Users> users_in(const std::string& path, bool may_be_new) {
  Result<std::optional<std::string>> text = contents(path);
  if (!text.ok()) return text.error();
  if (!text->has_value()) {
    if (may_be_new) return auth::Users(random_bytes(auth::kSecretBytes));
    return Error{Code::not_found, path + ": there is no such file"};
  }
  Result<auth::Users> users = auth::Users::parse(**text);
  if (!users.ok()) return Error{Code::malformed, path + ": " + users.error().detail};
  return users;
}

std::string listed(const auth::Users& users) {
  size_t widest = 4;
  for (const auto& [name, credential] : users.all()) widest = std::max(widest, name.size());
  std::string out = fmt::format("{:<{}}  {:<13}  ITERATIONS\n", "NAME", widest, "MECHANISM");
  for (const auto& [name, credential] : users.all())
    out += fmt::format("{:<{}}  {}  {}\n", name, widest, auth::kScramSha256, credential.iterations);
  return users.size() == 0 ? "There are none.\n" : out;
}

// Shows nothing of what is typed, as long as it lives.
class Unseen {
 public:
  Unseen() {
    if (tcgetattr(STDIN_FILENO, &before_) != 0) return;
    termios without = before_;
    without.c_lflag &= ~static_cast<tcflag_t>(ECHO);
    is_set_ = tcsetattr(STDIN_FILENO, TCSAFLUSH, &without) == 0;
  }
  Unseen(const Unseen&) = delete;
  ~Unseen() {
    if (is_set_) tcsetattr(STDIN_FILENO, TCSAFLUSH, &before_);
  }

 private:
  termios before_{};
  bool is_set_ = false;
};

std::string first_line() {
  std::string line;
  char c = 0;
  while (line.size() <= auth::kPasswordBytesMax && ::read(STDIN_FILENO, &c, 1) == 1 && c != '\n') line += c;
  if (line.ends_with('\r')) line.pop_back();
  return line;
}

}  // namespace

Result<std::string> read_password() {
  if (::isatty(STDIN_FILENO) == 0) return first_line();
  std::string typed[2];
  for (int i = 0; i < 2; ++i) {
    fmt::print(stderr, "{}", i == 0 ? "Password: " : "Again: ");
    const Unseen unseen;
    typed[i] = first_line();
    fmt::print(stderr, "\n");
  }
  if (typed[0] != typed[1]) return Error{Code::invalid_argument, "these are two passwords"};
  auth::wipe(typed[1]);
  return std::move(typed[0]);
}

Result<std::string> run_user_command(const UserCommand& command, std::string password) {
  using What = UserCommand::What;
  if (command.what == What::list) {
    const Result<auth::Users> users = users_in(command.file, false);
    if (!users.ok()) return users.error();
    return listed(*users);
  }
  if (!auth::is_name(command.name))
    return Error{Code::invalid_argument,
                 "a name has 1 to 256 printable ASCII characters: others would have to be normalised, "
                 "and that is not done"};
  if (command.what == What::add && !auth::is_password(password))
    return Error{Code::invalid_argument,
                 "a password has 1 to 1024 printable ASCII characters: others would have to be "
                 "normalised, and that is not done"};
  const std::string folder = folder_of(command.file);
  const Descriptor folder_fd(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!folder_fd.is_open()) return failed(folder, "cannot be opened");
  // Until this process ends it: whoever else changes a file of this folder waits.
  if (::flock(folder_fd.get(), LOCK_EX) != 0) return failed(folder, "cannot be locked");
  Result<auth::Users> users = users_in(command.file, command.what == What::add);
  if (!users.ok()) return users.error();
  std::string said;
  if (command.what == What::add) {
    auth::Credential credential = auth::derive(password, random_bytes(auth::kSaltBytes), command.iterations);
    auth::wipe(password);
    const bool is_new = users->set(command.name, std::move(credential));
    said = fmt::format("{} {}\n", is_new ? "added" : "changed the password of", command.name);
  } else {
    if (!users->remove(command.name)) return Error{Code::not_found, fmt::format("there is no user {}", command.name)};
    said = fmt::format("removed {}\n", command.name);
  }
  const Status status = replace(command.file, folder_fd.get(), users->to_text());
  if (!status.ok()) return status.error();
  return said;
}

}  // namespace robustmq::ctl
