// What passwords are made of: SHA-256, HMAC and PBKDF2 on it, and a comparison that takes as long whatever it finds. OpenSSL is
// behind it. Pure.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/bytes.h"

namespace robustmq::auth {

constexpr size_t kDigestBytes = 32;
using Digest = std::array<uint8_t, kDigestBytes>;

Digest sha256(ByteSpan bytes);
Digest hmac_sha256(ByteSpan key, ByteSpan message);
inline Digest hmac_sha256(ByteSpan key, std::string_view message) { return hmac_sha256(key, as_bytes(message)); }
// RFC 8018 5.2, one block. About a tenth of a second for 300,000 iterations: not for a core's thread.
Digest pbkdf2_sha256(std::string_view password, ByteSpan salt, uint32_t iterations);

// Takes as long however much of it is the same.
bool is_same(ByteSpan one, ByteSpan other);
// Overwrites what must not stay in memory.
void wipe(std::string& text);

}  // namespace robustmq::auth
