#!/usr/bin/env python3
"""The import guard: holds the table of who may import whom, reads the includes of src/, tools/ and tests/, and fails on

  - an include that the table does not allow (an arrow that runs up), or a folder that the table does not know
  - a private header used from outside its room (its opening comment says "Private to")
  - a file under protocol/<name>/ that includes anything but base, compress, broker/menu and protocol/connection.h
  - clocks, random numbers, threads, mutexes, sockets and files outside runtime/posix, by header and by identifier
  - a third-party header in a .h file, or in a room that is not its door
  - a file marked pure that iterates an unordered container

guard.py checks the tree it stands in; guard.py --table prints the table as ARCHITECTURE.md shows it.
"""
import os
import re
import sys

# room: (floor, rooms it may import, reason for what is not obvious). A room may always import itself; tests, fuzzers and
# benchmarks may import any room up to their own floor.
ROOMS = {
    "base": (0, "", ""),
    "observe": (0, "base", ""),
    "config": (0, "base", ""),
    "compress": (0, "base", ""),
    "auth": (0, "base", "pure: users, passwords, SCRAM; a door of OpenSSL"),
    "runtime": (1, "base observe", ""),
    "runtime/posix": (1, "base observe runtime", "the only room that may call the operating system"),
    "runtime/sim": (1, "base observe runtime", ""),
    "net": (1, "base observe runtime", ""),
    "net/quic": (1, "base observe runtime net", "the door of ngtcp2 and GnuTLS"),
    "storage": (1, "base observe compress runtime", ""),
    "storage/memory": (1, "base observe runtime storage", ""),
    "storage/segment": (1, "base observe runtime storage", ""),
    "storage/rocksdb": (1, "base observe runtime storage", "the door of RocksDB"),
    "storage/conformance": (1, "base observe runtime runtime/sim storage storage/memory storage/segment storage/rocksdb",
                            "tests of every engine"),
    "raft": (2, "base observe runtime net storage", ""),
    "meta": (3, "base observe runtime net storage raft", "storage: the catalog's log and rows are opened by its shell"),
    "shard": (4, "base observe compress runtime net storage meta", ""),
    "broker": (5, "base observe runtime net storage raft meta shard auth broker/menu broker/queue", "storage: engines and rows are given to the hall at start"),
    "broker/menu": (5, "base", "pure: what may be asked"),
    "broker/queue": (5, "base", "pure: who was given what"),
    "protocol": (6, "base broker/menu", "the seam itself"),
    "protocol/mqtt": (6, "base compress broker/menu protocol/connection.h", "pure"),
    "protocol/kafka": (6, "base compress broker/menu protocol/connection.h", "pure"),
    "protocol/driver": (6, "base observe runtime net net/quic broker broker/menu protocol", "the only asynchronous part of a protocol"),
    "admin": (6, "base observe runtime net config broker broker/menu", ""),
    "server": (7, "*", "composition"),
    "tools": (7, "base observe config auth runtime net runtime/posix", ""),
    "tests": (8, "*", ""),
}

# Third-party header prefix: the rooms that are its door.
DOORS = {
    "fmt/": "*",
    "toml++/": "config",
    "nlohmann/": "config admin tools tests",
    "CLI/": "server tools tests",
    "http_parser.h": "net",
    "openssl/": "net auth",
    "ngtcp2/": "net/quic",
    "gnutls/": "net/quic",
    "zlib.h": "compress",
    "snappy": "compress",
    "lz4": "compress",
    "zstd": "compress",
    "xxhash.h": "base",
    "rocksdb/": "storage/rocksdb",
    "re2/": "broker",
}
TEST_HEADERS = ("gtest/", "gmock/", "benchmark/", "fuzzer/")

STANDARD = set("""algorithm any array atomic bit bitset cctype cerrno cfloat charconv cinttypes climits cmath compare complex concepts
coroutine cstddef cstdint cstdio cstdlib cstring deque exception functional initializer_list iosfwd iterator limits list map memory
memory_resource new numbers numeric optional queue ranges ratio set source_location span stack stdexcept string string_view tuple
type_traits typeindex typeinfo unordered_map unordered_set utility valarray variant vector version cstdarg cassert clocale cwchar
sstream istream ostream immintrin.h nmmintrin.h x86intrin.h arm_acle.h stdint.h stddef.h string.h limits.h""".split())
# Standard headers that bring in what the World is for.
IMPURE = set("""chrono ctime condition_variable csignal filesystem fstream future iostream latch barrier mutex
random semaphore shared_mutex stop_token thread regex locale time.h signal.h""".split())
IMPURE_WORDS = re.compile(
    r"\bstd::(?:thread|jthread|mutex|recursive_mutex|shared_mutex|condition_variable|future|promise|async|chrono|this_thread|"
    r"random_device|mt19937(?:_64)?|ifstream|ofstream|fstream|filesystem|cin|cout|cerr|time|rand|signal|getenv|system)\b"
    r"|(?<![\w.>:])(?:::)?(?:rand|srand|random|time|clock|gettimeofday|clock_gettime|usleep|nanosleep|sleep|pthread_create|"
    r"open|fopen|fdopen|socket|bind|listen|accept|connect|epoll_wait|poll|getenv|system)\s*\(")
# Called like the operating system's, but a function of our own: asked for by "::" only.
COMMON_NAMES = re.compile(r"^(?!::)(?:random|time|clock|open|bind|listen|accept|connect|poll|socket)\b")

# Headers that the build makes: the room they belong to.
GENERATED = {"protocol/kafka/frames/": "protocol/kafka", "version_stamp.h": "server"}

# Files outside runtime/posix that stand at the edge of the process.
EDGE = {
    "src/base/check.cc": "a broken invariant is written to standard error",
    "src/server/main.cc": "reads the configuration file and the environment, takes signals",
    "src/server/output.cc": "the log's way to standard output",
}

INCLUDE = re.compile(r'^\s*#\s*include\s+([<"])([^>"]+)[>"]', re.M)


def opening(text):
    """The comment that a file opens with."""
    lines = []
    for line in text.splitlines():
        if line.startswith("//"):
            lines.append(line[2:].strip())
        elif lines or line.strip():
            break
    return " ".join(lines)


def is_pure(text):
    return re.search(r"(^|[\s(])Pure[.\s(;]", opening(text) + " ") is not None


def without_comments_and_texts(text):
    pattern = r'//[^\n]*|/\*.*?\*/|R"(\w*)\(.*?\)\1"|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])+\''
    return re.sub(pattern, lambda m: "\n" * m.group(0).count("\n") if m.group(0).startswith(("//", "/*", "R")) else '""', text, flags=re.S)


def is_test(path):
    return re.search(r"_(?:(?:test|fuzz|bench)\.cc|rig\.h)$", path) is not None or path.startswith(("tests/", "src/storage/conformance/"))


class Guard:
    def __init__(self, root):
        self.root = root
        self.problems = []
        self.files = {}
        for top in ("src", "tools", "tests"):
            for folder, folders, names in os.walk(os.path.join(root, top)):
                folders.sort()
                for name in sorted(names):
                    if name.endswith((".h", ".cc", ".def")):
                        full = os.path.join(folder, name)
                        with open(full, encoding="utf-8") as f:
                            self.files[os.path.relpath(full, root)] = f.read()

    def room_of(self, path):
        """The room of a file; the longest name in the table that its folder begins with."""
        folder = os.path.dirname(path[4:] if path.startswith("src/") else path)
        while folder:
            if folder in ROOMS:
                return folder
            # A new protocol is one new folder: it needs no line here.
            if re.fullmatch(r"protocol/\w+", folder):
                return folder
            folder = os.path.dirname(folder)
        return None

    @staticmethod
    def facts(room):
        return ROOMS.get(room) or ROOMS["protocol/mqtt"]

    def tell(self, path, line, text):
        self.problems.append(f"{path}:{line}: {text}")

    def check(self):
        for path, text in self.files.items():
            room = self.room_of(path)
            if room is None:
                self.tell(path, 1, "this folder is not in the table of rooms (tools/guard/guard.py)")
                continue
            for match in INCLUDE.finditer(text):
                line = text.count("\n", 0, match.start()) + 1
                if match.group(1) == '"':
                    self.check_own(path, room, line, match.group(2))
                else:
                    self.check_foreign(path, room, line, match.group(2))
            self.check_words(path, room, text)
            self.check_unordered(path, room, text)
        self.check_architecture()
        return self.problems

    def is_generated(self, name):
        """Headers that the build makes: the version stamp, and Kafka's frames, one for each schema table and two of all."""
        if name == "version_stamp.h":
            return True
        match = re.fullmatch(r"protocol/kafka/frames/(\w+)\.h", name)
        schema = os.path.join(self.root, "tools/kafka_frames/schema")
        return match is not None and (match[1] in ("apis", "all") or os.path.exists(os.path.join(schema, match[1] + ".txt")))

    def check_own(self, path, room, line, name):
        target = next((t for t in ("src/" + name, name) if t in self.files), None)
        if target is None:
            if not self.is_generated(name):
                if os.path.splitext(name)[1] in (".h", ".def"):
                    self.tell(path, line, f'"{name}" is no path from src/')
                return
            target = "src/" + name
        other = self.room_of(target)
        if other == room or other is None:
            return
        if "Private to" in opening(self.files.get(target, "")) and other.split("/")[0] != room.split("/")[0]:
            self.tell(path, line, f"{name} is private to {other}")
        floor, allowed, _ = self.facts(room)
        allowed = allowed.split()
        if "*" in allowed or other in allowed or name in allowed:
            return
        if is_test(path) and self.facts(other)[0] <= floor:
            return
        self.tell(path, line, f"{room} may not import {other} ({name}); it may import: {', '.join(allowed) or 'nothing'}")

    def check_foreign(self, path, room, line, name):
        if name in STANDARD:
            return
        if room == "runtime/posix" or path in EDGE or room == "tests" or room == "tools":
            if path.endswith(".h") and self.door(name):
                self.tell(path, line, f"the third-party header <{name}> belongs in a .cc file")
            return
        door = self.door(name)
        if door:
            if path.endswith(".h"):
                self.tell(path, line, f"the third-party header <{name}> belongs in a .cc file")
            elif door != "*" and room.split("/")[0] not in door.split() and room not in door.split():
                self.tell(path, line, f"<{name}> comes in through {door} only")
            return
        if name.startswith(TEST_HEADERS):
            if not is_test(path) and room != "storage/conformance":
                self.tell(path, line, f"<{name}> belongs in tests")
            return
        if is_test(path) and room.split("/")[0] in ("runtime", "net", "server", "admin", "storage"):
            return  # tests of the real world
        if name in IMPURE or name.startswith(("sys/", "netinet/", "arpa/", "linux/")) or name in (
                "unistd.h", "fcntl.h", "poll.h", "pthread.h", "netdb.h", "errno.h", "dirent.h", "sched.h", "dlfcn.h"):
            if not (is_test(path) and name in ("iostream", "sstream", "fstream", "filesystem", "random", "chrono", "thread")):
                self.tell(path, line, f"<{name}>: clocks, random numbers, threads, sockets and files are runtime/posix alone")
            return
        self.tell(path, line, f"<{name}> is not known to the guard: give it a door (tools/guard/guard.py)")

    @staticmethod
    def door(name):
        return next((rooms for prefix, rooms in DOORS.items() if name.startswith(prefix)), None)

    def check_words(self, path, room, text):
        if room in ("runtime/posix", "tests", "tools") or path in EDGE or is_test(path):
            return
        code = without_comments_and_texts(text)
        for match in IMPURE_WORDS.finditer(code):
            word = match.group(0)
            if COMMON_NAMES.match(word):
                continue
            line = code.count("\n", 0, match.start()) + 1
            self.tell(path, line, f"{word.rstrip('( ')}: clocks, random numbers, threads, sockets and files are runtime/posix alone")

    def check_unordered(self, path, room, text):
        """Best effort: a range-for over, or begin() of, a name declared as an unordered container here or in the own header."""
        if is_test(path) or room in ("tools", "tests", "runtime/posix"):
            return
        header = self.files.get(path[:-3] + ".h", "") if path.endswith(".cc") else ""
        if not (is_pure(text) or is_pure(header) or re.match(r"protocol/(?!driver)\w+", room)):
            return
        code = without_comments_and_texts(text)
        declared = set()
        for source in (code, without_comments_and_texts(header)):
            for match in re.finditer(r"\bunordered_(?:flat_)?(?:map|set|multimap|multiset)\s*<", source):
                depth, i = 1, match.end()
                while i < len(source) and depth:
                    depth += {"<": 1, ">": -1}.get(source[i], 0)
                    i += 1
                name = re.match(r"[\s&*]*(\w+)\s*(?:[;={(]|$)", source[i:])
                if name:
                    declared.add(name.group(1))
        for name in declared:
            for match in re.finditer(r"for\s*\([^;()]*:\s*(?:\w+(?:\.|->))*" + name + r"\s*\)|\b" + name + r"\.c?begin\(\)", code):
                line = code.count("\n", 0, match.start()) + 1
                self.tell(path, line, f"{name} is unordered: a pure file does not iterate it")

    def check_architecture(self):
        """Where ARCHITECTURE.md shows the table it is this one."""
        path = os.path.join(self.root, "ARCHITECTURE.md")
        if not os.path.exists(path):
            return
        with open(path, encoding="utf-8") as f:
            text = f.read()
        match = re.search(r"<!-- import table -->\n(.*?)<!-- end of import table -->", text, re.S)
        if match and match.group(1).strip() != table().strip():
            self.problems.append("ARCHITECTURE.md: the import table is not the guard's: put in what tools/guard/guard.py --table prints")


def table():
    rows = ["```"]
    last = None
    for room, (floor, allowed, reason) in sorted(ROOMS.items(), key=lambda r: (-r[1][0], list(ROOMS).index(r[0]))):
        mark = f"{floor}" if floor != last else " "
        last = floor
        line = f"{mark}  {room:<20} {'everything' if allowed == '*' else allowed or 'the standard library'}"
        rows.append(line + (f"   ({reason})" if reason else ""))
    rows.append("```")
    return "\n".join(rows) + "\n"


def main():
    if sys.argv[1:] == ["--table"]:
        print(table(), end="")
        return 0
    root = sys.argv[1] if len(sys.argv) > 1 else os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    guard = Guard(root)
    problems = guard.check()
    for problem in problems:
        print(problem)
    print(f"guard: {len(guard.files)} files, {len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
