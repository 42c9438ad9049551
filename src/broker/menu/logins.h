// The menu: who somebody is. A password comes with OpenSession; the messages of a SASL mechanism (RFC 4422) come here, whatever
// protocol carries them. Pure.
#pragma once

#include <cstdint>
#include <string>

namespace robustmq::broker {

// A message of a client that logs in by a mechanism: "SCRAM-SHA-256". The first one begins an exchange, or begins it anew; also
// while its session is open: then it proves again who it is, and has to be the same.
struct Authenticate {
  std::string mechanism;
  std::string data;
  bool is_first = true;
};
struct Authenticated {
  bool is_done = false;  // false: `data` goes to the client, and its answer comes in another Authenticate
  std::string data;
  std::string user;  // once it is done
};

// The answer to OpenSession and Authenticate of a client that is not let in. Nothing of an exchange is left.
struct LoginRefused {
  enum class Why : uint8_t {
    wrong,      // the user or the password; which of them is not told
    missing,    // there was neither, and somebody is not enough
    mechanism,  // not known here
    busy,       // too many passwords wait to be checked: later
    not_own,    // the session is another user's
  };
  Why why = Why::wrong;
};

}  // namespace robustmq::broker
