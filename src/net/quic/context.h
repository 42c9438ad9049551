// TLS 1.3 for QUIC (RFC 9001) on GnuTLS: certificates and rules of one side, and its sessions. With connection.cc and endpoint.cc
// the one door to GnuTLS and ngtcp2. Pure but for GnuTLS's own random numbers and the time that it compares certificates with.
//
// Options and files are those of TLS over TCP (net/tls.h), but for version_min and ciphers: QUIC is TLS 1.3, whose ciphers are
// all good. Sessions are not resumed and there is no early data: every connection makes a whole handshake.
#pragma once

#include <array>
#include <memory>
#include <string>

#include "base/result.h"
#include "net/tls.h"

namespace robustmq::net {

// What a client trusts and shows. PEM.
struct QuicClientMaterial {
  std::string ca;           // authorities of the server's certificate
  std::string certificate;  // its own, or empty
  std::string key;
};

// For new connections; those that are there keep the one they began with. Any thread may hold it.
class QuicContext {
 public:
  // Error (invalid_config): what is wrong with the files, in words. `protocol`: of ALPN, without which nobody is let in.
  static Result<std::shared_ptr<const QuicContext>> make_server(const TlsOptions& options, const TlsMaterial& material,
                                                                std::string protocol);
  static Result<std::shared_ptr<const QuicContext>> make_client(const QuicClientMaterial& material, std::string protocol);
  ~QuicContext();
  QuicContext(const QuicContext&) = delete;

  // A session of GnuTLS (gnutls_session_t), set up for ngtcp2 and with `reference` (ngtcp2_crypto_conn_ref*) as what it belongs
  // to; null when there is no memory. end_session() gives it back. `server_name`: for clients; it outlives the session.
  void* begin_session(void* reference, const std::string& server_name) const;
  static void end_session(void* session);
  // Common name of the peer's certificate, which was checked; empty when there is none.
  static std::string common_name(void* session);

  // Secrets from the private key, so that every core and the next life of the node have the same: what address tokens are made
  // with, and stateless resets, by which a client hears after a restart that its connection is gone.
  using Secret = std::array<uint8_t, 32>;
  const Secret& token_secret() const { return token_secret_; }
  const Secret& reset_secret() const { return reset_secret_; }

 private:
  struct Hidden;
  explicit QuicContext(std::unique_ptr<Hidden> hidden);
  std::unique_ptr<Hidden> hidden_;
  Secret token_secret_{};
  Secret reset_secret_{};
};

}  // namespace robustmq::net
