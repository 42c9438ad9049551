#!/usr/bin/env python3
"""Kafka's client quotas against a real broker of two cores: the rates hold, clients are told, nothing is lost, and they outlive kill -9."""
import os
import struct
import subprocess
import sys
import threading
import time
import unittest
import urllib.request
import uuid

try:
    import confluent_kafka as ck
except ImportError:  # it is Debian's, and this is another python3
    if __name__ != "__main__" or sys.executable == "/usr/bin/python3":
        raise
    os.execv("/usr/bin/python3", ["/usr/bin/python3", *sys.argv])

from broker import Broker, find_binary, scratch
from wire import Closed, Kafka, _array, _utf8, record_batch

# One window's worth may come at once: rates show in seconds.
CONFIG = """
[runtime]
cores = 2
[quota]
window_num = 2
"""
WAIT = 60  # seconds until a wait is a failure


def nullable(text):
    return struct.pack(">h", -1) if text is None else _utf8(text)


class Admin(Kafka):
    """A connection that changes and reads quotas, and topics over their quota."""

    def alter(self, entity, **values):
        """entity: {"user": "u", "client-id": None}; a value of None removes. The error code."""
        parts = _array([_utf8(kind) + nullable(name) for kind, name in entity.items()])
        ops = _array([_utf8(key) + struct.pack(">d?", value or 0, value is None) for key, value in values.items()])
        r = self.call(49, 0, _array([parts + ops]) + b"\0")
        r.take("i")
        return r.array(lambda: (r.take("h"), r.string(), r.array(lambda: (r.string(), r.string()))))[0][0]

    def describe(self):
        """{((type, name), ...): {key: value}}"""
        r = self.call(48, 0, _array([]) + b"\0")
        _, error = r.take("ih")
        r.string()
        assert error == 0, error
        return {tuple(entity): dict(values) for entity, values in
                r.array(lambda: (r.array(lambda: (r.string(), r.string())), r.array(lambda: (r.string(), r.take("d")))))}

    def throttled_create(self, name, partitions):
        """CreateTopics 4: the throttle time it tells, in seconds."""
        body = _array([_utf8(name) + struct.pack(">ih", partitions, 1) + _array([]) + _array([])]) + struct.pack(">ib", 10000, 0)
        return self.call(19, 4, body, WAIT).take("i") / 1000


def uvarint(n):
    return bytes([n]) if n < 128 else bytes([n & 127 | 128]) + uvarint(n >> 7)


class QuotasTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.home = cls.enterClassContext(scratch("quotas"))
        cls.broker = Broker(find_binary(), cls.home, CONFIG).start()

    @classmethod
    def tearDownClass(cls):
        cls.broker.stop()

    def setUp(self):
        self.admin = Admin(self.broker.ports["kafka"], client_id="admin")
        self.client = f"c-{uuid.uuid4().hex[:8]}"
        self.topic = f"t-{uuid.uuid4().hex[:8]}"
        self.admin.create_topic(self.topic, 2)

    def tearDown(self):
        for entity in self.admin.describe():
            self.admin.alter(dict(entity), **{key: None for key in self.admin.describe()[entity]})
        self.admin.close()

    def at(self):
        return f"127.0.0.1:{self.broker.ports['kafka']}"

    def limit(self, **values):
        self.assertEqual(self.admin.alter({"client-id": self.client}, **values), 0)

    def metric(self, name):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.broker.ports['admin']}/metrics", timeout=10) as answer:
            rows = [line.split() for line in answer.read().decode().splitlines() if line.startswith("robustmq_" + name)]
        return sum(float(row[-1]) for row in rows)

    def librdkafka(self, told, **more):
        return {"bootstrap.servers": self.at(), "client.id": self.client, "log_level": 0,
                "throttle_cb": lambda event: told.append(event.throttle_time), **more}

    def test_librdkafka_produces_and_consumes_at_its_rate_and_is_told(self):
        self.limit(producer_byte_rate=100_000, consumer_byte_rate=150_000)
        told, count, size = [], 600, 1_000
        before = self.metric("kafka_throttled_produce_total")
        producer = ck.Producer(self.librdkafka(told, **{"batch.num.messages": 20, "linger.ms": 5}))
        began = time.monotonic()
        for i in range(count):
            producer.produce(self.topic, value=str(i).rjust(size), partition=0)
        self.assertEqual(producer.flush(WAIT), 0)
        took = time.monotonic() - began
        # The first second's worth comes at once, and what the last request owes is not waited for.
        self.assertGreater(took, count * size / 100_000 - 2)
        self.assertLess(took, count * size / 100_000 + 4)
        self.assertTrue([time_s for time_s in told if time_s > 0], "it is told")
        self.assertGreater(self.metric("kafka_throttled_produce_total"), before)
        self.assertGreater(self.metric("kafka_throttled_produce_ms_total"), 1000)

        told.clear()
        consumer = ck.Consumer(self.librdkafka(told, **{"group.id": self.topic, "auto.offset.reset": "earliest", "fetch.wait.max.ms": 100}))
        consumer.assign([ck.TopicPartition(self.topic, 0, 0)])
        began, got = time.monotonic(), []
        while len(got) < count:
            self.assertLess(time.monotonic() - began, WAIT, f"only {len(got)} came")
            message = consumer.poll(1)
            if message is not None:
                self.assertIsNone(message.error())
                got.append(int(message.value()))
        took = time.monotonic() - began
        consumer.close()
        self.assertEqual(got, list(range(count)), "nothing is lost, nothing comes twice")
        self.assertGreater(took, count * size / 150_000 - 2.5)
        self.assertLess(took, count * size / 150_000 + 5)
        self.assertTrue([time_s for time_s in told if time_s > 0], "it is told")
        self.assertGreater(self.metric("kafka_throttled_fetch_total"), 0)

    def test_kcat_produces_at_its_rate(self):
        self.limit(producer_byte_rate=100_000)
        lines = b"".join(str(i).rjust(999).encode() + b"\n" for i in range(400))
        began = time.monotonic()
        subprocess.run(["kcat", "-b", self.at(), "-P", "-t", self.topic, "-p", "0", "-X", f"client.id={self.client}", "-X", "batch.num.messages=20"],
                       input=lines, check=True, capture_output=True, timeout=WAIT)
        self.assertGreater(time.monotonic() - began, 2)
        self.assertEqual(self.admin.list_offsets(self.topic, 0), 400)

    def test_connections_on_all_cores_share_a_rate(self):
        rate, seconds, each = 200_000, 6, record_batch([(None, b"x" * 4_000, [])])
        self.limit(producer_byte_rate=rate)
        sent = [0] * 8
        end = time.monotonic() + seconds

        def run(i):
            link = Kafka(self.broker.ports["kafka"], client_id=self.client, timeout=WAIT)
            while time.monotonic() < end:
                link.call(0, 7, link.produce_body(self.topic, i % 2, each))
                sent[i] += len(each)
            link.close()

        threads = [threading.Thread(target=run, args=(i,)) for i in range(len(sent))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        allowed = rate * (seconds + 1)
        self.assertLess(sum(sent), allowed * 1.05 + len(sent) * len(each))
        self.assertGreater(sum(sent), allowed * 0.75)
        self.assertTrue(all(sent), "each had its turn")

    def test_the_more_particular_quota_holds(self):
        self.assertEqual(self.admin.alter({"client-id": None}, producer_byte_rate=1_000), 0)
        self.limit(producer_byte_rate=50_000_000)
        link = Kafka(self.broker.ports["kafka"], client_id=self.client, timeout=WAIT)
        for _ in range(20):
            link.produce(self.topic, 0, [(None, b"x" * 10_000, [])])
        self.assertEqual(self.admin.alter({"user": "ANONYMOUS", "client-id": self.client}, producer_byte_rate=10_000), 0)
        began = time.monotonic()
        for _ in range(4):
            link.produce(self.topic, 0, [(None, b"x" * 10_000, [])])
        self.assertGreater(time.monotonic() - began, 1.5, "in force on a connection that is there")
        self.assertEqual(self.admin.alter({"user": "ANONYMOUS", "client-id": self.client}, producer_byte_rate=None), 0)
        link.close()

    def test_quotas_outlive_kill_9(self):
        self.limit(producer_byte_rate=1234, request_percentage=12.5)
        self.assertEqual(self.admin.alter({"user": "u", "client-id": None}, controller_mutation_rate=0.5), 0)
        self.assertEqual(self.admin.alter({"ip": "192.0.2.1"}, connection_creation_rate=7), 0)
        self.assertEqual(self.admin.alter({"ip": "192.0.2.1", "user": "u"}, connection_creation_rate=7), 42)
        self.assertEqual(self.admin.alter({"client-id": self.client}, producer_byte_rate=0), 42)
        before = self.admin.describe()
        self.assertEqual(len(before), 3)
        self.admin.close()
        self.broker.kill9()
        self.broker.start()
        self.admin = Admin(self.broker.ports["kafka"], client_id="admin")
        self.assertEqual(self.admin.describe(), before)
        self.assertEqual(before[(("client-id", self.client),)], {"producer_byte_rate": 1234.0, "request_percentage": 12.5})
        self.assertEqual(self.metric("quota_entities"), 3)

    def test_requests_have_their_share_of_the_cores_time(self):
        link = Kafka(self.broker.ports["kafka"], client_id=self.client, timeout=WAIT)
        self.limit(request_percentage=0.1)
        told, count, end = 0, 0, time.monotonic() + 4
        while time.monotonic() < end:
            told = max(told, link.call(3, 7, struct.pack(">i", -1) + b"\0").take("i"))
            count += 1
        self.assertGreater(told, 0, f"after {count} requests")
        self.assertLessEqual(told, 1000)
        self.assertGreater(self.metric("kafka_throttled_request_total"), 0)
        link.close()

    def test_changes_of_topics_have_their_rate(self):
        link = Admin(self.broker.ports["kafka"], client_id=self.client, timeout=WAIT)
        self.limit(controller_mutation_rate=5)
        self.assertEqual(link.throttled_create(self.topic + "-a", 4), 0)
        self.assertGreater(link.throttled_create(self.topic + "-b", 10), 0.5, "an older version is delayed")
        strict = Admin(self.broker.ports["kafka"], client_id=self.client, timeout=WAIT)
        name = (self.topic + "-c").encode()
        # CreateTopics 6, flexible: header 2 has tags behind the client id.
        topic = uvarint(len(name) + 1) + name + struct.pack(">ih", 3, 1) + uvarint(1) + uvarint(1) + b"\0"
        r = strict.call(19, 6, b"\0" + uvarint(2) + topic + struct.pack(">ib", 10000, 0) + b"\0")
        r.take("b")
        self.assertGreater(r.take("i"), 0)
        length = r.take("b") - 1
        self.assertEqual(length, 1)
        r.at += 1 + len(name)
        self.assertEqual(r.take("h"), 89, "a newer one is refused")
        link.close()
        strict.close()

    def test_a_host_has_its_rate_of_connections(self):
        self.assertEqual(self.admin.alter({"ip": "127.0.0.1"}, connection_creation_rate=3), 0)
        try:
            let_in = 0
            for _ in range(12):
                link = Kafka(self.broker.ports["kafka"], client_id=self.client, timeout=3)
                try:
                    link.api_versions()
                    let_in += 1
                except Closed:
                    pass
                link.close()
                if let_in >= 4 and self.metric("kafka_throttled_connections_total") > 0:
                    break
            self.assertGreaterEqual(let_in, 3)
            self.assertGreater(self.metric("kafka_throttled_connections_total"), 0)
        finally:
            self.assertEqual(self.admin.alter({"ip": "127.0.0.1"}, connection_creation_rate=None), 0)


if __name__ == "__main__":
    unittest.main(verbosity=2)
