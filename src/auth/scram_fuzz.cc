// SCRAM on any two messages, with a newline between them: nobody who does not know the password is let in, and answers are made
// of what they may be made of.
#include "auth/scram.h"
#include "base/check.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace robustmq;
  using namespace robustmq::auth;
  static const Users kUsers = [] {
    Users users(std::string(kSecretBytes, 's'));
    Credential credential{.iterations = kIterationsMin, .salt = std::string(kSaltBytes, 'x')};
    credential.stored_key.fill(7);  // of no password that anybody knows
    credential.server_key.fill(9);
    users.set("user", credential);
    return users;
  }();
  const std::string_view input = as_text({data, size});
  const size_t cut = input.find('\n');
  ScramServer server;
  const auto first = server.first(input.substr(0, cut), kUsers, "xyz");
  ROBUSTMQ_CHECK(first.ok() != first.message.empty(), "an answer, or a reason");
  if (first.ok()) {
    ROBUSTMQ_CHECK(first.message.starts_with("r=") && first.message.find("xyz,s=") != std::string::npos, "the nonce goes on");
    ROBUSTMQ_CHECK(first.message.ends_with(",i=4096"), "the iterations come last");
    for (const char c : first.message) ROBUSTMQ_CHECK(c > 0x20 && c < 0x7F, "it is printable");
  }
  const auto last = server.last(cut == std::string_view::npos ? std::string_view() : input.substr(cut + 1));
  ROBUSTMQ_CHECK(!last.ok() && last.message.empty(), "nobody knows the password");
  return 0;
}
