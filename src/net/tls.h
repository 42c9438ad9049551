// TLS 1.2 and 1.3 (RFC 5246, RFC 8446) on OpenSSL: the server's side, as a filter of a socket (net/filter.h). The one door to
// OpenSSL. Pure but for OpenSSL's own random numbers and the time that it compares certificates with.
//
// Cost. An idle connection keeps no buffers: OpenSSL gives its own back (SSL_MODE_RELEASE_BUFFERS), reads come straight from the
// socket, written records go straight to it, and only what the socket did not take is kept, at most one record. Stored ranges
// cannot go from the file to the socket: each is read into memory, 16 kB at a time on the core's thread, and encrypted there, so
// a Kafka fetch over TLS costs one copy and the encryption of all its bytes, and waits for the disk where the bytes are not in
// the page cache.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/describe.h"
#include "base/result.h"
#include "net/filter.h"

namespace robustmq::net {

enum class TlsClients : uint8_t { unknown, optional, required };
enum class TlsVersion : uint8_t { tls_1_2, tls_1_3 };
enum class TlsIdentity : uint8_t { none, user, client_id };

// A listener's TLS, as options. Files are PEM.
struct TlsOptions {
  std::string certificate;
  std::string key;
  std::string ca;
  TlsClients clients = TlsClients::unknown;
  TlsVersion version_min = TlsVersion::tls_1_2;
  std::string ciphers = "ECDHE+AESGCM:ECDHE+CHACHA20";

  bool is_on() const { return !certificate.empty(); }
  bool operator==(const TlsOptions&) const = default;

  template <class V>
  static void describe(V& v) {
    using O = TlsOptions;
    v.field("certificate", &O::certificate,
            {.doc = "File of the server's certificate in PEM, with the intermediate ones behind it; empty: no TLS."});
    v.field("key", &O::key, {.doc = "File of its private key in PEM, without a passphrase."});
    v.field("ca", &O::ca, {.doc = "File of the authorities in PEM that client certificates are checked against."});
    v.field("clients", &O::clients,
            {.doc = "Client certificates: not asked for (unknown), checked when sent (optional), or demanded (required)."});
    v.field("version_min", &O::version_min, {.doc = "Least version of TLS."});
    v.field("ciphers", &O::ciphers, {.doc = "Ciphers of TLS 1.2, in OpenSSL's spelling; those of TLS 1.3 are all good."});
  }
};

// What the files of TlsOptions hold, and what servers that resume each other's sessions share.
struct TlsMaterial {
  std::string certificate;
  std::string key;
  std::string ca;
  std::string ticket_key;  // kTicketKeyBytes random bytes

  static constexpr size_t kTicketKeyBytes = 80;
  // From OpenSSL's random numbers.
  static std::string fresh_ticket_key();
  bool has_same_files(const TlsMaterial& other) const {
    return certificate == other.certificate && key == other.key && ca == other.ca;
  }
};

// A certificate with its rules, for new connections; those that are there keep the one they began with. Any thread may hold it.
class TlsContext {
 public:
  // Error (invalid_config): what is wrong with the files or the ciphers, in words.
  static Result<std::shared_ptr<TlsContext>> make(const TlsOptions& options, const TlsMaterial& material);
  ~TlsContext();
  TlsContext(const TlsContext&) = delete;

 private:
  friend class TlsSocket;
  struct Hidden;
  explicit TlsContext(std::unique_ptr<Hidden> hidden);
  std::unique_ptr<Hidden> hidden_;
};

struct TlsState;

// About 200 bytes besides OpenSSL's.
class TlsSocket final : public FilterSocket {
 public:
  TlsSocket(runtime::Core& core, std::unique_ptr<runtime::Socket> below, const TlsContext& context);
  ~TlsSocket() override;

  // Goes on with the handshake, as far as the bytes that are there allow; again when the socket is readable.
  enum class Handshake : uint8_t { waits, done, failed };
  Handshake shake_hands();
  bool was_resumed() const;
  // Common name of the client's certificate, which was checked; empty when there is none.
  std::string common_name() const;

  runtime::IoResult read(std::span<uint8_t> into) override;
  runtime::IoResult write(std::span<const Piece> pieces, size_t skip_bytes_of_first) override;
  std::unique_ptr<runtime::DetachedSocket> detach() override;
  std::string_view failure() const override;

 private:
  class Detached;
  TlsSocket(runtime::Core& core, std::unique_ptr<runtime::Socket> below, std::unique_ptr<TlsState> state);

  bool write_own() override;
  void say_goodbye() override;
  void fail(std::string_view otherwise);
  void write_own_or_wait();

  std::unique_ptr<TlsState> state_;
};

}  // namespace robustmq::net

namespace robustmq {
template <>
struct EnumNames<net::TlsClients> {
  static constexpr std::pair<net::TlsClients, std::string_view> values[] = {
      {net::TlsClients::unknown, "unknown"}, {net::TlsClients::optional, "optional"}, {net::TlsClients::required, "required"}};
};
template <>
struct EnumNames<net::TlsVersion> {
  static constexpr std::pair<net::TlsVersion, std::string_view> values[] = {{net::TlsVersion::tls_1_2, "1.2"},
                                                                            {net::TlsVersion::tls_1_3, "1.3"}};
};
template <>
struct EnumNames<net::TlsIdentity> {
  static constexpr std::pair<net::TlsIdentity, std::string_view> values[] = {
      {net::TlsIdentity::none, "none"}, {net::TlsIdentity::user, "user"}, {net::TlsIdentity::client_id, "client_id"}};
};
}  // namespace robustmq
