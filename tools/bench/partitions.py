#!/usr/bin/env python3
"""Many partitions on one node: `make bench-partitions`.

10,000 topics of 10 partitions are made and get a record each; then the broker's memory and descriptors are looked at, it is killed with
-9, and its start is timed. Then four connections produce with acks=all, two requests of 1,000 records of 100 bytes each on the way, all
of them to one partition, and then spread over 10,000.
"""
import argparse
import os
import struct
import sys
import time

REPO = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(REPO, "tests", "e2e"))
from broker import Broker, scratch  # noqa: E402
from wire import Kafka, record_batch  # noqa: E402

PER_TOPIC, PER_REQUEST, RECORDS, CONNECTIONS, IN_FLIGHT = 10, 100, 1000, 4, 2


def array(items):
    return struct.pack(">i", len(items)) + b"".join(items)


def text(value):
    return struct.pack(">h", len(value)) + value.encode()


def create(link, names):
    body = array([text(n) + struct.pack(">ih", PER_TOPIC, 1) + array([]) + array([]) for n in names]) + struct.pack(">ib", 60000, 0)
    answer = link.call(19, 4, body, timeout=120)
    answer.take("i")
    for name, code, why in answer.array(lambda: (answer.string(), answer.take("h"), answer.string())):
        if code:
            raise SystemExit(f"{name} was not made: error {code}, {why}")


def produce_body(places, batch):
    """One batch for each of (topic, partition)."""
    by_topic = {}
    for topic, partition in places:
        by_topic.setdefault(topic, []).append(struct.pack(">ii", partition, len(batch)) + batch)
    return struct.pack(">hhi", -1, -1, 60000) + array([text(t) + array(parts) for t, parts in by_topic.items()])


def check_produced(answer):
    for topic, partitions in answer.array(lambda: (answer.string(), answer.array(lambda: answer.take("ihqqq")))):
        for partition, code, *_ in partitions:
            if code:
                raise SystemExit(f"{topic}/{partition} refused a batch: error {code}")


def rate(port, bodies, seconds):
    """Records a second of requests from `bodies`, in turn."""
    links = [Kafka(port, timeout=60) for _ in range(CONNECTIONS)]
    at = done = 0

    def ask(link):
        nonlocal at
        link.request(0, 7, bodies[at % len(bodies)])
        at += 1

    def run(until):
        nonlocal done
        while time.monotonic() < until:
            for link in links:
                check_produced(link.response())
                done += RECORDS
                ask(link)

    for link in links:
        for _ in range(IN_FLIGHT):
            ask(link)
    run(time.monotonic() + 1)
    began, done = time.monotonic(), 0
    run(began + seconds)
    return done / (time.monotonic() - began)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--server", default=os.path.join(REPO, "build/release/bin/robust-server"))
    parser.add_argument("--topics", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=5)
    args = parser.parse_args()
    names = [f"many-{i}" for i in range(args.topics)]
    places = [(n, p) for n in names for p in range(PER_TOPIC)]
    with scratch("partitions") as home:
        broker = Broker(os.path.abspath(args.server), home).start()
        try:
            idle = broker.status("VmRSS")
            link = Kafka(broker.ports["kafka"], timeout=120)
            began = time.monotonic()
            for i in range(0, len(names), 100):
                create(link, names[i:i + 100])
            made_s = time.monotonic() - began
            one = record_batch([(None, b"x" * 100, [])])
            for i in range(0, len(places), 1000):
                check_produced(link.call(0, 7, produce_body(places[i:i + 1000], one), timeout=120))
            link.stream.close()
            time.sleep(10)
            resident = broker.status("VmRSS")
            descriptors = len(os.listdir(f"/proc/{broker.pid}/fd"))
            broker.kill9()
            broker.start(timeout=300)
            restart_s = broker.start_seconds
            again = broker.status("VmRSS")
            link = Kafka(broker.ports["kafka"], timeout=60)
            for topic, partition in places[::len(places) // 100]:
                if link.list_offsets(topic, partition) != 1:
                    raise SystemExit(f"{topic}/{partition} lost its record")
            whole = record_batch([(None, b"x" * 100, [])] * RECORDS)
            part = record_batch([(None, b"x" * 100, [])] * (RECORDS // PER_REQUEST))
            spread = places[:: max(1, len(places) // 10_000)][:10_000]
            to_one = rate(broker.ports["kafka"], [produce_body([(names[0], 0)], whole)], args.seconds)
            to_many = rate(broker.ports["kafka"], [produce_body(spread[i:i + PER_REQUEST], part) for i in range(0, len(spread), PER_REQUEST)], args.seconds)
        finally:
            broker.kill9()
    count = len(places)
    print(f"""| {count:,} partitions of {args.topics:,} topics, a record each | | aim |
|---|---|---|
| made and written in, s | {made_s:.1f} | |
| resident memory a partition, kB | {(resident - idle) / count:.2f} | 2 |
| the same after kill -9 and a start, kB | {(again - idle) / count:.2f} | 2 |
| open descriptors | {descriptors} | |
| start after kill -9, s | {restart_s:.1f} | 10 |
| records/s to one partition | {to_one:,.0f} | |
| records/s spread over {len(spread):,} | {to_many:,.0f} | |
| ratio | {to_many / to_one:.2f} | 0.5 |""")


if __name__ == "__main__":
    main()
