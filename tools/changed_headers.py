#!/usr/bin/env python3
"""Of the headers named on standard input, prints those that differ from commit BASE, and those that include one of them.

  git ls-files '*.h' | changed_headers.py BASE     (without BASE: all of them)
"""
import re
import subprocess
import sys


def main():
    headers = sys.stdin.read().split()
    if len(sys.argv) < 2:
        print("\n".join(headers))
        return
    listed = subprocess.run(["git", "diff", "--name-only", sys.argv[1], "--", "*.h", "*.def", "cmake/*", "tools/kafka_frames/*"], check=True,
                            capture_output=True, text=True).stdout.split()
    if any(not name.endswith(".h") for name in listed):  # what generates headers, or the flags they are compiled with
        print("\n".join(headers))
        return
    known = {header.removeprefix("src/"): header for header in headers}
    includers = {header: set() for header in headers}
    for header in headers:
        with open(header) as f:
            for name in re.findall(r'^#include "([^"]+)"', f.read(), re.M):
                if name in known:
                    includers[known[name]].add(header)
    wanted, new = set(), [name for name in listed if name in includers]
    while new:
        name = new.pop()
        if name not in wanted:
            wanted.add(name)
            new.extend(includers[name])
    print("\n".join(sorted(wanted)))


if __name__ == "__main__":
    main()
