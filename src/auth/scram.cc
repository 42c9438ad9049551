#include "auth/scram.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <utility>

#include "base/base64.h"

namespace robustmq::auth {
namespace {

constexpr std::string_view kMalformed = "this is no SCRAM message";

// RFC 5802 7: %x21-2B / %x2D-7E
bool is_printable(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) { return c > 0x20 && c < 0x7F && c != ','; });
}

// Takes what is before the next ',', and that; the rest where there is none.
std::string_view take_part(std::string_view& text) {
  const size_t comma = text.find(',');
  const std::string_view part = text.substr(0, comma);
  text.remove_prefix(comma == std::string_view::npos ? text.size() : comma + 1);
  return part;
}

bool take_attribute(std::string_view& text, char name, std::string_view& value) {
  if (text.size() < 2 || text[0] != name || text[1] != '=') return false;
  value = take_part(text).substr(2);
  return true;
}

// attr-val: a letter, '=', and something without NUL and ','.
bool are_attributes(std::string_view text) {
  while (!text.empty()) {
    const bool is_last = text.find(',') == std::string_view::npos;
    const std::string_view part = take_part(text);
    const char letter = part.empty() ? '\0' : static_cast<char>(part[0] | 0x20);
    if (part.size() < 3 || letter < 'a' || letter > 'z' || part[1] != '=' || part.find('\0') != std::string_view::npos)
      return false;
    if (!is_last && text.empty()) return false;  // ends in ','
  }
  return true;
}

// saslname: '=2C' for ',' and '=3D' for '='.
std::optional<std::string> name_of(std::string_view text) {
  std::string name;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '=') {
      name += text[i];
      continue;
    }
    const std::string_view code = text.substr(i, 3);
    if (code != "=2C" && code != "=3D") return std::nullopt;
    name += code == "=2C" ? ',' : '=';
    i += 2;
  }
  if (!is_name(name)) return std::nullopt;
  return name;
}

}  // namespace

std::string nonce_of(uint64_t first, uint64_t second, uint64_t third) {
  const uint64_t bits[] = {first, second, third};
  uint8_t bytes[sizeof bits];
  std::memcpy(bytes, bits, sizeof bits);
  return base64_of(bytes);  // has no ','
}

ScramServer::Answer ScramServer::first(std::string_view message, const Users& users, std::string_view nonce) {
  const auto no = [](std::string_view why) { return Answer{{}, why}; };
  std::string_view rest = message;
  const std::string_view binding = take_part(rest);
  if (binding.starts_with("p=")) return no("channel binding is not supported");
  if (binding != "n" && binding != "y") return no(kMalformed);
  std::optional<std::string> authorization;
  const size_t before = rest.size();
  const std::string_view identity = take_part(rest);
  if (identity.size() == before) return no(kMalformed);  // no ',' behind it
  if (!identity.empty()) {
    if (!identity.starts_with("a=")) return no(kMalformed);
    authorization = name_of(identity.substr(2));
    if (!authorization) return no(kMalformed);
  }
  header_ = std::string(message.substr(0, message.size() - rest.size()));
  const std::string_view bare = rest;
  if (bare.starts_with("m=")) return no("mandatory extensions are not supported");
  std::string_view name;
  std::string_view client_nonce;
  if (!take_attribute(rest, 'n', name) || !take_attribute(rest, 'r', client_nonce) || !are_attributes(rest))
    return no(kMalformed);
  if (bare.ends_with(',')) return no(kMalformed);
  if (!is_printable(client_nonce)) return no(kMalformed);
  if (client_nonce.size() > kNonceBytesMax) return no("the nonce is too long");
  std::optional<std::string> user = name_of(name);
  if (!user) return no("the name is none that SASLprep leaves as it is");
  if (authorization && *authorization != *user) return no("a user may not act for another");
  user_ = std::move(*user);
  found_ = users.find(user_);
  nonce_ = std::string(client_nonce) + std::string(nonce);
  std::string answer =
      "r=" + nonce_ + ",s=" + base64_of(as_bytes(found_.credential.salt)) + ",i=" + std::to_string(found_.credential.iterations);
  auth_message_ = std::string(bare) + "," + answer + ",";
  has_begun_ = true;
  return {std::move(answer), {}};
}

ScramServer::Answer ScramServer::last(std::string_view message) {
  const auto no = [](std::string_view why) { return Answer{{}, why}; };
  if (!std::exchange(has_begun_, false)) return no(kMalformed);
  // The proof is the last attribute; the rest is signed.
  const size_t proof_at = message.rfind(",p=");
  if (proof_at == std::string_view::npos) return no(kMalformed);
  const std::optional<std::string> proof = bytes_of_base64(message.substr(proof_at + 3));
  const std::string_view without_proof = message.substr(0, proof_at);
  std::string_view rest = without_proof;
  std::string_view binding;
  std::string_view nonce;
  if (!take_attribute(rest, 'c', binding) || !take_attribute(rest, 'r', nonce) || !are_attributes(rest)) return no(kMalformed);
  if (without_proof.ends_with(',') || !proof || proof->size() != kDigestBytes) return no(kMalformed);
  if (binding != base64_of(as_bytes(header_))) return no("the channel binding is another than before");
  if (nonce != nonce_) return no("the nonce is another than before");
  auth_message_ += without_proof;
  Digest key = hmac_sha256(found_.credential.stored_key, auth_message_);
  for (size_t i = 0; i < kDigestBytes; ++i) key[i] = static_cast<uint8_t>(key[i] ^ static_cast<uint8_t>((*proof)[i]));
  const bool is_right = is_same(sha256(key), found_.credential.stored_key);
  std::string signature = "v=" + base64_of(hmac_sha256(found_.credential.server_key, auth_message_));
  if (!is_right || !found_.is_known) return no(kWrong);
  return {std::move(signature), {}};
}

}  // namespace robustmq::auth
