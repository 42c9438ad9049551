#!/usr/bin/env python3
"""Compares the broker with Apache Kafka and with the bare loop under the same generator: `make bench-kafka`.

All run in one go and take turns, round after round; the tables show medians, with the least and the most in brackets, and each promise beside
what was measured. Kafka comes from Maven Central (kept under build/interop) with its own start scripts' Java options and a heap of 1 GiB, twice: with
its default flush setting (what is acknowledged is in the page cache) and with log.flush.interval.messages=1 (synced before each acknowledgement).
We always sync before we acknowledge. Where Maven or Java is missing, Kafka's cells are left out and named.
"""
import argparse
import collections
import contextlib
import glob
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
REPO = os.path.dirname(os.path.dirname(HERE))
sys.path[:0] = [HERE, os.path.join(REPO, "tests", "e2e"), os.path.join(REPO, "tests", "interop_more")]
import places  # noqa: E402
import versions  # noqa: E402
from broker import Broker  # noqa: E402
from compare import machine, number  # noqa: E402
from processes import RealKafka, free_port  # noqa: E402
from wire import Closed, Kafka, KafkaError  # noqa: E402

# What bin/kafka-server-start.sh and kafka-run-class.sh of Kafka 4.3 give to Java.
JAVA = ["-Xms1g", "-server", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20", "-XX:InitiatingHeapOccupancyPercent=35", "-XX:+ExplicitGCInvokesConcurrent",
        "-XX:MaxInlineLevel=15", "-Djava.awt.headless=true"]
DELETED_AT_ONCE = "log.segment.delete.delay.ms=1000\n"  # or what a run leaves behind is written back in another's turn
OURS, BARE, KAFKA, SYNCED = "RobustMQ", "bare loop", "Kafka", "Kafka, flush each"
SERVERS = (OURS, KAFKA, SYNCED, BARE)

# cell: (label, unit, field of robust-bench); "disk" and "start" are measured here.
FIELDS = {
    "produce": [("produce, CPU s a GB", "broker_cpu_s_per_gb"), ("produce, MB/s", "MBs_per_s")],
    "fetch": [("fetch, CPU s a GB", "broker_cpu_s_per_gb"), ("fetch, MB/s", "MBs_per_s")],
    "live": [("live: produce p50, ms", "p50_us"), ("live: produce p99, ms", "p99_us"), ("live: produce p99.9, ms", "p999_us"),
             ("live: end to end p50, ms", "end_to_end_p50_us"), ("live: end to end p99, ms", "end_to_end_p99_us"), ("live: CPU, cores", "broker_cores")],
    "behind": [("live beside a reader behind: produce p99, ms", "p99_us"), ("live beside a reader behind: end to end p99, ms", "end_to_end_p99_us"),
               ("the reader behind, MB/s", "behind_MB_per_s"), ("of it read from the disk, MB/s", "from_disk_MB_per_s"),
               ("core threads seen waiting for the disk, % of looks", "waiting_percent")],
    "disk": [("the disk's own sync of 64 KiB: p50, ms", "p50_us"), ("the disk's own sync of 64 KiB: p99, ms", "p99_us")],
    "start": [("idle process, MB", "idle_mb"), ("start to first produce with {topics} topics, s", "start_s"), ("the same after kill -9, s", "start_after_kill_s")],
}


class Server:
    """One that is measured: its name, where it listens, its process, where its data lies."""

    def __init__(self, name, port, pid, data):
        self.name, self.port, self.pid, self.data = name, port, pid, data


@contextlib.contextmanager
def ours(args, home, flags=()):
    broker = Broker(args.server, home, flags=flags).start()
    try:
        yield Server(OURS, broker.ports["kafka"], broker.pid, broker.data_dir)
    finally:
        broker.stop()


@contextlib.contextmanager
def kafka(name, jars, home):
    node = RealKafka(home, jars, DELETED_AT_ONCE + ("log.flush.interval.messages=1\n" if name == SYNCED else ""), JAVA)
    try:
        node.start()
        yield Server(name, node.port, node.pid, node.data)
    finally:
        node.stop()


def evict(directory):
    """Writes back what the files of a directory have in memory, and drops it."""
    os.sync()
    for path in glob.glob(os.path.join(directory, "**"), recursive=True):
        if os.path.isfile(path):
            with contextlib.suppress(OSError), open(path, "rb") as f:
                os.posix_fadvise(f.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def read_from_disk(pid):
    with open(f"/proc/{pid}/io") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("read_bytes"))


class Watch(threading.Thread):
    """Looks every 5 ms at whether one of our cores' threads sleeps uninterruptibly, which is how a thread waits for the disk."""

    def __init__(self, pid):
        super().__init__(daemon=True)
        self.threads = [f"/proc/{pid}/task/{pid}/stat"]  # core 0 is the process' first thread
        for path in glob.glob(f"/proc/{pid}/task/*/comm"):
            with open(path) as f:
                if f.read().startswith("core-"):
                    self.threads.append(os.path.dirname(path) + "/stat")
        self.looks = self.waiting = 0
        self.over = threading.Event()
        self.start()

    def run(self):
        while not self.over.wait(0.005):
            for path in self.threads:
                with open(path) as f:
                    self.waiting += f.read().rsplit(")", 1)[1].split()[0] == "D"
                self.looks += 1

    def percent(self):
        self.over.set()
        self.join()
        return 100 * self.waiting / self.looks if self.looks else 0.0


class Comparison:
    def __init__(self, args):
        self.args = args
        self.results = collections.defaultdict(list)  # (cell, field, server) -> numbers
        self.problems = []

    def bench(self, server, command, *options):
        """The command, running."""
        at = [f"--port={server.port}", f"--pid={server.pid}"] if server else [f"--dir={self.args.dir}"]
        return subprocess.Popen([self.args.bench, command, *at, *options, "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    @staticmethod
    def result(running):
        out, err = running.communicate(timeout=600)
        if running.returncode:
            raise RuntimeError(err.strip())
        return json.loads(out)

    def add(self, cell, name, values):
        for _, field in FIELDS[cell]:
            if values.get(field) is not None:
                self.results[cell, field, name].append(values[field] / 1e3 if field.endswith("_us") else values[field])
        if self.args.verbose:
            print(f"  {name}: {cell}: " + ", ".join(f"{f} {values[f]:.4g}" for _, f in FIELDS[cell] if values.get(f) is not None), flush=True)

    @contextlib.contextmanager
    def attempt(self, name, cell):
        """What fails is named and the others go on. What a run left unwritten is written before the next."""
        try:
            yield
        except (RuntimeError, OSError, subprocess.TimeoutExpired, Closed, KafkaError) as why:
            self.problems.append(f"{name}, {cell}: {why}")
            print(f"  {name}: {cell}: FAILED: {why}", flush=True)
        os.sync()

    def seconds(self):
        return [f"--seconds={self.args.seconds:g}", "--warmup_s=1"]

    def live_options(self):
        return [*self.seconds(), f"--rate_mb={self.args.rate_mb:g}", f"--batch_bytes={self.args.live_batch_bytes}", "--topic=live"]

    def warm(self, server):
        """Java compiles what is hot while it runs: this is what is measured later, for a while."""
        share = self.args.warm_s / 3
        for command, *more in (("kafka-produce",), ("kafka-fetch",), ("kafka-live", f"--batch_bytes={self.args.live_batch_bytes}", "--rate_mb=40")):
            with self.attempt(server.name, "warm-up"):
                self.result(self.bench(server, command, f"--seconds={share:g}", "--warmup_s=0", "--topic=warm", *more))

    def fill(self, server):
        with self.attempt(server.name, "fill"):
            wanted_mib = int((self.args.seconds + 3) * self.args.behind_mb * 1e6 / (1 << 20)) + 64
            self.result(self.bench(server, "kafka-fill", "--topic=old", f"--fill_mib={wanted_mib}"))

    def behind(self, server):
        evict(server.data)
        before = read_from_disk(server.pid)
        watch = Watch(server.pid) if server.name == OURS else None
        began = time.monotonic()
        reader = self.bench(server, "kafka-catch-up", "--topic=old", f"--seconds={self.args.seconds + 1.5:g}", f"--rate_mb={self.args.behind_mb:g}")
        values = self.result(self.bench(server, "kafka-live", *self.live_options()))
        values["waiting_percent"] = watch.percent() if watch else None
        read = self.result(reader)
        values["behind_MB_per_s"] = read["MBs_per_s"]
        values["from_disk_MB_per_s"] = (read_from_disk(server.pid) - before) / 1e6 / (time.monotonic() - began)
        self.add("behind", server.name, values)

    def disk(self):
        """What one write and sync costs with nobody in between: 64 KiB over and over into a file that is there."""
        path, data, times = os.path.join(self.args.dir, f"sync-{os.getpid()}"), os.urandom(64 << 10), []
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            os.pwrite(file, bytes(16 << 20), 0)
            os.fsync(file)
            for i in range(200):
                began = time.monotonic()
                os.pwrite(file, data, (i % 256) * len(data))
                os.fdatasync(file)
                times.append((time.monotonic() - began) * 1e6)
        finally:
            os.close(file)
            os.unlink(path)
        times.sort()
        self.add("disk", "disk", {"p50_us": times[100], "p99_us": times[197]})

    def round(self, servers):
        for command in ("produce", "fetch"):
            for server in (*servers, None):
                with self.attempt(server.name if server else BARE, command):
                    made = self.result(self.bench(server, f"{'kafka' if server else 'bare'}-{command}", *self.seconds()))
                    self.add(command, server.name if server else BARE, made)
        with self.attempt("disk", "disk"):
            self.disk()
        for server in servers:
            with self.attempt(server.name, "live"):
                self.add("live", server.name, self.result(self.bench(server, "kafka-live", *self.live_options())))
        for server in servers:
            with self.attempt(server.name, "behind"):
                self.behind(server)

    def starts(self, jars):
        """An empty process' memory; then with many topics, one record in each: from the start of the process to an acknowledgement."""
        for name in [OURS] + ([KAFKA] if jars else []):
            with self.attempt(name, "start"), tempfile.TemporaryDirectory(prefix="robustmq-bench-", dir=self.args.dir) as home:
                self.start(name, jars, os.path.join(home, "node"))

    def start(self, name, jars, home):
        if name == OURS:
            port = free_port()
            node = Broker(self.args.server, home, flags=[f"--kafka.listen=127.0.0.1:{port}"])
        else:
            node = RealKafka(home, jars, DELETED_AT_ONCE, JAVA)
            port = node.port
        values, topic = {}, f"t{self.args.topics // 2}"
        try:
            node.start()
            time.sleep(3)  # until it has done what it does after a start
            values["idle_mb"] = resident_mb(node.pid)
            make_topics(port, self.args.topics)
            for field, end in (("start_s", node.stop), ("start_after_kill_s", node.kill9)):
                end()
                began = time.monotonic()
                node.launch()
                first_produce(port, topic)
                values[field] = time.monotonic() - began
        finally:
            node.stop()
        self.add("start", name, values)

    # ---- what came of it

    def median(self, cell, field, name):
        values = self.results.get((cell, field, name))
        return statistics.median(values) if values else None

    def show(self, cell, field, name):
        values = self.results.get((cell, field, name))
        if not values:
            return "-"
        return number(statistics.median(values)) + (f" ({number(min(values))}-{number(max(values))})" if len(values) > 1 else "")

    def table(self):
        lines = ["| | " + " | ".join(SERVERS) + " |", "|" + "---|" * (len(SERVERS) + 1)]
        for cell, fields in FIELDS.items():
            for label, field in fields:
                shown = [self.show(cell, field, name) for name in SERVERS]
                if cell == "disk":
                    lines.append(f"| {label} | {self.show(cell, field, 'disk')} |" + " |" * (len(SERVERS) - 1))
                elif any(s != "-" for s in shown):
                    lines.append("| " + " | ".join([label.format(topics=f"{self.args.topics:,}"), *shown]) + " |")
        return "\n".join(lines)

    def promises(self):
        """Rows of (promise, bound, measured or None, why it cannot be judged)."""
        def ratio(cell, field, name):
            mine, theirs = self.median(cell, field, OURS), self.median(cell, field, name)
            return mine / theirs if mine is not None and theirs else None

        sync = self.median("disk", "p50_us", "disk")
        slow = "not measured" if sync is None else "" if sync < 1 else f"the disk's own sync takes {number(sync)} ms"
        alone, beside = self.median("live", "p99_us", OURS), self.median("behind", "p99_us", OURS)
        cpu = "broker_cpu_s_per_gb"
        missing = "Kafka is not at hand"
        return [
            ("CPU a GB produced, of Kafka's", 0.5, ratio("produce", cpu, KAFKA), missing), ("CPU a GB produced, of Kafka's with each flushed", 0.5, ratio("produce", cpu, SYNCED), missing),
            ("CPU a GB fetched, of Kafka's", 1.0, ratio("fetch", cpu, KAFKA), missing), ("CPU a GB produced, of the bare loop's", 1.5, ratio("produce", cpu, BARE), ""),
            ("CPU a GB fetched, of the bare loop's", 1.5, ratio("fetch", cpu, BARE), ""),
            (f"produce p99 at {self.args.rate_mb:g} MB/s, synced, ms", 5, None if slow else alone, slow),
            (f"end-to-end p99 at {self.args.rate_mb:g} MB/s, ms", 10, None if slow else self.median("live", "end_to_end_p99_us", OURS), slow),
            ("produce p99 beside a reader behind, of that without", 2, beside / alone if alone and beside is not None else None, ""),
            ("core threads seen waiting for the disk beside a reader behind, %", 0, self.median("behind", "waiting_percent", OURS), ""),
            ("idle process, MB", 40, self.median("start", "idle_mb", OURS), ""),
            (f"start to first produce with {self.args.topics:,} topics, s", 1, self.median("start", "start_s", OURS), ""),
        ]

    def verdicts(self):
        lines = ["| promise | at most | measured | |", "|---|---|---|---|"]
        for promise, bound, value, why in self.promises():
            holds = "not judged: " + (why or "not measured") if value is None else "holds" if value <= bound else "**lost**"
            lines.append(f"| {promise} | {bound:g} | {'-' if value is None else number(value)} | {holds} |")
        return "\n".join(lines)


def resident_mb(pid):
    with open(f"/proc/{pid}/status") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("VmRSS")) * 1024 / 1e6


def make_topics(port, count):
    client = Kafka(port, timeout=60)
    for i in range(count):
        client.create_topic(f"t{i}")
    for i in range(count):
        first_produce(port, f"t{i}", client)


def first_produce(port, topic, client=None, limit_s=120):
    """Returns when a record is acknowledged, however often it has to be tried."""
    until = time.monotonic() + limit_s
    while True:
        try:
            (client or Kafka(port)).produce(topic, 0, [(None, b"first", [])])
            return
        except (OSError, Closed, KafkaError):
            if time.monotonic() > until:
                raise
            time.sleep(0.002)


def load_average():
    return os.getloadavg()[0]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", default=os.path.join(REPO, "build/release/bin/robust-server"))
    parser.add_argument("--bench", default=os.path.join(REPO, "build/release/bin/robust-bench"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--minutes", type=float, default=7, help="no round begins after so long")
    parser.add_argument("--seconds", type=float, default=4, help="measured time of each run")
    parser.add_argument("--warm-s", type=float, default=30, help="how long each Kafka runs before anything is measured")
    parser.add_argument("--rate-mb", type=float, default=20, help="the live load, MB/s")
    parser.add_argument("--live-batch-bytes", type=int, default=16384, help="its batches; 16 KiB is what Kafka's clients fill at most unless told otherwise")
    parser.add_argument("--behind-mb", type=float, default=100, help="what the reader behind reads at most, MB/s")
    parser.add_argument("--topics", type=int, default=1000, help="topics that a start has to know")
    parser.add_argument("--dir", default=tempfile.gettempdir(), help="where the data lies: on a real disk, or the syncs cost nothing")
    parser.add_argument("--no-kafka", action="store_true", help="without Kafka")
    parser.add_argument("--write", help="puts the tables between the markers of this file (docs/benchmarks.md)")
    parser.add_argument("-v", "--verbose", action="store_true")
    args = parser.parse_args()
    for path in (args.server, args.bench):
        if not os.access(path, os.X_OK):
            raise SystemExit(f"{path} is not there")
    comparison, jars, left_out = Comparison(args), None, ""
    began, load_before = time.monotonic(), load_average()
    try:
        if args.no_kafka:
            raise places.LeftOut("--no-kafka")
        jars = places.jars(versions.KAFKA)
    except places.LeftOut as why:
        left_out = f"Left out: every cell of Kafka's ({why})."
    with tempfile.TemporaryDirectory(prefix="robustmq-bench-", dir=args.dir) as home, contextlib.ExitStack() as running:
        servers = [running.enter_context(ours(args, os.path.join(home, "ours")))]
        for name, where in ((KAFKA, "kafka"), (SYNCED, "kafka-synced")) if jars else ():
            servers.append(running.enter_context(kafka(name, jars, os.path.join(home, where))))
        print(f"warming up: {', '.join(s.name for s in servers)}", flush=True)
        for server in servers:
            if server.name != OURS:
                comparison.warm(server)
            comparison.fill(server)
        done = 0
        while done < args.rounds and (done == 0 or time.monotonic() - began < args.minutes * 60):
            print(f"round {done + 1} of {args.rounds}", flush=True)
            comparison.round(servers)
            done += 1
    print("starts", flush=True)
    comparison.starts(jars)
    lines = [f"{time.strftime('%Y-%m-%d')}, {machine()}; Apache Kafka {versions.KAFKA} (-Xmx1g -Xms1g, G1); {done} rounds in turn of {args.seconds:g} s after {args.warm_s:g} s of "
             f"warm-up of each Kafka, medians (least-most). Load average of the machine {load_before:.1f} before and {load_average():.1f} after. Produce and fetch: 1 KiB records in batches of 64 KiB, "
             f"4 partitions, acks=all. Live: {args.rate_mb:g} MB/s in batches of {args.live_batch_bytes >> 10} KiB; the reader behind: at most {args.behind_mb:g} MB/s of what is not in memory.",
             "", comparison.verdicts(), "", comparison.table()]
    if left_out:
        lines += ["", left_out]
    if comparison.problems:
        lines += ["", "Runs that failed:", *[f"- {p}" for p in sorted(set(comparison.problems))]]
    text = "\n".join(lines)
    print(f"\n{text}\n\nbench-kafka: {done} rounds in {time.monotonic() - began:.0f} s, {len(comparison.problems)} failed runs")
    if args.write:
        with open(args.write) as f:
            page = f.read()
        head, rest = page.split("<!-- begin measured kafka -->", 1)
        with open(args.write, "w") as f:
            f.write(head + "<!-- begin measured kafka -->\n" + text + "\n<!-- end measured kafka -->" + rest.split("<!-- end measured kafka -->", 1)[1])
    return 1 if comparison.problems else 0


if __name__ == "__main__":
    sys.exit(main())
