// Broker: the hall of one core. Executes the menu: authorises, finds the home of what is asked, goes there, answers.
#pragma once

#include "base/callback.h"
#include "broker/menu/request.h"
#include "runtime/core.h"

namespace robustmq::broker {

// Where deliveries and notices for one connection go. Implemented by the driver; lives on the connection's core.
class Sink {
 public:
  // False: over its output limit; the broker counts the message as dropped for this follower (QoS 0) or the sink keeps it.
  virtual void on_delivery(const Delivery& delivery) = 0;
  virtual void on_notice(Notice notice) = 0;
  // False: what can wait (retained messages) is better handed over later.
  virtual bool is_ready() const { return true; }

 protected:
  ~Sink() = default;
};

struct Principal {
  std::string name;  // empty: anonymous
};

// How it is known who a principal is.
enum class Proof : uint8_t {
  none,         // it is what the client says of itself, if anything
  certificate,  // a listener's authority vouches for it
  user_file,    // by its password
};

// Who asks. One a connection, owned by the driver; outlives its calls or is closed first.
struct Context {
  TenantId tenant = kDefaultTenant;
  Principal principal;
  Sink* sink = nullptr;
  uint64_t connection_id = 0;     // unique a node start; what No Local compares
  std::string host;               // of the client; empty: there is none
  std::string session;            // set by OpenSession
  uint16_t inflight_max = 0;      // set by OpenSession
  void* state = nullptr;          // the broker's own, for what this context follows
  void* session_state = nullptr;  // the broker's own, of a session with an expiry
  bool has_burst = false;         // the broker's own: retained messages are being sent
  bool is_waited_for = false;     // the broker's own: something waits until the sink is ready
  bool is_opening = false;        // the broker's own: OpenSession is not answered yet
  Proof proof = Proof::none;      // of the principal; a certificate's is set before the first call, the rest is the broker's own
};

using ReplyTo = Callback<void(Reply)>;

// What protocols, admin and connectors see. One a core; calls and replies on that core. A reply may come inline.
class Broker {
 public:
  virtual ~Broker() = default;
  virtual void execute(Context& context, Request request, ReplyTo done) = 0;
  // The connection is gone: drops what it follows, its session (if still its own) and the fetches that wait for it, which are
  // not answered. Other replies still under way are dropped by the driver, not here.
  virtual void close(Context& context) = 0;
  // The sink of a context that is waited for is ready.
  virtual void on_ready(Context& context) = 0;
  // Home core of a session: the driver moves the connection there before OpenSession.
  virtual CoreIndex session_home(TenantId tenant, std::string_view client_id) const = 0;
};

}  // namespace robustmq::broker
