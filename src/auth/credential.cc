#include "auth/credential.h"

#include <algorithm>
#include <utility>

namespace robustmq::auth {

bool is_prepared(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) { return c >= 0x20 && c <= 0x7E; });
}

Credential derive(std::string_view password, std::string salt, uint32_t iterations) {
  const Digest salted = pbkdf2_sha256(password, as_bytes(salt), iterations);
  Credential credential;
  credential.iterations = iterations;
  credential.salt = std::move(salt);
  credential.stored_key = sha256(hmac_sha256(salted, "Client Key"));
  credential.server_key = hmac_sha256(salted, "Server Key");
  return credential;
}

bool is_password_of(const Credential& credential, std::string_view password) {
  return is_same(derive(password, credential.salt, credential.iterations).stored_key, credential.stored_key);
}

}  // namespace robustmq::auth
