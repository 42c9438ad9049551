// See crypto.h. This room's door to OpenSSL.
#include "auth/crypto.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>

#include "base/check.h"

namespace robustmq::auth {

Digest sha256(ByteSpan bytes) {
  Digest digest;
  ROBUSTMQ_CHECK(SHA256(bytes.data(), bytes.size(), digest.data()) != nullptr, "SHA-256");
  return digest;
}

Digest hmac_sha256(ByteSpan key, ByteSpan message) {
  Digest digest;
  unsigned size = 0;
  // No key is not the same to OpenSSL as an empty one.
  const auto* key_data = reinterpret_cast<const unsigned char*>(key.empty() ? static_cast<const void*>("") : key.data());
  const unsigned char* made =
      HMAC(EVP_sha256(), key_data, static_cast<int>(key.size()), message.data(), message.size(), digest.data(), &size);
  ROBUSTMQ_CHECK(made != nullptr && size == kDigestBytes, "HMAC");
  return digest;
}

Digest pbkdf2_sha256(std::string_view password, ByteSpan salt, uint32_t iterations) {
  Digest digest;
  const int made = PKCS5_PBKDF2_HMAC(password.empty() ? "" : password.data(), static_cast<int>(password.size()), salt.data(),
                                     static_cast<int>(salt.size()), static_cast<int>(iterations), EVP_sha256(),
                                     static_cast<int>(kDigestBytes), digest.data());
  ROBUSTMQ_CHECK(made == 1, "PBKDF2");
  return digest;
}

bool is_same(ByteSpan one, ByteSpan other) {
  return one.size() == other.size() && CRYPTO_memcmp(one.data(), other.data(), one.size()) == 0;
}

void wipe(std::string& text) {
  OPENSSL_cleanse(text.data(), text.size());
  text.clear();
}

}  // namespace robustmq::auth
