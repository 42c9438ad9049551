// Credential: what is kept of a password, as SCRAM makes it (RFC 5802 3): who has it can check a password and a SCRAM client,
// and cannot log in with it. Pure.
//
//   salted     = PBKDF2(password, salt, iterations)
//   stored_key = H(HMAC(salted, "Client Key"))
//   server_key = HMAC(salted, "Server Key")
//
// Names and passwords are prepared with SASLprep (RFC 4013) before they are used. What it leaves as it is, printable ASCII, is
// taken; everything else is refused where it would have to be normalised, so that no two spellings can ever stand for one name.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "auth/crypto.h"

namespace robustmq::auth {

constexpr uint32_t kIterationsMin = 4096;  // RFC 7677 4
constexpr uint32_t kIterationsMax = 10'000'000;
constexpr uint32_t kIterationsDefault = 600'000;
constexpr size_t kSaltBytes = 16;  // of those made here
constexpr size_t kSaltBytesMin = 8;
constexpr size_t kSaltBytesMax = 64;
constexpr size_t kNameBytesMax = 256;
constexpr size_t kPasswordBytesMax = 1024;

struct Credential {
  uint32_t iterations = 0;
  std::string salt;
  Digest stored_key{};
  Digest server_key{};
  bool operator==(const Credential&) const = default;
};

// Whether SASLprep would leave it as it is: printable ASCII, not empty.
bool is_prepared(std::string_view text);
inline bool is_name(std::string_view text) { return text.size() <= kNameBytesMax && is_prepared(text); }
inline bool is_password(std::string_view text) { return text.size() <= kPasswordBytesMax && is_prepared(text); }

// Takes as long as PBKDF2 does: not for a core's thread.
Credential derive(std::string_view password, std::string salt, uint32_t iterations);
// Derives, and compares in constant time.
bool is_password_of(const Credential& credential, std::string_view password);

}  // namespace robustmq::auth
