#!/usr/bin/env python3
"""Compares the broker with Mosquitto (MQTT) and with the bare loop (Kafka's bytes): `make bench`.

All servers run in turn, round after round (A-B-C-A-B-C), each freshly started; the table shows medians, and the least and the most
in brackets. CPU is user and system time of the server's whole process over what was delivered. Our default MQTT topic is a log in
memory: every message is stored and readable by Kafka clients too, while Mosquitto only forwards it.
"""
import argparse
import collections
import json
import os
import platform
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

REPO = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(REPO, "tests", "e2e"))
from broker import Broker  # noqa: E402

# name, command, options, the numbers wanted: (field, label, less is better)
CPU = ("broker_cpu_us_per_message", "CPU a delivered message, us", True)
RATE = ("messages_per_s", "messages/s", False)
LATENCY = [("p50_us", "latency p50, us", True), ("p99_us", "latency p99, us", True)]
MQTT = [
    ("idle connections", "mqtt-idle", [], [("kb_per_connection", "memory a connection, kB", True)]),
    ("pairs QoS 0", "mqtt-pairs", ["--qos=0"], [CPU, RATE]),
    ("pairs QoS 1", "mqtt-pairs", ["--qos=1"], [CPU, RATE]),
    ("pairs QoS 2", "mqtt-pairs", ["--qos=2"], [CPU, RATE]),
    ("fan-out 1 to 100", "mqtt-fan-out", [], [CPU, RATE]),
    ("fan-in 100 to 1", "mqtt-fan-in", [], [CPU, RATE]),
    ("shared, 100 to 100, QoS 1", "mqtt-shared", ["--qos=1"], [CPU, RATE]),
    ("QoS 1 to 100 sessions that are away", "mqtt-offline", ["--qos=1"], [CPU, RATE]),
    ("stored sessions, away", "mqtt-sessions", [], [("kb_per_session", "memory a session, kB", True)]),
    *((f"{rate:,} messages/s QoS {qos}", "mqtt-latency", [f"--rate={rate}", f"--qos={qos}"], LATENCY + [CPU])
      for rate in (1000, 10000) for qos in (0, 1)),
    *((f"half of Mosquitto's most, QoS {qos}", "mqtt-latency", ["--rate=half", f"--qos={qos}"], LATENCY + [CPU]) for qos in (0, 1)),
]
GB = ("broker_cpu_s_per_gb", "CPU s a GB", True)
MB = ("MBs_per_s", "MB/s", False)
KAFKA = [("produce, acks=all, persistent", "produce", [GB, MB]), ("fetch", "fetch", [GB, MB])]


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as s:
        return s.getsockname()[1]


def pin(core):
    return (lambda: os.sched_setaffinity(0, {core})) if core is not None else None


class Mosquitto:
    name, cores = "Mosquitto", 1

    def __init__(self, args, core):
        self.program, self.core = args.mosquitto, core

    def __enter__(self):
        self.dir = tempfile.mkdtemp(prefix="robustmq-bench-")
        self.port = free_port()
        config = os.path.join(self.dir, "mosquitto.conf")
        with open(config, "w") as f:
            f.write(f"listener {self.port} 127.0.0.1\nallow_anonymous true\nset_tcp_nodelay true\nmax_queued_messages 0\n"
                    "persistence false\nlog_type error\n")
            if os.geteuid() == 0:
                f.write("user root\n")
        self.process = subprocess.Popen([self.program, "-c", config], preexec_fn=pin(self.core), stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 10
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                break
            except OSError:
                if time.monotonic() > deadline or self.process.poll() is not None:
                    raise SystemExit("mosquitto does not start") from None
                time.sleep(0.02)
        self.pid, self.mqtt = self.process.pid, self.port
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(20)
        shutil.rmtree(self.dir, ignore_errors=True)


class Ours:
    def __init__(self, args, core, cores=None):
        self.binary, self.core, self.dir_of = args.server, core, args.dir
        self.cores = cores or os.cpu_count()
        self.name = f"RobustMQ, {self.cores} core{'s' if self.cores > 1 else ''}"
        self.flags = [f"--runtime.cores={cores}"] if cores else []

    def __enter__(self):
        self.dir = tempfile.mkdtemp(prefix="robustmq-bench-", dir=self.dir_of)
        self.broker = Broker(self.binary, self.dir, flags=self.flags, preexec=pin(self.core)).start()
        self.pid, self.mqtt, self.kafka = self.broker.pid, self.broker.ports["mqtt"], self.broker.ports["kafka"]
        return self

    def __exit__(self, kind, *_):
        if kind is None:
            self.broker.stop()
        else:
            print(self.broker.tail(), file=sys.stderr)
            self.broker.kill9()
        shutil.rmtree(self.dir, ignore_errors=True)


class Bench:
    def __init__(self, args):
        self.args = args
        self.results = collections.defaultdict(list)  # (cell, field, server) -> numbers
        self.problems = []
        self.halves = {}  # half of Mosquitto's messages a second, by QoS: of its first run

    def run(self, server, cell, fields, *command, core=None):
        options = [f"--seconds={self.args.seconds}", "--warmup_s=0.5", "--json"] + ([f"--cpu={core}"] if core is not None else [])
        done = subprocess.run([self.args.bench, *command, *options], capture_output=True, text=True, check=False, timeout=900)
        if done.returncode:
            self.problems.append(f"{server}, {cell}: {done.stderr.strip()}")
            print(f"  {server}: {cell}: FAILED: {done.stderr.strip()}", flush=True)
            return
        values = json.loads(done.stdout)
        for field, _, _ in fields:
            self.results[cell, field, server].append(values[field])
        self.results[cell, "broker_cores", server].append(values.get("broker_cores", 0))
        if self.args.verbose:
            print(f"  {server}: {cell}: " + ", ".join(f"{f} {values[f]:.4g}" for f, _, _ in fields), flush=True)

    def rated(self, options, core):
        """The options with the rate that "half" is."""
        if "--rate=half" not in options:
            return options
        qos = options[1]
        if qos not in self.halves:
            cell = f"pairs QoS {qos[-1]}"
            if not self.results.get((cell, RATE[0], Mosquitto.name)):
                with Mosquitto(self.args, 0 if os.cpu_count() > 1 else None) as server:
                    self.run(server.name, cell, [RATE], "mqtt-pairs", qos, f"--port={server.mqtt}", f"--pid={server.pid}", core=core)
            self.halves[qos] = round(self.results[cell, RATE[0], Mosquitto.name][0] / 2)
        return [f"--rate={self.halves[qos]}", qos]

    def mqtt_round(self, make, core):
        for cell, command, options, fields in MQTT:
            if self.args.only and self.args.only not in command:
                continue
            options = self.rated(options, core)
            with make() as server:
                extra = [f"--connections={self.args.connections}"] if command in ("mqtt-idle", "mqtt-sessions") else []
                self.run(server.name, cell, fields, command, *options, *extra, f"--port={server.mqtt}", f"--pid={server.pid}", core=core)

    def kafka_round(self, make, core):
        for cell, command, fields in KAFKA:
            if self.args.only and self.args.only not in "kafka-" + command:
                continue
            if make is None:
                self.run("bare loop", cell, fields, f"bare-{command}", f"--dir={self.args.dir}", core=core)
                continue
            with make() as server:
                self.run(server.name, cell, fields, f"kafka-{command}", f"--port={server.kafka}", f"--pid={server.pid}", core=core)

    def median(self, cell, field, server):
        values = self.results.get((cell, field, server))
        return statistics.median(values) if values else None

    def show(self, cell, field, server):
        values = self.results.get((cell, field, server))
        if not values:
            return "-"
        return f"{number(statistics.median(values))} ({number(min(values))}-{number(max(values))})"

    def table(self, cells, rival, ours):
        heads = ["", rival, *ours, *[f"{name} : {rival}" for name in ours], "cores used"]
        lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
        for cell, fields in cells:
            for field, label, less in fields:
                base = self.median(cell, field, rival)
                ratios = []
                for name in ours:
                    mine = self.median(cell, field, name)
                    ratio = mine / base if base and mine is not None else None
                    ratios.append("-" if ratio is None else f"{'**' if (ratio > 1) == less and ratio != 1 else ''}{ratio:.2f}"
                                  f"{'**' if (ratio > 1) == less and ratio != 1 else ''}")
                cores = " / ".join(f"{self.median(cell, 'broker_cores', n) or 0:.2f}" for n in [rival, *ours])
                row = [f"{cell}: {label}", self.show(cell, field, rival), *[self.show(cell, field, n) for n in ours], *ratios, cores]
                if any(r != "-" for r in row[1:-1]):
                    lines.append("| " + " | ".join(row) + " |")
        return "\n".join(lines)


def number(value):
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def version_of(*command):
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return (done.stdout + done.stderr).strip().splitlines()[0] if (done.stdout + done.stderr).strip() else "?"


def machine():
    with open("/proc/cpuinfo") as f:
        model = next((line.split(":", 1)[1].strip() for line in f if line.startswith("model name")), platform.machine())
    return f"{model}, {os.cpu_count()} cores, Linux {platform.release()}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", default=os.path.join(REPO, "build/release/bin/robust-server"))
    parser.add_argument("--bench", default=os.path.join(REPO, "build/release/bin/robust-bench"))
    parser.add_argument("--mosquitto", default=shutil.which("mosquitto") or "/usr/sbin/mosquitto")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3, help="measured time of each run")
    parser.add_argument("--connections", type=int, default=10000)
    parser.add_argument("--dir", default=tempfile.gettempdir(), help="where the data lies: on a real disk, or the syncs cost nothing")
    parser.add_argument("--only", help="commands with this in their name, such as idle, pairs, latency, kafka")
    parser.add_argument("--no-mqtt", action="store_true")
    parser.add_argument("--no-kafka", action="store_true")
    parser.add_argument("--write", help="puts the tables between the markers of this file (docs/benchmarks.md)")
    parser.add_argument("-v", "--verbose", action="store_true")
    args = parser.parse_args()
    for path in (args.server, args.bench, args.mosquitto):
        if not os.access(path, os.X_OK):
            raise SystemExit(f"{path} is not there")
    bench = Bench(args)
    many = os.cpu_count() > 1
    # A server of one core runs on core 0 and the generator on core 1; one of all cores shares them with the generator.
    rivals = [(lambda: Mosquitto(args, 0 if many else None), 1 if many else None),
              (lambda: Ours(args, None), None),
              (lambda: Ours(args, 0 if many else None, 1), 1 if many else None)]
    if not many:
        rivals.pop()
    ours = [Ours(args, None).name] + ([Ours(args, None, 1).name] if many else [])
    began = time.monotonic()
    for i in range(args.rounds):
        print(f"round {i + 1} of {args.rounds}", flush=True)
        if not args.no_mqtt:
            for make, core in rivals:
                bench.mqtt_round(make, core)
        if not args.no_kafka:
            bench.kafka_round(None, None)
            for make, core in rivals[1:]:
                bench.kafka_round(make, core)
    lines = [f"{time.strftime('%Y-%m-%d')}, {machine()}; {version_of(args.mosquitto, '-h')}; {args.rounds} rounds in turn of {args.seconds:g} s, "
             f"medians (least-most). Ratios in bold are cells we lose. Mosquitto and \"1 core\" run on one core with the generator on the other; "
             f"\"{os.cpu_count()} cores\" is the default configuration and shares its cores with the generator. Our MQTT topics are memory logs (the default)."]
    if bench.halves:
        lines[0] += " Half of Mosquitto's most is " + " and ".join(f"{rate:,}/s at {qos[2:].replace('=', ' ').replace('qos', 'QoS')}" for qos, rate in bench.halves.items()) + "."
    if not args.no_mqtt:
        lines += ["", bench.table([(cell, fields) for cell, _, _, fields in MQTT], "Mosquitto", ours)]
    if not args.no_kafka:
        lines += ["", "Kafka: 1 KiB records in batches of 64 KiB, 4 partitions, one connection each, acks=all, mode persistent.", "",
                  bench.table([(cell, fields) for cell, _, fields in KAFKA], "bare loop", ours)]
    if bench.problems:
        lines += ["", "Runs that failed:", *[f"- {p}" for p in sorted(set(bench.problems))]]
    text = "\n".join(lines)
    print(f"\n{text}\n\nbench: {args.rounds} rounds in {time.monotonic() - began:.0f} s, {len(bench.problems)} failed runs")
    if args.write:
        with open(args.write) as f:
            page = f.read()
        head, rest = page.split("<!-- begin measured -->", 1)
        with open(args.write, "w") as f:
            f.write(head + "<!-- begin measured -->\n" + text + "\n<!-- end measured -->" + rest.split("<!-- end measured -->", 1)[1])
    return 1 if bench.problems else 0


if __name__ == "__main__":
    sys.exit(main())
