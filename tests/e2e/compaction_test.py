#!/usr/bin/env python3
"""Compacted topics as clients that nobody here wrote see them: python-kafka, kcat, and MQTT by paho; with kill -9 in between."""
import os
import re
import subprocess
import sys
import time
import unittest
import urllib.request
import uuid

try:
    import kafka
except ImportError:  # it is Debian's, and this is another python3
    if __name__ != "__main__" or sys.executable == "/usr/bin/python3":
        raise
    os.execv("/usr/bin/python3", ["/usr/bin/python3", *sys.argv])
from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient, NewTopic
from kafka.structs import TopicPartition

from broker import Broker, find_binary, scratch

WAIT = 60
KEYS = 20
COUNT = 3000
CONFIG = """
[storage]
checkpoint_ms = 100
[compaction]
check_ms = 100
"""
COMPACTED = {"cleanup.policy": "compact", "segment.bytes": "65536", "min.cleanable.dirty.ratio": "0.01"}


def unique(name):
    return f"{name}-{uuid.uuid4().hex[:8]}"


class CompactionTest(unittest.TestCase):
    def setUp(self):
        home = scratch("compaction")
        self.broker = Broker(find_binary(), home.__enter__(), CONFIG).start()
        self.addCleanup(home.__exit__, None, None, None)
        self.addCleanup(self.broker.stop)
        self.server = f"127.0.0.1:{self.broker.ports['kafka']}"

    def create(self, **config):
        name = unique("compacted")
        admin = KafkaAdminClient(bootstrap_servers=self.server)
        admin.create_topics([NewTopic(name, 1, 1, topic_configs={**COMPACTED, **config})])
        admin.close()
        return name

    def metric(self, name):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.broker.ports['admin']}/metrics", timeout=10) as answer:
            text = answer.read().decode()
        return sum(float(value) for value in re.findall(rf"^robustmq_{name}(?:{{[^}}]*}})? (\S+)$", text, re.M))

    def fill(self, topic, count=COUNT, first=0, **kw):
        """Numbered values, the keys in turn. The newest value of each key."""
        producer = kafka.KafkaProducer(bootstrap_servers=self.server, acks="all", linger_ms=5, batch_size=4000, **kw)
        newest = {}
        for n in range(first, first + count):
            key = f"key{n % KEYS}".encode()
            newest[key] = f"{n}-{os.urandom(50).hex()}".encode()
            producer.send(topic, newest[key], key)
        producer.flush(WAIT)
        producer.close()
        return newest

    def read(self, topic, start=0):
        """All records from an offset on, as a consumer without a group sees them."""
        consumer = kafka.KafkaConsumer(bootstrap_servers=self.server, enable_auto_commit=False)
        partition = TopicPartition(topic, 0)
        consumer.assign([partition])
        consumer.seek(partition, start)
        end = consumer.end_offsets([partition])[partition]
        records, deadline = [], time.monotonic() + WAIT
        while consumer.position(partition) < end:
            self.assertLess(time.monotonic(), deadline, f"the consumer is stuck at {consumer.position(partition)} of {end}")
            for some in consumer.poll(200).values():
                records += some
        consumer.close()
        return records, end

    def wait_until_few(self, topic, most):
        """Until at most so many records are left, and compaction takes no more of them away."""
        deadline, before = time.monotonic() + WAIT, None
        while True:
            records, end = self.read(topic)
            offsets = [record.offset for record in records]
            if len(records) <= most and offsets == before:
                return records, end
            self.assertLess(time.monotonic(), deadline, f"{len(records)} records are left")
            before = offsets
            time.sleep(1)

    def check(self, records, newest):
        found = {}
        offsets = [record.offset for record in records]
        self.assertEqual(offsets, sorted(set(offsets)))
        for record in records:
            found[record.key] = record.value
        self.assertEqual(found, newest)

    def test_case_30_readers_pass_over_what_is_gone(self):
        for codec in (None, "gzip", "snappy", "lz4"):
            with self.subTest(codec=codec):
                topic = self.create()
                newest = self.fill(topic, compression_type=codec)
                # The last segment is not compacted.
                records, end = self.wait_until_few(topic, COUNT // 2)
                self.assertEqual(end, COUNT)
                self.check(records, newest)
                # From the middle of what is gone.
                some, _ = self.read(topic, start=7)
                self.assertEqual([r.offset for r in some], [r.offset for r in records if r.offset >= 7])
                kcat = subprocess.run(["kcat", "-b", self.server, "-C", "-t", topic, "-o", "beginning", "-e", "-q", "-f", "%o %k\n"],
                                      capture_output=True, timeout=WAIT, check=True).stdout.decode().split("\n")[:-1]
                self.assertEqual(kcat, [f"{r.offset} {r.key.decode()}" for r in records])
        self.assertGreater(self.metric("compaction_records_removed_total"), COUNT)
        self.assertEqual(self.metric("compaction_partitions_uncleanable"), 0)

    def test_kill_9_at_any_time_loses_no_newest_record(self):
        topic = self.create()
        newest, first = {}, 0
        for turn in range(5):
            newest.update(self.fill(topic, 800, first))
            first += 800
            time.sleep(0.05 * turn)
            self.broker.kill9()
            self.broker.start()
            self.server = f"127.0.0.1:{self.broker.ports['kafka']}"
            records, end = self.read(topic)
            self.assertEqual(end, first)
            self.check(records, newest)
        self.check(self.wait_until_few(topic, first // 2)[0], newest)

    def test_tombstones_go_and_take_their_keys_along(self):
        topic = self.create(**{"delete.retention.ms": "500"})
        self.fill(topic)
        producer = kafka.KafkaProducer(bootstrap_servers=self.server, acks="all")
        for n in range(KEYS):
            producer.send(topic, None, f"key{n}".encode())
        producer.flush(WAIT)
        for n in range(2000):  # so that the tombstones are in a sealed segment, and what comes after is new
            producer.send(topic, b"y" * 100, b"other")
            if n % 500 == 499:
                producer.flush(WAIT)
                time.sleep(1)
        producer.close()
        deadline = time.monotonic() + WAIT
        while {record.key for record in self.read(topic)[0]} != {b"other"}:
            self.assertLess(time.monotonic(), deadline, "the keys are still there")
            self.fill_other(topic)
            time.sleep(0.5)

    def fill_other(self, topic):
        producer = kafka.KafkaProducer(bootstrap_servers=self.server, acks="all", batch_size=4000)
        for _ in range(1000):
            producer.send(topic, b"y" * 100, b"other")
        producer.flush(WAIT)
        producer.close()

    def test_case_16_a_record_without_a_key_is_refused(self):
        topic = self.create()
        producer = kafka.KafkaProducer(bootstrap_servers=self.server, acks="all", retries=0)
        with self.assertRaises(kafka.errors.KafkaError):
            producer.send(topic, b"value").get(WAIT)
        producer.send(topic, b"value", b"key").get(WAIT)
        producer.close()

    def test_the_policy_changes_while_the_topic_is_used(self):
        topic = self.create(**{"cleanup.policy": "delete"})
        newest = self.fill(topic)
        self.assertEqual(len(self.read(topic)[0]), COUNT)
        admin = KafkaAdminClient(bootstrap_servers=self.server)
        admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, {**COMPACTED, "cleanup.policy": "compact,delete"})])
        admin.close()
        self.check(self.wait_until_few(topic, COUNT // 2)[0], newest)


if __name__ == "__main__":
    unittest.main()
