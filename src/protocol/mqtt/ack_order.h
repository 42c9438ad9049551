// AckOrder: PUBACKs and PUBRECs leave in the order in which the PUBLISHes came (MQTT5 4.6), whatever order their answers come
// in. Pure.
//
// A PUBLISH is pushed when it is read; a request covers those pushed since the last one; an answer fills its request's results
// in; whoever stands at the front with a result may be acknowledged. The machine bounds it by the Receive Maximum.
#pragma once

#include <cstdint>
#include <vector>

#include "broker/menu/request.h"
#include "protocol/connection.h"
#include "protocol/mqtt/ring.h"

namespace robustmq::mqtt {

class AckOrder {
 public:
  enum class Kind : uint8_t {
    qos1,
    qos2,
    again,      // a QoS 2 PUBLISH that came again: it is not handed on, and answered as the first one was
    forgotten,  // such a one whose message is over: not answered
  };
  struct Entry {
    uint16_t packet_id = 0;
    Kind kind = Kind::qos1;
    bool is_answered = false;
    bool has_followers = true;
    Code code = Code::ok;
  };

  // A PUBLISH whose answer comes with the request that is being made.
  void push(uint16_t packet_id, Kind kind) { entries_.push_back({packet_id, kind}); }
  // A PUBLISH that is answered without asking.
  void push_answered(uint16_t packet_id, Kind kind, Code code) { entries_.push_back({packet_id, kind, true, true, code}); }
  // Everything pushed since the last call went out as `call`.
  void requested(protocol::CallId call);
  // False: no such request. A missing result counts as an internal error.
  bool answer(protocol::CallId call, const broker::Published& published);
  bool fail(protocol::CallId call, Code code);
  // The client has released this id: copies of its PUBLISH that still wait for their turn are not answered any more.
  void forget_again(uint16_t packet_id);
  // Takes the front if it is answered.
  bool pop(Entry& out);
  size_t size() const { return entries_.size(); }

 private:
  struct Request {
    protocol::CallId call = 0;
    uint64_t from = 0;
    uint64_t to = 0;
  };
  bool take_request(protocol::CallId call, Request& out);

  Ring<Entry> entries_;
  std::vector<Request> requests_;  // under way: few
  uint64_t front_ = 0;             // the number of the entry at the front, counted from the first ever
  uint64_t requested_ = 0;         // the number after the last entry that a request covers
};

}  // namespace robustmq::mqtt
