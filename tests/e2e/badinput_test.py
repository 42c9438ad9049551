#!/usr/bin/env python3
"""What comes from hostile, slow or unlucky peers: garbage, half-open connections, slow readers, no descriptors left, a full disk."""
import os
import random
import resource
import select
import socket
import struct
import sys
import time
import unittest
import urllib.request

from broker import Broker, LoopDisk, find_binary, is_sanitized, scratch
from wire import Closed, Kafka, KafkaError, Mqtt, mqtt_connect, mqtt_publish

CONFIG = """
[[topic_rule]]
filter = "sensors/#"
topic = "sensors"
partitions = 1
mode = "persistent"
"""


def is_closed_within(sock, seconds):
    """Whether the peer ends the connection (what it sends before is passed over)."""
    deadline = time.monotonic() + seconds
    while True:
        left = deadline - time.monotonic()
        poll = select.poll()  # not select(): it takes no descriptor above 1023
        poll.register(sock, select.POLLIN)
        if left <= 0 or not poll.poll(left * 1000):
            return False
        try:
            if not sock.recv(65536):
                return True
        except OSError:
            return True


class BadInput(unittest.TestCase):
    def setUp(self):
        self.dir = scratch("badinput", keep_on_failure=False)
        self.home = self.dir.__enter__()
        self.addCleanup(self.dir.__exit__, None, None, None)

    def start(self, **kw):
        self.broker = Broker(find_binary(), self.home, CONFIG, **kw).start()
        self.addCleanup(self.broker.kill9)
        return self.broker

    def assert_grew_less(self, before_kb, limit_kb, what):
        grown = self.broker.status("VmRSS") - before_kb
        # ASan keeps zones around what is allocated and a part of what was freed: bounded all the same.
        limit = 4 * limit_kb + (16 << 10) if is_sanitized(self.broker.binary) else limit_kb
        self.assertLess(grown, limit, f"{what} cost {grown} kB")

    def connect(self, listener):
        sock = socket.create_connection(("127.0.0.1", self.broker.ports[listener]), 5)
        self.addCleanup(sock.close)
        return sock

    def assert_well(self):
        """Both protocols still serve."""
        self.assertTrue(self.broker.is_running(), self.broker.tail())
        client = Mqtt(self.broker.ports["mqtt"], "well", 5)
        client.publish("sensors/well", b"x", 1)
        self.assertLess(client.puback()[1], 0x80)
        client.close()
        client = Kafka(self.broker.ports["kafka"])
        self.assertGreater(client.list_offsets("sensors", 0), 0)
        client.close()

    def test_garbage(self):
        self.start()
        seed = int(time.time())
        print(f"seed {seed}", end=" ", flush=True)
        rng = random.Random(seed)
        for listener in ("mqtt", "kafka", "admin"):
            for i in range(60):
                sock = self.connect(listener)
                junk = bytes(rng.randrange(256) for _ in range(rng.randrange(1, 400)))
                if i % 3 == 1 and listener == "mqtt":
                    junk = mqtt_connect("g", 5) + junk
                if i % 3 == 2 and listener == "kafka":
                    junk = struct.pack(">ihhi", len(junk) + 8, rng.randrange(0, 40), rng.randrange(0, 14), 1) + junk
                try:
                    sock.sendall(junk)
                    sock.shutdown(socket.SHUT_WR)
                except OSError:
                    continue  # closed already
                self.assertTrue(is_closed_within(sock, 11), f"{listener} --- {junk!r}")
        self.assert_well()

    def test_what_must_close_at_once(self):
        self.start()
        mqtt = {"a packet before CONNECT": mqtt_publish("t", b"x"), "an overlong length": b"\x10\xff\xff\xff\xff\xff",
                "a second CONNECT": mqtt_connect("two") * 2, "reserved bits": mqtt_connect("r") + b"\x80\x05\0\1\0\1a",
                "a wildcard in a topic name": mqtt_connect("w") + mqtt_publish("a/#", b"x")}
        kafka = {"a negative length": b"\xff\xff\xff\xff" + bytes(20), "a huge length": b"\x7f\xff\xff\xff" + bytes(20),
                 "an HTTP request": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"}
        for listener, cases in (("mqtt", mqtt), ("kafka", kafka)):
            for name, data in cases.items():
                sock = self.connect(listener)
                sock.sendall(data)
                self.assertTrue(is_closed_within(sock, 3), f"{listener}: {name} must close the connection")
        self.assert_well()

    def test_half_open_connections_cost_little_and_are_closed(self):
        self.start()
        self.assert_well()
        before = self.broker.status("VmRSS")
        silent = [self.connect("mqtt") for _ in range(500)]
        partial = [self.connect("mqtt") for _ in range(500)]
        for sock in partial:
            sock.sendall(mqtt_connect("x" * 40)[:9])
        self.assert_well()  # a round trip: all accepted by now
        self.assert_grew_less(before, 4 * 1000, "1000 half-open connections")
        deadline = time.monotonic() + 12
        for kind, socks in (("silent", silent), ("partial", partial)):
            for sock in socks:
                self.assertTrue(is_closed_within(sock, max(0.01, deadline - time.monotonic())), f"a {kind} connection lives after 12 s")
        self.assert_well()

    def test_half_a_kafka_frame_is_closed(self):
        self.start()
        before, sock = self.broker.status("VmRSS"), self.connect("kafka")
        sock.sendall(struct.pack(">i", 90 << 20) + b"\0\0\0\3")
        self.assert_well()  # a round trip: it was read by now
        self.assert_grew_less(before, 10 << 10, "an announced frame of 90 MB")
        self.assertTrue(is_closed_within(sock, 12), "a first frame that never comes whole must be closed")
        self.assert_well()

    def test_a_slow_mqtt_reader_is_bounded_and_disconnected(self):
        for qos in (0, 1):
            with self.subTest(qos=qos):
                self.slow_reader(qos)

    def slow_reader(self, qos):
        """QoS 0 is dropped and counted while the reader is congested, until it took nothing for too long; QoS 1 waits in a bounded queue."""
        self.start(flags=["--listener.unsent_bytes_max=4194304", "--listener.stalled_ms_max=1500"])
        slow, quick = Mqtt(self.broker.ports["mqtt"], "slow"), Mqtt(self.broker.ports["mqtt"], "quick")
        for client in (slow, quick):
            self.assertEqual(client.subscribe("slow/t", qos), qos)
        pub, body = Mqtt(self.broker.ports["mqtt"], "pub"), os.urandom(60_000)
        before = self.broker.status("VmRSS")
        for i in range(500):  # 30 MB, which the light topic keeps
            pub.publish("slow/t", body, 1, i + 1)
            self.assertEqual(pub.puback()[0], i + 1)
            self.assertEqual(len(quick.message().payload), 60_000)
        self.assert_grew_less(before, 70 << 10, "a slow reader of 30 MB with at most 4 MiB waiting")
        deadline = time.monotonic() + 10
        while not self.counted("closed_slow_reader"):
            self.assertLess(time.monotonic(), deadline, "the slow reader is still connected")
            time.sleep(0.1)
        self.assertTrue(is_closed_within(slow.stream.sock, 10))
        for client in (quick, pub):
            client.close()
        self.assert_well()
        self.broker.kill9()

    def test_a_kafka_client_that_does_not_read(self):
        self.start()
        client = Kafka(self.broker.ports["kafka"])
        client.create_topic("big", 1)
        for _ in range(40):
            client.produce("big", 0, [(None, os.urandom(500_000), [])])
        before = self.broker.status("VmRSS")
        client.stream.sock.settimeout(1)
        try:
            for _ in range(200):  # 200 answers of 20 MB are asked for, none is read
                client.send_fetch("big", {0: 0}, partition_bytes=50 << 20)
        except Closed:
            pass
        self.assert_big_reads()
        self.assert_grew_less(before, 160 << 10, "a Kafka client that reads nothing")

    def counted(self, name):
        """The sum of the metrics with this in their name."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.broker.ports['admin']}/metrics", timeout=5) as r:
            lines = [line for line in r.read().decode().splitlines() if name in line and not line.startswith("#")]
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines)

    def assert_big_reads(self):
        client = Kafka(self.broker.ports["kafka"])
        self.assertTrue(client.fetch("big", {0: 0})[0][2])
        client.close()

    def test_no_descriptors_left(self):
        def limit():
            resource.setrlimit(resource.RLIMIT_NOFILE, (100, 200))  # the broker asks for the 200

        self.start(preexec=limit)
        self.assert_well()
        old = Mqtt(self.broker.ports["mqtt"], "old")
        old.subscribe("old/t")
        crowd, refused = [], 0
        for i in range(300):
            try:
                crowd.append(Mqtt(self.broker.ports["mqtt"], f"c{i}", timeout=0.5))
                if refused:
                    break
            except Closed:
                refused += 1
                if refused >= 5:
                    break
        self.assertGreater(len(crowd), 60)
        self.assertLess(len(crowd), 150, "none are left for the files")
        self.assertGreater(refused, 0, "300 connections fit into 200 descriptors?")
        crowd[0].publish("old/t", b"still here", 1)
        self.assertEqual(old.message().payload, b"still here")
        crowd[0].puback()
        for client in crowd:
            client.close()
        self.until_well(5)
        old.publish("old/t", b"again", 1)
        old.close()
        self.assertRegex(open(self.broker.log_path).read().lower(), "descriptor|emfile|refused", "the log says that connections were refused")
        self.assertGreater(self.counted("refused_descriptors"), 0)

    def until_well(self, seconds):
        deadline = time.monotonic() + seconds
        while True:
            try:
                return self.assert_well()
            except (Closed, KafkaError, AssertionError):
                if time.monotonic() > deadline:
                    raise
                select.select([], [], [], 0.2)

    def test_full_disk_refuses_writes_and_recovers(self):
        disk = LoopDisk(self.home, 512)
        self.addCleanup(disk.close)
        self.start(data_dir=os.path.join(disk.path, "data"))
        self.addCleanup(self.broker.kill9)  # before the disk goes
        mqtt, kafka = Mqtt(self.broker.ports["mqtt"], "m", 5), Kafka(self.broker.ports["kafka"])
        mqtt.publish("sensors/a", b"first", 1)
        mqtt.puback()
        kafka.create_topic("full", 1)
        kafka.produce("full", 0, [(None, b"first", [])])
        filler = os.path.join(disk.path, "filler")
        fill(filler, disk.path)
        codes, refused_at = set(), None
        for i in range(600):  # what the journal and the segments had allocated before may still take some
            try:
                kafka.produce("full", 0, [(None, os.urandom(900_000), [])])
            except KafkaError as e:
                codes.add(e.code)
                refused_at = refused_at or i
                if i - refused_at > 3:
                    break
        self.assertEqual(codes, {56}, "Kafka: KAFKA_STORAGE_ERROR")
        mqtt.publish("sensors/a", b"refused" + bytes(900_000), 1, 2)
        self.assertEqual(mqtt.puback(), (2, 0x97), "MQTT 5: quota exceeded")
        self.assertEqual(kafka.read_all("sensors", 1)[0][0].value, b"first", "reads go on")
        self.assertTrue(kafka.fetch("full", {0: 0})[0][2])
        os.unlink(filler)
        self.until_well(10)
        kafka.produce("full", 0, [(None, b"last", [])])
        before = kafka.list_offsets("full", 0)
        self.broker.kill9()
        self.broker.start()
        kafka = Kafka(self.broker.ports["kafka"])
        self.assertEqual(kafka.list_offsets("full", 0), before)
        records = kafka.read_all("full", 1)[0]
        self.assertEqual((records[0].value, records[-1].value), (b"first", b"last"))
        self.assertEqual([r.value for r in kafka.read_all("sensors", 1)[0] if r.value.startswith(b"refused")], [], "refused is not stored")
        self.broker.kill9()


def fill(path, at, leave=1 << 20):
    """Takes all but `leave` bytes of the file system."""
    with open(path, "wb") as f:
        while True:
            free = os.statvfs(at).f_bavail * os.statvfs(at).f_bsize - leave
            if free <= 0:
                return
            try:
                os.posix_fallocate(f.fileno(), f.seek(0, 2), free)
            except OSError:
                return


if __name__ == "__main__":
    sys.exit(not unittest.main(exit=False, verbosity=2).result.wasSuccessful())
