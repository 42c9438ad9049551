#!/usr/bin/env python3
"""Drives Kafka's own tools and many clients against one RobustMQ, and a real Kafka beside it as the oracle. Not part of `make test`: it needs Maven Central, PyPI,
the Go proxy and crates.io once; each part that cannot be had is named, with the reason. Ends with a plain line: "interop-more: N passed, N failed, N left out"."""
import argparse
import os
import re
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(os.path.dirname(HERE), "e2e")]

import places  # noqa: E402
import versions  # noqa: E402
from broker import Broker, find_binary, scratch  # noqa: E402
from places import LeftOut  # noqa: E402
from processes import real_kafka  # noqa: E402


class Run:
    """What is given to each part: where it may write, the broker's address; and what came of it."""

    def __init__(self, home, server):
        self.home, self.server, self.passed, self.failed, self.out = home, server, 0, [], []

    def tell(self, name, problem="", explained=""):
        if problem and not explained:
            self.failed.append(name)
            print(f"FAILED  {name}\n{problem}", flush=True)
            return
        self.passed += 1
        print(f"ok      {name}" + (f" (differs: {explained})" if problem else ""), flush=True)

    def program(self, part, command, timeout=400, **more):
        """A client program that prints "ok NAME" and "FAILED NAME: why"."""
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False, **more)
        except subprocess.TimeoutExpired:
            return self.tell(part, f"it did not end within {timeout} s")
        told = re.findall(r"^(ok|FAILED) (.*)$", done.stdout, re.M)
        for outcome, what in told:
            self.tell(f"{part}: {what}", (done.stderr[-3000:] or "see its line") if outcome == "FAILED" else "")
        if done.returncode and not any(outcome == "FAILED" for outcome, _ in told):
            self.tell(part, f"it ended with {done.returncode}\n{done.stderr[-3000:]}")


def part_tools(run, version):
    import tools_story
    class_path, oracle = places.jars(version), places.jars(versions.KAFKA)
    home = os.path.join(run.home, "tools-" + version)
    with real_kafka(os.path.join(run.home, "real-" + version), oracle) as kafka:
        broker = Broker(find_binary(), home, "").start()  # of its own: the tools list all topics and groups there are
        try:
            for step, problem, explained in tools_story.run(version, class_path, f"127.0.0.1:{broker.ports['kafka']}", kafka, os.path.join(home, "files")):
                run.tell(f"tools {version}: {step}", problem, explained)
        finally:
            broker.stop()


def part_clients(run, version):
    class_path = places.jars(version, whole=version == versions.KAFKA or version == versions.KAFKA_BEFORE)
    run.program(f"kafka-clients {version}", places.java(places.classes(version, class_path, "Report", "Clients"), "Clients", run.server))
    if not version.startswith("3."):
        run.program(f"kafka-clients {version}", places.java(places.classes(version, class_path, "Report", "Clients", "Shares"), "Shares", run.server))


def part_streams(run, version):
    path = places.classes(version, places.jars(version), "Report", "Clients", "WordCount")
    run.program(f"streams {version}", places.java(path, "WordCount", run.server, os.path.join(run.home, "states")))


def part_connect(run, version):
    import connect
    connect.run(run, version, places.jars(version))


def part_mirror(run, version):
    import mirror
    with real_kafka(os.path.join(run.home, "real-mirror"), places.jars(versions.KAFKA)) as kafka:
        mirror.run(run, version, places.jars(version), kafka)


def part_python(run, package):
    env = {**os.environ, "PYTHONPATH": places.wheel(versions.PYTHON[package])}
    run.program(versions.PYTHON[package].replace("==", " "), [sys.executable, os.path.join(HERE, "python", package + "_client.py"), run.server], env=env)


def part_go(run, name):
    run.program(name, [places.go(name), run.server])


def part_rust(run, name):
    run.program(name, [places.rust(name), run.server])


def part_oracle(run, version):
    import oracle
    with real_kafka(os.path.join(run.home, "real-oracle"), places.jars(version)) as kafka:
        broker = Broker(find_binary(), os.path.join(run.home, "oracle"), "", flags=["--broker.default_partitions=1"]).start()
        try:
            oracle.run(run, f"127.0.0.1:{broker.ports['kafka']}", kafka, run.operations, run.seed)
        finally:
            broker.stop()


PARTS = {
    **{f"clients-{v}": (part_clients, v) for v in versions.KAFKA_CLIENTS},
    "streams": (part_streams, versions.KAFKA),
    "connect": (part_connect, versions.KAFKA),
    "mirror": (part_mirror, versions.KAFKA),
    **{p: (part_python, p) for p in versions.PYTHON},
    **{g: (part_go, g) for g in ("franz-go", "sarama", "kafka-go")},
    **{r: (part_rust, r) for r in ("krafka", "rskafka")},
    "oracle": (part_oracle, versions.KAFKA),
    f"tools-{versions.KAFKA}": (part_tools, versions.KAFKA),
    f"tools-{versions.KAFKA_BEFORE}": (part_tools, versions.KAFKA_BEFORE),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--server", help="the robust-server to drive (default: the newest under build/)")
    parser.add_argument("--only", action="append", choices=PARTS, help="a part (several times allowed)")
    parser.add_argument("--operations", type=int, default=10000, help="random operations of the oracle")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="the oracle's seed")
    parser.add_argument("--keep", action="store_true", help="keep what the parts wrote")
    args = parser.parse_args()
    os.environ["ROBUSTMQ_SERVER"] = find_binary(args.server)
    print(f"against {os.environ['ROBUSTMQ_SERVER']}", flush=True)
    with scratch("interop-more") as home:
        broker = Broker(find_binary(), os.path.join(home, "broker"), "").start()
        run = Run(home, f"127.0.0.1:{broker.ports['kafka']}")
        run.operations, run.seed = args.operations, args.seed
        try:
            for name in args.only or PARTS:
                part, what = PARTS[name]
                began = time.monotonic()
                try:
                    part(run, what)
                except LeftOut as why:
                    run.out.append(name)
                    print(f"left out {name}: {why}", flush=True)
                except Exception as e:  # a part that breaks is one failure, and the others go on
                    run.tell(name, f"{type(e).__name__}: {e}")
                print(f"        {name} took {time.monotonic() - began:.0f} s", flush=True)
        finally:
            if broker.stop() != 0:
                run.tell("the broker ends well", broker.tail())
        print(f"interop-more: {run.passed} passed, {len(run.failed)} failed, {len(run.out)} left out" + (f" ({', '.join(run.out)})" if run.out else ""))
        if args.keep or run.failed:
            print(f"kept: {home}")
            os._exit(1 if run.failed else 0)  # leaves the directory behind
    return 0


if __name__ == "__main__":
    sys.exit(main())
