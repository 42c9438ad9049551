#!/usr/bin/env python3
"""User instructions a delivered message, by callgrind: `make bench-instructions`.

The broker runs with one core under valgrind, which counts the instructions it executes in user space; what the machine does beside it
changes nothing. Each cell is loaded twice, for a short and for a long time, and the difference of both is divided by the messages that
more of them delivered, so that the start, the connections and the end do not count.
"""
import argparse
import os
import re
import shutil
import subprocess
import sys
import urllib.request

REPO = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(REPO, "tests", "e2e"))
from broker import Broker, scratch  # noqa: E402

PAIRS = ("mqtt-pairs", "--publishers=10", "--subscribers=10", "--window=100")
CELLS = {  # what is loaded, and the aim
    "pairs, 10 to 10, QoS 0": ((*PAIRS, "--qos=0"), 4000),
    "pairs, 10 to 10, QoS 1": ((*PAIRS, "--qos=1"), 6000),
    "pairs, 10 to 10, QoS 2": ((*PAIRS, "--qos=2"), None),
    "fan-out, 1 to 50, QoS 0": (("mqtt-fan-out", "--subscribers=50", "--window=100", "--qos=0"), 1000),
}


def metric(admin, name):
    page = urllib.request.urlopen(f"http://127.0.0.1:{admin}/metrics", timeout=60).read().decode()
    return sum(float(v) for v in re.findall(rf"^robustmq_{name}(?:{{[^}}]*}})? (\S+)$", page, re.M))


def run(args, load, seconds):
    """(instructions, delivered messages) of one run."""
    with scratch("instructions") as home:
        counts, counted, bare = (os.path.join(home, name) for name in ("callgrind.out", "counted", "robust-server"))
        subprocess.run(["strip", "-o", bare, args.server], check=True)  # Debian's valgrind stumbles over the debug information
        with open(counted, "w") as script:
            script.write(f'#!/bin/sh\nexec valgrind --tool=callgrind --callgrind-out-file={counts} {bare} "$@"\n')
        os.chmod(counted, 0o755)
        broker = Broker(counted, home, "", ["--runtime.cores=1"]).start(timeout=300)
        try:
            subprocess.run([args.bench, load[0], f"--port={broker.ports['mqtt']}", f"--seconds={seconds}", "--warmup_s=1", *load[1:]], check=True,
                           capture_output=True)
            delivered = metric(broker.ports["admin"], "broker_messages_delivered_total")
        finally:
            broker.stop(timeout=120)
        with open(counts) as f:
            return next(int(line.split()[1]) for line in f if line.startswith(("summary:", "totals:"))), delivered


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--server", default=os.path.join(REPO, "build/release/bin/robust-server"))
    parser.add_argument("--seconds", type=int, nargs=2, default=(2, 8), metavar=("SHORT", "LONG"))
    args = parser.parse_args()
    args.server = os.path.abspath(args.server)
    args.bench = os.path.join(os.path.dirname(args.server), "robust-bench")
    if not shutil.which("valgrind"):
        raise SystemExit("valgrind is missing: apt-get install valgrind")
    print("| | instructions a delivered message | aim | messages compared |\n|---|---|---|---|")
    for name, (load, aim) in CELLS.items():
        (few, few_messages), (many, many_messages) = (run(args, load, seconds) for seconds in args.seconds)
        more = many_messages - few_messages
        if more <= 0:
            raise SystemExit(f"{name}: the longer run delivered no more than the shorter; take more --seconds")
        print(f"| {name} | {(many - few) / more:,.0f} | {f'{aim:,}' if aim else ''} | {more:,.0f} |", flush=True)


if __name__ == "__main__":
    main()
