// Users: the user file: who there is, and what is kept of their passwords. Pure; a value, the same on every core.
//
// The file is text, a line each:
//   robustmq-users 1 SECRET
//   NAME:SCRAM-SHA-256:ITERATIONS:SALT:STORED_KEY:SERVER_KEY
//   ...
// SECRET, SALT and the keys are base64; in a NAME '%' and ':' are written %25 and %3A. No line is empty, no name comes twice, and
// the last line ends as the others do: a file that was cut is refused. A file without users lets nobody in.
//
// Whoever asks for a user that is not there gets a salt, iterations and keys all the same, derived from the name and SECRET: they
// are the same each time, so neither messages nor time tell an unknown user from a wrong password.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "auth/credential.h"
#include "base/result.h"

namespace robustmq::auth {

constexpr size_t kUserFileBytesMax = 16 << 20;  // some 100,000 users
constexpr size_t kSecretBytes = 32;

class Users {
 public:
  // Nobody yet. `secret`: kSecretBytes fresh random bytes.
  explicit Users(std::string secret) : secret_(std::move(secret)) {}
  // Error (malformed): the line and what is wrong with it; all or nothing.
  static Result<Users> parse(std::string_view text);
  std::string to_text() const;

  // The user's credential, or one that nobody has the password of.
  struct Found {
    Credential credential;
    bool is_known = false;
  };
  Found find(std::string_view name) const;
  bool has(std::string_view name) const { return credentials_.contains(name); }
  // Whether the user is there with this credential.
  bool has(std::string_view name, const Credential& credential) const;

  // The caller ensures is_name(name). set: false when it replaced one; remove: false when there was none.
  bool set(std::string name, Credential credential);
  bool remove(std::string_view name);

  using ByName = std::map<std::string, Credential, std::less<>>;
  const ByName& all() const { return credentials_; }
  size_t size() const { return credentials_.size(); }

 private:
  Status take_line(std::string_view line);
  void note_iterations();

  std::string secret_;
  ByName credentials_;
  std::vector<uint32_t> iterations_;  // those that occur, in order
};

}  // namespace robustmq::auth
