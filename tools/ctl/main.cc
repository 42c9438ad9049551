#include "tools/ctl/main.h"

#include <fmt/core.h>

#include <cstdio>
#include <memory>

#include "net/http.h"
#include "net/stream.h"
#include "runtime/posix/world.h"
#include "tools/ctl/commands.h"

namespace robustmq::ctl {

namespace {

constexpr Duration kLimit = Duration::seconds(30);

// Sends the request and waits for its answer, in a world of one core.
Result<net::HttpResponse> ask(const runtime::Endpoint& server, net::HttpRequest request) {
  Result<net::HttpResponse> result = Error{Code::internal, "no answer"};
  runtime::posix::PosixOptions options;
  options.cores = 1;
  runtime::posix::PosixWorld world(std::move(options));
  std::unique_ptr<net::Streams> streams;
  std::unique_ptr<net::HttpCall> call;
  const Status ran = world.run(
      [&](runtime::Core& core) {
        streams = std::make_unique<net::Streams>(core);
        core.post([&] {
          call = std::make_unique<net::HttpCall>(*streams, server, std::move(request), kLimit,
                                                 [&](Result<net::HttpResponse> answer) {
                                                   result = std::move(answer);
                                                   world.stop();
                                                 });
        });
      },
      [&](runtime::Core&) {
        call.reset();
        streams.reset();
      });
  if (!ran.ok()) return ran.error();
  return result;
}

int change_users(const UserCommand& command) {
  std::string password;
  if (command.what == UserCommand::What::add) {
    Result<std::string> typed = read_password();
    if (!typed.ok()) {
      fmt::print(stderr, "{}\n", typed.error().detail);
      return 1;
    }
    password = typed.take();
  }
  const Result<std::string> said = run_user_command(command, std::move(password));
  if (!said.ok()) {
    fmt::print(stderr, "{}\n", said.error().detail);
    return 1;
  }
  std::fwrite(said->data(), 1, said->size(), stdout);
  return 0;
}

}  // namespace

int robust_ctl_main(int argc, char** argv) {
  int exit_code = 0;
  std::optional<Command> command = parse_commands(argc, argv, exit_code);
  if (!command) return exit_code;
  if (command->user) return change_users(*command->user);
  const Result<runtime::Endpoint> server = runtime::Endpoint::parse(command->server);
  if (!server.ok()) {
    fmt::print(stderr, "--server {}: an address is given as host:port\n", command->server);
    return 2;
  }
  const Result<net::HttpResponse> answer = ask(*server, std::move(command->request));
  if (!answer.ok()) {
    fmt::print(stderr, "no node answers at {}: {}\n", command->server, answer.error().to_string());
    return 1;
  }
  if (answer->status < 200 || answer->status > 299) {
    fmt::print(stderr, "{}", show_error(answer->status, answer->body));
    return 1;
  }
  const std::string text = show(*command, answer->body);
  std::fwrite(text.data(), 1, text.size(), stdout);
  if (!text.empty() && !text.ends_with('\n')) std::fputc('\n', stdout);
  return 0;
}

}  // namespace robustmq::ctl
