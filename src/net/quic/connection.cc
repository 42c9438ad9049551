// See connection.h: a connection's life and its packets. Its stream is in stream.cc.
#include "net/quic/connection.h"

#include <gnutls/gnutls.h>
#include <ngtcp2/ngtcp2.h>
#include <ngtcp2/ngtcp2_crypto.h>

#include <algorithm>

#include "base/check.h"
#include "net/quic/endpoint.h"
#include "net/quic/transport.h"

namespace robustmq::net {

namespace {

constexpr uint64_t kCidsMax = 7;         // of the peer's that are kept: one for each new way
constexpr size_t kPartsAtOnce = 8;       // of the output, for one packet
constexpr int kEndingProbeTimeouts = 3;  // RFC 9000 10.2
constexpr Duration kEndingMax = Duration::seconds(3);

ngtcp2_cid to_ngtcp2(const QuicCid& cid) {
  ngtcp2_cid made;
  ngtcp2_cid_init(&made, cid.bytes.data(), cid.size);
  return made;
}
QuicCid from_ngtcp2(const ngtcp2_cid& cid) { return QuicCid::of({cid.data, cid.datalen}); }

// A path of ngtcp2's with its addresses.
struct WirePath {
  explicit WirePath(const runtime::DatagramPath& from) : local(from.local), peer(from.peer) {
    path.local = {reinterpret_cast<ngtcp2_sockaddr*>(local.bytes), local.size};
    path.remote = {reinterpret_cast<ngtcp2_sockaddr*>(peer.bytes), peer.size};
    path.user_data = nullptr;
  }
  WirePath(const WirePath&) = delete;
  QuicAddress local;
  QuicAddress peer;
  ngtcp2_path path;
};

runtime::DatagramPath path_from(const ngtcp2_path& path) { return {ip_port_of(path.local.addr), ip_port_of(path.remote.addr)}; }

}  // namespace

// What ngtcp2 calls, never to be answered by a call of ngtcp2's packet functions.
struct QuicCallbacks {
  static QuicConnection& of(void* user) { return *static_cast<QuicConnection*>(user); }

  static ngtcp2_conn* conn_of(ngtcp2_crypto_conn_ref* reference) {
    return static_cast<QuicConnection*>(reference->user_data)->transport_->conn;
  }
  static int handshake_completed(ngtcp2_conn*, void* user) {
    of(user).is_shaken_ = true;
    return 0;
  }
  // The session of a server goes when the handshake is through: no client has anything to say to it then (RFC 9001 6, 4.4).
  static int recv_crypto_data(ngtcp2_conn* conn, ngtcp2_crypto_level level, uint64_t offset, const uint8_t* data, size_t size,
                              void* user) {
    if (of(user).transport_->session) return ngtcp2_crypto_recv_crypto_data_cb(conn, level, offset, data, size, user);
    ngtcp2_conn_set_tls_alert(conn, GNUTLS_A_UNEXPECTED_MESSAGE);
    return NGTCP2_ERR_CRYPTO;
  }
  static int recv_stream_data(ngtcp2_conn*, uint32_t flags, int64_t stream, uint64_t, const uint8_t* data, size_t size,
                              void* user, void*) {
    QuicConnection& self = of(user);
    if (stream != self.stream_) return NGTCP2_ERR_CALLBACK_FAILURE;
    if (flags & NGTCP2_STREAM_DATA_FLAG_FIN) self.is_input_finished_ = true;
    if (self.was_handed_over_ && !self.socket_) return 0;  // nobody reads it any more; its window fills up
    // What was read at the front makes place.
    if (self.input_at_ > 0 && self.input_at_ >= self.input_.size() / 2) {
      const size_t rest = self.input_.size() - self.input_at_;
      std::memmove(self.input_.data(), self.input_.data() + self.input_at_, rest);
      self.input_.shorten_to(rest);
      self.input_at_ = 0;
    }
    self.input_.append(ByteSpan{data, size});
    return 0;
  }
  static int acked_stream_data_offset(ngtcp2_conn*, int64_t, uint64_t offset, uint64_t size, void* user, void*) {
    of(user).output_.acknowledge(offset + size);
    return 0;
  }
  static int stream_open(ngtcp2_conn*, int64_t stream, void* user) {
    QuicConnection& self = of(user);
    if (self.stream_ >= 0) return NGTCP2_ERR_CALLBACK_FAILURE;  // over the limit, which ngtcp2 has refused by itself
    self.stream_ = stream;
    return 0;
  }
  static int stream_close(ngtcp2_conn*, uint32_t, int64_t, uint64_t, void* user, void*) {
    of(user).is_stream_closed_ = true;
    return 0;
  }
  static int stream_reset(ngtcp2_conn*, int64_t, uint64_t, uint64_t error_code, void* user, void*) {
    QuicConnection& self = of(user);
    self.failure_ = "the peer reset the stream with error " + std::to_string(error_code);
    self.is_stream_reset_ = true;
    return 0;
  }
  static int stream_stop_sending(ngtcp2_conn*, int64_t, uint64_t, void* user, void*) {
    of(user).is_output_refused_ = true;
    return 0;
  }
  static int recv_stateless_reset(ngtcp2_conn*, const ngtcp2_pkt_stateless_reset*, void* user) {
    of(user).was_reset_ = true;
    return 0;
  }
  // For what needs no secrecy.
  static void fill_random(uint8_t* into, size_t size, const ngtcp2_rand_ctx* context) {
    runtime::Core& core = of(context->native_handle).endpoint_->core_;
    for (size_t at = 0; at < size; at += 8) {
      const uint64_t word = core.random();
      std::memcpy(into + at, &word, std::min<size_t>(8, size - at));
    }
  }
  static int get_new_connection_id(ngtcp2_conn*, ngtcp2_cid* into, uint8_t* token, size_t, void* user) {
    QuicConnection& self = of(user);
    const QuicCid cid = self.endpoint_->fresh_cid();
    *into = to_ngtcp2(cid);
    const QuicContext::Secret& secret = self.transport_->context->reset_secret();
    if (ngtcp2_crypto_generate_stateless_reset_token(token, secret.data(), secret.size(), into) != 0)
      return NGTCP2_ERR_CALLBACK_FAILURE;
    self.add_cid(cid);
    return 0;
  }
  static int remove_connection_id(ngtcp2_conn*, const ngtcp2_cid* cid, void* user) {
    of(user).drop_cid(from_ngtcp2(*cid));
    return 0;
  }

  static ngtcp2_callbacks make() {
    ngtcp2_callbacks made{};
    made.client_initial = ngtcp2_crypto_client_initial_cb;
    made.recv_client_initial = ngtcp2_crypto_recv_client_initial_cb;
    made.recv_crypto_data = recv_crypto_data;
    made.handshake_completed = handshake_completed;
    made.encrypt = ngtcp2_crypto_encrypt_cb;
    made.decrypt = ngtcp2_crypto_decrypt_cb;
    made.hp_mask = ngtcp2_crypto_hp_mask_cb;
    made.recv_stream_data = recv_stream_data;
    made.acked_stream_data_offset = acked_stream_data_offset;
    made.stream_open = stream_open;
    made.stream_close = stream_close;
    made.stream_reset = stream_reset;
    made.stream_stop_sending = stream_stop_sending;
    made.recv_stateless_reset = recv_stateless_reset;
    made.recv_retry = ngtcp2_crypto_recv_retry_cb;
    made.rand = fill_random;
    made.get_new_connection_id = get_new_connection_id;
    made.remove_connection_id = remove_connection_id;
    made.update_key = ngtcp2_crypto_update_key_cb;
    made.delete_crypto_aead_ctx = ngtcp2_crypto_delete_crypto_aead_ctx_cb;
    made.delete_crypto_cipher_ctx = ngtcp2_crypto_delete_crypto_cipher_ctx_cb;
    made.get_path_challenge_data = ngtcp2_crypto_get_path_challenge_data_cb;
    made.version_negotiation = ngtcp2_crypto_version_negotiation_cb;
    return made;
  }
};

namespace {

ngtcp2_settings settings_for(QuicConnection* connection, uint64_t now, Duration time_max) {
  ngtcp2_settings settings;
  ngtcp2_settings_default(&settings);
  settings.initial_ts = now;
  settings.max_tx_udp_payload_size = kQuicPacketBytesMax;
  settings.handshake_timeout = static_cast<ngtcp2_duration>(time_max.ns);
  settings.max_window = 0;  // the windows stay as they are: memory is bounded
  settings.max_stream_window = 0;
  settings.rand_ctx.native_handle = connection;
  return settings;
}

ngtcp2_transport_params params_for(const QuicOptions& options, bool is_server) {
  ngtcp2_transport_params params;
  ngtcp2_transport_params_default(&params);
  params.initial_max_data = options.receive_window_bytes;
  params.initial_max_stream_data_bidi_local = is_server ? 0 : options.receive_window_bytes;
  params.initial_max_stream_data_bidi_remote = is_server ? options.receive_window_bytes : 0;
  params.initial_max_streams_bidi = is_server ? 1 : 0;
  params.initial_max_streams_uni = 0;
  params.max_idle_timeout = static_cast<ngtcp2_duration>(Duration::millis(options.idle_ms).ns);
  params.max_udp_payload_size = runtime::DatagramSocket::kDatagramBytesMax;
  params.active_connection_id_limit = kCidsMax;
  return params;
}

}  // namespace

QuicConnection::QuicConnection(QuicEndpoint& endpoint, uint64_t id, std::shared_ptr<const QuicContext> context,
                               const DatagramPath& path, Duration time_max)
    : endpoint_(&endpoint), id_(id), transport_(std::make_unique<QuicTransport>()), path_(path) {
  transport_->context = std::move(context);
  transport_->reference->get_conn = &QuicCallbacks::conn_of;
  transport_->reference->user_data = this;
  deadline_ = endpoint.core_.now() + time_max;
}

QuicConnection::~QuicConnection() {
  if (socket_) socket_->forget_connection();
}

std::unique_ptr<QuicConnection> QuicConnection::accept(QuicEndpoint& endpoint, uint64_t id,
                                                       std::shared_ptr<const QuicContext> context, const QuicFirst& first,
                                                       Duration time_max) {
  std::unique_ptr<QuicConnection> made(new QuicConnection(endpoint, id, std::move(context), first.path, time_max));
  QuicTransport& transport = *made->transport_;
  transport.session = transport.context->begin_session(transport.reference.get(), {});
  if (!transport.session) return nullptr;
  ngtcp2_settings settings = settings_for(made.get(), made->now(), time_max);
  settings.token = {const_cast<uint8_t*>(first.token.data()), first.token.size()};
  ngtcp2_transport_params params = params_for(endpoint.options_, true);
  params.original_dcid = to_ngtcp2(first.asked_first);
  if (first.is_after_retry) {
    params.retry_scid = to_ngtcp2(first.asked);
    params.retry_scid_present = 1;
  }
  const QuicCid own = endpoint.fresh_cid();
  const ngtcp2_cid scid = to_ngtcp2(own);
  const ngtcp2_cid dcid = to_ngtcp2(first.client);
  const QuicContext::Secret& secret = transport.context->reset_secret();
  params.stateless_reset_token_present = 1;
  if (ngtcp2_crypto_generate_stateless_reset_token(params.stateless_reset_token, secret.data(), secret.size(), &scid) != 0)
    return nullptr;
  WirePath wire(first.path);
  const ngtcp2_callbacks callbacks = QuicCallbacks::make();
  if (ngtcp2_conn_server_new(&transport.conn, &dcid, &scid, &wire.path, first.version, &callbacks, &settings, &params, nullptr,
                             made.get()) != 0)
    return nullptr;
  ngtcp2_conn_set_tls_native_handle(transport.conn, transport.session);
  made->add_cid(own);
  made->add_cid(first.asked);
  return made;
}

std::unique_ptr<QuicConnection> QuicConnection::dial(QuicEndpoint& endpoint, uint64_t id,
                                                     std::shared_ptr<const QuicContext> context, const DatagramPath& path,
                                                     const std::string& server_name, Duration time_max) {
  std::unique_ptr<QuicConnection> made(new QuicConnection(endpoint, id, std::move(context), path, time_max));
  made->is_client_ = true;
  QuicTransport& transport = *made->transport_;
  transport.server_name = server_name;
  transport.session = transport.context->begin_session(transport.reference.get(), transport.server_name);
  if (!transport.session) return nullptr;
  ngtcp2_settings settings = settings_for(made.get(), made->now(), time_max);
  ngtcp2_transport_params params = params_for(endpoint.options_, false);
  const QuicCid own = endpoint.fresh_cid();
  const ngtcp2_cid scid = to_ngtcp2(own);
  const ngtcp2_cid dcid = to_ngtcp2(endpoint.fresh_cid());
  WirePath wire(path);
  const ngtcp2_callbacks callbacks = QuicCallbacks::make();
  if (ngtcp2_conn_client_new(&transport.conn, &dcid, &scid, &wire.path, NGTCP2_PROTO_VER_V1, &callbacks, &settings, &params,
                             nullptr, made.get()) != 0)
    return nullptr;
  ngtcp2_conn_set_tls_native_handle(transport.conn, transport.session);
  made->add_cid(own);
  return made;
}

uint64_t QuicConnection::now() {
  // Cores read the clock at different moments, and ngtcp2's time may not fall.
  last_now_ = std::max(last_now_, endpoint_->core_.now());
  return static_cast<uint64_t>(last_now_.ns);
}

void QuicConnection::add_cid(const QuicCid& cid) {
  cids_.push_back(cid);
  endpoint_->add_route(cid, *this);
}

void QuicConnection::drop_cid(const QuicCid& cid) {
  std::erase(cids_, cid);
  endpoint_->drop_route(cid);
  endpoint_->drop_route_elsewhere(*this, cid);
}

std::string QuicConnection::common_name() const {
  return transport_ ? QuicContext::common_name(transport_->session) : std::string();
}

// ---- Datagrams in ----

void QuicConnection::receive(const DatagramPath& path, ByteSpan bytes, uint8_t ecn) {
  if (state_ == State::closing) {
    // RFC 9000 10.2.1: ever more seldom.
    ++late_datagrams_;
    if ((late_datagrams_ & (late_datagrams_ - 1)) == 0 && !close_packet_.empty())
      endpoint_->send(path, as_bytes(close_packet_), close_packet_.size(), 0);
    return;
  }
  if (!is_alive()) return;
  WirePath wire(is_client_ ? path_ : path);
  ngtcp2_pkt_info info{ecn};
  const int result = ngtcp2_conn_read_pkt(transport_->conn, &wire.path, &info, bytes.data(), bytes.size(), now());
  if (result != 0) return settle_error(result);
  after_input();
}

void QuicConnection::settle_error(int error) {
  switch (error) {
    case NGTCP2_ERR_DRAINING:
      note_peer_close();
      return begin_end(State::draining,
                       Duration{static_cast<int64_t>(ngtcp2_conn_get_pto(transport_->conn)) * kEndingProbeTimeouts});
    case NGTCP2_ERR_DROP_CONN:
    case NGTCP2_ERR_RETRY:
      failure_ = "the first packets were not good";
      return begin_end(State::over, {});
    case NGTCP2_ERR_IDLE_CLOSE:
      ++endpoint_->metrics_.idle_total;
      failure_ = "nothing came for too long";
      return begin_end(State::over, {});
    case NGTCP2_ERR_HANDSHAKE_TIMEOUT:
      failure_ = "it took too long";
      return begin_end(State::over, {});
    default:
      return fail(error);
  }
}

// RFC 9000 10.2.3, 20: what the peer said in its CONNECTION_CLOSE.
void QuicConnection::note_peer_close() {
  if (was_reset_) {
    failure_ = "the peer does not know the connection any more";
    return;
  }
  ngtcp2_connection_close_error error;
  ngtcp2_conn_get_connection_close_error(transport_->conn, &error);
  if (error.error_code == 0) {
    left_in_order_ = true;
    return;
  }
  const bool is_application = error.type == NGTCP2_CONNECTION_CLOSE_ERROR_CODE_TYPE_APPLICATION;
  failure_ = std::string(is_application ? "the peer closed with error " : "the peer closed with QUIC's error ") +
             std::to_string(error.error_code);
  if (!is_application && error.error_code >= NGTCP2_CRYPTO_ERROR && error.error_code < NGTCP2_CRYPTO_ERROR + 256) {
    const char* name = gnutls_alert_get_name(static_cast<gnutls_alert_description_t>(error.error_code - NGTCP2_CRYPTO_ERROR));
    if (name) failure_ += std::string(" (TLS: ") + name + ")";
  }
}

void QuicConnection::after_input() {
  if (is_client_ && is_shaken_ && stream_ < 0) {
    int64_t stream = -1;
    if (ngtcp2_conn_open_bidi_stream(transport_->conn, &stream, nullptr) == 0) stream_ = stream;
  }
  see_path();
  if (is_shaken_ && !is_client_ && !has_given_token_) give_token();
  endpoint_->flush_later(*this);
  if (is_ready()) return endpoint_->enter(*this);
  tell_socket();
}

// RFC 9000 8.1.3: with it the client's next connection needs no Retry.
void QuicConnection::give_token() {
  has_given_token_ = true;
  uint8_t token[NGTCP2_CRYPTO_MAX_REGULAR_TOKENLEN];
  const QuicAddress peer(path_.peer);
  const QuicContext::Secret& secret = transport_->context->token_secret();
  const ngtcp2_ssize size = ngtcp2_crypto_generate_regular_token(
      token, secret.data(), secret.size(), reinterpret_cast<const ngtcp2_sockaddr*>(peer.bytes), peer.size, endpoint_->wall_ns());
  if (size > 0) ngtcp2_conn_submit_new_token(transport_->conn, token, static_cast<size_t>(size));
}

void QuicConnection::see_path() {
  const DatagramPath path = path_from(*ngtcp2_conn_get_path(transport_->conn));
  if (path == path_) return;
  if (path.peer != path_.peer) ++endpoint_->metrics_.migrated_total;
  path_ = path;
}

bool QuicConnection::migrate(const DatagramPath& path) {
  if (!is_alive() || !is_shaken_) return false;
  WirePath wire(path);
  if (ngtcp2_conn_initiate_immediate_migration(transport_->conn, &wire.path, now()) != 0) return false;
  path_ = path;
  endpoint_->flush_later(*this);
  return true;
}

// ---- Datagrams out ----

void QuicConnection::flush() {
  if (!is_alive()) return;
  const int error = write_packets();
  if (error != 0) return fail(error);
  if (was_handed_over_ && !socket_ && output_.is_empty() && (is_finish_sent_ || is_output_refused_ || is_stream_closed_))
    return close(0, {});
  set_timer();
}

// Packets of one path and size leave together.
int QuicConnection::write_packets() {
  const uint64_t at = now();
  ngtcp2_conn* conn = transport_->conn;
  const std::span<uint8_t> room = endpoint_->batch();
  const size_t quantum = std::max<size_t>(ngtcp2_conn_get_send_quantum(conn), kQuicPacketBytesMax);
  size_t total = 0;
  size_t used = 0;     // of `room`: packets that wait to be sent
  size_t segment = 0;  // size of the first of them
  DatagramPath batch_path = path_;
  uint8_t batch_ecn = 0;
  bool is_stream_blocked = false;
  int error = 0;
  auto send_batch = [&] {
    if (used > 0) endpoint_->send(batch_path, {room.data(), used}, segment, batch_ecn);
    used = 0;
  };
  while (total < quantum && !endpoint_->is_blocked()) {
    if (room.size() - used < kQuicPacketBytesMax) send_batch();
    ngtcp2_vec parts[kPartsAtOnce];
    const bool is_finishing = is_output_finished_ && !is_finish_sent_;
    const bool has_output =
        stream_ >= 0 && !is_stream_blocked && !is_output_refused_ && !is_stream_closed_ && (output_.has_unsent() || is_finishing);
    size_t count = has_output ? output_.unsent(parts, kPartsAtOnce) : 0;
    size_t offered = 0;
    for (size_t i = 0; i < count; ++i) offered += parts[i].len;
    const bool is_last = is_finishing && output_.sent() + offered == output_.end();
    ngtcp2_path_storage storage;
    ngtcp2_path_storage_zero(&storage);
    ngtcp2_pkt_info info{};
    ngtcp2_ssize taken = -1;
    const ngtcp2_ssize size = ngtcp2_conn_writev_stream(
        conn, &storage.path, &info, room.data() + used, kQuicPacketBytesMax, &taken,
        is_last ? NGTCP2_WRITE_STREAM_FLAG_FIN : NGTCP2_WRITE_STREAM_FLAG_NONE, has_output ? stream_ : -1, parts, count, at);
    if (size == NGTCP2_ERR_STREAM_DATA_BLOCKED) {
      is_stream_blocked = true;
      continue;
    }
    if (size == NGTCP2_ERR_STREAM_SHUT_WR || size == NGTCP2_ERR_STREAM_NOT_FOUND) {
      is_output_refused_ = true;
      output_.clear();
      tell_socket();
      continue;
    }
    if (size < 0) {
      error = static_cast<int>(size);
      break;
    }
    if (has_output && taken >= 0) {
      output_.mark_sent(static_cast<size_t>(taken));
      if (is_last && static_cast<size_t>(taken) == offered) is_finish_sent_ = true;
    }
    if (size == 0) break;
    const auto bytes = static_cast<size_t>(size);
    const DatagramPath path = path_from(storage.path);
    const auto mark = static_cast<uint8_t>(info.ecn);
    if (used > 0 && (path != batch_path || mark != batch_ecn || bytes > segment)) {
      const uint8_t* packet = room.data() + used;
      send_batch();
      std::memmove(room.data(), packet, bytes);
    }
    if (used == 0) {
      segment = bytes;
      batch_path = path;
      batch_ecn = mark;
    }
    used += bytes;
    total += bytes;
    if (bytes < segment || used == segment * runtime::DatagramSocket::kSegmentsMax) send_batch();
  }
  send_batch();
  if (total > 0) ngtcp2_conn_update_pkt_tx_time(conn, at);
  return error;
}

void QuicConnection::set_timer() {
  const uint64_t expiry = ngtcp2_conn_get_expiry(transport_->conn);
  Instant due = expiry > static_cast<uint64_t>(INT64_MAX) ? Instant::never() : Instant{static_cast<int64_t>(expiry)};
  due = std::min(due, deadline_);
  if (due == Instant::never())
    timer_.cancel();
  else
    endpoint_->core_.arm(timer_, due);
}

void QuicConnection::on_timer(void* self) { static_cast<QuicConnection*>(self)->on_time(); }

void QuicConnection::on_time() {
  if (!is_alive()) return begin_end(State::over, {});
  if (endpoint_->core_.now() >= deadline_) {
    const bool is_opening = state_ == State::opening;
    if (is_opening)
      failure_ = "it took too long";
    else
      ++endpoint_->metrics_.lingered_out_total;
    return close(0, is_opening ? "it took too long" : "");
  }
  const int result = ngtcp2_conn_handle_expiry(transport_->conn, now());
  if (result != 0) return settle_error(result);
  endpoint_->flush_later(*this);
}

// ---- The end ----

void QuicConnection::fail(int error) {
  ++endpoint_->metrics_.errors_total;
  if (error == NGTCP2_ERR_CRYPTO) {
    const uint8_t alert = ngtcp2_conn_get_tls_alert(transport_->conn);
    const char* name = gnutls_alert_get_name(static_cast<gnutls_alert_description_t>(alert));
    failure_ = name ? std::string("TLS: ") + name : std::string("TLS failed");
  } else {
    failure_ = ngtcp2_strerror(error);
  }
  close_now(error, 0, {});
}

void QuicConnection::close(uint64_t error_code, std::string_view reason) {
  if (failure_.empty()) failure_ = reason;
  close_now(0, error_code, reason);
}

// `error`: of ngtcp2's, or 0 for the application's `code`.
void QuicConnection::close_now(int error, uint64_t code, std::string_view reason) {
  if (!is_alive()) return;
  ngtcp2_conn* conn = transport_->conn;
  ngtcp2_connection_close_error what;
  ngtcp2_connection_close_error_default(&what);
  const auto* text = reinterpret_cast<const uint8_t*>(reason.data());
  if (error == 0)
    ngtcp2_connection_close_error_set_application_error(&what, code, text, reason.size());
  else if (error == NGTCP2_ERR_CRYPTO)
    ngtcp2_connection_close_error_set_transport_error_tls_alert(&what, ngtcp2_conn_get_tls_alert(conn), nullptr, 0);
  else
    ngtcp2_connection_close_error_set_transport_error_liberr(&what, error, nullptr, 0);
  uint8_t packet[kQuicPacketBytesMax];
  WirePath wire(path_);
  ngtcp2_pkt_info info{};
  const bool may_speak = !ngtcp2_err_is_fatal(error);
  const ngtcp2_ssize size =
      may_speak ? ngtcp2_conn_write_connection_close(conn, &wire.path, &info, packet, sizeof(packet), &what, now()) : 0;
  if (size > 0) {
    close_packet_.assign(reinterpret_cast<const char*>(packet), static_cast<size_t>(size));
    endpoint_->send(path_, as_bytes(close_packet_), close_packet_.size(), 0);
  }
  const Duration span{static_cast<int64_t>(ngtcp2_conn_get_pto(conn)) * kEndingProbeTimeouts};
  begin_end(size > 0 ? State::closing : State::over, span);
}

// What ngtcp2 and GnuTLS keep goes at once. Not from inside their calls.
void QuicConnection::begin_end(State state, Duration span) {
  if (is_alive()) {
    transport_.reset();
    output_.clear();
    deadline_ = Instant::never();
  }
  timer_.cancel();
  const bool was_opening = state_ == State::opening;
  state_ = endpoint_->may_end_slowly(*this) ? state : State::over;
  if (state_ != State::over) endpoint_->core_.arm(timer_, endpoint_->core_.now() + std::min(span, kEndingMax));
  if (was_opening) endpoint_->on_not_opened(*this);
  tell_socket();
  endpoint_->settle(*this);
}

// ---- From core to core ----

void QuicConnection::leave() {
  timer_.cancel();
  endpoint_ = nullptr;
  socket_ = nullptr;
}

void QuicConnection::come_to(QuicEndpoint& to) {
  endpoint_ = &to;
  if (is_alive())
    to.flush_later(*this);
  else
    begin_end(State::over, {});
}

}  // namespace robustmq::net
