#include "broker/authenticator.h"

#include <algorithm>
#include <utility>

namespace robustmq::broker {

Authenticator::Authenticator(runtime::Core& core, const AuthOptions& options, AuthMetrics& metrics)
    : core_(core), options_(options), metrics_(metrics) {}

Authenticator::~Authenticator() {
  anchor_.cut();
  for (Check& check : waiting_) auth::wipe(check.password);
}

std::vector<std::string> Authenticator::use_users(Users users) {
  std::vector<std::string> revoked;
  if (users_) {
    for (const auto& [name, credential] : users_->all()) {
      if (!users->has(name, credential)) revoked.push_back(name);
    }
  }
  users_ = std::move(users);
  remembered_.clear();
  if (memory_key_.empty()) memory_key_ = auth::nonce_of(core_.random(), core_.random(), core_.random());
  if (core_.index() == 0) {
    metrics_.users = static_cast<int64_t>(users_->size());
    ++metrics_.user_file_reads_total;
  }
  return revoked;
}

LoginRefused Authenticator::refuse(LoginRefused::Why why) {
  switch (why) {
    case LoginRefused::Why::wrong:
      ++metrics_.refused_wrong_total;
      break;
    case LoginRefused::Why::missing:
      ++metrics_.refused_missing_total;
      break;
    case LoginRefused::Why::mechanism:
      ++metrics_.refused_mechanism_total;
      break;
    case LoginRefused::Why::busy:
      ++metrics_.refused_busy_total;
      break;
    case LoginRefused::Why::not_own:
      ++metrics_.refused_not_own_total;
      break;
  }
  return {why};
}

// ---- Passwords ----

void Authenticator::admit(Context& context, const OpenSession& request, Admitted done) {
  if (context.proof == Proof::certificate) return done(std::nullopt);
  if (!users_) {
    context.principal.name = request.user;
    return done(std::nullopt);
  }
  if (context.proof == Proof::user_file) {
    // It may have been taken out of the file since.
    if (users_->has(context.principal.name)) return done(std::nullopt);
    return done(refuse(LoginRefused::Why::wrong));
  }
  if (request.user.empty() && !request.password) {
    if (!options_.allow_anonymous) return done(refuse(LoginRefused::Why::missing));
    ++metrics_.logins_anonymous_total;
    return done(std::nullopt);
  }
  // What nobody can have as a name or a password needs no look.
  if (!request.password || !auth::is_name(request.user) || !auth::is_password(*request.password))
    return done(refuse(LoginRefused::Why::wrong));
  if (is_remembered(request.user, *request.password)) {
    ++metrics_.checks_remembered_total;
    ++metrics_.logins_password_total;
    context.principal.name = request.user;
    context.proof = Proof::user_file;
    return done(std::nullopt);
  }
  const auto of_host =
      std::count_if(waiting_.begin(), waiting_.end(), [&](const Check& check) { return check.context->host == context.host; });
  if (waiting_.size() >= options_.checks_waiting_max || of_host >= options_.checks_waiting_per_host_max)
    return done(refuse(LoginRefused::Why::busy));
  waiting_.push_back({&context, context.connection_id, request.user, *request.password, std::move(done)});
  ++metrics_.checks_waiting;
  start_next();
}

// With the credential in it, so that it means nothing once that is another.
auth::Digest Authenticator::mark_of(std::string_view password, const auth::Credential& credential) const {
  std::string text = std::string(as_text(credential.stored_key)) + std::string(password);
  const auth::Digest mark = auth::hmac_sha256(as_bytes(memory_key_), text);
  auth::wipe(text);
  return mark;
}

bool Authenticator::is_remembered(std::string_view user, std::string_view password) const {
  const auth::Users::Found found = users_->find(user);
  const auth::Digest mark = mark_of(password, found.credential);
  const auto at = remembered_.find(std::string(user));
  return at != remembered_.end() && found.is_known && auth::is_same(at->second, mark);
}

void Authenticator::Job::run() {
  is_right = auth::is_password_of(credential, password);
  auth::wipe(password);
}

void Authenticator::start_next() {
  if (checking_ || waiting_.empty()) return;
  checking_ = std::move(waiting_.front());
  waiting_.pop_front();
  --metrics_.checks_waiting;
  ++metrics_.checks_total;
  auth::Users::Found found = users_->find(checking_->user);
  auto job = std::make_shared<Job>(Job{checking_->user, checking_->password, std::move(found.credential), found.is_known});
  auto finish = [anchor = anchor_.anchor(this), job] {
    if (Authenticator* self = anchor.get()) self->finish(*job);
  };
  if (helper_) return helper_->run([job] { job->run(); }, std::move(finish));
  core_.post([job, finish = std::move(finish)]() mutable {
    job->run();
    finish();
  });
}

void Authenticator::finish(Job& job) {
  Check check = std::move(*checking_);
  checking_.reset();
  if (job.is_right && job.is_known && users_->has(job.user, job.credential))
    remembered_[job.user] = mark_of(check.password, job.credential);
  else
    job.is_right = false;
  auth::wipe(check.password);
  start_next();
  if (!check.context) return;
  if (!job.is_right) return check.done(refuse(LoginRefused::Why::wrong));
  ++metrics_.logins_password_total;
  check.context->principal.name = std::move(check.user);
  check.context->proof = Proof::user_file;
  check.done(std::nullopt);
}

// ---- Mechanisms ----

Reply Authenticator::take(Context& context, const Authenticate& request) {
  if (!users_ || request.mechanism != auth::kScramSha256) return refuse(LoginRefused::Why::mechanism);
  if (request.is_first) {
    auth::ScramServer exchange;
    auth::ScramServer::Answer answer =
        exchange.first(request.data, *users_, auth::nonce_of(core_.random(), core_.random(), core_.random()));
    exchanges_.erase(context.connection_id);
    if (!answer.ok()) return refuse(LoginRefused::Why::wrong);
    exchanges_.emplace(context.connection_id, std::move(exchange));
    return Authenticated{.is_done = false, .data = std::move(answer.message), .user = {}};
  }
  auto found = exchanges_.extract(context.connection_id);
  if (found.empty()) return refuse(LoginRefused::Why::wrong);
  auth::ScramServer& exchange = found.mapped();
  auth::ScramServer::Answer answer = exchange.last(request.data);
  const bool is_someone_else = context.proof != Proof::none && context.principal.name != exchange.user();
  if (!answer.ok() || !users_->has(exchange.user(), exchange.credential()) || is_someone_else)
    return refuse(LoginRefused::Why::wrong);
  ++(context.session.empty() ? metrics_.logins_scram_total : metrics_.reauthentications_total);
  context.principal.name = exchange.user();
  if (context.proof == Proof::none) context.proof = Proof::user_file;
  return Authenticated{.is_done = true, .data = std::move(answer.message), .user = exchange.user()};
}

void Authenticator::close(const Context& context) {
  exchanges_.erase(context.connection_id);
  if (checking_ && checking_->connection == context.connection_id) checking_->context = nullptr;
  for (auto at = waiting_.begin(); at != waiting_.end(); ++at) {
    if (at->connection != context.connection_id) continue;
    auth::wipe(at->password);
    waiting_.erase(at);
    --metrics_.checks_waiting;
    return;
  }
}

}  // namespace robustmq::broker
