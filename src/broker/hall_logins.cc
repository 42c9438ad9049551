// The hall's part in logins: who may have a session, and what becomes of those who may not any more.
#include <algorithm>
#include <set>
#include <utility>

#include "broker/hall.h"

namespace robustmq::broker {

void Hall::open_session(Context& context, OpenSession request, ReplyTo done) {
  struct Asked {
    OpenSession request;
    ReplyTo done;
  };
  auto asked = std::make_shared<Asked>(Asked{std::move(request), std::move(done)});
  const auto is_banned = [this, &context, asked] {
    if (!bans_.concerns(asked->request.client_id, context.host)) return false;
    ++ban_metrics_.refused_connections_total;
    asked->done(ClientBanned{});
    return true;
  };
  if (is_banned()) return;
  authenticator_.admit(context, asked->request, [this, &context, asked, is_banned](std::optional<LoginRefused> refused) {
    if (refused) return asked->done(*refused);
    if (is_banned()) return;  // it came while the password was checked
    if (is_of_another(asked->request.client_id, context)) return asked->done(authenticator_.refuse(LoginRefused::Why::not_own));
    open_admitted(context, std::move(asked->request), std::move(asked->done));
  });
}

// Whether somebody else has proved that the client id is his: by the connection that has it, or by one that left a session.
// Where nobody logs in any more, nothing is anybody's.
bool Hall::is_of_another(const std::string& client_id, const Context& context) const {
  if (!authenticator_.is_on() && context.proof == Proof::none) return false;
  const std::string& name = context.principal.name;
  const auto held = sessions_.find(client_id);
  if (held != sessions_.end() && held->second != &context && held->second->proof != Proof::none &&
      held->second->principal.name != name)
    return true;
  const Session* stored = stored_sessions_.look_up(client_id);
  return stored && !stored->user.empty() && stored->user != name;
}

void Hall::use_users(Authenticator::Users users) {
  const std::vector<std::string> revoked = authenticator_.use_users(std::move(users));
  const std::set<std::string_view> names(revoked.begin(), revoked.end());
  std::vector<Context*> concerned;
  for (const auto& [id, context] : sessions_) {
    if (context->proof == Proof::user_file && names.contains(context->principal.name)) concerned.push_back(context);
  }
  std::sort(concerned.begin(), concerned.end(),
            [](const Context* one, const Context* other) { return one->connection_id < other->connection_id; });
  auth_metrics_.revoked_connections_total += concerned.size();
  for (Context* context : concerned) context->sink->on_notice(Notice::ended);
}

}  // namespace robustmq::broker
