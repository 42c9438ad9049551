// SimNetwork, its links, sockets and listeners (see the header). Pure.
#include "runtime/sim/net.h"

#include <algorithm>
#include <deque>

#include "base/check.h"

namespace robustmq::runtime::sim {

class SimSocket;

// What travels towards an end.
struct Segment {
  enum class Kind : uint8_t { bytes, end, reset };
  Kind kind = Kind::bytes;
  Bytes bytes;
};

// One end of a link: what its socket reads from, and how much of the pipe towards it is taken.
struct LinkEnd {
  SimNode* node = nullptr;
  SimCore* core = nullptr;  // null while detached
  SimSocket* socket = nullptr;
  SocketEvents* events = nullptr;
  Endpoint local;
  bool is_gone = false;  // closed or crashed
  bool wants_read = true;
  bool wants_write = false;
  bool read_event_due = false;
  bool write_event_due = false;
  bool sent_end = false;
  bool got_end = false;
  bool got_reset = false;
  std::deque<Bytes> received;
  uint64_t pipe_bytes = 0;  // sent to this end and not read yet
  Instant last_arrival{};
  std::deque<Segment> blocked;  // arrived while the direction was blocked

  bool is_readable() const { return !received.empty() || got_end || got_reset; }
};

struct SimLink : std::enable_shared_from_this<SimLink> {
  explicit SimLink(SimNetwork& of) : network(of) {}

  void send(int to, Segment segment);
  void arrive(int to, Segment segment);
  void deliver(int to, Segment segment);
  void reset(int to);
  void notify_readable(int side);
  void notify_writable(int side);
  void leave(int side);
  void flush_blocked(int to);

  SimNetwork& network;
  LinkEnd ends[2];
};

class SimDetachedSocket final : public DetachedSocket {
 public:
  SimDetachedSocket(std::shared_ptr<SimLink> link, int side) : link_(std::move(link)), side_(side) {}
  ~SimDetachedSocket() override {
    if (link_) link_->leave(side_);
  }
  std::shared_ptr<SimLink> take() { return std::move(link_); }
  int side() const { return side_; }

 private:
  std::shared_ptr<SimLink> link_;
  int side_;
};

class SimSocket final : public Socket {
 public:
  SimSocket(std::shared_ptr<SimLink> link, int side) : link_(std::move(link)), side_(side) { here().socket = this; }
  ~SimSocket() override {
    if (!link_) return;
    here().socket = nullptr;
    here().events = nullptr;
    link_->leave(side_);
  }

  void start(SocketEvents& events) override {
    here().events = &events;
    link_->notify_readable(side_);
    link_->notify_writable(side_);
  }

  IoResult read(std::span<uint8_t> into) override {
    LinkEnd& end = here();
    if (end.is_gone || end.got_reset) return {IoResult::Kind::failed};
    if (end.received.empty()) return {end.got_end ? IoResult::Kind::end : IoResult::Kind::would_block};
    size_t moved = 0;
    while (moved < into.size() && !end.received.empty()) {
      Bytes& front = end.received.front();
      size_t part = std::min(front.size(), into.size() - moved);
      std::memcpy(into.data() + moved, front.data(), part);
      moved += part;
      if (part < front.size())
        front = front.slice(part);
      else
        end.received.pop_front();
      if (network().random_.chance(network().options_.cut_per_million)) break;
    }
    end.pipe_bytes -= moved;
    link_->notify_writable(1 - side_);
    return {IoResult::Kind::moved, moved};
  }

  IoResult write(std::span<const Piece> pieces, size_t skip_bytes_of_first) override {
    LinkEnd& end = here();
    if (end.is_gone || end.got_reset || end.sent_end) return {IoResult::Kind::failed};
    size_t room = network().options_.pipe_bytes_max;
    room -= std::min<uint64_t>(room, link_->ends[1 - side_].pipe_bytes);
    if (room == 0) return {IoResult::Kind::would_block};
    size_t moved = 0;
    size_t skip = skip_bytes_of_first;
    for (const Piece& piece : pieces) {
      size_t part = std::min<uint64_t>(piece.size - skip, room - moved);
      if (part > 0) {
        Bytes bytes = take(piece, skip, part);
        if (bytes.size() < part) return {moved > 0 ? IoResult::Kind::moved : IoResult::Kind::failed, moved};
        send_cut(std::move(bytes));
      }
      moved += part;
      skip = 0;
      if (moved == room) break;
    }
    return {IoResult::Kind::moved, moved};
  }

  void want_read(bool on) override {
    here().wants_read = on;
    if (on) link_->notify_readable(side_);
  }
  void want_write(bool on) override {
    here().wants_write = on;
    if (on) link_->notify_writable(side_);
  }
  void close_write() override {
    LinkEnd& end = here();
    if (end.is_gone || end.sent_end) return;
    end.sent_end = true;
    link_->send(1 - side_, {Segment::Kind::end});
  }
  Endpoint peer() const override { return link_->ends[1 - side_].local; }
  Endpoint local() const override { return link_->ends[side_].local; }

  std::unique_ptr<DetachedSocket> detach() override {
    LinkEnd& end = here();
    end.core = nullptr;
    end.socket = nullptr;
    end.events = nullptr;
    return std::make_unique<SimDetachedSocket>(std::move(link_), side_);
  }

 private:
  LinkEnd& here() { return link_->ends[side_]; }
  SimNetwork& network() { return link_->network; }

  Bytes take(const Piece& piece, size_t skip, size_t size) {
    if (!piece.is_stored()) return Bytes::copy_of(piece.bytes.span().subspan(skip, size));
    const auto* file = dynamic_cast<const SimFile*>(piece.stored.source.get());
    ROBUSTMQ_CHECK(file != nullptr, "a stored range of another disk");
    return file->read_now(piece.stored.position + skip, size);
  }

  void send_cut(Bytes bytes) {
    while (bytes.size() > 1 && network().random_.chance(network().options_.cut_per_million)) {
      size_t cut = network().random_.between(1, bytes.size() - 1);
      link_->send(1 - side_, {Segment::Kind::bytes, bytes.slice(0, cut)});
      bytes = bytes.slice(cut);
    }
    link_->send(1 - side_, {Segment::Kind::bytes, std::move(bytes)});
  }

  std::shared_ptr<SimLink> link_;
  int side_;
};

// ---- SimLink ----

void SimLink::send(int to, Segment segment) {
  LinkEnd& end = ends[to];
  end.pipe_bytes += segment.bytes.size();
  end.last_arrival = std::max(end.last_arrival, network.world_.now() + network.delay());
  network.world_.schedule(end.last_arrival, [self = shared_from_this(), to, segment = std::move(segment)]() mutable {
    self->arrive(to, std::move(segment));
  });
}

void SimLink::arrive(int to, Segment segment) {
  LinkEnd& end = ends[to];
  if (!end.blocked.empty() || network.is_blocked(*ends[1 - to].node, *end.node) || !end.node->is_up()) {
    end.blocked.push_back(std::move(segment));
    return;
  }
  deliver(to, std::move(segment));
}

void SimLink::deliver(int to, Segment segment) {
  LinkEnd& end = ends[to];
  network.world_.trace(segment.bytes.size() << 2 | static_cast<uint64_t>(segment.kind));
  if (end.is_gone) {
    if (segment.kind == Segment::Kind::bytes && !ends[1 - to].is_gone) send(1 - to, {Segment::Kind::reset});
    return;
  }
  if (segment.kind == Segment::Kind::bytes && network.random_.chance(network.options_.reset_per_million)) {
    reset(0);
    reset(1);
    return;
  }
  switch (segment.kind) {
    case Segment::Kind::bytes:
      if (!end.got_reset && !end.got_end) end.received.push_back(std::move(segment.bytes));
      break;
    case Segment::Kind::end:
      end.got_end = true;
      break;
    case Segment::Kind::reset:
      reset(to);
      return;
  }
  notify_readable(to);
}

void SimLink::reset(int to) {
  LinkEnd& end = ends[to];
  end.got_reset = true;
  end.received.clear();
  notify_readable(to);
  notify_writable(to);
}

void SimLink::notify_readable(int side) {
  LinkEnd& end = ends[side];
  if (!end.events || !end.wants_read || end.read_event_due || end.is_gone || !end.is_readable()) return;
  end.read_event_due = true;
  end.core->run_after({}, [self = shared_from_this(), side, socket = end.socket] {
    LinkEnd& at = self->ends[side];
    if (at.socket != socket) return;
    at.read_event_due = false;
    if (at.events && at.wants_read && !at.is_gone && at.is_readable()) at.events->on_readable();
    self->notify_readable(side);
  });
}

void SimLink::notify_writable(int side) {
  LinkEnd& end = ends[side];
  auto is_writable = [this, side] { return ends[side].got_reset || ends[1 - side].pipe_bytes < network.options_.pipe_bytes_max; };
  if (!end.events || !end.wants_write || end.write_event_due || end.is_gone || !is_writable()) return;
  end.write_event_due = true;
  end.core->run_after(network.delay(), [self = shared_from_this(), side, socket = end.socket, is_writable] {
    LinkEnd& at = self->ends[side];
    if (at.socket != socket) return;
    at.write_event_due = false;
    if (at.events && at.wants_write && !at.is_gone && is_writable()) at.events->on_writable();
    self->notify_writable(side);
  });
}

void SimLink::leave(int side) {
  LinkEnd& end = ends[side];
  if (end.is_gone) return;
  end.is_gone = true;
  end.events = nullptr;
  // What lies unread makes the system reset instead of ending in order.
  if (!end.received.empty() && !end.got_reset)
    send(1 - side, {Segment::Kind::reset});
  else if (!end.sent_end && !end.got_reset)
    send(1 - side, {Segment::Kind::end});
  end.sent_end = true;
  end.received.clear();
}

void SimLink::flush_blocked(int to) {
  auto waiting = std::move(ends[to].blocked);
  ends[to].blocked.clear();
  for (Segment& segment : waiting) arrive(to, std::move(segment));
}

// ---- listeners and the net of one core ----

class SimListener final : public Listener {
 public:
  SimListener(SimNetwork& network, uint64_t id, Endpoint local) : network_(network), id_(id), local_(std::move(local)) {}
  ~SimListener() override { network_.listening_.erase(id_); }
  Endpoint local() const override { return local_; }

 private:
  SimNetwork& network_;
  uint64_t id_;
  Endpoint local_;
};

class SimNet final : public DatagramNet {
 public:
  SimNet(SimNetwork& network, SimCore& core) : network_(network), core_(core) {}

  Result<std::unique_ptr<Listener>> listen(const Endpoint& at, ListenOptions,
                                           Callback<void(std::unique_ptr<Socket>)> on_accept) override {
    if (!core_.node().is_up()) return Code::shutting_down;
    Endpoint local = at;
    if (local.port == 0) local.port = static_cast<uint16_t>(20'000 + network_.last_port_[core_.node().index()]++ % 10'000);
    uint64_t id = ++network_.last_id_;
    auto shared = std::make_shared<Callback<void(std::unique_ptr<Socket>)>>(std::move(on_accept));
    network_.listening_.emplace(id, SimNetwork::Listening{&core_, local.port, std::move(shared)});
    return std::unique_ptr<Listener>(std::make_unique<SimListener>(network_, id, local));
  }

  void connect(const Endpoint& to, Callback<void(Result<std::unique_ptr<Socket>>)> done) override {
    network_.connect(core_, to, std::move(done));
  }

  Result<std::unique_ptr<DatagramSocket>> open_datagrams(const Endpoint& at, DatagramOptions options) override {
    return network_.open_datagrams(core_, at, std::move(options));
  }

  std::unique_ptr<Socket> adopt(std::unique_ptr<DetachedSocket> socket) override {
    auto* mine = static_cast<SimDetachedSocket*>(socket.get());
    int side = mine->side();
    std::shared_ptr<SimLink> link = mine->take();
    LinkEnd& end = link->ends[side];
    end.core = &core_;
    end.read_event_due = end.write_event_due = false;
    end.wants_read = true;
    end.wants_write = false;
    return std::make_unique<SimSocket>(std::move(link), side);
  }

 private:
  SimNetwork& network_;
  SimCore& core_;
};

// ---- SimNetwork ----

SimNetwork::SimNetwork(SimWorld& world, SimRandom random) : world_(world), random_(random) {}
SimNetwork::~SimNetwork() = default;

Duration SimNetwork::delay() {
  return {static_cast<int64_t>(
      random_.between(static_cast<uint64_t>(options_.delay_min.ns), static_cast<uint64_t>(options_.delay_max.ns)))};
}

void SimNetwork::block(const SimNode& from, const SimNode& to) { blocked_.insert({from.index(), to.index()}); }

void SimNetwork::unblock(const SimNode& from, const SimNode& to) {
  blocked_.erase({from.index(), to.index()});
  for (auto& link : live_links()) {
    for (int side : {0, 1}) {
      if (link->ends[side].node == &to) link->flush_blocked(side);
    }
  }
}

void SimNetwork::heal() {
  blocked_.clear();
  for (auto& link : live_links()) {
    link->flush_blocked(0);
    link->flush_blocked(1);
  }
}

void SimNetwork::reset_between(const SimNode& a, const SimNode& b) {
  for (auto& link : live_links()) {
    const SimNode* one = link->ends[0].node;
    const SimNode* other = link->ends[1].node;
    if ((one == &a && other == &b) || (one == &b && other == &a)) {
      link->reset(0);
      link->reset(1);
    }
  }
}

std::vector<std::shared_ptr<SimLink>> SimNetwork::live_links() {
  std::vector<std::shared_ptr<SimLink>> live;
  for (auto it = links_.begin(); it != links_.end();) {
    if (auto link = it->second.lock()) {
      live.push_back(std::move(link));
      ++it;
    } else {
      it = links_.erase(it);
    }
  }
  return live;
}

size_t SimNetwork::link_count() const {
  return static_cast<size_t>(std::count_if(links_.begin(), links_.end(), [](auto& link) { return !link.second.expired(); }));
}

std::unique_ptr<Net> SimNetwork::attach(SimCore& core) { return std::make_unique<SimNet>(*this, core); }

SimNode* SimNetwork::find_node(const SimNode& from, const std::string& host) {
  bool loopback = host == "localhost" || host == "::1" || host.starts_with("127.");
  for (int i = 0; i < world_.node_count(); ++i) {
    SimNode& node = world_.node(i);
    if (loopback ? &node == &from : node.host() == host) return &node;
  }
  return nullptr;
}

void SimNetwork::connect(SimCore& from, Endpoint to, Callback<void(Result<std::unique_ptr<Socket>>)> done) {
  SimNode* node = find_node(from.node(), to.host);
  // The answer waits with the core that asked, so that its crash takes it away.
  auto answer = std::make_shared<Callback<void(Result<std::unique_ptr<Socket>>)>>(std::move(done));
  if (!node) {
    from.run_after(delay(), [answer] { (*answer)(Error{Code::connection_lost, "no such host"}); });
    return;
  }
  from.run_after(delay(), [this, &from, to, node, answer] {
    if (is_blocked(from.node(), *node) || is_blocked(*node, from.node())) {
      from.run_after(Duration::seconds(3), [answer] { (*answer)(Error{Code::timed_out, "no answer to connect"}); });
    } else {
      arrange(from, to, *node, std::move(*answer));
    }
  });
}

void SimNetwork::arrange(SimCore& from, const Endpoint& to, SimNode& node, Callback<void(Result<std::unique_ptr<Socket>>)> done) {
  std::vector<Listening*> open;
  for (auto& [id, listening] : listening_) {
    if (&listening.core->node() == &node && listening.port == to.port) open.push_back(&listening);
  }
  if (open.empty()) {
    done(Error{Code::connection_lost, "connection refused by " + to.to_string()});
    return;
  }
  Listening& chosen = *open[random_.below(open.size())];
  auto link = std::make_shared<SimLink>(*this);
  links_.emplace(++last_id_, link);
  link->ends[0].node = &from.node();
  link->ends[0].core = &from;
  link->ends[0].local = {from.node().host(), static_cast<uint16_t>(30'000 + last_id_ % 30'000)};
  link->ends[1].node = &node;
  link->ends[1].core = chosen.core;
  link->ends[1].local = {node.host(), to.port};
  // The accepting side's socket goes with the message, so a crash on the way closes it.
  chosen.core->run_after(delay(), [on_accept = chosen.on_accept, socket = std::make_unique<SimSocket>(link, 1)]() mutable {
    (*on_accept)(std::move(socket));
  });
  done(std::unique_ptr<Socket>(std::make_unique<SimSocket>(link, 0)));
}

void SimNetwork::crash(SimNode& node, CrashKind kind) {
  for (auto it = listening_.begin(); it != listening_.end();) {
    if (&it->second.core->node() == &node)
      it = listening_.erase(it);
    else
      ++it;
  }
  for (auto& link : live_links()) {
    for (int side : {0, 1}) {
      LinkEnd& end = link->ends[side];
      if (end.node != &node) continue;
      bool was_gone = end.is_gone;
      end.is_gone = true;
      end.events = nullptr;
      end.received.clear();
      // The system of a killed process resets its connections; of a machine without power nobody hears until it is back.
      LinkEnd& other = link->ends[1 - side];
      if (kind == CrashKind::process && !was_gone && !other.is_gone) link->send(1 - side, {Segment::Kind::reset});
    }
  }
}

void SimNetwork::restart(SimNode& node) {
  for (auto& link : live_links()) {
    for (int side : {0, 1}) {
      if (link->ends[side].node != &node) continue;
      link->ends[side].blocked.clear();
      if (link->ends[side].is_gone && !link->ends[1 - side].is_gone) link->send(1 - side, {Segment::Kind::reset});
    }
  }
}

}  // namespace robustmq::runtime::sim
