# Compiler flags, sanitizers, linker. One switch: ROBUSTMQ_SANITIZE = none | address | thread | fuzzer | coverage.
set(ROBUSTMQ_SANITIZE "none" CACHE STRING "none, address (ASan and UBSan), thread, fuzzer (ASan, UBSan and libFuzzer), or coverage (which lines ran)")

add_compile_options(-Wall -Wextra -Wshadow -Wimplicit-fallthrough -Werror -Wno-missing-field-initializers -msse4.2
                    -fno-omit-frame-pointer -Xclang -fno-pch-timestamp)
add_link_options(-fuse-ld=lld-19 -Wl,--gc-sections)

if(CMAKE_BUILD_TYPE STREQUAL "Release")
  add_compile_options(-ffunction-sections -fdata-sections -D_GLIBCXX_ASSERTIONS -DROBUSTMQ_NO_FAILPOINTS)
endif()

if(ROBUSTMQ_SANITIZE STREQUAL "address")
  # The fuzzers are built in the same directory as the tests: one build for both.
  # Not vptr: its check opens a pipe, and takes a process without free descriptors for a broken one.
  add_compile_options(-fsanitize=address,undefined,fuzzer-no-link -fno-sanitize=vptr -fno-sanitize-recover=all)
  add_link_options(-fsanitize=address,undefined)
elseif(ROBUSTMQ_SANITIZE STREQUAL "thread")
  add_compile_options(-fsanitize=thread)
  add_link_options(-fsanitize=thread)
elseif(ROBUSTMQ_SANITIZE STREQUAL "coverage")
  add_compile_options(-fprofile-instr-generate -fcoverage-mapping)
  add_link_options(-fprofile-instr-generate)
elseif(ROBUSTMQ_SANITIZE STREQUAL "fuzzer")
  add_compile_options(-fsanitize=address,undefined,fuzzer-no-link -fno-sanitize=vptr -fno-sanitize-recover=all)
  add_link_options(-fsanitize=address,undefined)
endif()

# Paths are hashed relative to the checkout, so that another checkout or worktree on this machine compiles from the cache.
find_program(CCACHE_PROGRAM ccache)
if(CCACHE_PROGRAM)
  set(CMAKE_CXX_COMPILER_LAUNCHER
      "${CMAKE_COMMAND};-E;env;CCACHE_BASEDIR=${CMAKE_SOURCE_DIR};CCACHE_NOHASHDIR=1;CCACHE_PCH_EXTSUM=1;CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime;${CCACHE_PROGRAM}")
endif()

# Headers that nearly every file needs (pch.h), and those of tests besides (pch_test.h), compiled once a build directory. Not CMake's
# own precompiled header: it is named by its full path, which would keep checkouts from sharing the cache; so does the path inside the
# file, which is why the cache is given a sum of what the file is made from.
string(TOUPPER "${CMAKE_BUILD_TYPE}" build_type)
separate_arguments(pch_flags UNIX_COMMAND "${CMAKE_CXX_FLAGS} ${CMAKE_CXX_FLAGS_${build_type}}")
get_directory_property(pch_options COMPILE_OPTIONS)
list(APPEND pch_flags ${pch_options} -std=c++20 -fpch-instantiate-templates)
set(pch_sums "")
foreach(pch pch pch_test)
  if(pch STREQUAL "pch_test")
    list(APPEND pch_flags -DGTEST_HAS_PTHREAD=1)  # as GTest's target has it
  endif()
  file(SHA256 "${CMAKE_SOURCE_DIR}/cmake/${pch}.h" own_sum)
  string(APPEND pch_sums "${own_sum}")
  string(SHA256 sum "${pch_sums} ${CMAKE_CXX_COMPILER_VERSION} ${pch_flags}")
  add_custom_command(
    OUTPUT "${CMAKE_BINARY_DIR}/${pch}.pch"
    BYPRODUCTS "${CMAKE_BINARY_DIR}/${pch}.pch.sum"
    COMMAND "${CMAKE_CXX_COMPILER}" ${pch_flags} -x c++-header -c "${CMAKE_SOURCE_DIR}/cmake/${pch}.h" -o ${pch}.pch
    COMMAND "${CMAKE_COMMAND}" -E echo "${sum}" > ${pch}.pch.sum
    DEPENDS "${CMAKE_SOURCE_DIR}/cmake/pch.h" "${CMAKE_SOURCE_DIR}/cmake/${pch}.h"
    COMMENT "Precompiling ${pch}.h"
    VERBATIM)
  add_custom_target(robustmq_${pch} DEPENDS "${CMAKE_BINARY_DIR}/${pch}.pch")
endforeach()

# Gives a target precompiled headers: pch or pch_test.
function(robustmq_use_pch target pch)
  target_compile_options(${target} PRIVATE "SHELL:-include-pch ${pch}.pch")
  get_target_property(sources ${target} SOURCES)
  set_property(SOURCE ${sources} APPEND PROPERTY OBJECT_DEPENDS "${CMAKE_BINARY_DIR}/${pch}.pch")
  add_dependencies(${target} robustmq_${pch})
endfunction()
