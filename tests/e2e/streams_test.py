#!/usr/bin/env python3
"""What a stream keeps, read over MQTT from any place: with mosquitto_sub as EMQX's users write it, with paho that goes on where it stopped,
after kill -9, and records that came over Kafka."""
import subprocess
import threading
import time
import unittest

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from broker import OneBroker

CONFIG = """
[[topic_rule]]
filter = "plant/#"
topic = "plant"
partitions = 3
"""


class Reader:
    """A paho client that reads `$stream/...` and remembers (topic, payload, user properties)."""

    def __init__(self, port, name, filter_, starts):
        self.changed, self.got, self.codes = threading.Condition(), [], None
        try:
            self.client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION1, client_id=name, protocol=mqtt.MQTTv5)
        except AttributeError:
            self.client = mqtt.Client(client_id=name, protocol=mqtt.MQTTv5)
        properties = Properties(PacketTypes.SUBSCRIBE)
        if starts:
            properties.UserProperty = [("stream-offset", start) for start in starts]
        self.client.on_message = self.take
        self.client.on_subscribe = lambda c, u, mid, codes, *p: self.grant(codes)
        self.client.on_connect = lambda c, u, f, rc, p: self.client.subscribe(filter_, options=SubscribeOptions(qos=1), properties=properties)
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()
        self.wait(lambda: self.codes is not None)

    def take(self, _client, _user, message):
        with self.changed:
            self.got.append((message.topic, message.payload.decode(), dict(message.properties.UserProperty)))
            self.changed.notify_all()

    def grant(self, codes):
        with self.changed:
            self.codes = [code.value for code in codes]
            self.changed.notify_all()

    def wait(self, holds, seconds=30):
        with self.changed:
            if not self.changed.wait_for(holds, seconds):
                raise AssertionError(f"it did not come; got {len(self.got)}: {self.got[-3:]}")

    def close(self):
        self.client.disconnect()
        self.client.loop_stop()


class Streams(OneBroker):
    @classmethod
    def config(cls):
        return CONFIG

    def publish(self, topic, values):
        port = str(self.broker.ports["mqtt"])
        lines = "".join(f"{value}\n" for value in values)
        subprocess.run(["mosquitto_pub", "-p", port, "-q", "1", "-t", topic, "-l"], input=lines, text=True, check=True, timeout=60)

    def mosquitto_sub(self, filter_, start, count, *more):
        """Lines `topic payload` of the first `count` messages."""
        command = ["mosquitto_sub", "-p", str(self.broker.ports["mqtt"]), "-V", "mqttv5", "-q", "1", "-t", filter_, "-C", str(count), "-W", "30",
                   "-F", "%t %p", *more]
        if start:
            command += ["-D", "subscribe", "user-property", "stream-offset", start]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.splitlines()

    def reader(self, name, filter_, *starts):
        reader = Reader(self.broker.ports["mqtt"], name, filter_, starts)
        self.addCleanup(reader.close)
        return reader

    def test_mosquitto_sub_reads_what_was_published_before(self):
        self.publish("plant/before", range(5))
        published = time.time()
        while (at := int(time.time() * 1000) * 1000) <= published * 1_000_000:
            pass  # the next millisecond, of which the broker's times are
        self.publish("plant/before", range(5, 8))
        all_lines = [f"plant/before {i}" for i in range(8)]
        self.assertEqual(self.mosquitto_sub("$stream/plant/plant/before", "0", 8), all_lines)
        self.assertEqual(self.mosquitto_sub("$stream/plant/plant/before", "earliest", 8), all_lines)
        self.assertEqual(self.mosquitto_sub("$stream/plant/plant/before", str(at), 3), all_lines[5:])
        self.assertEqual(self.mosquitto_sub("$s/earliest/plant/#", None, 1)[0].split("/")[0], "plant")

    def test_a_small_window_gets_everything_in_order(self):
        self.publish("plant/many", range(1000))
        lines = self.mosquitto_sub("$stream/plant/plant/many", "earliest", 1000, "-D", "connect", "receive-maximum", "1")
        self.assertEqual(lines, [f"plant/many {i}" for i in range(1000)])

    def test_a_reader_goes_on_where_it_stopped_also_after_kill_9(self):
        topics = [f"plant/resume/{i}" for i in range(6)]
        for topic in topics:
            self.publish(topic, [f"{topic[-1]}.{i}" for i in range(20)])
        first = self.reader("first", "$stream/plant/plant/resume/+", "earliest")
        first.wait(lambda: len(first.got) == 120)
        next_ = {}
        for _, _, user in first.got[:50]:
            next_[user["stream-partition"]] = int(user["stream-offset"]) + 1
        first.close()
        self.broker.kill9()
        self.broker.start()
        starts = ["earliest"] + [f"{partition}:{offset}" for partition, offset in next_.items()]
        second = self.reader("second", "$stream/plant/plant/resume/+", *starts)
        second.wait(lambda: len(second.got) == 70)
        self.publish("plant/resume/0", ["new"])
        second.wait(lambda: len(second.got) == 71)
        seen = [value for _, value, _ in first.got[:50] + second.got]
        self.assertEqual(sorted(seen), sorted([f"{t[-1]}.{i}" for t in topics for i in range(20)] + ["new"]), "each once")
        for topic in topics:
            own = [value for name, value, _ in first.got[:50] + second.got if name == topic and value != "new"]
            self.assertEqual(own, [f"{topic[-1]}.{i}" for i in range(20)], "in order")

    def test_records_that_kafka_wrote_come_with_their_key(self):
        port = str(self.broker.ports["kafka"])
        for codec in ("none", "gzip", "lz4", "zstd"):
            subprocess.run(["kcat", "-P", "-b", f"127.0.0.1:{port}", "-t", "orders", "-p", "0", "-K", ":", "-z", codec],
                           input=f"k-{codec}:v-{codec}\n", text=True, check=True, timeout=60)
        reader = self.reader("kafka", "$stream/orders", "earliest")
        reader.wait(lambda: len(reader.got) == 4)
        self.assertEqual([(topic, value, user["key"], user["stream-offset"]) for topic, value, user in reader.got],
                         [("orders", f"v-{c}", f"k-{c}", str(i)) for i, c in enumerate(("none", "gzip", "lz4", "zstd"))])

    def test_what_is_no_stream_is_refused(self):
        self.assertEqual(self.reader("none", "$stream/nowhere", "earliest").codes, [0x8F])
        self.assertEqual(self.reader("bad", "$stream/plant", "tomorrow").codes, [0x83])


if __name__ == "__main__":
    unittest.main()
