// See endpoint.h.
#include "net/quic/endpoint.h"

#include <ngtcp2/ngtcp2.h>
#include <ngtcp2/ngtcp2_crypto.h>

#include <algorithm>
#include <array>

#include "base/check.h"
#include "net/quic/connection.h"
#include "net/quic/transport.h"

namespace robustmq::net {

using runtime::DatagramPath;

namespace {

constexpr Duration kRetryTokenLife = Duration::seconds(10);
constexpr Duration kTokenLife = Duration::seconds(24 * 3600);
constexpr size_t kInitialBytesMin = 1'200;  // RFC 9000 14.1
constexpr size_t kResetBytesMin = 21;       // RFC 9000 10.3
constexpr size_t kResetBytesMax = 43;
constexpr uint32_t kVersions[] = {NGTCP2_PROTO_VER_V1};

ngtcp2_cid wire_cid(const QuicCid& cid) {
  ngtcp2_cid made;
  ngtcp2_cid_init(&made, cid.bytes.data(), cid.size);
  return made;
}
QuicCid own_cid(const ngtcp2_cid& cid) { return QuicCid::of({cid.data, cid.datalen}); }

const ngtcp2_sockaddr* sockaddr_of(const QuicAddress& address) { return reinterpret_cast<const ngtcp2_sockaddr*>(address.bytes); }

}  // namespace

QuicEndpoint::QuicEndpoint(runtime::Core& core, std::shared_ptr<QuicGroup> group, QuicOptions options, Duration time_max,
                           QuicEvents* events)
    : core_(core),
      group_(std::move(group)),
      options_(options),
      time_max_(time_max),
      events_(events),
      routes_(16, QuicCidHash{core.random()}),
      batch_(std::make_unique_for_overwrite<uint8_t[]>(kBatchBytes)) {
  ROBUSTMQ_CHECK(core.index() < group_->endpoints.size() && !group_->endpoints[core.index()], "one endpoint a core in a group");
  group_->endpoints[core.index()] = this;
}

QuicEndpoint::~QuicEndpoint() {
  is_ending_ = true;
  group_->endpoints[core_.index()] = nullptr;
  while (!all_.empty()) {
    QuicConnection& connection = all_.front();
    connection.close(0, {});
    std::unique_ptr<QuicConnection> gone(&connection);
    remove(connection);
  }
}

Result<runtime::Endpoint> QuicEndpoint::open(const runtime::Endpoint& at) {
  runtime::DatagramOptions options;
  options.shares = group_->endpoints.size() > 1;
  options.on_cut = [this](size_t) { ++metrics_.datagrams_too_large_total; };
  Result<std::unique_ptr<runtime::DatagramSocket>> socket =
      runtime::datagrams_of(core_.net()).open_datagrams(at, std::move(options));
  if (!socket.ok()) return socket.error();
  socket_ = socket.take();
  socket_->start(*this);
  return socket_->local();
}

void QuicEndpoint::set_context(std::shared_ptr<const QuicContext> context) { context_ = std::move(context); }

void QuicEndpoint::stop_accepting() {
  is_accepting_ = false;
  List<QuicConnection, QuicAllTag> all;
  all.splice_back(all_);
  while (!all.empty()) {
    QuicConnection& connection = all.pop_front();
    all_.push_back(connection);
    if (connection.state() == QuicConnection::State::opening && !connection.is_client()) connection.close(0, "the node stops");
  }
}

// ---- Datagrams in ----

void QuicEndpoint::on_datagram(const DatagramPath& path, std::span<uint8_t> bytes, uint8_t ecn) {
  ++metrics_.datagrams_in_total;
  metrics_.bytes_in_total += bytes.size();
  take(path, bytes, ecn, false);
}

void QuicEndpoint::take(const DatagramPath& path, ByteSpan bytes, uint8_t ecn, bool is_final) {
  ngtcp2_version_cid ids;
  const int result = ngtcp2_pkt_decode_version_cid(&ids, bytes.data(), bytes.size(), QuicCid::kOwnBytes);
  const bool is_long = result == NGTCP2_ERR_VERSION_NEGOTIATION || (result == 0 && ids.version != 0);
  if (result != 0 && result != NGTCP2_ERR_VERSION_NEGOTIATION) {
    ++metrics_.datagrams_malformed_total;
    return;
  }
  // RFC 9000 6: drafts are not spoken either, whatever the library knows.
  if (is_long && ids.version != NGTCP2_PROTO_VER_V1) {
    if (bytes.size() < kInitialBytesMin || !context_ || !is_accepting_) {
      ++metrics_.datagrams_unknown_total;
      return;
    }
    return refuse_version(path, {ids.scid, ids.scidlen}, {ids.dcid, ids.dcidlen});
  }
  if (ids.dcidlen > QuicCid::kBytesMax) {
    ++metrics_.datagrams_malformed_total;
    return;
  }
  const QuicCid cid = QuicCid::of({ids.dcid, ids.dcidlen});
  const auto found = routes_.find(cid);
  if (found != routes_.end()) {
    if (found->second.connection) return found->second.connection->receive(path, bytes, ecn);
    return pass_to_left(found->second.left, path, bytes, ecn);
  }
  constexpr uint8_t kTypeBits = 0x30;  // of a long header; 0: Initial
  if (is_long && (bytes[0] & kTypeBits) == 0) return meet(path, bytes, ecn);
  const CoreIndex issuer = cid.bytes[0];
  const bool is_elsewhere = cid.size == QuicCid::kOwnBytes && issuer != core_.index() && issuer < group_->endpoints.size();
  if (is_elsewhere && !is_final) return pass_on(issuer, path, bytes, ecn);
  if (is_long) {
    ++metrics_.datagrams_unknown_total;
    return;
  }
  if (!events_) return give_to_clients(path, bytes, ecn);
  reset(path, cid, bytes.size());
}

// RFC 9000 10.3.1: a stateless reset has an id that nobody gave.
void QuicEndpoint::give_to_clients(const DatagramPath& path, ByteSpan bytes, uint8_t ecn) {
  List<QuicConnection, QuicAllTag> all;
  all.splice_back(all_);
  while (!all.empty()) {
    QuicConnection& connection = all.pop_front();
    all_.push_back(connection);
    if (connection.path().peer == path.peer) connection.receive(path, bytes, ecn);
  }
}

void QuicEndpoint::pass_on(CoreIndex to, const DatagramPath& path, ByteSpan bytes, uint8_t ecn) {
  ++metrics_.datagrams_passed_on_total;
  core_.send(to, [group = group_, to, path, ecn, copy = Bytes::copy_of(bytes)] {
    if (QuicEndpoint* endpoint = group->endpoints[to]) endpoint->take(path, copy, ecn, true);
  });
}

void QuicEndpoint::pass_to_left(uint64_t id, const DatagramPath& path, ByteSpan bytes, uint8_t ecn) {
  const auto found = left_.find(id);
  if (found == left_.end()) return;
  Left& left = found->second;
  if (left.has_arrived) return pass_on(left.home, path, bytes, ecn);
  if (left.held.size() >= kHeldMax) {
    ++metrics_.datagrams_held_over_total;
    return;
  }
  left.held.push_back({path, Bytes::copy_of(bytes), ecn});
}

// The first datagram of a client, or one that pretends to be it.
void QuicEndpoint::meet(const DatagramPath& path, ByteSpan bytes, uint8_t ecn) {
  if (!context_ || !is_accepting_ || !events_) {
    ++metrics_.datagrams_unknown_total;
    return;
  }
  ngtcp2_pkt_hd header;
  if (ngtcp2_accept(&header, bytes.data(), bytes.size()) != 0) {
    ++metrics_.datagrams_malformed_total;
    return;
  }
  QuicFirst first;
  first.path = path;
  first.version = header.version;
  first.client = own_cid(header.scid);
  first.asked = own_cid(header.dcid);
  first.asked_first = first.asked;
  if (header.token.len > 0) first.token = {header.token.base, header.token.len};
  const QuicContext::Secret& secret = context_->token_secret();
  const QuicAddress peer(path.peer);
  bool is_validated = false;
  if (!first.token.empty() && first.token[0] == NGTCP2_CRYPTO_TOKEN_MAGIC_RETRY) {
    ngtcp2_cid asked_first;
    if (ngtcp2_crypto_verify_retry_token(&asked_first, first.token.data(), first.token.size(), secret.data(), secret.size(),
                                         header.version, sockaddr_of(peer), peer.size, &header.dcid,
                                         static_cast<ngtcp2_duration>(kRetryTokenLife.ns), wall_ns()) != 0) {
      ++metrics_.tokens_refused_total;
      return refuse(first, NGTCP2_INVALID_TOKEN);
    }
    first.asked_first = own_cid(asked_first);
    first.is_after_retry = true;
    is_validated = true;
  } else if (!first.token.empty()) {
    is_validated = ngtcp2_crypto_verify_regular_token(first.token.data(), first.token.size(), secret.data(), secret.size(),
                                                      sockaddr_of(peer), peer.size, static_cast<ngtcp2_duration>(kTokenLife.ns),
                                                      wall_ns()) == 0;
    // RFC 9000 8.1.3: another server's token, or an old one, is as none.
    if (!is_validated) first.token = {};
  }
  if (!is_validated && metrics_.handshakes >= options_.retry_above) return send_retry(first);
  accept(first, bytes, ecn);
}

void QuicEndpoint::accept(const QuicFirst& first, ByteSpan bytes, uint8_t ecn) {
  if (!events_->on_knock(first.path.peer.to_endpoint())) {
    ++metrics_.connections_refused_total;
    return refuse(first, NGTCP2_CONNECTION_REFUSED);
  }
  const uint64_t id = static_cast<uint64_t>(core_.index()) << 48 | ++last_id_;
  std::unique_ptr<QuicConnection> made = QuicConnection::accept(*this, id, context_, first, time_max_);
  if (!made) {
    events_->on_refused("no memory for a connection", first.path.peer.to_endpoint().to_string());
    return;
  }
  QuicConnection& connection = *made;
  add(std::move(made));
  ++metrics_.handshakes;
  connection.receive(first.path, bytes, ecn);
}

bool QuicEndpoint::may_answer() {
  if (core_.now() - answers_since_ >= Duration::seconds(1)) {
    answers_since_ = core_.now();
    answers_ = 0;
  }
  if (answers_ < kAnswersPerSecond) {
    ++answers_;
    return true;
  }
  ++metrics_.answers_limited_total;
  return false;
}

void QuicEndpoint::refuse_version(const DatagramPath& path, ByteSpan client, ByteSpan server) {
  if (!may_answer()) return;
  ++metrics_.versions_refused_total;
  uint8_t packet[kInitialBytesMin];
  const auto random = static_cast<uint8_t>(core_.random());
  const ngtcp2_ssize size = ngtcp2_pkt_write_version_negotiation(packet, sizeof(packet), random, client.data(), client.size(),
                                                                 server.data(), server.size(), kVersions, std::size(kVersions));
  if (size > 0) send(path, {packet, static_cast<size_t>(size)}, static_cast<size_t>(size), 0);
}

// RFC 9000 8.1.2.
void QuicEndpoint::send_retry(const QuicFirst& first) {
  if (!may_answer()) return;
  ++metrics_.retries_sent_total;
  const QuicContext::Secret& secret = context_->token_secret();
  const QuicAddress peer(first.path.peer);
  const ngtcp2_cid own = wire_cid(fresh_cid());
  const ngtcp2_cid asked = wire_cid(first.asked);
  const ngtcp2_cid client = wire_cid(first.client);
  uint8_t token[NGTCP2_CRYPTO_MAX_RETRY_TOKENLEN];
  const ngtcp2_ssize token_size = ngtcp2_crypto_generate_retry_token(token, secret.data(), secret.size(), first.version,
                                                                     sockaddr_of(peer), peer.size, &own, &asked, wall_ns());
  if (token_size < 0) return;
  uint8_t packet[kInitialBytesMin];
  const ngtcp2_ssize size = ngtcp2_crypto_write_retry(packet, sizeof(packet), first.version, &client, &own, &asked, token,
                                                      static_cast<size_t>(token_size));
  if (size > 0) send(first.path, {packet, static_cast<size_t>(size)}, static_cast<size_t>(size), 0);
}

void QuicEndpoint::refuse(const QuicFirst& first, uint64_t error_code) {
  if (!may_answer()) return;
  const ngtcp2_cid asked = wire_cid(first.asked);
  const ngtcp2_cid client = wire_cid(first.client);
  uint8_t packet[kInitialBytesMin];
  const ngtcp2_ssize size =
      ngtcp2_crypto_write_connection_close(packet, sizeof(packet), first.version, &client, &asked, error_code, nullptr, 0);
  if (size > 0) send(first.path, {packet, static_cast<size_t>(size)}, static_cast<size_t>(size), 0);
}

// RFC 9000 10.3: shorter than what it answers, so that two endpoints do not go on resetting each other.
void QuicEndpoint::reset(const DatagramPath& path, const QuicCid& cid, size_t bytes) {
  ++metrics_.datagrams_unknown_total;
  if (!context_ || cid.size != QuicCid::kOwnBytes || bytes <= kResetBytesMin || !may_answer()) return;
  ++metrics_.resets_sent_total;
  const ngtcp2_cid asked = wire_cid(cid);
  const QuicContext::Secret& secret = context_->reset_secret();
  uint8_t token[NGTCP2_STATELESS_RESET_TOKENLEN];
  if (ngtcp2_crypto_generate_stateless_reset_token(token, secret.data(), secret.size(), &asked) != 0) return;
  std::array<uint64_t, 4> random;
  for (uint64_t& word : random) word = core_.random();
  const size_t size_max = std::min(bytes - 1, kResetBytesMax);
  const size_t random_size = std::min(size_max - NGTCP2_STATELESS_RESET_TOKENLEN, sizeof(random));
  uint8_t packet[kResetBytesMax];
  const ngtcp2_ssize size = ngtcp2_pkt_write_stateless_reset(packet, sizeof(packet), token,
                                                             reinterpret_cast<const uint8_t*>(random.data()), random_size);
  if (size > 0) send(path, {packet, static_cast<size_t>(size)}, static_cast<size_t>(size), 0);
}

// ---- Datagrams out ----

bool QuicEndpoint::send(const DatagramPath& path, ByteSpan bytes, size_t segment_bytes, uint8_t ecn) {
  if (!socket_) return false;
  const size_t sent = is_blocked_ ? 0 : socket_->send(path, bytes, segment_bytes, ecn);
  metrics_.datagrams_out_total += (sent + segment_bytes - 1) / segment_bytes;
  metrics_.bytes_out_total += sent;
  if (sent == bytes.size()) return true;
  metrics_.datagrams_unsent_total += (bytes.size() - sent + segment_bytes - 1) / segment_bytes;
  is_blocked_ = true;
  return false;
}

void QuicEndpoint::on_writable() {
  is_blocked_ = false;
  if (!dirty_.empty()) core_.defer(*this);
}

void QuicEndpoint::flush_later(QuicConnection& connection) {
  if (is_ending_) return;
  if (!connection.ListHook<QuicDirtyTag>::is_linked()) dirty_.push_back(connection);
  core_.defer(*this);
}

void QuicEndpoint::run_deferred() {
  List<QuicConnection, QuicDirtyTag> now;
  now.splice_back(dirty_);
  while (!now.empty()) {
    QuicConnection& connection = now.pop_front();
    if (connection.is_done()) {
      std::unique_ptr<QuicConnection> gone(&connection);
      remove(connection);
    } else if (connection.state() == QuicConnection::State::opening || connection.state() == QuicConnection::State::open) {
      if (is_blocked_)
        dirty_.push_back(connection);
      else
        connection.flush();
    }
  }
}

// ---- Connections ----

QuicCid QuicEndpoint::fresh_cid() {
  std::array<uint64_t, 2> random{core_.random(), core_.random()};
  QuicCid cid = QuicCid::of({reinterpret_cast<const uint8_t*>(random.data()), QuicCid::kOwnBytes});
  cid.bytes[0] = static_cast<uint8_t>(core_.index());
  return cid;
}

void QuicEndpoint::add(std::unique_ptr<QuicConnection> connection) {
  all_.push_back(*connection.release());
  ++connection_count_;
  ++metrics_.connections;
}

void QuicEndpoint::remove(QuicConnection& connection) {
  for (const QuicCid& cid : connection.cids()) drop_route(cid);
  connection.ListHook<QuicAllTag>::unlink();
  connection.ListHook<QuicDirtyTag>::unlink();
  if (std::exchange(connection.counts_as_ending_, false)) --ending_count_;
  --connection_count_;
  --metrics_.connections;
}

bool QuicEndpoint::may_end_slowly(QuicConnection& connection) {
  if (is_ending_) return false;
  if (connection.counts_as_ending_) return true;
  if (ending_count_ >= options_.ending_max) {
    ++metrics_.ended_at_once_total;
    return false;
  }
  ++ending_count_;
  return connection.counts_as_ending_ = true;
}

void QuicEndpoint::settle(QuicConnection& connection) {
  if (connection.state() != QuicConnection::State::over) return;
  for (const QuicCid& cid : connection.cids()) drop_route(cid);
  for (const CoreIndex former : std::exchange(connection.former_homes, {})) {
    core_.send(former, [group = group_, former, id = connection.id()] {
      if (QuicEndpoint* endpoint = group->endpoints[former]) endpoint->on_ended_elsewhere(id);
    });
  }
  if (connection.is_done()) flush_later(connection);
}

void QuicEndpoint::enter(QuicConnection& connection) {
  if (connection.is_client()) {
    const auto found = dialled_.find(connection.id());
    ROBUSTMQ_CHECK(found != dialled_.end(), "a client that nobody dialled for");
    Dialled done = std::move(found->second);
    dialled_.erase(found);
    return done(std::unique_ptr<runtime::Socket>(connection.take_socket()));
  }
  --metrics_.handshakes;
  ++metrics_.handshakes_total;
  std::string common_name = connection.common_name();
  events_->on_entered(connection.take_socket(), std::move(common_name));
}

void QuicEndpoint::on_not_opened(QuicConnection& connection) {
  const std::string why = connection.failure().empty() ? "the client left" : connection.failure();
  if (connection.is_client()) {
    const auto found = dialled_.find(connection.id());
    if (found == dialled_.end()) return;
    // Nobody waits for the answer of an endpoint that goes.
    if (!is_ending_)
      core_.post([done = std::move(found->second), why]() mutable { done(Error{Code::connection_lost, std::move(why)}); });
    dialled_.erase(found);
    return;
  }
  --metrics_.handshakes;
  ++metrics_.handshakes_failed_total;
  if (!is_ending_) events_->on_refused(why, connection.path().peer.to_endpoint().to_string());
}

// ---- From core to core ----

std::unique_ptr<QuicConnection> QuicEndpoint::release(QuicConnection& connection) {
  if (connection.state() == QuicConnection::State::open && !is_blocked_) connection.flush();
  Left& left = left_[connection.id()];
  left.cids = connection.cids();
  remove(connection);
  for (const QuicCid& cid : left.cids) routes_[cid] = {nullptr, connection.id()};
  connection.former_homes.push_back(core_.index());
  connection.leave();
  return std::unique_ptr<QuicConnection>(&connection);
}

void QuicEndpoint::on_arrived(uint64_t id, CoreIndex home) {
  const auto found = left_.find(id);
  if (found == left_.end()) return;
  found->second.has_arrived = true;
  found->second.home = home;
  for (Held& held : std::exchange(found->second.held, {})) pass_on(home, held.path, held.bytes, held.ecn);
}

void QuicEndpoint::on_ended_elsewhere(uint64_t id) {
  const auto found = left_.find(id);
  if (found == left_.end()) return;
  for (const QuicCid& cid : found->second.cids) {
    const auto route = routes_.find(cid);
    if (route != routes_.end() && route->second.left == id) routes_.erase(route);
  }
  left_.erase(found);
}

void QuicEndpoint::drop_route_elsewhere(const QuicConnection& connection, const QuicCid& cid) {
  for (const CoreIndex former : connection.former_homes) {
    core_.send(former, [group = group_, former, cid, id = connection.id()] {
      QuicEndpoint* endpoint = group->endpoints[former];
      if (!endpoint) return;
      const auto found = endpoint->left_.find(id);
      if (found == endpoint->left_.end()) return;
      std::erase(found->second.cids, cid);
      endpoint->drop_route(cid);
    });
  }
}

// ---- Clients ----

void QuicEndpoint::dial(std::shared_ptr<const QuicContext> context, const runtime::IpPort& to, std::string server_name,
                        Dialled done) {
  local_.is_v6 = to.is_v6;
  local_.port = socket_->local().port;
  const uint64_t id = static_cast<uint64_t>(core_.index()) << 48 | ++last_id_;
  std::unique_ptr<QuicConnection> made =
      QuicConnection::dial(*this, id, std::move(context), {local_, to}, server_name, time_max_);
  if (!made) {
    core_.post([done = std::move(done)]() mutable { done(Error{Code::overloaded, "no memory for a connection"}); });
    return;
  }
  dialled_.emplace(id, std::move(done));
  QuicConnection& connection = *made;
  add(std::move(made));
  flush_later(connection);
}

Status QuicEndpoint::change_address(bool says_so) {
  runtime::Endpoint at = socket_->local();
  at.port = 0;
  std::unique_ptr<runtime::DatagramSocket> former = std::move(socket_);
  Result<runtime::Endpoint> opened = open(at);
  if (!opened.ok()) {
    socket_ = std::move(former);
    return opened.error();
  }
  on_writable();  // the new socket is
  local_.port = opened->port;
  if (!says_so) return {};
  List<QuicConnection, QuicAllTag> all;
  all.splice_back(all_);
  while (!all.empty()) {
    QuicConnection& connection = all.pop_front();
    all_.push_back(connection);
    connection.migrate({local_, connection.path().peer});
  }
  return {};
}

}  // namespace robustmq::net
