#!/usr/bin/env python3
"""Persistent light topics in a real process: made by publishing, killed with -9 while publishing goes on, then read by a Kafka client by
their names."""
import threading
import unittest

import paho.mqtt.client as mqtt
from kafka import KafkaConsumer, TopicPartition

from broker import Broker, find_binary, scratch

CONFIG = """
[[topic_rule]]
filter = "kept/#"
mode = "persistent"
"""


def connect(port, name):
    try:
        client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION1, client_id=name)
    except AttributeError:
        client = mqtt.Client(client_id=name)
    client.max_inflight_messages_set(200)
    client.connect("127.0.0.1", port)
    return client


class LightTopics(unittest.TestCase):
    def read(self, port, topics):
        """{topic: values} of everything that is there."""
        consumer = KafkaConsumer(bootstrap_servers=f"127.0.0.1:{port}", enable_auto_commit=False)
        try:
            found = {}
            partitions = [TopicPartition(topic, 0) for topic in topics]
            consumer.assign(partitions)
            consumer.seek_to_beginning(*partitions)
            ends = consumer.end_offsets(partitions)
            while any(consumer.position(p) < ends[p] for p in partitions):
                for partition, records in consumer.poll(1000).items():
                    found.setdefault(partition.topic, []).extend(r.value.decode() for r in records)
            return found
        finally:
            consumer.close()

    def test_what_was_acknowledged_is_there_after_kill_9(self):
        with scratch("light") as home:
            broker = Broker(find_binary(), home, CONFIG).start()
            try:
                acked = set()
                for life in range(3):
                    client = connect(broker.ports["mqtt"], f"life{life}")
                    mids, enough = [], threading.Event()

                    def on_publish(_client, _userdata, mid, mids=mids, enough=enough):
                        mids.append(mid)
                        if len(mids) == 300:
                            enough.set()

                    client.on_publish = on_publish
                    sent = {}
                    client.loop_start()
                    for n in range(600):
                        topic, value = f"kept/line{n % 50}/temp", f"{life}-{n}"
                        sent[client.publish(topic, value, qos=1).mid] = (topic, value)
                    self.assertTrue(enough.wait(60), "too few acknowledgements")
                    broker.kill9()
                    client.loop_stop()
                    acked |= {sent[mid] for mid in mids}
                    broker.start()
                    names = [f"kept.line{n}.temp" for n in range(50)]
                    found = self.read(broker.ports["kafka"], names)
                    for topic, value in sorted(acked):
                        values = found.get(topic.replace("/", "."), [])
                        self.assertIn(value, values, f"{topic} lost it in life {life}")
                    for topic, values in found.items():
                        self.assertEqual(len(values), len(set(values)), f"{topic} has a record twice")
                        order = [tuple(map(int, value.split("-"))) for value in values]
                        self.assertEqual(order, sorted(order), f"{topic} is out of order")
                self.assertEqual(broker.stop(), 0)
            finally:
                broker.kill9()


if __name__ == "__main__":
    unittest.main()
