// See tls.h. OpenSSL's errors are a thread's: each call here begins with an empty list of them.
#include "net/tls.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <algorithm>
#include <cstring>

#include "base/check.h"

namespace robustmq::net {

namespace {

using runtime::IoResult;

constexpr size_t kRecordBytes = 16 << 10;     // payload of one record
constexpr size_t kWriteAtOnce = 256 << 10;    // a socket's share of a turn
constexpr long kClientChainBytes = 32 << 10;  // certificates of a client

template <auto Free>
struct Freed {
  template <class T>
  void operator()(T* what) const {
    Free(what);
  }
};
using CtxPtr = std::unique_ptr<SSL_CTX, Freed<SSL_CTX_free>>;
using SslPtr = std::unique_ptr<SSL, Freed<SSL_free>>;
using BioPtr = std::unique_ptr<BIO, Freed<BIO_free>>;
using CertificatePtr = std::unique_ptr<X509, Freed<X509_free>>;
using KeyPtr = std::unique_ptr<EVP_PKEY, Freed<EVP_PKEY_free>>;

// The latest error of this thread in words.
std::string why(std::string_view otherwise) {
  const unsigned long error = ERR_peek_last_error();
  const char* text = error == 0 ? nullptr : ERR_reason_error_string(error);
  return text ? text : std::string(otherwise);
}

Error wrong(std::string_view what, std::string_view file) {
  return {Code::invalid_config, std::string(what) + " \"" + std::string(file) + "\": " + why("not what it should be")};
}

BioPtr bio_of(const std::string& text) { return BioPtr(BIO_new_mem_buf(text.data(), static_cast<int>(text.size()))); }

int no_passphrase(char*, int, int, void*) { return 0; }

Status use_certificate(SSL_CTX* ctx, const TlsOptions& options, const TlsMaterial& material) {
  const BioPtr text = bio_of(material.certificate);
  const CertificatePtr own(PEM_read_bio_X509_AUX(text.get(), nullptr, no_passphrase, nullptr));
  if (!own || SSL_CTX_use_certificate(ctx, own.get()) != 1) return wrong("certificate", options.certificate);
  for (;;) {
    CertificatePtr next(PEM_read_bio_X509(text.get(), nullptr, no_passphrase, nullptr));
    if (!next) break;
    if (SSL_CTX_add0_chain_cert(ctx, next.get()) != 1) return wrong("certificate", options.certificate);
    (void)next.release();  // the context's now
  }
  // The end of the file is an error like others.
  if (ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE) return wrong("certificate", options.certificate);
  ERR_clear_error();
  const KeyPtr key(PEM_read_bio_PrivateKey(bio_of(material.key).get(), nullptr, no_passphrase, nullptr));
  if (!key) return wrong("key", options.key);
  if (SSL_CTX_use_PrivateKey(ctx, key.get()) != 1 || SSL_CTX_check_private_key(ctx) != 1) return wrong("key", options.key);
  return {};
}

Status use_authorities(SSL_CTX* ctx, const TlsOptions& options, const TlsMaterial& material) {
  const BioPtr text = bio_of(material.ca);
  size_t count = 0;
  for (;; ++count) {
    const CertificatePtr next(PEM_read_bio_X509(text.get(), nullptr, no_passphrase, nullptr));
    if (!next) break;
    if (X509_STORE_add_cert(SSL_CTX_get_cert_store(ctx), next.get()) != 1 || SSL_CTX_add_client_CA(ctx, next.get()) != 1)
      return wrong("ca", options.ca);
  }
  if (count == 0 || ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE) return wrong("ca", options.ca);
  ERR_clear_error();
  const bool is_required = options.clients == TlsClients::required;
  SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | (is_required ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0), nullptr);
  return {};
}

}  // namespace

std::string TlsMaterial::fresh_ticket_key() {
  std::string key(kTicketKeyBytes, '\0');
  ROBUSTMQ_CHECK(RAND_bytes(reinterpret_cast<unsigned char*>(key.data()), kTicketKeyBytes) == 1, "no random numbers");
  return key;
}

// ---- context ----

struct TlsContext::Hidden {
  CtxPtr ctx;
};

TlsContext::TlsContext(std::unique_ptr<Hidden> hidden) : hidden_(std::move(hidden)) {}
TlsContext::~TlsContext() = default;

Result<std::shared_ptr<TlsContext>> TlsContext::make(const TlsOptions& options, const TlsMaterial& material) {
  // What the machine's OpenSSL is set to is not this program's.
  OPENSSL_init_ssl(OPENSSL_INIT_NO_LOAD_CONFIG, nullptr);
  ERR_clear_error();
  auto hidden = std::make_unique<Hidden>();
  hidden->ctx.reset(SSL_CTX_new(TLS_server_method()));
  SSL_CTX* ctx = hidden->ctx.get();
  ROBUSTMQ_CHECK(ctx != nullptr, "OpenSSL makes no context");
  SSL_CTX_set_min_proto_version(ctx, options.version_min == TlsVersion::tls_1_3 ? TLS1_3_VERSION : TLS1_2_VERSION);
  SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA |
                               SSL_OP_NO_COMPRESSION | SSL_OP_IGNORE_UNEXPECTED_EOF);
  SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  SSL_CTX_set_read_ahead(ctx, 1);
  SSL_CTX_set_max_cert_list(ctx, kClientChainBytes);
  // Sessions are resumed by tickets alone: nothing is kept for them.
  SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_num_tickets(ctx, 1);
  std::string ticket_key = material.ticket_key;
  ROBUSTMQ_CHECK(ticket_key.size() == TlsMaterial::kTicketKeyBytes, "a ticket key of another size");
  ROBUSTMQ_CHECK(SSL_CTX_set_tlsext_ticket_keys(ctx, ticket_key.data(), static_cast<int>(ticket_key.size())) == 1, "ticket keys");
  constexpr std::string_view kSessionContext = "robustmq";
  SSL_CTX_set_session_id_context(ctx, reinterpret_cast<const unsigned char*>(kSessionContext.data()), kSessionContext.size());
  if (SSL_CTX_set_cipher_list(ctx, options.ciphers.c_str()) != 1) return wrong("ciphers", options.ciphers);
  Status certified = use_certificate(ctx, options, material);
  if (!certified.ok()) return certified.error();
  if (options.clients != TlsClients::unknown) {
    Status trusted = use_authorities(ctx, options, material);
    if (!trusted.ok()) return trusted.error();
  }
  return std::shared_ptr<TlsContext>(new TlsContext(std::move(hidden)));
}

// ---- socket ----

struct TlsState {
  SslPtr ssl;
  runtime::Socket* below = nullptr;
  Buffer records;         // encrypted, not sent yet
  size_t records_at = 0;  // sent of them
  std::string failure;
  bool has_failed = false;
  bool is_open = false;  // hands were shaken
};

namespace {

// What OpenSSL reads from and writes to: reads go to the socket below, writes to the records that wait, so a write never waits.
struct TlsBio {
  static TlsState& of(BIO* bio) { return *static_cast<TlsState*>(BIO_get_data(bio)); }

  static int read(BIO* bio, char* into, size_t room, size_t* got) {
    BIO_clear_retry_flags(bio);
    const IoResult result = of(bio).below->read({reinterpret_cast<uint8_t*>(into), room});
    *got = result.bytes;
    if (result.kind == IoResult::Kind::moved) return 1;
    if (result.kind == IoResult::Kind::would_block) BIO_set_retry_read(bio);
    if (result.kind == IoResult::Kind::end) BIO_set_flags(bio, BIO_FLAGS_IN_EOF);
    return 0;
  }
  static int write(BIO* bio, const char* from, size_t size, size_t* put) {
    of(bio).records.append(std::string_view(from, size));
    *put = size;
    return 1;
  }
  static long control(BIO* bio, int what, long, void*) {
    if (what == BIO_CTRL_FLUSH) return 1;
    if (what == BIO_CTRL_EOF) return BIO_test_flags(bio, BIO_FLAGS_IN_EOF) != 0;
    return 0;
  }
  static const BIO_METHOD* method() {
    static BIO_METHOD* const made = [] {
      BIO_METHOD* method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "socket of a core");
      BIO_meth_set_read_ex(method, read);
      BIO_meth_set_write_ex(method, write);
      BIO_meth_set_ctrl(method, control);
      return method;
    }();
    return made;
  }
};

// Copies bytes of `pieces`, from `skip` on, until `into` is full; less only when a stored range cannot be read.
size_t gather(std::span<const Piece> pieces, size_t skip, std::span<uint8_t> into) {
  size_t size = 0;
  for (const Piece& piece : pieces) {
    const size_t part = static_cast<size_t>(std::min<uint64_t>(piece.size - skip, into.size() - size));
    if (piece.is_stored()) {
      const Bytes bytes = piece.stored.source->read_now(piece.stored.position + skip, part);
      if (!bytes.empty()) std::memcpy(into.data() + size, bytes.data(), bytes.size());
      size += bytes.size();
      if (bytes.size() < part) return size;
    } else {
      if (part > 0) std::memcpy(into.data() + size, piece.bytes.data() + skip, part);
      size += part;
    }
    skip = 0;
    if (size == into.size()) break;
  }
  return size;
}

}  // namespace

class TlsSocket::Detached final : public DetachedFilter {
 public:
  Detached(std::unique_ptr<runtime::DetachedSocket> below, std::unique_ptr<TlsState> state)
      : below_(std::move(below)), state_(std::move(state)) {}
  std::unique_ptr<runtime::Socket> attach(runtime::Core& core) override {
    return std::unique_ptr<runtime::Socket>(new TlsSocket(core, adopt(core, std::move(below_)), std::move(state_)));
  }

 private:
  std::unique_ptr<runtime::DetachedSocket> below_;
  std::unique_ptr<TlsState> state_;
};

TlsSocket::TlsSocket(runtime::Core& core, std::unique_ptr<runtime::Socket> socket, const TlsContext& context)
    : FilterSocket(core, std::move(socket)), state_(std::make_unique<TlsState>()) {
  state_->below = &below();
  state_->ssl.reset(SSL_new(context.hidden_->ctx.get()));
  BIO* bio = BIO_new(TlsBio::method());
  ROBUSTMQ_CHECK(state_->ssl && bio, "OpenSSL has no memory");
  BIO_set_data(bio, state_.get());
  BIO_set_init(bio, 1);
  SSL_set_bio(state_->ssl.get(), bio, bio);
  SSL_set_accept_state(state_->ssl.get());
}

TlsSocket::TlsSocket(runtime::Core& core, std::unique_ptr<runtime::Socket> socket, std::unique_ptr<TlsState> state)
    : FilterSocket(core, std::move(socket)), state_(std::move(state)) {
  state_->below = &below();
  if (SSL_has_pending(state_->ssl.get()) != 0 || state_->has_failed) read_again();
}

TlsSocket::~TlsSocket() = default;

std::unique_ptr<runtime::DetachedSocket> TlsSocket::detach() {
  state_->below = nullptr;
  return std::make_unique<Detached>(detach_below(), std::move(state_));
}

std::string_view TlsSocket::failure() const {
  return state_->failure.empty() ? below().failure() : std::string_view(state_->failure);
}

void TlsSocket::fail(std::string_view otherwise) {
  state_->has_failed = true;
  if (!state_->failure.empty()) return;
  // A connection that broke is no failure of TLS.
  if (ERR_peek_last_error() != 0) state_->failure = why(otherwise);
  ERR_clear_error();
}

TlsSocket::Handshake TlsSocket::shake_hands() {
  if (state_->has_failed) return Handshake::failed;
  SSL* ssl = state_->ssl.get();
  ERR_clear_error();
  const int result = SSL_do_handshake(ssl);
  const int error = result == 1 ? SSL_ERROR_NONE : SSL_get_error(ssl, result);
  if (result != 1 && error != SSL_ERROR_WANT_READ) fail("the handshake failed");
  write_own_or_wait();  // an alert too
  if (state_->has_failed) return Handshake::failed;
  if (result != 1) return Handshake::waits;
  state_->is_open = true;
  if (SSL_has_pending(ssl) != 0) read_again();
  return Handshake::done;
}

bool TlsSocket::was_resumed() const { return SSL_session_reused(state_->ssl.get()) == 1; }

std::string TlsSocket::common_name() const {
  const CertificatePtr certificate(SSL_get1_peer_certificate(state_->ssl.get()));
  if (!certificate || SSL_get_verify_result(state_->ssl.get()) != X509_V_OK) return {};
  const X509_NAME* subject = X509_get_subject_name(certificate.get());
  const int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
  if (at < 0) return {};
  unsigned char* text = nullptr;
  const int size = ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)));
  if (size < 0) return {};
  std::string name(reinterpret_cast<char*>(text), static_cast<size_t>(size));
  OPENSSL_free(text);
  return name;
}

IoResult TlsSocket::read(std::span<uint8_t> into) {
  read_is_done();
  if (state_->has_failed) return {IoResult::Kind::failed};
  SSL* ssl = state_->ssl.get();
  ERR_clear_error();
  size_t moved = 0;
  IoResult::Kind otherwise = IoResult::Kind::would_block;
  while (moved < into.size()) {
    size_t got = 0;
    if (SSL_read_ex(ssl, into.data() + moved, into.size() - moved, &got) == 1) {
      moved += got;
      continue;
    }
    const int error = SSL_get_error(ssl, 0);
    if (error == SSL_ERROR_WANT_READ) break;
    if (error != SSL_ERROR_ZERO_RETURN) fail("the connection broke");
    otherwise = error == SSL_ERROR_ZERO_RETURN ? IoResult::Kind::end : IoResult::Kind::failed;
    break;
  }
  write_own_or_wait();  // an alert, or the answer to a key update
  if (moved == 0) return {otherwise};
  if (otherwise != IoResult::Kind::would_block || (moved == into.size() && SSL_has_pending(ssl) != 0)) read_again();
  return {IoResult::Kind::moved, moved};
}

IoResult TlsSocket::write(std::span<const Piece> pieces, size_t skip) {
  if (state_->has_failed) return {IoResult::Kind::failed};
  ERR_clear_error();
  size_t moved = 0;
  while (!pieces.empty() && moved < kWriteAtOnce && write_own()) {
    uint8_t plain[kRecordBytes];
    ByteSpan record;
    if (!pieces[0].is_stored() && pieces[0].size - skip >= kRecordBytes) {
      record = pieces[0].bytes.span().subspan(skip, kRecordBytes);
    } else {
      record = {plain, gather(pieces, skip, plain)};
    }
    size_t written = 0;
    // A range that cannot be read, or a record that cannot be made: nothing sensible can follow.
    if (record.empty() || SSL_write_ex(state_->ssl.get(), record.data(), record.size(), &written) != 1) {
      fail("a record was not written");
      return {IoResult::Kind::failed, moved};
    }
    moved += written;
    while (!pieces.empty() && pieces[0].size - skip <= written) {
      written -= static_cast<size_t>(pieces[0].size - skip);
      pieces = pieces.subspan(1);
      skip = 0;
    }
    skip += written;
  }
  write_own_or_wait();
  if (moved == 0) return {IoResult::Kind::would_block};
  return {IoResult::Kind::moved, moved};
}

bool TlsSocket::write_own() {
  TlsState& state = *state_;
  if (state.records.empty()) return true;
  const Piece piece = Piece::of(Bytes::unowned(state.records.span().subspan(state.records_at)));
  const IoResult result = below().write({&piece, 1}, 0);
  if (result.kind == IoResult::Kind::would_block) return false;
  state.records_at += result.bytes;
  if (result.kind == IoResult::Kind::moved && state.records_at < state.records.size()) return false;
  state.records = Buffer();
  state.records_at = 0;
  return true;
}

void TlsSocket::write_own_or_wait() {
  if (!write_own()) below().want_write(true);
}

void TlsSocket::say_goodbye() {
  if (!state_->is_open || state_->has_failed) return;
  ERR_clear_error();
  SSL_shutdown(state_->ssl.get());
}

}  // namespace robustmq::net
