# Compiler flags, sanitizers, linker. One switch: ROBUSTMQ_SANITIZE = none | address | thread | fuzzer.
set(ROBUSTMQ_SANITIZE "none" CACHE STRING "none, address (ASan and UBSan), thread, or fuzzer (ASan, UBSan and libFuzzer)")
option(ROBUSTMQ_STATIC "Link fully static: the release file" OFF)

add_compile_options(-Wall -Wextra -Wshadow -Wimplicit-fallthrough -Werror -Wno-missing-field-initializers -msse4.2
                    -fno-omit-frame-pointer -Xclang -fno-pch-timestamp)
add_link_options(-fuse-ld=lld-19 -Wl,--gc-sections)

if(CMAKE_BUILD_TYPE STREQUAL "Release")
  add_compile_options(-ffunction-sections -fdata-sections -D_GLIBCXX_ASSERTIONS)
endif()

if(ROBUSTMQ_SANITIZE STREQUAL "address")
  # The fuzzers are built in the same directory as the tests: one build for both.
  # Not vptr: its check opens a pipe, and takes a process without free descriptors for a broken one.
  add_compile_options(-fsanitize=address,undefined,fuzzer-no-link -fno-sanitize=vptr -fno-sanitize-recover=all)
  add_link_options(-fsanitize=address,undefined)
elseif(ROBUSTMQ_SANITIZE STREQUAL "thread")
  add_compile_options(-fsanitize=thread)
  add_link_options(-fsanitize=thread)
elseif(ROBUSTMQ_SANITIZE STREQUAL "fuzzer")
  add_compile_options(-fsanitize=address,undefined,fuzzer-no-link -fno-sanitize=vptr -fno-sanitize-recover=all)
  add_link_options(-fsanitize=address,undefined)
endif()

find_program(CCACHE_PROGRAM ccache)
if(CCACHE_PROGRAM)
  set(CMAKE_CXX_COMPILER_LAUNCHER "${CMAKE_COMMAND};-E;env;CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime;${CCACHE_PROGRAM}")
endif()

# Headers that nearly every file needs, compiled once a build directory.
add_library(robustmq_pch OBJECT "${CMAKE_SOURCE_DIR}/cmake/pch.cc")
target_include_directories(robustmq_pch PRIVATE "${CMAKE_SOURCE_DIR}/src")
target_precompile_headers(robustmq_pch PRIVATE <algorithm> <array> <atomic> <charconv> <cstdint> <cstring> <deque> <functional>
  <map> <memory> <optional> <span> <string> <string_view> <tuple> <unordered_map> <utility> <variant> <vector>)
