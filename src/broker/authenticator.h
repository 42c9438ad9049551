// Authenticator: finds out whether clients are who they say, against the users of the user file. Lives on its core.
//
// A password is checked by deriving its keys (PBKDF2), which takes up to seconds: on a helper's thread, one at a time on each
// core; the rest waits in a line of at most checks_waiting_max, and who has gone meanwhile leaves it. Without a helper (in the
// simulation) it is done on the core. What was right is remembered, as a hash of the password under a key that was drawn at the
// start: the next login of the same user with it takes a microsecond, and a broker that all clients come back to at once can
// serve them. SCRAM costs the server two hashes a message and waits for nothing.
//
// The users are a value that all cores share. When another one comes, what is under way is judged by it.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "auth/scram.h"
#include "auth/users.h"
#include "base/anchor.h"
#include "base/callback.h"
#include "broker/auth_options.h"
#include "broker/broker.h"
#include "runtime/core.h"
#include "runtime/helper.h"

namespace robustmq::broker {

class Authenticator {
 public:
  using Users = std::shared_ptr<const auth::Users>;
  // nullopt: let in.
  using Admitted = Callback<void(std::optional<LoginRefused>)>;

  Authenticator(runtime::Core& core, const AuthOptions& options, AuthMetrics& metrics);
  Authenticator(const Authenticator&) = delete;
  ~Authenticator();

  // The thread for passwords; before the first login.
  void use_helper(std::unique_ptr<runtime::Helper> helper) { helper_ = std::move(helper); }
  // The first users; without any there is no login. Called again when the file changed: then it gives the names of those who are
  // gone or have another credential.
  std::vector<std::string> use_users(Users users);

  bool is_on() const { return users_ != nullptr; }
  // Whether the context may have a session, as who it has proved to be or as OpenSession says. Sets its principal. Answers inline
  // where no password is to be derived; not at all when close() comes first.
  void admit(Context& context, const OpenSession& request, Admitted done);
  // A message of a mechanism. Sets the context's principal when it is done.
  Reply take(Context& context, const Authenticate& request);
  void close(const Context& context);
  // The answer, counted.
  LoginRefused refuse(LoginRefused::Why why);

 private:
  struct Check {
    Context* context = nullptr;  // null: it has gone
    uint64_t connection = 0;
    std::string user;
    std::string password;
    Admitted done;
  };
  // On its way through the helper's thread.
  struct Job {
    std::string user;
    std::string password;
    auth::Credential credential;
    bool is_known = false;
    bool is_right = false;
    void run();
  };

  auth::Digest mark_of(std::string_view password, const auth::Credential& credential) const;
  bool is_remembered(std::string_view user, std::string_view password) const;
  void start_next();
  void finish(Job& job);

  runtime::Core& core_;
  const AuthOptions& options_;
  AuthMetrics& metrics_;
  Users users_;
  std::string memory_key_;                                     // random
  std::unordered_map<std::string, auth::Digest> remembered_;   // by user: mark_of() the password that was right
  std::unordered_map<uint64_t, auth::ScramServer> exchanges_;  // by connection
  std::deque<Check> waiting_;
  std::optional<Check> checking_;
  AnchorOwner<Authenticator> anchor_;
  std::unique_ptr<runtime::Helper> helper_;  // last: its thread goes first
};

}  // namespace robustmq::broker
