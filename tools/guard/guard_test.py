#!/usr/bin/env python3
"""The import guard finds what it is for: each test plants one wrong thing in a small tree."""
import os
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import guard  # noqa: E402

CLEAN = {
    "src/base/bytes.h": "// Bytes. Pure.\n#pragma once\n#include <vector>\n",
    "src/runtime/core.h": '// Core.\n#pragma once\n#include "base/bytes.h"\n',
    "src/runtime/posix/core.cc": "#include <sys/epoll.h>\n#include <thread>\nstd::thread t;\n",
    "src/broker/menu/request.h": '// The menu. Pure.\n#pragma once\n#include "base/bytes.h"\n',
    "src/broker/hall.h": '// The hall.\n#pragma once\n#include "broker/menu/request.h"\n#include "runtime/core.h"\n',
    "src/protocol/connection.h": '// The seam. Pure.\n#pragma once\n#include "broker/menu/request.h"\n',
    "src/protocol/mqtt/codec.cc": '#include "protocol/connection.h"\n#include <fmt/core.h>\n// rand() in a comment, "std::mutex" too\n',
    "src/config/toml.h": "// A document. Private to the room. Pure.\n#pragma once\n",
    "src/config/toml.cc": '#include "config/toml.h"\n#include <toml++/toml.h>\n',
    "src/server/node.cc": '#include "broker/hall.h"\n',
    "tools/bench/main.cc": '#include <chrono>\n#include "runtime/core.h"\n',
}


class GuardTest(unittest.TestCase):
    def problems(self, **planted):
        files = dict(CLEAN)
        files.update({name.replace("__", "/").replace("_cc", ".cc").replace("_h", ".h"): text for name, text in planted.items()})
        with tempfile.TemporaryDirectory() as root:
            for name, text in files.items():
                path = os.path.join(root, name)
                os.makedirs(os.path.dirname(path), exist_ok=True)
                with open(path, "w", encoding="utf-8") as f:
                    f.write(text)
            return guard.Guard(root).check()

    def expect(self, text, **planted):
        problems = self.problems(**planted)
        self.assertTrue(any(text in p for p in problems), problems)

    def test_passes_a_clean_tree(self):
        self.assertEqual(self.problems(), [])

    def test_fails_on_an_arrow_that_runs_up(self):
        self.expect("runtime may not import broker", src__runtime__wrong_cc='#include "broker/menu/request.h"\n')
        self.expect("base may not import runtime", src__base__wrong_h='#include "runtime/core.h"\n')

    def test_keeps_a_protocol_to_its_seam(self):
        self.expect("protocol/mqtt may not import broker (broker/hall.h)", src__protocol__mqtt__wrong_cc='#include "broker/hall.h"\n')
        self.expect("protocol/mqtt may not import runtime", src__protocol__mqtt__wrong_cc='#include "runtime/core.h"\n')
        self.expect("<sys/socket.h>", src__protocol__mqtt__wrong_cc="#include <sys/socket.h>\n")
        self.expect("protocol/amqp may not import protocol/mqtt", src__protocol__amqp__codec_cc='#include "protocol/mqtt/frames.h"\n',
                    src__protocol__mqtt__frames_h="#pragma once\n")

    def test_fails_on_a_private_header_used_from_outside(self):
        self.expect("config/toml.h is private to config", src__server__wrong_cc='#include "config/toml.h"\n')

    def test_bans_what_is_not_deterministic(self):
        self.expect("<mutex>", src__broker__wrong_cc="#include <mutex>\n")
        self.expect("std::chrono", src__broker__wrong_cc="auto t = std::chrono::system_clock::now();\n")
        self.expect("rand", src__broker__wrong_cc="int x = rand();\n")
        self.expect("::open", src__broker__wrong_cc='int f = ::open("x", 0);\n')
        self.assertEqual(self.problems(src__broker__right_cc="void f(Disk& d) { d.open(1); journal_.random(); open(path); }\n"), [])

    def test_keeps_third_party_headers_behind_their_doors(self):
        self.expect("belongs in a .cc file", src__broker__wrong_h="#include <fmt/core.h>\n")
        self.expect("comes in through config only", src__broker__wrong_cc="#include <toml++/toml.h>\n")
        self.expect("not known to the guard", src__broker__wrong_cc="#include <boost/asio.hpp>\n")

    def test_fails_on_iterating_an_unordered_container_in_a_pure_file(self):
        text = "// A table. Pure.\n#include <unordered_map>\nstd::unordered_map<int, std::map<int, int>> rows_;\n"
        self.expect("rows_ is unordered", src__broker__wrong_cc=text + "void f() { for (auto& [k, v] : rows_) {} }\n")
        self.expect("rows_ is unordered", src__broker__wrong_cc=text + "auto i = rows_.begin();\n")
        self.assertEqual(self.problems(src__broker__right_cc=text + "auto i = rows_.find(1);\n"), [])

    def test_wants_every_folder_in_the_table(self):
        self.expect("not in the table of rooms", src__kitchen__sink_cc="int x;\n")


if __name__ == "__main__":
    unittest.main()
