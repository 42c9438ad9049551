// The user file of any bytes: refused with a reason, or read and written again the same.
#include "auth/users.h"
#include "base/check.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace robustmq;
  using namespace robustmq::auth;
  const Result<Users> users = Users::parse(as_text({data, size}));
  if (!users.ok()) {
    ROBUSTMQ_CHECK(!users.error().detail.empty(), "refused without a reason");
    return 0;
  }
  const std::string text = users->to_text();
  const Result<Users> again = Users::parse(text);
  ROBUSTMQ_CHECK(again.ok() && again->all() == users->all() && again->to_text() == text, "it is read as it was written");
  for (const auto& [name, credential] : users->all()) {
    ROBUSTMQ_CHECK(is_name(name) && users->find(name).is_known && users->find(name).credential == credential,
                   "everybody is found");
  }
  return 0;
}
