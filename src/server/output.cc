#include "server/output.h"

#include <cstdio>
#include <string>

namespace robustmq::server {

namespace {
void write_line(std::FILE* to, std::string_view line) {
  std::string whole(line);
  if (!whole.ends_with('\n')) whole += '\n';
  std::fwrite(whole.data(), 1, whole.size(), to);
  std::fflush(to);
}
}  // namespace

void tell(std::string_view line) { write_line(stdout, line); }
void complain(std::string_view line) { write_line(stderr, line); }
void CoreLogSink::write(observe::Level, std::string_view line) { write_line(stderr, line); }

}  // namespace robustmq::server
