// The server's side of SCRAM-SHA-256 (RFC 5802, RFC 7677), without channel binding. Pure.
//
//   client: n,,n=user,r=CLIENT                     gs2 header, then the "bare" message
//   server: r=CLIENTSERVER,s=SALT,i=ITERATIONS
//   client: c=biws,r=CLIENTSERVER,p=PROOF          c: the gs2 header in base64
//   server: v=SIGNATURE
//
// Refused: channel binding (p=), mandatory extensions (m=), an authorization identity that is not the user, names that SASLprep
// would change (credential.h), nonces over kNonceBytesMax. Optional extensions are passed over, as the standard asks. An unknown
// user is told nothing else, and nothing earlier, than one whose password is wrong.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "auth/users.h"

namespace robustmq::auth {

constexpr std::string_view kScramSha256 = "SCRAM-SHA-256";
constexpr size_t kNonceBytesMax = 256;  // of the client's part

// A nonce's text from random bits, for ScramServer.
std::string nonce_of(uint64_t first, uint64_t second, uint64_t third);

// One exchange. first() and last(), once each.
class ScramServer {
 public:
  // Empty `why`: `message` is what the client is sent. Else the exchange is over; `why` is a literal, for the log.
  struct Answer {
    std::string message;
    std::string_view why;
    bool ok() const { return why.empty(); }
  };

  // `nonce`: of this exchange alone and not to be guessed; printable, without ','.
  Answer first(std::string_view message, const Users& users, std::string_view nonce);
  // What is well-formed and does not prove the password is refused with kWrong, whatever the reason.
  Answer last(std::string_view message);
  static constexpr std::string_view kWrong = "the user or the password is wrong";

  // Whom last() found to be, once it was ok.
  const std::string& user() const { return user_; }
  const Credential& credential() const { return found_.credential; }

 private:
  std::string user_;
  Users::Found found_;
  std::string header_;  // gs2, as sent
  std::string nonce_;   // both parts
  std::string auth_message_;
  bool has_begun_ = false;
};

}  // namespace robustmq::auth
