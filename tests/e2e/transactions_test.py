#!/usr/bin/env python3
"""Transactions as clients that nobody here wrote do them: confluent-kafka (librdkafka) and npm's kafkajs. Chains that consume,
transform and produce, aborts, zombies that are fenced, and kill -9 of the broker and of the chain in the middle."""
import os
import signal
import subprocess
import sys
import threading
import time
import unittest
import uuid

try:
    import confluent_kafka as ck
    from confluent_kafka.admin import AdminClient, NewTopic
except ImportError:  # it is Debian's, and this is another python3
    if __name__ == "__main__" and sys.executable != "/usr/bin/python3":
        os.execv("/usr/bin/python3", ["/usr/bin/python3", *sys.argv])
    ck = None

import npm_clients
from broker import Broker, find_binary, is_sanitized, scratch

WAIT = 30
CHAIN = "--chain"


def unique(name):
    return f"{name}-{uuid.uuid4().hex[:8]}"


def create(server, partitions, *topics):
    admin = AdminClient({"bootstrap.servers": server})  # lives until they are made
    for made in admin.create_topics([NewTopic(topic, partitions, 1) for topic in topics]).values():
        made.result(WAIT)


def consumer_of(server, group, topic, isolation="read_committed"):
    consumer = ck.Consumer({"bootstrap.servers": server, "group.id": group, "auto.offset.reset": "earliest", "enable.auto.commit": False,
                            "isolation.level": isolation, "session.timeout.ms": 6000, "heartbeat.interval.ms": 500})
    consumer.subscribe([topic])
    return consumer


def chain(server, tid, source, target, group, count):
    """Carries messages from one topic to the other, a few a transaction; every fifth one is aborted and done again."""
    producer = ck.Producer({"bootstrap.servers": server, "transactional.id": tid, "transaction.timeout.ms": 10000})
    producer.init_transactions(WAIT)
    consumer = consumer_of(server, group, source)
    done, turn = 0, 0
    quiet_since = time.monotonic()
    while time.monotonic() - quiet_since < WAIT:
        messages = consumer.consume(5, 1.0)
        messages = [m for m in messages if not m.error()]
        if not messages:
            if count and done >= count:
                break
            continue
        quiet_since = time.monotonic()
        turn += 1
        producer.begin_transaction()
        for message in messages:
            producer.produce(target, message.value() + b"!", partition=message.partition() % 2)
        producer.send_offsets_to_transaction(consumer.position(consumer.assignment()), consumer.consumer_group_metadata(), WAIT)
        if turn % 5 == 0:
            producer.abort_transaction(WAIT)
            for partition in consumer.committed(consumer.assignment(), WAIT):  # back to where it was
                partition.offset = max(partition.offset, 0)
                consumer.seek(partition)
            continue
        producer.commit_transaction(WAIT)
        done += len(messages)
        print(done, flush=True)
    consumer.close()
    return done


def read_all(server, topic, count, isolation="read_committed", patience=WAIT):
    """Values of a topic, until `count` are there and a second longer."""
    consumer = consumer_of(server, unique("reader"), topic, isolation)
    values, until = [], time.monotonic() + patience
    while time.monotonic() < until:
        got = [m.value() for m in consumer.consume(500, 0.5) if not m.error()]
        values += got
        if len(values) >= count and not got:
            break
    consumer.close()
    return values


@unittest.skipIf(ck is None, "python3-confluent-kafka is not installed")
class Transactions(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.home = cls.enterClassContext(scratch("transactions"))
        cls.broker = Broker(find_binary(), cls.home, flags=["--broker.default_partitions=2", "--transaction.retry_ms=100"]).start()
        cls.server = f"127.0.0.1:{cls.broker.ports['kafka']}"

    @classmethod
    def tearDownClass(cls):
        cls.broker.kill9()

    def topic(self, name, partitions=2):
        topic = unique(name)
        create(self.server, partitions, topic)
        return topic

    def producer(self, tid, **more):
        producer = ck.Producer({"bootstrap.servers": self.server, "transactional.id": tid, **more})
        producer.init_transactions(WAIT)
        return producer

    def fill(self, topic, count):
        producer = ck.Producer({"bootstrap.servers": self.server})
        for i in range(count):
            producer.produce(topic, str(i).encode(), partition=i % 2)
        self.assertEqual(producer.flush(WAIT), 0)

    def test_commits_and_aborts(self):
        topic = self.topic("plain")
        producer = self.producer(unique("tid"))
        for turn in range(6):
            producer.begin_transaction()
            for i in range(10):
                producer.produce(topic, f"{turn}-{i}".encode())
            if turn % 2:
                producer.flush(WAIT)
                producer.abort_transaction(WAIT)
            else:
                producer.commit_transaction(WAIT)
        expected = sorted(f"{turn}-{i}".encode() for turn in (0, 2, 4) for i in range(10))
        self.assertEqual(sorted(read_all(self.server, topic, 30)), expected)
        self.assertEqual(len(read_all(self.server, topic, 60, "read_uncommitted")), 60)

    def test_a_zombie_is_fenced(self):
        topic = self.topic("zombie")
        tid = unique("tid")
        zombie = self.producer(tid)
        zombie.begin_transaction()
        zombie.produce(topic, b"lost")
        zombie.flush(WAIT)
        new = self.producer(tid)
        with self.assertRaises(ck.KafkaException) as fenced:
            zombie.produce(topic, b"late")
            zombie.commit_transaction(WAIT)
        self.assertTrue(fenced.exception.args[0].fatal(), fenced.exception)
        new.begin_transaction()
        new.produce(topic, b"mine")
        new.commit_transaction(WAIT)
        self.assertEqual(read_all(self.server, topic, 1), [b"mine"])

    def test_a_chain_is_exact(self):
        source, target = self.topic("source"), self.topic("target")
        self.fill(source, 60)
        done = []
        worker = threading.Thread(target=lambda: done.append(chain(self.server, unique("tid"), source, target, unique("g"), 60)))
        worker.start()
        worker.join(3 * WAIT)
        self.assertEqual(done, [60])
        self.assertEqual(sorted(read_all(self.server, target, 60)), sorted(f"{i}!".encode() for i in range(60)))

    def test_a_lost_producer_is_aborted(self):
        topic = self.topic("lost")
        producer = self.producer(unique("tid"), **{"transaction.timeout.ms": 2000, "message.timeout.ms": 2000})
        producer.begin_transaction()
        producer.produce(topic, b"never")
        producer.flush(WAIT)
        plain = ck.Producer({"bootstrap.servers": self.server})
        for partition in range(2):
            plain.produce(topic, b"behind", partition=partition)
        plain.flush(WAIT)
        # What lies behind the open transaction comes when that is over.
        self.assertEqual(read_all(self.server, topic, 2), [b"behind", b"behind"])

    def test_kafkajs(self):
        npm_clients.install()
        npm_clients.run(self, "kafkajs_transactions.js", KAFKA=self.server, RUN=unique("js"))


@unittest.skipIf(ck is None, "python3-confluent-kafka is not installed")
class Crashes(unittest.TestCase):
    """A chain in its own process; it and the broker are killed again and again. Output equals input, and no committed offset goes back.
    CHAIN_KILLS says how often each is killed."""

    KILLS = 6
    KILLS_SANITIZED = 3

    def test_a_chain_over_kills_is_exact(self):
        with scratch("transaction-crashes") as home:
            port = 0
            broker = Broker(find_binary(), home, flags=["--broker.default_partitions=2", "--transaction.retry_ms=100"])
            broker.start()
            port = broker.ports["kafka"]
            broker.flags.append(f"--kafka.listen=127.0.0.1:{port}")
            server = f"127.0.0.1:{port}"
            source, target, tid, group = (unique(n) for n in ("source", "target", "tid", "group"))
            create(server, 2, source, target)
            total, sent = 0, ck.Producer({"bootstrap.servers": server, "enable.idempotence": True})
            kills = int(os.environ.get("CHAIN_KILLS", self.KILLS_SANITIZED if is_sanitized(broker.binary) else self.KILLS))
            committed = {}
            try:
                for round_number in range(kills):
                    for _ in range(20):
                        sent.produce(source, str(total).encode(), partition=total % 2)
                        total += 1
                    self.assertEqual(sent.flush(WAIT), 0)
                    worker = self.start_chain(server, tid, source, target, group, 0)
                    lines = 0
                    began = time.monotonic()
                    while lines < 1 + round_number % 3 and time.monotonic() - began < WAIT and worker.stdout.readline():
                        lines += 1
                    # Both die in each round, one or the other first; or both at once.
                    if round_number % 3 == 0:
                        worker.send_signal(signal.SIGKILL)
                    broker.kill9()
                    if round_number % 3 == 1:
                        worker.send_signal(signal.SIGKILL)
                    broker.start()
                    if round_number % 3 == 2:
                        time.sleep(0.1 * (round_number % 7))  # somewhere in what it does again
                        worker.send_signal(signal.SIGKILL)
                    worker.wait(WAIT)
                    worker.stdout.close()
                    self.check_offsets(server, group, source, committed)
                worker = self.start_chain(server, tid, source, target, group, 1)
                expected = sorted(f"{i}!".encode() for i in range(total))
                got = read_all(server, target, total, patience=3 * WAIT)
                worker.kill()
                worker.wait(WAIT)
                worker.stdout.close()
                self.assertEqual(sorted(got), expected)
                print(f"{kills} kills of the broker and of the chain: {total} records in, {len(got)} out, each once", file=sys.__stdout__, flush=True)
            finally:
                broker.kill9()

    def check_offsets(self, server, group, source, committed):
        consumer = ck.Consumer({"bootstrap.servers": server, "group.id": group})
        for partition in consumer.committed([ck.TopicPartition(source, p) for p in range(2)], WAIT):
            self.assertGreaterEqual(max(partition.offset, 0), committed.get(partition.partition, 0), "a committed offset went back")
            committed[partition.partition] = max(partition.offset, 0)
        consumer.close()

    @staticmethod
    def start_chain(server, tid, source, target, group, count):
        command = [sys.executable, os.path.abspath(__file__), CHAIN, server, tid, source, target, group, str(count)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


if __name__ == "__main__":
    if len(sys.argv) > 1 and sys.argv[1] == CHAIN:
        chain(*sys.argv[2:7], int(sys.argv[7]))
    else:
        unittest.main()
