// The one program: robust-server, robust-ctl or robust-bench by the name it is called, or by its first argument when it is
// called `robust`.
#include <cstdio>
#include <string_view>

#include "server/main.h"
#ifdef ROBUSTMQ_WITH_CTL
#include "tools/ctl/main.h"
#endif
#ifdef ROBUSTMQ_WITH_BENCH
int robust_bench_main(int argc, char** argv);
#endif

namespace {

struct Program {
  std::string_view name;
  int (*run)(int argc, char** argv);
};

constexpr Program kPrograms[] = {
    {"robust-server", robustmq::server::robust_server_main},
#ifdef ROBUSTMQ_WITH_CTL
    {"robust-ctl", robustmq::ctl::robust_ctl_main},
#endif
#ifdef ROBUSTMQ_WITH_BENCH
    {"robust-bench", robust_bench_main},
#endif
};

const Program* find(std::string_view path) {
  const size_t slash = path.rfind('/');
  if (slash != std::string_view::npos) path.remove_prefix(slash + 1);
  for (const Program& program : kPrograms) {
    // "robust server" reads as well as "robust-server".
    if (path == program.name || path == program.name.substr(7)) return &program;
  }
  return nullptr;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc > 0) {
    if (const Program* program = find(argv[0])) return program->run(argc, argv);
  }
  if (argc > 1) {
    if (const Program* program = find(argv[1])) return program->run(argc - 1, argv + 1);
  }
  std::fputs("usage: robust <program> ..., or call it by the program's name; the programs are:\n", stderr);
  for (const Program& program : kPrograms)
    std::fprintf(stderr, "  %.*s\n", static_cast<int>(program.name.size()), program.name.data());
  return 2;
}
