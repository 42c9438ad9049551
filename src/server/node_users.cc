// A node's user file: read at the start, looked at again now and then and when asked, given to every core.
#include <fmt/core.h>

#include "server/node.h"
#include "server/node_room.h"

namespace robustmq::server {

// Those that there are when the file is as it was.
Result<broker::Authenticator::Users> Node::read_users() {
  const std::string& path = options_.auth.user_file;
  if (!read_file_) return Error{Code::not_supported, path + ": this node reads no files"};
  const Result<std::string> text = read_file_(path);
  if (!text.ok()) return text.error();
  const auth::Digest digest = auth::sha256(as_bytes(*text));
  if (users_ && digest == users_digest_) return users_;
  Result<auth::Users> users = auth::Users::parse(*text);
  if (!users.ok()) return Error{Code::invalid_config, fmt::format("{}: {}", path, users.error().detail)};
  users_digest_ = digest;
  return std::make_shared<const auth::Users>(users.take());
}

// Before the halls are made, which take the users with them.
Status Node::open_users() {
  if (options_.auth.user_file.empty()) return {};
  Result<broker::Authenticator::Users> users = read_users();
  if (!users.ok()) return Error{users.error().code, fmt::format("auth.user_file: {}", users.error().detail)};
  users_ = users.take();
  check_users_later();
  return {};
}

void Node::reload_users() {
  if (!is_serving() || !users_) return;
  Result<broker::Authenticator::Users> users = read_users();
  if (!users.ok()) {
    home().hall->note_user_file_failure();
    home().log.error("users_not_reloaded", {{"why", users.error().detail}, {"remedy", "the former users stay in use"}});
    return;
  }
  if (*users == users_) return;
  users_ = users.take();
  home().log.info("users_reloaded", {{"file", options_.auth.user_file}, {"users", users_->size()}});
  for (CoreIndex i = 1; i < rooms_.size(); ++i) {
    home().core.send(i, [this, i, users = users_] {
      if (rooms_[i]->hall) rooms_[i]->hall->use_users(users);
    });
  }
  home().hall->use_users(users_);
}

void Node::check_users_later() {
  if (options_.auth.check_ms > 0) home().core.arm(users_timer_, home().core.now() + Duration::millis(options_.auth.check_ms));
}

void Node::on_check_users(void* self) {
  auto& node = *static_cast<Node*>(self);
  node.reload_users();
  node.check_users_later();
}

}  // namespace robustmq::server
