#!/usr/bin/env python3
"""Prints the line coverage of an llvm-cov summary: coverage.py SUMMARY LEAST ROOM... A line a file, the least covered first, then one a
room; exits with 1 where a room is below LEAST percent."""
import json
import os
import sys


def main():
    summary, least, rooms = sys.argv[1], float(sys.argv[2]), sys.argv[3:]
    with open(summary) as f:
        files = json.load(f)["data"][0]["files"]
    here = os.getcwd() + "/"
    lines = sorted((each["summary"]["lines"]["percent"], each["filename"].removeprefix(here), each["summary"]["lines"]) for each in files)
    for percent, name, counts in lines:
        print(f"{percent:6.1f} %  {counts['covered']:5} of {counts['count']:5} lines  {name}")
    low = []
    for room in rooms:
        own = [counts for _, name, counts in lines if name.startswith(room + "/")]
        count, covered = sum(c["count"] for c in own), sum(c["covered"] for c in own)
        percent = 100 * covered / count if count else 0.0
        print(f"coverage: {room}: {percent:.1f} % of {count} lines")
        if percent < least:
            low.append(room)
    if low:
        print(f"coverage: below {least:g} %: {', '.join(low)}")
    return 1 if low else 0


if __name__ == "__main__":
    sys.exit(main())
