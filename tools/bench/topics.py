#!/usr/bin/env python3
"""A million light topics: what each costs, and how long a start takes: `make bench-topics`.

For each mode a broker is started, topics are made by publishing one message of 100 bytes at QoS 1 to each, then the broker is left
alone until its compactions are done; its CPU time until then, and its resident memory then, are divided by the number of topics. Then
it is killed with -9 and started again. A broker that already has the topics answers for a message to one of them as it did before.
"""
import argparse
import json
import os
import subprocess
import sys
import time
import urllib.request

REPO = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(REPO, "tests", "e2e"))
from broker import Broker, scratch  # noqa: E402

RULE = '[[topic_rule]]\nfilter = "bench/#"\nmode = "{}"\nretention_ms = -1\n'
BROKER = "[broker]\nlight_topics_max = {}\nmemory_bytes = 2147483648\nlight_retention_ms = 86400000\n"
TICK = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def settle(pid, limit_s):
    """Waits until the process hardly works any more."""
    end = time.monotonic() + limit_s
    last = cpu_seconds(pid)
    while time.monotonic() < end:
        time.sleep(1)
        now = cpu_seconds(pid)
        if now - last < 0.05:
            return
        last = now


def metric(broker, name):
    text = urllib.request.urlopen(f"http://127.0.0.1:{broker.ports['admin']}/metrics", timeout=10).read().decode()
    return sum(float(line.split()[-1]) for line in text.splitlines() if line.split("{")[0].split(" ")[0].endswith(name))


def load(args, broker, command, *options):
    out = subprocess.run([args.bench, command, f"--port={broker.ports['mqtt']}", f"--pid={broker.pid}", "--json", *options],
                         check=True, capture_output=True, text=True)
    return json.loads(out.stdout)


def measure(args, mode, home):
    config = BROKER.format(args.topics * 11 // 10 + 1000) + RULE.format(mode)
    broker = Broker(args.server, home, config).start()
    try:
        before, idle = cpu_seconds(broker.pid), broker.status("VmRSS")
        made = load(args, broker, "mqtt-topics", f"--topics={args.topics}", f"--publishers={args.publishers}",
                    f"--window={args.window}", "--size_bytes=100", f"--seconds={args.seconds}", "--topic=bench")
        peak = broker.status("VmRSS")
        settle(broker.pid, 30)
        topics = int(made["topics"])
        row = {"topics": topics, "topics_per_s": made["topics_per_s"], "idle_kb": idle,
               "cpu_us_per_topic": (cpu_seconds(broker.pid) - before) * 1e6 / max(topics, 1),
               "bytes_per_topic": (broker.status("VmRSS") - idle) * 1024 / max(topics, 1),
               "bytes_per_topic_at_once": (peak - idle) * 1024 / max(topics, 1), "known": metric(broker, "broker_light_topics")}
        broker.kill9()
        broker.start(timeout=120)
        row |= {"restart_s": broker.start_seconds, "known_after_kill": metric(broker, "broker_light_topics"),
                "restarted_bytes_per_topic": (broker.status("VmRSS") - idle) * 1024 / max(topics, 1)}
        return row
    finally:
        broker.kill9()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--server", default=os.path.join(REPO, "build/release/bin/robust-server"))
    parser.add_argument("--bench", default=None, help="robust-bench (default: beside the server)")
    parser.add_argument("--topics", type=int, default=1_000_000)
    parser.add_argument("--publishers", type=int, default=20)
    parser.add_argument("--window", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=300, help="longest time of making topics")
    parser.add_argument("--mode", action="append", choices=("memory", "persistent"))
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    args.server = os.path.abspath(args.server)
    args.bench = args.bench or os.path.join(os.path.dirname(args.server), "robust-bench")
    rows = {}
    for mode in args.mode or ("memory", "persistent"):
        with scratch(f"topics-{mode}") as home:
            rows[mode] = measure(args, mode, home)
    if args.json:
        print(json.dumps(rows, indent=1))
        return 0
    labels = [("topics", "topics made"), ("topics_per_s", "topics a second"), ("cpu_us_per_topic", "CPU a topic, compaction included, us"),
              ("bytes_per_topic", "resident memory a topic, bytes"), ("bytes_per_topic_at_once", "the same before compaction ended, bytes"),
              ("restart_s", "start after kill -9, s"), ("known_after_kill", "topics known after it"),
              ("restarted_bytes_per_topic", "resident memory a topic after it, bytes"), ("idle_kb", "resident memory of the idle broker, kB")]
    print("| | " + " | ".join(rows) + " |\n|---" * 1 + "|---" * len(rows) + "|")
    for field, label in labels:
        print(f"| {label} | " + " | ".join(f"{row[field]:,.2f}".rstrip("0").rstrip(".") for row in rows.values()) + " |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
