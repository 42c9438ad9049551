// See context.h. Pure but for what is said there.
#include "net/quic/context.h"

#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <ngtcp2/ngtcp2_crypto_gnutls.h>

#include "base/check.h"

namespace robustmq::net {

namespace {

constexpr const char* kPriorities =
    "NORMAL:-VERS-ALL:+VERS-TLS1.3:-CIPHER-ALL:+AES-128-GCM:+AES-256-GCM:+CHACHA20-POLY1305:"
    "-GROUP-ALL:+GROUP-X25519:+GROUP-SECP256R1:+GROUP-SECP384R1:+GROUP-SECP521R1:%DISABLE_TLS13_COMPAT_MODE";
constexpr size_t kCommonNameMax = 256;

gnutls_datum_t datum_of(const std::string& text) {
  return {reinterpret_cast<unsigned char*>(const_cast<char*>(text.data())), static_cast<unsigned>(text.size())};
}

Error wrong_file(std::string_view what, std::string_view file, int result) {
  return {Code::invalid_config, std::string(what) + " \"" + std::string(file) + "\": " + gnutls_strerror(result)};
}

QuicContext::Secret derive_secret(const std::string& key, std::string_view label) {
  QuicContext::Secret secret;
  const int result = gnutls_hmac_fast(GNUTLS_MAC_SHA256, key.data(), key.size(), label.data(), label.size(), secret.data());
  ROBUSTMQ_CHECK(result == 0, "GnuTLS makes no HMAC");
  return secret;
}

// A client without a certificate is GnuTLS's to refuse, where one is demanded.
int check_client(gnutls_session_t session) {
  unsigned count = 0;
  if (!gnutls_certificate_get_peers(session, &count) || count == 0) return 0;
  unsigned status = 0;
  const int result = gnutls_certificate_verify_peers2(session, &status);
  return result < 0 || status != 0 ? GNUTLS_E_CERTIFICATE_VERIFICATION_ERROR : 0;
}

}  // namespace

struct QuicContext::Hidden {
  gnutls_certificate_credentials_t credentials = nullptr;
  gnutls_priority_t priorities = nullptr;
  std::string protocol;
  TlsClients clients = TlsClients::unknown;
  bool is_server = false;

  Hidden(std::string alpn, bool server) : protocol(std::move(alpn)), is_server(server) {
    ROBUSTMQ_CHECK(gnutls_certificate_allocate_credentials(&credentials) == 0, "GnuTLS has no memory");
    ROBUSTMQ_CHECK(gnutls_priority_init(&priorities, kPriorities, nullptr) == 0, "GnuTLS knows these priorities");
  }
  ~Hidden() {
    gnutls_certificate_free_credentials(credentials);
    gnutls_priority_deinit(priorities);
  }
};

QuicContext::QuicContext(std::unique_ptr<Hidden> hidden) : hidden_(std::move(hidden)) {}
QuicContext::~QuicContext() = default;

Result<std::shared_ptr<const QuicContext>> QuicContext::make_server(const TlsOptions& options, const TlsMaterial& material,
                                                                    std::string protocol) {
  auto hidden = std::make_unique<Hidden>(std::move(protocol), true);
  hidden->clients = options.clients;
  const gnutls_datum_t certificate = datum_of(material.certificate);
  const gnutls_datum_t key = datum_of(material.key);
  const int loaded = gnutls_certificate_set_x509_key_mem(hidden->credentials, &certificate, &key, GNUTLS_X509_FMT_PEM);
  if (loaded < 0) return wrong_file("certificate", options.certificate, loaded);
  if (options.clients != TlsClients::unknown) {
    const gnutls_datum_t ca = datum_of(material.ca);
    const int trusted = gnutls_certificate_set_x509_trust_mem(hidden->credentials, &ca, GNUTLS_X509_FMT_PEM);
    if (trusted <= 0) return wrong_file("ca", options.ca, trusted == 0 ? GNUTLS_E_NO_CERTIFICATE_FOUND : trusted);
  }
  std::shared_ptr<QuicContext> made(new QuicContext(std::move(hidden)));
  made->token_secret_ = derive_secret(material.key, "robustmq quic address tokens");
  made->reset_secret_ = derive_secret(material.key, "robustmq quic stateless resets");
  return std::shared_ptr<const QuicContext>(std::move(made));
}

Result<std::shared_ptr<const QuicContext>> QuicContext::make_client(const QuicClientMaterial& material, std::string protocol) {
  auto hidden = std::make_unique<Hidden>(std::move(protocol), false);
  const gnutls_datum_t ca = datum_of(material.ca);
  const int trusted = gnutls_certificate_set_x509_trust_mem(hidden->credentials, &ca, GNUTLS_X509_FMT_PEM);
  if (trusted <= 0) return wrong_file("ca", "", trusted == 0 ? GNUTLS_E_NO_CERTIFICATE_FOUND : trusted);
  if (!material.certificate.empty()) {
    const gnutls_datum_t certificate = datum_of(material.certificate);
    const gnutls_datum_t key = datum_of(material.key);
    const int loaded = gnutls_certificate_set_x509_key_mem(hidden->credentials, &certificate, &key, GNUTLS_X509_FMT_PEM);
    if (loaded < 0) return wrong_file("certificate", "", loaded);
  }
  return std::shared_ptr<const QuicContext>(new QuicContext(std::move(hidden)));
}

void* QuicContext::begin_session(void* reference, const std::string& server_name) const {
  gnutls_session_t session = nullptr;
  const unsigned side = hidden_->is_server ? GNUTLS_SERVER : GNUTLS_CLIENT;
  if (gnutls_init(&session, side | GNUTLS_NO_AUTO_SEND_TICKET | GNUTLS_NO_END_OF_EARLY_DATA | GNUTLS_NO_TICKETS) != 0)
    return nullptr;
  gnutls_session_set_ptr(session, reference);
  const int configured = hidden_->is_server ? ngtcp2_crypto_gnutls_configure_server_session(session)
                                            : ngtcp2_crypto_gnutls_configure_client_session(session);
  const gnutls_datum_t alpn = datum_of(hidden_->protocol);
  bool is_good = configured == 0 && gnutls_priority_set(session, hidden_->priorities) == 0 &&
                 gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE, hidden_->credentials) == 0 &&
                 gnutls_alpn_set_protocols(session, &alpn, 1, GNUTLS_ALPN_MANDATORY) == 0;
  if (hidden_->is_server) {
    if (hidden_->clients != TlsClients::unknown) {
      const bool is_required = hidden_->clients == TlsClients::required;
      gnutls_certificate_server_set_request(session, is_required ? GNUTLS_CERT_REQUIRE : GNUTLS_CERT_REQUEST);
      gnutls_session_set_verify_function(session, check_client);
    }
  } else {
    // A name goes along; an address does not (RFC 6066 3), but is checked against the certificate all the same.
    const bool is_name = server_name.find_first_not_of("0123456789.:[]abcdef") != std::string::npos;
    if (is_name) is_good &= gnutls_server_name_set(session, GNUTLS_NAME_DNS, server_name.data(), server_name.size()) == 0;
    gnutls_session_set_verify_cert(session, server_name.empty() ? nullptr : server_name.c_str(), 0);
  }
  if (is_good) return session;
  gnutls_deinit(session);
  return nullptr;
}

void QuicContext::end_session(void* session) {
  if (session) gnutls_deinit(static_cast<gnutls_session_t>(session));
}

std::string QuicContext::common_name(void* session) {
  unsigned count = 0;
  const gnutls_datum_t* chain = gnutls_certificate_get_peers(static_cast<gnutls_session_t>(session), &count);
  if (!chain || count == 0) return {};
  gnutls_x509_crt_t certificate = nullptr;
  if (gnutls_x509_crt_init(&certificate) != 0) return {};
  std::string name;
  char text[kCommonNameMax];
  size_t size = sizeof(text);
  if (gnutls_x509_crt_import(certificate, &chain[0], GNUTLS_X509_FMT_DER) == 0 &&
      gnutls_x509_crt_get_dn_by_oid(certificate, GNUTLS_OID_X520_COMMON_NAME, 0, 0, text, &size) == 0)
    name.assign(text, size);
  gnutls_x509_crt_deinit(certificate);
  return name;
}

}  // namespace robustmq::net
