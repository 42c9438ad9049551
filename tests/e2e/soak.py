#!/usr/bin/env python3
"""Soak: mixed load for a long time; then nothing may be left of it.

Clients come and go, in order and without a word; the same id is fought for; durable sessions leave and return while messages are
published to them; slow readers stop reading; retained messages flood a thousand topics. After a first tenth of the time everything is
let go and the process is measured: descriptors, memory, the gauges of connections, subscriptions and sessions. At the end the same
again: no gauge and no descriptor (but of data files) may have grown, and memory not by more than a tenth and 16 MB. Every QoS 1 message that was acknowledged
must have reached the durable sessions that follow its topic, and no order may be broken.

  soak.py --server build/release/bin/robust-server --seconds 3600
"""
import argparse
import asyncio
import os
import random
import re
import struct
import sys
import time
import urllib.request

from broker import Broker, Failed, find_binary, is_sanitized, scratch
from wire import mqtt_packet, mqtt_publish

NEVER = 0xFFFFFFFF
# What fills up by design is small, so that it is full when the process is measured first.
CONFIG = """
[broker]
memory_bytes = 4_194_304
[session]
cache_bytes = 1_048_576
[storage]
rows_write_buffer_bytes = 1_048_576
rows_cache_bytes = 1_048_576
"""
DURABLE = 8  # sessions that come and go, each with a topic of its own
GAUGES = ("mqtt_connections", "broker_subscriptions", "broker_sessions")


def text(value):
    return struct.pack(">H", len(value)) + value.encode()


def connect_packet(client_id, clean, expiry_s):
    properties = b"\x11" + struct.pack(">I", expiry_s) if expiry_s else b""
    return mqtt_packet(0x10, text("MQTT") + bytes([5, 2 if clean else 0, 0, 0, len(properties)]) + properties + text(client_id))


class Gone(Exception):
    """The connection is over."""


class Client:
    """One MQTT 5 connection."""

    def __init__(self, reader, writer):
        self.reader, self.writer, self.ids = reader, writer, 0

    @classmethod
    async def connect(cls, port, client_id, clean=True, expiry_s=0):
        try:
            client = cls(*await asyncio.open_connection("127.0.0.1", port))
            client.writer.write(connect_packet(client_id, clean, expiry_s))
            first, body = await client.packet()
        except OSError as e:
            raise Gone(str(e)) from None
        if first != 0x20 or body[1] != 0:
            raise Gone(f"refused: {first:#x} {body!r}")
        client.is_present = body[0] == 1
        return client

    async def packet(self, timeout=30):
        """(first byte, body)."""
        try:
            async with asyncio.timeout(timeout):
                first, length, shift = (await self.reader.readexactly(1))[0], 0, 0
                while True:
                    byte = (await self.reader.readexactly(1))[0]
                    length |= (byte & 127) << shift
                    shift += 7
                    if byte < 128:
                        return first, await self.reader.readexactly(length)
        except TimeoutError:  # an OSError too
            raise
        except (asyncio.IncompleteReadError, OSError) as e:
            raise Gone(str(e)) from None

    def send(self, data):
        self.writer.write(data)

    def subscribe(self, topic_filter, qos=1):
        self.ids = self.ids % 65535 + 1
        self.send(mqtt_packet(0x82, struct.pack(">H", self.ids) + b"\0" + text(topic_filter) + bytes([qos])))

    async def publish(self, topic, payload, qos=0, retain=False):
        """With QoS 1: waits for the PUBACK, whose reason it returns; passes over what else comes."""
        self.ids = self.ids % 65535 + 1
        try:
            self.send(mqtt_publish(topic, payload, qos, self.ids, 5, retain=retain))
            await self.writer.drain()
        except OSError as e:
            raise Gone(str(e)) from None
        while qos:
            first, body = await self.packet()
            if first == 0x40 and struct.unpack(">H", body[:2])[0] == self.ids:
                return body[2] if len(body) > 2 else 0

    @staticmethod
    def message(first, body):
        """(topic, payload, qos, packet id) of a PUBLISH."""
        qos, size = first >> 1 & 3, struct.unpack(">H", body[:2])[0]
        at = 2 + size
        packet_id = struct.unpack(">H", body[at:at + 2])[0] if qos else 0
        at += 2 if qos else 0
        return body[2:2 + size].decode(), body[at + 1 + body[at]:], qos, packet_id

    def abort(self):
        self.writer.transport.abort()

    def leave(self):
        self.send(b"\xe0\0")
        self.writer.close()


class Soak:
    def __init__(self, port, seed):
        self.port, self.rng = port, random.Random(seed)
        self.deadline = 0.0
        self.counts = {}
        self.acked = [0] * DURABLE  # the last number acknowledged, by durable topic
        self.next = [0] * DURABLE
        self.seen = [0] * DURABLE  # up to which all numbers came
        self.failures = []

    def count(self, what, n=1):
        self.counts[what] = self.counts.get(what, 0) + n

    def goes_on(self):
        return time.monotonic() < self.deadline and not self.failures

    async def guarded(self, what):
        """Runs one piece of load again and again; a connection that ends is part of the load."""
        while self.goes_on():
            try:
                await what()
            except Gone:
                self.count("ended connections")
                await asyncio.sleep(0.01)
            except Exception as e:  # shown, and fails the soak
                self.failures.append(f"{what.__name__}: {e!r}")

    async def churn(self):
        client = await Client.connect(self.port, f"churn-{self.rng.randrange(500)}")
        client.subscribe(self.rng.choice(["soak/+/x", "soak/#", f"soak/{self.rng.randrange(50)}/x"]), self.rng.randrange(2))
        for _ in range(self.rng.randrange(8)):
            await client.publish(f"soak/{self.rng.randrange(50)}/x", os.urandom(self.rng.randrange(400)), self.rng.randrange(2))
            self.count("published")
        client.abort() if self.rng.random() < 0.5 else client.leave()
        self.count("connections")

    async def fight(self):
        client = await Client.connect(self.port, "the-one", clean=self.rng.random() < 0.2, expiry_s=60)
        client.subscribe("soak/1/x")
        try:
            for _ in range(20):
                await client.publish("soak/1/x", b"mine", 1)
        finally:
            client.abort()
        self.count("takeovers")

    async def slow(self):
        client = await Client.connect(self.port, f"slow-{self.rng.randrange(100)}")
        client.subscribe("soak/#", 0)
        await asyncio.sleep(self.rng.uniform(0.1, 3))
        client.abort()
        self.count("slow readers")

    async def retain(self):
        client = await Client.connect(self.port, f"retain-{self.rng.randrange(20)}")
        for _ in range(100):
            payload = os.urandom(self.rng.randrange(200)) if self.rng.random() < 0.8 else b""
            await client.publish(f"kept/{self.rng.randrange(1000)}", payload, 1, retain=True)
            self.count("retained")
        client.subscribe("kept/#", 1)
        for _ in range(50):
            await client.packet()
        client.abort()

    async def feed(self):
        client = await Client.connect(self.port, "feed")
        for _ in range(200):
            i = self.rng.randrange(DURABLE)
            self.next[i] += 1
            number = self.next[i]
            if await client.publish(f"owed/{i}", b"%d" % number, 1) >= 0x80:
                raise Failed(f"message {number} for durable session {i} was refused")
            self.acked[i] = number
            self.count("owed")
            await asyncio.sleep(0.002)
        client.leave()

    async def follow(self, i, is_last=False):
        """A durable session's stay. In order, nothing missing; what is sent again is at most what was not acknowledged yet."""
        client = await Client.connect(self.port, f"durable-{i}", clean=False, expiry_s=NEVER)
        if not client.is_present:
            if self.acked[i]:
                raise Failed(f"durable session {i} is gone")
            client.subscribe(f"owed/{i}")
        stay = time.monotonic() + self.rng.uniform(0.2, 3)
        while self.seen[i] < self.acked[i] if is_last else time.monotonic() < stay and self.goes_on():
            try:
                first, body = await client.packet(10 if is_last else max(0.01, stay - time.monotonic()))
            except TimeoutError:
                if is_last:
                    raise Failed(f"durable session {i} got {self.seen[i]} of {self.acked[i]}") from None
                break
            if first >> 4 != 3:
                continue
            _, payload, qos, packet_id = client.message(first, body)
            number = int(payload)
            if number > self.seen[i] + 1:
                raise Failed(f"durable session {i} got {number} after {self.seen[i]}")
            self.seen[i] = max(self.seen[i], number)
            if qos:
                client.send(mqtt_packet(0x40, struct.pack(">H", packet_id)))
            self.count("followed")
        client.abort() if self.rng.random() < 0.5 and not is_last else client.leave()
        await asyncio.sleep(0 if is_last else self.rng.uniform(0, 2))

    async def load(self, seconds):
        self.deadline = time.monotonic() + seconds
        await asyncio.gather(*(self.guarded(what) for what in [self.churn] * 6 + [self.fight] * 3 + [self.slow] * 3 + [self.retain] * 2))

    async def serve(self, seconds):
        self.deadline = time.monotonic() + seconds

        def following(i):
            async def follow():
                await self.follow(i)
            return follow

        # All are subscribed before the first message.
        for i in range(DURABLE):
            if not self.next[i]:
                await self.follow(i)
        self.deadline = time.monotonic() + seconds
        await asyncio.gather(self.load(seconds), self.guarded(self.feed), *(self.guarded(following(i)) for i in range(DURABLE)))
        for i in range(DURABLE):
            await self.follow(i, is_last=True)

    async def let_go(self):
        """Ends what outlives its connection, and the retained messages."""
        for name in ["the-one"]:
            (await Client.connect(self.port, name)).leave()
        client = await Client.connect(self.port, "broom")
        for i in range(1000):
            await client.publish(f"kept/{i}", b"", 1, retain=True)
        client.leave()


def gauges(broker):
    with urllib.request.urlopen(f"http://127.0.0.1:{broker.ports['admin']}/metrics", timeout=10) as answer:
        page = answer.read().decode()
    found = {}
    for name in GAUGES:
        values = re.findall(rf"^robustmq_{name}(?:{{[^}}]*}})? (\S+)$", page, re.M)
        if not values:
            raise Failed(f"there is no metric robustmq_{name}")
        found[name] = sum(float(v) for v in values)
    return found


def open_descriptors(broker):
    """Without the files of the data directory: those come and go as rows are flushed and compacted."""
    directory = f"/proc/{broker.pid}/fd"
    count = 0
    for name in os.listdir(directory):
        try:
            count += not os.readlink(os.path.join(directory, name)).startswith(os.path.realpath(broker.data_dir))
        except FileNotFoundError:
            pass
    return count


def measure(broker, expected):
    """What the process holds, once the gauges have fallen to `expected` and nothing has changed for a second (or after 20 s, as it is)."""
    until = time.monotonic() + 20
    held, since = None, 0.0
    while True:
        descriptors = open_descriptors(broker)  # before a connection of our own to /metrics, which takes its time to end
        now = {**gauges(broker), "descriptors": descriptors, "kB": broker.status("VmRSS")}
        if now != held:
            held, since = now, time.monotonic()
        is_calm = time.monotonic() - since >= 1 and all(now[k] == v for k, v in expected.items())
        if is_calm or time.monotonic() > until:
            return now
        time.sleep(0.2)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--server", help="the robust-server to test (default: the newest under build/)")
    parser.add_argument("--seconds", type=int, default=180)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    args = parser.parse_args()
    print(f"soak: seed {args.seed}, {args.seconds} s", flush=True)
    binary = find_binary(args.server)
    with scratch("soak") as home:
        broker = Broker(binary, home, CONFIG).start()
        try:
            soak = Soak(broker.ports["mqtt"], args.seed)
            expected = {"mqtt_connections": 0, "broker_subscriptions": 0, "broker_sessions": gauges(broker)["broker_sessions"]}

            def stretch(seconds):
                asyncio.run(soak.serve(seconds))
                if soak.failures:
                    raise Failed("; ".join(soak.failures))
                asyncio.run(soak.let_go())
                return measure(broker, expected)

            before = stretch(max(5, args.seconds // 10))
            after = stretch(max(5, args.seconds - args.seconds // 10))
            print("soak: " + ", ".join(f"{n} {what}" for what, n in sorted(soak.counts.items())))
            print(f"soak: before {before}\nsoak: after  {after}")
            grown = [k for k in before if k != "kB" and after[k] > before[k]]
            if not is_sanitized(binary) and after["kB"] > before["kB"] * 1.1 + 16384:
                grown.append("kB")
            if grown:
                raise Failed("these did not return to what they were: " + ", ".join(grown))
            if broker.stop() != 0:
                raise Failed("the broker did not end with status 0:\n" + broker.tail())
        finally:
            broker.kill9()
    print("soak: 1 passed, 0 failed")


if __name__ == "__main__":
    try:
        main()
    except Failed as e:
        print(f"soak: FAILED: {e}\nsoak: 0 passed, 1 failed")
        sys.exit(1)
