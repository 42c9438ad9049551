#!/usr/bin/env python3
"""librdkafka with group.protocol=consumer (KIP-848) against a real broker: rebalances, commits, kill -9, and the classic protocol
in the same group."""
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
consumer_session_timeout_ms = 10000
consumer_heartbeat_interval_ms = 300
lag_check_ms = 200
"""
WAIT = 30  # seconds until a wait is a failure
REFUSALS = ("ILLEGAL_GENERATION", "STALE_MEMBER_EPOCH", "UNKNOWN_MEMBER_ID", "REBALANCE_IN_PROGRESS")


class Consumers(OneBroker):
    @classmethod
    def config(cls):
        return CONFIG

    @classmethod
    def setUpClass(cls):
        cls.kafka = pip_clients.confluent_kafka()
        super().setUpClass()
        cls.flags = [f"--kafka.listen=127.0.0.1:{cls.broker.ports['kafka']}"]

    def setUp(self):
        self.topic = f"t-{uuid.uuid4().hex[:8]}"
        self.group = self.topic + "-g"
        self.made, self.sent = [], 0
        self.seen, self.committed, self.refused = set(), set(), set()
        from confluent_kafka.admin import AdminClient, NewTopic
        self.admin = AdminClient({"bootstrap.servers": self.at(), "log_level": 0})
        self.admin.create_topics([NewTopic(self.topic, 6, 1)])[self.topic].result(WAIT)

    def tearDown(self):
        for consumer in self.made:
            consumer.close()

    def at(self):
        return f"127.0.0.1:{self.broker.ports['kafka']}"

    def produce(self, count):
        producer = self.kafka.Producer({"bootstrap.servers": self.at(), "log_level": 0})
        for i in range(self.sent, self.sent + count):
            producer.produce(self.topic, value=str(i), partition=i % 6)
        self.assertEqual(producer.flush(WAIT), 0)
        self.sent += count

    def consumer(self, protocol="consumer", topic=None, **more):
        settings = {"bootstrap.servers": self.at(), "group.id": self.group, "group.protocol": protocol, "auto.offset.reset": "earliest",
                    "enable.auto.commit": False, "log_level": 0, **more}
        if protocol == "classic":
            settings |= {"session.timeout.ms": 10000, "heartbeat.interval.ms": 300, "partition.assignment.strategy": "cooperative-sticky"}
        made = self.kafka.Consumer(settings)
        made.subscribe([topic or self.topic])
        self.made.append(made)
        return made

    def read_until(self, what, consumers=None):
        """Polls all consumers until `what` holds of the values that each has read; gives them."""
        consumers, end = consumers or self.made, time.monotonic() + WAIT
        while not what():
            self.assertLess(time.monotonic(), end, f"seen {len(self.seen)}, assigned {[len(c.assignment()) for c in self.made]}")
            for consumer in consumers:
                if consumer in self.refused:
                    self.commit_again(consumer)
                message = consumer.poll(0.05)
                if message is None:
                    continue
                if message.error():
                    self.assertTrue(message.error().retriable() or not message.error().fatal(), str(message.error()))
                    continue
                value = int(message.value())
                self.assertNotIn(value, self.committed, "what was committed came again")
                self.seen.add(value)
                try:
                    consumer.commit(message, asynchronous=False)
                    self.committed.add(value)
                except self.kafka.KafkaException as refused:
                    # Its partition is another member's by now.
                    self.assertIn(refused.args[0].name(), REFUSALS)
                    self.refused.add(consumer)

    def commit_again(self, consumer):
        """A commit was refused while partitions moved: what of them is the consumer's still is committed as far as it has come."""
        try:
            consumer.commit(asynchronous=False)
            self.refused.discard(consumer)
        except self.kafka.KafkaException as refused:
            if refused.args[0].name() in ("_NO_OFFSET", "_ASSIGNMENT_LOST"):
                self.refused.discard(consumer)
            else:
                self.assertIn(refused.args[0].name(), REFUSALS)

    def all_committed(self):
        """How many messages the group's offsets say that it has read."""
        places = [self.kafka.TopicPartition(self.topic, partition) for partition in range(6)]
        return sum(max(place.offset, 0) for place in self.made[-1].committed(places, WAIT))

    def lag(self):
        """Of the group, by partition, as /metrics says it."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.broker.ports['admin']}/metrics", timeout=WAIT) as answer:
            text = answer.read().decode()
        found = re.findall(rf'robustmq_consumer_group_lag{{group="{self.group}",topic="{self.topic}",partition="(\d+)"}} (\d+)', text)
        return {int(partition): int(lag) for partition, lag in found}

    def are_assigned(self, *counts):
        return sorted(len(c.assignment()) for c in self.made) == sorted(counts)

    def test_a_group_grows_commits_and_shrinks(self):
        self.produce(30)
        self.consumer()
        self.read_until(lambda: len(self.seen) == 30)
        self.consumer()
        self.read_until(lambda: self.are_assigned(3, 3))
        self.produce(30)
        self.read_until(lambda: len(self.seen) == 60)
        self.made.pop(0).close()
        self.produce(30)
        self.read_until(lambda: len(self.seen) == 90 and self.are_assigned(6) and self.all_committed() == 90)
        self.made.pop(0).close()
        self.produce(6)
        lag = {partition: 1 for partition in range(6)}
        end = time.monotonic() + WAIT
        while self.lag() != lag:
            self.assertLess(time.monotonic(), end, f"the lag is {self.lag()}")
            time.sleep(0.1)
        self.consumer()
        self.read_until(lambda: len(self.seen) == 96)
        group = self.admin.describe_consumer_groups([self.group])[self.group].result(WAIT)
        self.assertEqual(str(group.state), "ConsumerGroupState.STABLE")
        self.assertEqual(len(group.members), 1)

    def test_members_and_offsets_outlive_a_crash(self):
        self.produce(30)
        self.consumer()
        self.consumer()
        self.read_until(lambda: len(self.seen) == 30 and self.are_assigned(3, 3))
        self.broker.kill9()
        type(self).broker = Broker(find_binary(), self.home, CONFIG, self.flags).start()
        self.produce(30)
        self.read_until(lambda: len(self.seen) == 60 and self.are_assigned(3, 3))

    def test_a_pattern_follows_what_is_made_later(self):
        from confluent_kafka.admin import NewTopic
        self.consumer(topic=f"^{self.topic}.*")
        self.read_until(lambda: self.are_assigned(6))
        later = self.topic + "-later"
        self.admin.create_topics([NewTopic(later, 2, 1)])[later].result(WAIT)
        self.read_until(lambda: self.are_assigned(8))

    def test_classic_members_roll_to_the_new_protocol(self):
        self.produce(30)
        self.consumer("classic")
        self.read_until(lambda: len(self.seen) == 30 and self.are_assigned(6))
        self.consumer("consumer")
        self.read_until(lambda: self.are_assigned(3, 3))
        self.made.pop(0).close()
        self.produce(30)
        self.read_until(lambda: len(self.seen) == 60 and self.are_assigned(6))
        # And back.
        self.consumer("classic")
        self.read_until(lambda: self.are_assigned(3, 3))
        self.made.pop(0).close()
        self.produce(30)
        self.read_until(lambda: len(self.seen) == 90 and self.are_assigned(6))


if __name__ == "__main__":
    os.chdir(os.path.dirname(os.path.abspath(__file__)))
    sys.exit(not unittest.main(exit=False, verbosity=2).result.wasSuccessful())
