#include "auth/users.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <set>
#include <utility>

#include "auth/scram.h"
#include "base/base64.h"

namespace robustmq::auth {
namespace {

constexpr std::string_view kMagic = "robustmq-users 1 ";

std::string written(std::string_view name) {
  std::string out;
  for (const char c : name) {
    if (c == '%')
      out += "%25";
    else if (c == ':')
      out += "%3A";
    else
      out += c;
  }
  return out;
}

// False: a '%' that stands for nothing else than these two.
bool read_name(std::string_view text, std::string& out) {
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out += text[i];
      continue;
    }
    const std::string_view code = text.substr(i, 3);
    if (code != "%25" && code != "%3A") return false;
    out += code == "%25" ? '%' : ':';
    i += 2;
  }
  return is_name(out);
}

bool read_digest(std::string_view text, Digest& out) {
  const std::optional<std::string> bytes = bytes_of_base64(text);
  if (!bytes || bytes->size() != kDigestBytes) return false;
  std::memcpy(out.data(), bytes->data(), kDigestBytes);
  return true;
}

Error malformed(std::string why) { return {Code::malformed, std::move(why)}; }

}  // namespace

Result<Users> Users::parse(std::string_view text) {
  if (text.size() > kUserFileBytesMax) return malformed("a user file has at most 16 MiB");
  if (!text.starts_with(kMagic)) return malformed("line 1: no user file: its first line begins with \"robustmq-users 1 \"");
  if (!text.ends_with('\n')) return malformed("the last line is cut");
  size_t end = text.find('\n');
  const std::optional<std::string> secret = bytes_of_base64(text.substr(kMagic.size(), end - kMagic.size()));
  if (!secret || secret->size() != kSecretBytes) return malformed("line 1: the secret is not 32 bytes in base64");
  Users users(*secret);
  for (size_t number = 2; end + 1 < text.size(); ++number) {
    const size_t begin = end + 1;
    end = text.find('\n', begin);
    const Status status = users.take_line(text.substr(begin, end - begin));
    if (!status.ok()) return malformed("line " + std::to_string(number) + ": " + status.error().detail);
  }
  users.note_iterations();
  return users;
}

// The reasons do not quote the line: it holds keys.
Status Users::take_line(std::string_view line) {
  std::array<std::string_view, 6> fields;
  for (size_t i = 0; i < fields.size(); ++i) {
    const size_t colon = line.find(':');
    const bool is_last = i + 1 == fields.size();
    if (is_last != (colon == std::string_view::npos))
      return malformed("a user has six fields: name, mechanism, iterations, salt, stored key, server key");
    fields[i] = line.substr(0, colon);
    line.remove_prefix(is_last ? line.size() : colon + 1);
  }
  std::string name;
  if (!read_name(fields[0], name)) return malformed("the name is not 1 to 256 printable ASCII characters");
  if (fields[1] != kScramSha256) return malformed("the mechanism is not SCRAM-SHA-256");
  Credential credential;
  const std::string_view count = fields[2];
  const auto [at, error] = std::from_chars(count.data(), count.data() + count.size(), credential.iterations);
  if (error != std::errc() || at != count.data() + count.size() || credential.iterations < kIterationsMin ||
      credential.iterations > kIterationsMax) {
    return malformed("the iterations are not a number from 4096 to 10000000");
  }
  std::optional<std::string> salt = bytes_of_base64(fields[3]);
  if (!salt || salt->size() < kSaltBytesMin || salt->size() > kSaltBytesMax)
    return malformed("the salt is not 8 to 64 bytes in base64");
  credential.salt = std::move(*salt);
  if (!read_digest(fields[4], credential.stored_key) || !read_digest(fields[5], credential.server_key))
    return malformed("a key is not 32 bytes in base64");
  if (!credentials_.try_emplace(std::move(name), std::move(credential)).second) return malformed("the name came before");
  return {};
}

std::string Users::to_text() const {
  std::string out = std::string(kMagic) + base64_of(as_bytes(secret_)) + "\n";
  for (const auto& [name, credential] : credentials_) {
    out += written(name) + ":" + std::string(kScramSha256) + ":" + std::to_string(credential.iterations) + ":" +
           base64_of(as_bytes(credential.salt)) + ":" + base64_of(credential.stored_key) + ":" +
           base64_of(credential.server_key) + "\n";
  }
  return out;
}

// The decoy is made in any case: finding a user takes as long as finding none.
Users::Found Users::find(std::string_view name) const {
  const Digest first = hmac_sha256(as_bytes(secret_), "salt " + std::string(name));
  Found found;
  found.credential.salt.assign(reinterpret_cast<const char*>(first.data()), kSaltBytes);
  const uint32_t pick = static_cast<uint32_t>(first[kSaltBytes]) << 8 | first[kSaltBytes + 1];
  found.credential.iterations = iterations_.empty() ? kIterationsDefault : iterations_[pick % iterations_.size()];
  found.credential.stored_key = hmac_sha256(as_bytes(secret_), "key " + std::string(name));
  found.credential.server_key = found.credential.stored_key;
  const auto at = credentials_.find(name);
  if (at == credentials_.end()) return found;
  return {at->second, true};
}

bool Users::has(std::string_view name, const Credential& credential) const {
  const auto at = credentials_.find(name);
  return at != credentials_.end() && at->second == credential;
}

bool Users::set(std::string name, Credential credential) {
  const bool is_new = credentials_.insert_or_assign(std::move(name), std::move(credential)).second;
  note_iterations();
  return is_new;
}

bool Users::remove(std::string_view name) {
  const auto at = credentials_.find(name);
  if (at == credentials_.end()) return false;
  credentials_.erase(at);
  note_iterations();
  return true;
}

void Users::note_iterations() {
  std::set<uint32_t> counts;
  for (const auto& [name, credential] : credentials_) counts.insert(credential.iterations);
  iterations_.assign(counts.begin(), counts.end());
}

}  // namespace robustmq::auth
