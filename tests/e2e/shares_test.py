#!/usr/bin/env python3
"""librdkafka's share consumer (KIP-932) against a real broker: records shared out, released, accepted for good, over kill -9."""
import os
import re
import sys
import time
import unittest
import urllib.request
import uuid

import pip_clients
from broker import Broker, OneBroker, find_binary

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
        self.admin.create_topics([NewTopic(self.topic, 3, 1)])[self.topic].result(WAIT)
        entry = ConfigEntry("share.auto.offset.reset", "earliest", incremental_operation=AlterConfigOpType.SET)
        group = ConfigResource(ResourceType.GROUP, self.group, incremental_configs=[entry])
        self.admin.incremental_alter_configs([group])[group].result(WAIT)

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


if __name__ == "__main__":
    unittest.main()
