// TLS over simulated sockets that cut bytes anywhere, against OpenSSL's own client; the way in through PROXY header, TLS and
// WebSocket.
#include "net/tls.h"

#include <gtest/gtest.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <cstdio>
#include <random>

#include "net/entrance.h"
#include "net/stream.h"
#include "runtime/sim/disk.h"
#include "runtime/sim/net.h"
#include "runtime/sim/world.h"

namespace robustmq::net {
namespace {

using runtime::sim::SimNode;
using runtime::sim::SimWorld;

struct Identity {
  std::string certificate, key;
};

std::string text_of(BIO* bio) {
  char* text = nullptr;
  const long size = BIO_get_mem_data(bio, &text);
  std::string copy(text, static_cast<size_t>(size));
  BIO_free(bio);
  return copy;
}

// A certificate that vouches for itself, and so for nobody else: its own authority.
Identity self_signed(const char* common_name) {
  EVP_PKEY* key = EVP_EC_gen("P-256");
  X509* certificate = X509_new();
  X509_set_version(certificate, 2);
  ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1);
  X509_gmtime_adj(X509_getm_notBefore(certificate), -3600);
  X509_gmtime_adj(X509_getm_notAfter(certificate), 3600);
  X509_set_pubkey(certificate, key);
  X509_NAME* name = X509_get_subject_name(certificate);
  X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, reinterpret_cast<const unsigned char*>(common_name), -1, -1, 0);
  X509_set_issuer_name(certificate, name);
  X509_sign(certificate, key, EVP_sha256());
  Identity identity;
  BIO* bio = BIO_new(BIO_s_mem());
  PEM_write_bio_X509(bio, certificate);
  identity.certificate = text_of(bio);
  bio = BIO_new(BIO_s_mem());
  PEM_write_bio_PrivateKey(bio, key, nullptr, nullptr, 0, nullptr, nullptr);
  identity.key = text_of(bio);
  X509_free(certificate);
  EVP_PKEY_free(key);
  return identity;
}

const Identity& server_identity() {
  static const Identity identity = self_signed("server");
  return identity;
}
const Identity& device_identity() {
  static const Identity identity = self_signed("device 7");
  return identity;
}

TlsMaterial material_of(const Identity& identity, std::string ca = {}) {
  return {identity.certificate, identity.key, std::move(ca), TlsMaterial::fresh_ticket_key()};
}

TlsOptions options_with(TlsClients clients = TlsClients::unknown) {
  TlsOptions options;
  options.certificate = "server.pem";
  options.key = "server.key";
  options.ca = "ca.pem";
  options.clients = clients;
  return options;
}

// OpenSSL's client over a plain stream.
class Client final : public StreamEvents {
 public:
  Client(Streams& streams, std::unique_ptr<runtime::Socket> socket, int version, const Identity* identity)
      : ctx_(SSL_CTX_new(TLS_client_method())), ssl_(SSL_new(ctx_)), stream_(streams, std::move(socket)) {
    SSL_set_min_proto_version(ssl_, version);
    SSL_set_max_proto_version(ssl_, version);
    SSL_set_connect_state(ssl_);
    SSL_set_bio(ssl_, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    if (identity) {
      BIO* bio = BIO_new_mem_buf(identity->certificate.data(), static_cast<int>(identity->certificate.size()));
      X509* certificate = PEM_read_bio_X509(bio, nullptr, nullptr, nullptr);
      SSL_use_certificate(ssl_, certificate);
      X509_free(certificate);
      BIO_free(bio);
      bio = BIO_new_mem_buf(identity->key.data(), static_cast<int>(identity->key.size()));
      EVP_PKEY* key = PEM_read_bio_PrivateKey(bio, nullptr, nullptr, nullptr);
      SSL_use_PrivateKey(ssl_, key);
      EVP_PKEY_free(key);
      BIO_free(bio);
    }
    stream_.start(*this);
  }
  ~Client() {
    SSL_free(ssl_);
    SSL_CTX_free(ctx_);
  }
  void begin() { go_on(); }
  void send_plain(std::string_view text) { stream_.send(Bytes::copy_of(text)); }
  void send(std::string_view text) {
    unsent_ += text;
    go_on();
  }
  void say_goodbye() {
    SSL_shutdown(ssl_);
    go_on();
  }
  void update_key() {
    SSL_key_update(ssl_, SSL_KEY_UPDATE_REQUESTED);
    go_on();
  }

  std::string heard;
  bool is_open = false, has_failed = false, got_goodbye = false, ended = false;

 private:
  size_t on_bytes(const Bytes& bytes) override {
    BIO_write(SSL_get_rbio(ssl_), bytes.data(), static_cast<int>(bytes.size()));
    go_on();
    return bytes.size();
  }
  void on_drained() override {}
  void on_closed(StreamEnd) override { ended = true; }
  void go_on() {
    if (!is_open && !has_failed) {
      const int result = SSL_do_handshake(ssl_);
      is_open = result == 1;
      has_failed = result != 1 && SSL_get_error(ssl_, result) != SSL_ERROR_WANT_READ;
    }
    if (is_open) {
      if (!unsent_.empty() && SSL_write(ssl_, unsent_.data(), static_cast<int>(unsent_.size())) > 0) unsent_.clear();
      char into[8192];
      int got;
      while ((got = SSL_read(ssl_, into, sizeof into)) > 0) heard.append(into, static_cast<size_t>(got));
      const int error = SSL_get_error(ssl_, got);
      got_goodbye |= error == SSL_ERROR_ZERO_RETURN;
      has_failed |= error == SSL_ERROR_SSL;
    }
    char out[8192];
    int size;
    while ((size = BIO_read(SSL_get_wbio(ssl_), out, sizeof out)) > 0)
      stream_.send(Bytes::copy_of(std::string_view(out, static_cast<size_t>(size))));
  }

  SSL_CTX* ctx_;
  SSL* ssl_;
  std::string unsent_;
  ByteStream stream_;
};

// The server's side: an entrance, then a stream that may echo.
struct Server final : EntranceEvents, StreamEvents {
  explicit Server(Streams& at) : streams(at) {}
  void on_entered(Entrance& which, std::unique_ptr<runtime::Socket> socket) override {
    common_name = which.common_name();
    peer = socket->peer().to_string();
    entrance.reset();
    stream = std::make_unique<ByteStream>(streams, std::move(socket));
    stream->start(*this);
  }
  void on_refused(Entrance&, EntranceStep at, std::string_view reason, std::string) override {
    step = at;
    why = reason;
    is_refused = true;
    entrance.reset();
  }
  size_t on_bytes(const Bytes& bytes) override {
    heard += bytes.text();
    if (echoes) stream->send(Bytes::copy_of(bytes.span()));
    return bytes.size();
  }
  void on_drained() override {}
  void on_closed(StreamEnd how) override {
    ended = true;
    end = how;
  }
  void enter(std::unique_ptr<runtime::Socket> socket) {
    entrance = std::make_unique<Entrance>(streams.core(), rules, std::move(socket), *this);
    entrance->start();
  }

  Streams& streams;
  EntranceRules rules;
  std::unique_ptr<Entrance> entrance;
  std::unique_ptr<ByteStream> stream;
  std::string common_name, peer, heard, why;
  EntranceStep step{};
  bool is_refused = false, echoes = false, ended = false;
  StreamEnd end{};
};

struct TlsPair {
  explicit TlsPair(uint64_t seed, TlsClients clients = TlsClients::unknown, int version = TLS1_3_VERSION,
                   const Identity* identity = nullptr, std::string before = {})
      : world({.seed = seed}) {
    server_node = &world.add_node({.name = "server", .cores = 2});
    SimNode& client_node = world.add_node({.name = "client"});
    at_server = std::make_unique<Streams>(server_node->core(0));
    at_other = std::make_unique<Streams>(server_node->core(1));
    at_client = std::make_unique<Streams>(client_node.core(0));
    server = std::make_unique<Server>(*at_server);
    server->rules.tls =
        TlsContext::make(options_with(clients), material_of(server_identity(), device_identity().certificate)).take();
    server->rules.identity = clients == TlsClients::required ? TlsIdentity::user : TlsIdentity::none;
    listener =
        server_node->core(0)
            .net()
            .listen({"server", 1}, {}, [this](std::unique_ptr<runtime::Socket> socket) { server->enter(std::move(socket)); })
            .take();
    client_node.core(0).net().connect(
        {"server", 1}, [this, version, identity, before = std::move(before)](Result<std::unique_ptr<runtime::Socket>> socket) {
          client = std::make_unique<Client>(*at_client, socket.take(), version, identity);
          if (!before.empty()) client->send_plain(before);
          if (begins) client->begin();
        });
  }
  template <class Done>
  bool until(Done done) {
    return world.run_until([&done] { return done(); }, Duration::seconds(600));
  }
  bool entered() {
    return until([this] { return server->stream || server->is_refused; }) && server->stream;
  }
  SimWorld world;
  SimNode* server_node = nullptr;
  std::unique_ptr<Streams> at_server, at_other, at_client;
  std::unique_ptr<Server> server;
  std::unique_ptr<runtime::Listener> listener;
  std::unique_ptr<Client> client;
  bool begins = true;
};

TEST(Tls, CarriesBytesBothWaysAcrossAMoveWhateverTheCuts) {
  const uint64_t seed = std::random_device{}();
  std::printf("seed %llu\n", static_cast<unsigned long long>(seed));
  std::mt19937_64 random(seed);
  for (int round = 0; round < 8; ++round) {
    TlsPair pair(random(), TlsClients::unknown, round % 2 == 0 ? TLS1_3_VERSION : TLS1_2_VERSION);
    pair.server->echoes = true;
    ASSERT_TRUE(pair.entered()) << pair.server->why;
    std::string sent;
    for (int i = 0; i < 40; ++i) {
      std::string part(random() % (i % 10 == 0 ? 200'000 : 300), static_cast<char>('a' + i % 26));
      sent += part;
      pair.client->send(part);
      if (i % 13 == 5 && round % 2 == 0) pair.client->update_key();
      if (i % 5 == 0) pair.world.run_for(Duration::micros(static_cast<int64_t>(random() % 3000)));
      if (i == 20) {
        DetachedStream detached = pair.server->stream->detach();
        pair.server->stream = std::make_unique<ByteStream>(*pair.at_other, std::move(detached));
        pair.server->stream->start(*pair.server);
      }
    }
    ASSERT_TRUE(pair.until([&] { return pair.client->heard.size() == sent.size() || pair.server->ended; })) << round;
    EXPECT_TRUE(pair.server->heard == sent);
    EXPECT_TRUE(pair.client->heard == sent);
    EXPECT_FALSE(pair.client->has_failed);
  }
}

TEST(Tls, EncryptsStoredRanges) {
  TlsPair pair(3);
  std::string contents(300'000, ' ');
  for (size_t i = 0; i < contents.size(); ++i) contents[i] = static_cast<char>('a' + i % 23);
  pair.server_node->disk().replace("segment", Bytes::copy_of(contents));
  runtime::FilePtr file;
  pair.server_node->core(0).disk().open("segment", {}, [&](Result<runtime::FilePtr> opened) { file = opened.take(); });
  ASSERT_TRUE(pair.entered());
  ASSERT_TRUE(pair.until([&] { return file != nullptr; }));
  Pieces pieces;
  pieces.push_back(Piece::of(Bytes::copy_of("before ")));
  pieces.push_back(Piece::of(StoredRange{file, 1000}, 250'000));
  pieces.push_back(Piece::of(Bytes::copy_of(" behind")));
  pair.server->stream->send(std::move(pieces));
  const std::string expected = "before " + contents.substr(1000, 250'000) + " behind";
  ASSERT_TRUE(pair.until([&] { return pair.client->heard.size() >= expected.size(); }));
  EXPECT_TRUE(pair.client->heard == expected);
}

TEST(Tls, SaysGoodbyeBehindWhatWasSentAndHearsOne) {
  TlsPair pair(4);
  ASSERT_TRUE(pair.entered());
  pair.server->stream->send(Bytes::copy_of(std::string(300'000, 'z')));
  pair.server->stream->close(Duration::seconds(60));
  ASSERT_TRUE(pair.until([&] { return pair.client->got_goodbye; }));
  EXPECT_EQ(pair.client->heard.size(), 300'000u);
  TlsPair other(5);
  ASSERT_TRUE(other.entered());
  other.client->send("last words");
  other.client->say_goodbye();
  ASSERT_TRUE(other.until([&] { return other.server->ended; }));
  EXPECT_EQ(other.server->end, StreamEnd::peer_closed);
  EXPECT_EQ(other.server->heard, "last words");
}

TEST(Tls, ChecksClientCertificates) {
  for (int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    const Identity stranger = self_signed("device 7");
    TlsPair required(6, TlsClients::required, version, &device_identity());
    ASSERT_TRUE(required.entered()) << required.server->why;
    EXPECT_EQ(required.server->common_name, "device 7");
    TlsPair optional(7, TlsClients::optional, version);
    ASSERT_TRUE(optional.entered()) << optional.server->why;
    EXPECT_EQ(optional.server->common_name, "");
    TlsPair nameless(11, TlsClients::optional, version);
    nameless.server->rules.identity = TlsIdentity::client_id;
    EXPECT_FALSE(nameless.entered()) << "the certificate is to say who it is, and there is none";
    EXPECT_EQ(nameless.server->step, EntranceStep::tls);
    TlsPair without(8, TlsClients::required, version);
    EXPECT_FALSE(without.entered());
    EXPECT_EQ(without.server->why, "peer did not return a certificate");
    for (TlsClients clients : {TlsClients::required, TlsClients::optional}) {
      TlsPair foreign(9, clients, version, &stranger);
      EXPECT_FALSE(foreign.entered());
      EXPECT_EQ(foreign.server->step, EntranceStep::tls);
    }
    // Not asked for, so nothing is known of it.
    TlsPair unasked(10, TlsClients::unknown, version, &stranger);
    EXPECT_TRUE(unasked.entered());
    EXPECT_EQ(unasked.server->common_name, "");
  }
}

TEST(Tls, RefusesGarbageAndSilence) {
  const uint64_t seed = std::random_device{}();
  std::printf("seed %llu\n", static_cast<unsigned long long>(seed));
  std::mt19937_64 random(seed);
  for (int round = 0; round < 50; ++round) {
    std::string garbage(1 + random() % 4000, ' ');
    for (char& c : garbage) c = static_cast<char>(random());
    if (round % 2 == 0) garbage.replace(0, 3, "\x16\x03\x01");
    TlsPair pair(random(), TlsClients::unknown, TLS1_3_VERSION, nullptr, garbage);
    pair.begins = false;
    EXPECT_FALSE(pair.entered());
    EXPECT_EQ(pair.server->step, EntranceStep::tls);
    EXPECT_FALSE(pair.server->why.empty());
  }
  TlsPair silent(11);
  silent.begins = false;
  EXPECT_FALSE(silent.entered());
  EXPECT_EQ(silent.server->why, "it took too long");
  EXPECT_LT(silent.world.now() - Instant{}, Duration::seconds(12));
}

TEST(Tls, OldVersionsAreRefused) {
  TlsPair pair(12, TlsClients::unknown, TLS1_1_VERSION);
  EXPECT_FALSE(pair.entered());
}

TEST(Tls, SaysWhatIsWrongWithFiles) {
  auto wrong = [](const TlsOptions& options, const TlsMaterial& material) {
    const Result<std::shared_ptr<TlsContext>> made = TlsContext::make(options, material);
    return made.ok() ? "nothing" : made.error().detail;
  };
  const Identity& good = server_identity();
  EXPECT_EQ(wrong(options_with(), material_of(good)), "nothing");
  EXPECT_EQ(wrong(options_with(), material_of({good.certificate + good.certificate, good.key})), "nothing") << "a chain";
  EXPECT_TRUE(wrong(options_with(), material_of({"", good.key})).starts_with("certificate \"server.pem\": "));
  EXPECT_TRUE(wrong(options_with(), material_of({good.key, good.key})).starts_with("certificate \"server.pem\": "));
  EXPECT_TRUE(wrong(options_with(), material_of({good.certificate, "garbage"})).starts_with("key \"server.key\": "));
  EXPECT_EQ(wrong(options_with(), material_of({good.certificate, device_identity().key})),
            "key \"server.key\": key values mismatch");
  EXPECT_TRUE(wrong(options_with(TlsClients::required), material_of(good, "none")).starts_with("ca \"ca.pem\": "));
  TlsOptions ciphers = options_with();
  ciphers.ciphers = "NONE-OF-THEM";
  EXPECT_EQ(wrong(ciphers, material_of(good)), "ciphers \"NONE-OF-THEM\": no cipher match");
}

TEST(Entrance, TakesProxyHeaderTlsAndWebSocketInOrder) {
  const uint64_t seed = std::random_device{}();
  std::printf("seed %llu\n", static_cast<unsigned long long>(seed));
  TlsPair pair(seed, TlsClients::unknown, TLS1_3_VERSION, nullptr, "PROXY TCP4 192.0.2.8 127.0.0.1 4710 8084\r\n");
  pair.server->rules.has_proxy_header = true;
  pair.server->rules.is_websocket = true;
  pair.server->echoes = true;
  ASSERT_TRUE(pair.until([&] { return pair.client && pair.client->is_open; })) << pair.server->why;
  pair.client->send(
      "GET /mqtt HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
      "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n");
  ASSERT_TRUE(pair.entered()) << pair.server->why;
  ASSERT_TRUE(pair.until([&] { return pair.client->heard.ends_with("\r\n\r\n"); }));
  EXPECT_EQ(pair.server->peer, "192.0.2.8:4710");
  pair.client->heard.clear();
  DetachedStream detached = pair.server->stream->detach();
  pair.server->stream = std::make_unique<ByteStream>(*pair.at_other, std::move(detached));
  pair.server->stream->start(*pair.server);
  EXPECT_EQ(pair.server->stream->peer().to_string(), "192.0.2.8:4710");
  pair.client->send(std::string("\x82\x85\0\0\0\0hello", 11));
  ASSERT_TRUE(pair.until([&] { return pair.client->heard.size() == 7; }));
  EXPECT_EQ(pair.client->heard, "\x82\x05hello");
}

}  // namespace
}  // namespace robustmq::net
