#!/usr/bin/env python3
"""librdkafka's share consumer (KIP-932) against a real broker: records shared out, released, accepted for good, over kill -9."""
import json
import os
import random
import re
import subprocess
import sys
import threading
import time
import unittest
import urllib.request
import uuid

import pip_clients
from broker import Broker, OneBroker, find_binary, is_sanitized

CONFIG = """
[consumer_group]
share_heartbeat_interval_ms = 300
share_record_lock_duration_min_ms = 1000
lag_check_ms = 200
"""
WAIT = 30  # seconds until a wait is a failure


class Shares(OneBroker):
    @classmethod
    def config(cls):
        return CONFIG

    @classmethod
    def setUpClass(cls):
        cls.kafka = pip_clients.confluent_kafka()
        if not hasattr(cls.kafka, "ShareConsumer"):
            raise unittest.SkipTest("this confluent-kafka has no share consumer")
        super().setUpClass()
        cls.flags = [f"--kafka.listen=127.0.0.1:{cls.broker.ports['kafka']}"]

    def setUp(self):
        from confluent_kafka.admin import (AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewTopic, ResourceType)
        self.topic = f"t-{uuid.uuid4().hex[:8]}"
        self.group = self.topic + "-g"
        self.made, self.sent = [], 0
        self.admin = AdminClient({"bootstrap.servers": self.at(), "log_level": 0})
        self.create = lambda name, partitions, **more: self.admin.create_topics([NewTopic(name, partitions, 1, **more)])[name].result(WAIT)
        self.create(self.topic, 3)

        def configure(name, value):
            entry = ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
            group = ConfigResource(ResourceType.GROUP, self.group, incremental_configs=[entry])
            self.admin.incremental_alter_configs([group])[group].result(WAIT)

        self.configure = configure
        configure("share.auto.offset.reset", "earliest")

    def tearDown(self):
        for consumer in self.made:
            consumer.close()

    def at(self):
        return f"127.0.0.1:{self.broker.ports['kafka']}"

    def produce(self, count):
        producer = self.kafka.Producer({"bootstrap.servers": self.at(), "log_level": 0})
        for i in range(self.sent, self.sent + count):
            producer.produce(self.topic, value=str(i), partition=i % 3)
        self.assertEqual(producer.flush(WAIT), 0)
        self.sent += count

    def consumer(self, mode="implicit", **more):
        made = self.kafka.ShareConsumer({"bootstrap.servers": self.at(), "group.id": self.group, "log_level": 0,
                                         "share.acknowledgement.mode": mode, **more})
        made.subscribe([self.topic])
        self.made.append(made)
        return made

    def read(self, consumers, until, each=lambda consumer, message: None):
        """Polls all consumers until `until` holds; `each` is called with each message."""
        end = time.monotonic() + WAIT
        while not until():
            self.assertLess(time.monotonic(), end, "nothing more came")
            for consumer in consumers:
                for message in consumer.poll(0.2):
                    if message.error():
                        self.assertFalse(message.error().fatal(), str(message.error()))
                        continue
                    each(consumer, message)

    def lag(self):
        """Of the group, over all partitions; None: it is not shown."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.broker.ports['admin']}/metrics", timeout=10) as answer:
            found = re.findall(rf'robustmq_share_group_lag{{group="{self.group}",topic="{self.topic}",partition="\d+"}} (\d+)', answer.read().decode())
        return sum(int(each) for each in found) if found else None

    def test_what_a_group_is_not_done_with_is_in_the_metrics(self):
        self.produce(60)
        consumer, got = self.consumer(), []
        self.read([consumer], lambda: len(got) == 60, lambda _, message: got.append(message))
        consumer.commit_sync()
        self.made.remove(consumer)
        consumer.close()
        self.produce(30)
        end = time.monotonic() + WAIT
        while self.lag() != 30:
            self.assertLess(time.monotonic(), end, f"the lag is {self.lag()}")
            time.sleep(0.1)

    def test_members_share_what_there_is(self):
        self.produce(300)
        seen = []
        members = [self.consumer() for _ in range(3)]
        self.read(members, lambda: len(seen) >= 300, lambda _, message: seen.append(int(message.value())))
        self.assertEqual(sorted(seen), list(range(300)), "each once")
        for member in members:
            member.commit_sync()
        self.made.clear()
        for member in members:
            member.close()
        # Nothing that was accepted comes again to a new member.
        self.produce(3)
        late = []
        self.read([self.consumer()], lambda: len(late) >= 3, lambda _, message: late.append(int(message.value())))
        self.assertEqual(sorted(late), [300, 301, 302])

    def test_what_is_released_comes_again_and_what_is_rejected_does_not(self):
        from confluent_kafka import AcknowledgeType
        self.produce(9)
        accepted, rejected, deliveries = set(), set(), {}
        consumer = self.consumer("explicit")

        def each(_, message):
            value = int(message.value())
            self.assertNotIn(value, accepted | rejected)
            deliveries[value] = deliveries.get(value, 0) + 1
            if value % 3 == 0 and deliveries[value] == 1:
                return consumer.acknowledge(message, AcknowledgeType.RELEASE)
            if value % 3 == 1:
                rejected.add(value)
                return consumer.acknowledge(message, AcknowledgeType.REJECT)
            accepted.add(value)
            return consumer.acknowledge(message, AcknowledgeType.ACCEPT)

        self.read([consumer], lambda: len(accepted | rejected) == 9, each)
        self.assertEqual(rejected, {1, 4, 7})
        self.assertEqual({value for value, count in deliveries.items() if count == 2}, {0, 3, 6})

    def letters(self, topic, count):
        """Of a dead letter topic with one partition: its records, until `count` are there and its end is reached."""
        reader = self.kafka.Consumer({"bootstrap.servers": self.at(), "group.id": uuid.uuid4().hex, "enable.partition.eof": True, "log_level": 0})
        reader.assign([self.kafka.TopicPartition(topic, 0, 0)])
        got, is_over, end = [], False, time.monotonic() + WAIT
        while not is_over or len(got) < count:
            self.assertLess(time.monotonic(), end, f"{len(got)} of {count} dead letters")
            message = reader.poll(0.5)
            is_over = message is not None and message.error() is not None
            if message is not None and not message.error():
                got.append(message)
        reader.close()
        return got

    def test_a_record_that_died_has_its_dead_letter_over_a_kill(self):
        from confluent_kafka import AcknowledgeType
        letters = f"dlq.{self.topic}"
        self.configure("errors.deadletterqueue.topic.name", letters)
        self.configure("errors.deadletterqueue.copy.record.enable", "true")
        self.produce(9)
        consumer, done = self.consumer("explicit"), set()

        def each(_, message):
            value = int(message.value())
            done.add(value)
            consumer.acknowledge(message, AcknowledgeType.REJECT if value % 3 == 0 else AcknowledgeType.ACCEPT)

        self.read([consumer], lambda: len(done) == 9, each)
        self.assertEqual([error for error in consumer.commit_sync(10).values() if error is not None], [])
        # The topic is not there yet: the letters wait, over a kill too, and need nobody who reads the group's records.
        self.made.remove(consumer)
        consumer.close()
        self.broker.flags = list(self.flags)
        self.broker.kill9()
        self.broker.start()
        self.create(letters, 1, config={"errors.deadletterqueue.group.enable": "true"})
        got = self.letters(letters, 3)
        self.assertEqual(sorted(int(each.value()) for each in got), [0, 3, 6])
        for each in got:
            headers = {name: value.decode() for name, value in each.headers()}
            self.assertEqual((headers["__dlq.errors.topic"], headers["__dlq.errors.partition"]), (self.topic, "0"))
            self.assertEqual((headers["__dlq.errors.group"], headers["__dlq.errors.delivery.count"]), (self.group, "1"))
            self.assertEqual(headers["__dlq.errors.message"], "Offset rejected by client.")
        self.assertEqual(sorted(int(dict(each.headers())["__dlq.errors.offset"]) for each in got), [0, 1, 2])

    def test_nothing_accepted_comes_again_after_kill(self):
        from confluent_kafka import AcknowledgeType
        self.produce(60)
        accepted, pending = set(), []
        consumer = self.consumer("explicit")
        end = time.monotonic() + WAIT
        while len(accepted) < 10:
            self.assertLess(time.monotonic(), end)
            for message in consumer.poll(0.2):
                value = int(message.value())
                self.assertNotIn(value, accepted)
                keeps = value % 2 == 0
                consumer.acknowledge(message, AcknowledgeType.ACCEPT if keeps else AcknowledgeType.RELEASE)
                if keeps:
                    pending.append((message.partition(), value))
            failed = {one.partition for one, error in consumer.commit_sync(10).items() if error is not None}
            accepted |= {value for partition, value in pending if partition not in failed}
            pending.clear()
        self.broker.kill9()
        type(self).broker = Broker(find_binary(), self.home, CONFIG, self.flags).start()
        rest = set()

        def take(who, message):
            value = int(message.value())
            self.assertNotIn(value, accepted, "accepted, and given again")
            rest.add(value)
            if who is consumer:
                who.acknowledge(message)

        self.read([consumer, self.consumer()], lambda: len(rest | accepted) == 60, take)

    def test_each_record_is_accepted_once_over_kills(self):
        """SHARE_KILLS says how often the broker is killed, while two members read, release some and accept the rest."""
        from confluent_kafka import AcknowledgeType, KafkaException
        kills = int(os.environ.get("SHARE_KILLS", 2 if is_sanitized(self.broker.binary) else 4))
        members = [self.consumer("explicit") for _ in range(2)]
        accepted, unanswered, released, deliveries = set(), set(), set(), 0
        self.broker.flags = list(self.flags)

        def kill():
            time.sleep(random.uniform(0.1, 1.0))  # somewhere in what members do
            self.broker.kill9()
            self.broker.start()

        for number in range(kills + 1):
            self.produce(60)
            killer = threading.Thread(target=kill)
            if number < kills:
                killer.start()
                self.addCleanup(killer.join)
            end = time.monotonic() + 2 * WAIT
            # What had no answer is done, or comes again; nothing is left when the group's lag is 0.
            while killer.is_alive() or len(accepted | unanswered) < self.sent or (number == kills and self.lag() != 0):
                self.assertLess(time.monotonic(), end, f"{self.sent - len(accepted)} records were not accepted")
                for member in members:
                    pending = []
                    for message in member.poll(0.2):
                        if message.error():
                            self.assertFalse(message.error().fatal(), str(message.error()))
                            continue
                        value = int(message.value())
                        self.assertNotIn(value, accepted, "accepted, and given again")
                        deliveries += 1
                        if value % 5 == 0 and value not in released:
                            released.add(value)
                            member.acknowledge(message, AcknowledgeType.RELEASE)
                            continue
                        member.acknowledge(message, AcknowledgeType.ACCEPT)
                        pending.append((message.partition(), value))
                    if not pending:
                        continue
                    try:
                        failed = {one.partition for one, error in member.commit_sync(10).items() if error is not None}
                    except KafkaException:
                        failed = {0, 1, 2}
                    for partition, value in pending:
                        (unanswered if partition in failed else accepted).add(value)
        self.assertEqual(accepted | unanswered, set(range(self.sent)))
        print(f"{kills} kills: {self.sent} records, {len(accepted)} accepts answered, {deliveries} deliveries", file=sys.__stdout__, flush=True)


class ManyMembers(OneBroker):
    """robust-bench's share group, small: it fails where a record is accepted twice, or given again after its accept was answered."""

    MEMBERS = 300

    @classmethod
    def config(cls):
        return f"[consumer_group]\nshare_members_max = {cls.MEMBERS}\n"

    def test_every_record_is_acknowledged_once(self):
        bench = os.path.join(os.path.dirname(find_binary()), "robust-bench")
        command = [bench, "kafka-share", f"--port={self.broker.ports['kafka']}", f"--members={self.MEMBERS}", "--records=6000", "--record_bytes=50",
                   "--fetch_records=10", "--seconds=60", "--json"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=3 * WAIT)
        self.assertEqual(done.returncode, 0, done.stderr)
        report = json.loads(done.stdout)
        self.assertEqual((report["members"], report["records"], report["deliveries"]), (self.MEMBERS, 6000, 6000))
        refused = subprocess.run([*command[:2], *command[2:3], f"--members={self.MEMBERS + 1}", "--topic=over", *command[4:]], capture_output=True, text=True,
                                 check=False, timeout=3 * WAIT)
        self.assertIn("maximum capacity", refused.stderr)


if __name__ == "__main__":
    unittest.main()
