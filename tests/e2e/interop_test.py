#!/usr/bin/env python3
"""Clients that nobody here wrote, against one real broker: paho-mqtt, python-kafka, kcat, and npm's mqtt and kafkajs."""
import collections
import json
import os
import queue
import subprocess
import sys
import threading
import time
import unittest
import urllib.request
import uuid

try:
    import kafka
    import paho.mqtt.client as paho
except ImportError:  # they are Debian's, and this is another python3
    if __name__ != "__main__" or sys.executable == "/usr/bin/python3":
        raise
    os.execv("/usr/bin/python3", ["/usr/bin/python3", *sys.argv])
from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient, NewPartitions, NewTopic
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

import npm_clients
from broker import OneBroker
from wire import Kafka, Mqtt, mqtt_connect, mqtt_publish, record_batch

CONFIG = """
[[topic_rule]]
filter = "sensors/#"
topic = "sensors"
partitions = 4
mode = "persistent"
"""
WAIT = 20  # seconds until a wait is a failure


def unique(name):
    return f"{name}-{uuid.uuid4().hex[:8]}"


class Paho:
    """A connected paho client whose messages and acknowledgements come out of queues."""

    def __init__(self, port, version=paho.MQTTv311, transport="tcp", tls=None, **connect):
        self.messages, self.events = queue.Queue(), queue.Queue()
        self.client = paho.Client(client_id=unique("paho"), protocol=version, transport=transport)
        if tls:
            self.client.tls_set(**tls)
        self.client.on_message = lambda c, u, m: self.messages.put(m)
        self.client.on_subscribe = lambda *a: self.events.put(("suback", a[2], a[3]))
        self.client.on_unsubscribe = lambda *a: self.events.put(("unsuback", a[2]))
        self.client.on_publish = lambda c, u, mid: self.events.put(("puback", mid))
        self.client.on_connect = lambda *a: self.events.put(("connack", int(getattr(a[3], "value", a[3]))))
        self.client.connect("127.0.0.1", port, 30, **connect)
        self.client.loop_start()
        self.expect("connack", 0)

    def expect(self, kind, *rest):
        found = self.events.get(timeout=WAIT)
        assert found[0] == kind and (not rest or found[1] == rest[0]), f"{found} instead of {kind} {rest}"
        return found

    def subscribe(self, topic_filter, qos=1):
        _, mid = self.client.subscribe(topic_filter, qos)
        return self.expect("suback", mid)[2][0]

    def publish(self, topic, payload, qos=1, properties=None):
        info = self.client.publish(topic, payload, qos, properties=properties) if properties else self.client.publish(topic, payload, qos)
        self.expect("puback", info.mid)

    def message(self):
        return self.messages.get(timeout=WAIT)

    def close(self):
        self.client.disconnect()
        self.client.loop_stop()


class WithBroker(OneBroker):
    @classmethod
    def config(cls):
        return CONFIG

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.mqtt = cls.broker.ports["mqtt"]
        cls.kafka = f"127.0.0.1:{cls.broker.ports['kafka']}"

    def setUp(self):
        self.assertTrue(self.broker.is_running(), f"the broker is gone:\n{self.broker.tail()}")

    def paho(self, *args, **kw):
        client = Paho(self.mqtt, *args, **kw)
        self.addCleanup(client.close)
        return client

    def producer(self, **kw):
        producer = kafka.KafkaProducer(bootstrap_servers=self.kafka, acks="all", **kw)
        self.addCleanup(producer.close)
        return producer

    def consumer(self, *topics, **kw):
        kw = {"auto_offset_reset": "earliest", "enable_auto_commit": False, **kw}
        consumer = kafka.KafkaConsumer(*topics, bootstrap_servers=self.kafka, **kw)
        self.addCleanup(consumer.close, False)
        return consumer

    def poll(self, consumer, count, timeout=WAIT):
        """At least `count` records."""
        out, deadline = [], time.monotonic() + timeout
        while len(out) < count:
            self.assertLess(time.monotonic(), deadline, f"{len(out)} of {count} records came within {timeout} s")
            for records in consumer.poll(200).values():
                out += records
        return out

    def create(self, name, partitions=1):
        admin = KafkaAdminClient(bootstrap_servers=self.kafka)
        admin.create_topics([NewTopic(name, partitions, 1)])
        admin.close()
        return name

    def kcat(self, *args, data=None, timeout=30):
        done = subprocess.run(["kcat", "-b", self.kafka, *args], input=data, capture_output=True, timeout=timeout, check=False)
        self.assertEqual(done.returncode, 0, f"kcat {' '.join(args)}: {done.stderr.decode()[-500:]}")
        return done.stdout


class MqttClients(WithBroker):
    def test_publish_and_subscribe_with_both_versions_and_qos(self):
        for version in (paho.MQTTv311, paho.MQTTv5):
            sub, pub, topic = self.paho(version), self.paho(version), unique("t") + "/a"
            self.assertEqual(int(getattr(sub.subscribe(topic, 1), "value", 1)), 1)
            for qos in (0, 1):
                for i in range(50):
                    pub.publish(topic, f"{qos}-{i}", qos)
                self.assertEqual([sub.message().payload.decode() for _ in range(50)], [f"{qos}-{i}" for i in range(50)])

    def test_wildcards_and_unsubscribe(self):
        sub, pub, root = self.paho(), self.paho(), unique("w")
        sub.subscribe(f"{root}/+/x")
        sub.subscribe(f"{root}/deep/#")
        for topic in ("a/x", "a/y", "deep", "deep/1/2", "b/x"):
            pub.publish(f"{root}/{topic}", topic)
        self.assertEqual([sub.message().payload.decode() for _ in range(4)], ["a/x", "deep", "deep/1/2", "b/x"])
        sub.client.unsubscribe(f"{root}/+/x")
        sub.expect("unsuback")
        pub.publish(f"{root}/a/x", "no")
        pub.publish(f"{root}/deep/3", "yes")
        self.assertEqual(sub.message().payload, b"yes")

    def test_properties_go_through(self):
        sub, pub, topic = self.paho(paho.MQTTv5), self.paho(paho.MQTTv5), unique("p")
        sub.subscribe(topic)
        properties = Properties(PacketTypes.PUBLISH)
        properties.ContentType, properties.ResponseTopic, properties.CorrelationData = "text/plain", "answer/here", b"\x00\xff\x01"
        properties.UserProperty = [("a", "1"), ("b", "2"), ("a", "3")]
        pub.publish(topic, "x", 1, properties)
        got = sub.message().properties
        self.assertEqual((got.ContentType, got.ResponseTopic, got.CorrelationData), ("text/plain", "answer/here", b"\x00\xff\x01"))
        self.assertEqual(got.UserProperty, [("a", "1"), ("b", "2"), ("a", "3")])

    def test_qos_2_both_ways(self):
        for version in (paho.MQTTv31, paho.MQTTv311, paho.MQTTv5):
            sub, pub, topic = self.paho(version), self.paho(version), unique("exactly")
            self.assertEqual(sub.subscribe(topic, 2), 2, "QoS 2 is granted")
            for i in range(50):
                pub.publish(topic, str(i), 2)
            got = [sub.message() for _ in range(50)]
            self.assertEqual([m.payload.decode() for m in got], [str(i) for i in range(50)])
            self.assertEqual({m.qos for m in got}, {2})

    def test_mosquitto_clients_of_each_version_at_each_qos(self):
        for version in ("mqttv31", "mqttv311", "mqttv5"):
            for qos in "012":
                topic = unique("mosquitto")
                address = ["-h", "127.0.0.1", "-p", str(self.mqtt), "-V", version, "-q", qos, "-t", topic]
                sub = subprocess.Popen(["stdbuf", "-oL", "mosquitto_sub", *address, "-C", "20", "-W", str(WAIT), "-d"], stdout=subprocess.PIPE, text=True)
                for line in sub.stdout:
                    if line.startswith("Subscribed"):
                        break
                lines = "".join(f"{i}\n" for i in range(20))
                subprocess.run(["mosquitto_pub", *address, "-l"], input=lines, text=True, check=True, timeout=WAIT)
                got = [line.strip() for line in sub.stdout if line.strip().isdigit()]
                self.assertEqual((got, sub.wait()), ([str(i) for i in range(20)], 0), f"{version} at QoS {qos}")
                sub.stdout.close()

    def test_a_session_is_present_again(self):
        name = unique("lasting")
        for present in (0, 1, 1):
            raw = Mqtt(self.mqtt, name, connect=False)
            raw.stream.send(mqtt_connect(name, 4, clean=False))
            self.assertEqual(raw.packet(), (0x20, bytes([present, 0])))
            raw.close()

    def test_will_is_published_when_the_connection_is_lost(self):
        sub, topic = self.paho(), unique("will")
        sub.subscribe(topic)
        raw = Mqtt(self.mqtt, "", connect=False)
        name = unique("dying").encode()
        body = b"\0\4MQTT\4" + bytes([2 | 4 | 1 << 3]) + b"\0\x3c"
        for part in (name, topic.encode(), b"gone"):
            body += len(part).to_bytes(2, "big") + part
        raw.stream.send(bytes([0x10, len(body)]) + body)
        self.assertEqual(raw.packet(), (0x20, b"\0\0"))
        raw.stream.close()
        self.assertEqual(sub.message().payload, b"gone")

    def test_packets_sent_together_with_connect(self):
        for version in (4, 5):
            for i in range(8):  # some connections move to another core, others stay
                raw = Mqtt(self.mqtt, "", version, connect=False)
                raw.stream.send(mqtt_connect(unique("p"), version) + mqtt_publish("together", b"x", 1, 7, version))
                self.assertEqual(raw.packet()[0], 0x20)
                self.assertEqual(raw.puback()[0], 7)
                raw.close()

    def test_take_over(self):
        name = unique("same")
        first, second = Mqtt(self.mqtt, name, 5), Mqtt(self.mqtt, name, 5)
        kind, body = first.packet()
        self.assertEqual((kind, body[0]), (0xE0, 0x8E), "session taken over")
        second.publish(unique("t"), b"x", 1)
        second.puback()
        second.close()


class Member:
    """A member of a consumer group on a thread of its own, since python-kafka joins while it polls."""

    def __init__(self, servers, topic, group):
        self.consumer = kafka.KafkaConsumer(topic, bootstrap_servers=servers, group_id=group, auto_offset_reset="earliest", enable_auto_commit=False,
                                            heartbeat_interval_ms=300, session_timeout_ms=6000, max_poll_interval_ms=20000)
        self.partitions, self.seen, self.is_ending = set(), [], False
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while not self.is_ending:
            for records in self.consumer.poll(100).values():
                self.seen += [int(r.value) for r in records]
            self.partitions = {p.partition for p in self.consumer.assignment()}
        self.consumer.close(False)

    def wait_for_partitions(self, count):
        deadline = time.monotonic() + WAIT
        while len(self.partitions) != count:
            assert time.monotonic() < deadline, f"{len(self.partitions)} partitions, not {count}, after {WAIT} s"
            time.sleep(0.02)

    def close(self):
        self.is_ending = True
        self.thread.join(WAIT)


class KafkaClients(WithBroker):
    def test_produce_and_consume(self):
        topic, producer = self.create(unique("pc"), 3), self.producer()
        sent = collections.defaultdict(list)
        for i in range(300):
            meta = producer.send(topic, f"v{i}".encode(), key=f"k{i % 7}".encode(), headers=[("n", str(i).encode())])
            sent[f"k{i % 7}"].append(f"v{i}")
        self.assertGreaterEqual(meta.get(WAIT).offset, 0)
        producer.flush(WAIT)
        got = collections.defaultdict(list)
        for record in self.poll(self.consumer(topic), 300):
            got[record.key.decode()].append(record.value.decode())
            self.assertEqual(record.headers, [("n", record.value[1:])])
        self.assertEqual(got, sent, "each key keeps its order")

    def test_null_values_keys_and_binary_headers(self):
        topic, producer = self.create(unique("nulls")), self.producer()
        producer.send(topic, None, key=b"k")
        producer.send(topic, b"", key=None, headers=[("bin", bytes(range(256))), ("empty", b""), ("bin", b"\xff")])
        producer.flush(WAIT)
        first, second = self.poll(self.consumer(topic), 2)
        self.assertEqual((first.key, first.value), (b"k", None))
        self.assertEqual((second.key, second.value), (None, b""))
        self.assertEqual(second.headers, [("bin", bytes(range(256))), ("empty", b""), ("bin", b"\xff")])

    def test_offsets_by_time(self):
        topic, producer = self.create(unique("time")), self.producer()
        for i in range(5):
            producer.send(topic, str(i).encode(), timestamp_ms=1_700_000_000_000 + i * 1000).get(WAIT)
        consumer, at = self.consumer(), kafka.TopicPartition(topic, 0)
        found = consumer.offsets_for_times({at: 1_700_000_002_500})[at]
        self.assertEqual((found.offset, found.timestamp), (3, 1_700_000_003_000))
        self.assertEqual(consumer.beginning_offsets([at])[at], 0)
        self.assertEqual(consumer.end_offsets([at])[at], 5)

    def test_group_of_two_rebalances(self):
        topic, group, producer = self.create(unique("group"), 4), unique("g"), self.producer()
        first = Member(self.kafka, topic, group)
        self.addCleanup(first.close)
        first.wait_for_partitions(4)
        second = Member(self.kafka, topic, group)
        self.addCleanup(second.close)
        second.wait_for_partitions(2)
        first.wait_for_partitions(2)
        self.assertFalse(first.partitions & second.partitions)
        for i in range(40):
            producer.send(topic, str(i).encode(), partition=i % 4)
        producer.flush(WAIT)
        deadline = time.monotonic() + WAIT
        while len(first.seen) + len(second.seen) < 40 and time.monotonic() < deadline:
            time.sleep(0.05)
        self.assertEqual(sorted(first.seen + second.seen), list(range(40)), "each record to exactly one member")
        self.assertEqual((len(first.seen), len(second.seen)), (20, 20))
        second.close()
        first.wait_for_partitions(4)

    def test_commit_and_resume(self):
        topic, group, producer = self.create(unique("resume")), unique("g"), self.producer()
        for i in range(20):
            producer.send(topic, str(i).encode())
        producer.flush(WAIT)
        consumer, at = self.consumer(topic, group_id=group, max_poll_records=8), kafka.TopicPartition(topic, 0)
        self.assertEqual([r.value for r in self.poll(consumer, 8)], [str(i).encode() for i in range(8)])
        consumer.commit({at: kafka.OffsetAndMetadata(8, "half-way")})
        consumer.close(False)
        again = self.consumer(topic, group_id=group)
        self.assertEqual([r.value for r in self.poll(again, 12)], [str(i).encode() for i in range(8, 20)])
        self.assertEqual(again.committed(at), 8)

    def test_compressed_batches(self):
        for codec in ("gzip", "snappy", "lz4", "zstd"):
            topic = self.create(unique(codec))
            lines = "".join(f"{codec} {i} {'x' * 50}\n" for i in range(500)).encode()
            self.kcat("-P", "-t", topic, "-z", codec, data=lines)
            self.assertEqual(self.kcat("-C", "-t", topic, "-e", "-q"), lines)
            client = Kafka(self.broker.ports["kafka"])
            batch = client.fetch(topic, {0: 0})[0][2][0][2]
            client.close()
            self.assertEqual(batch[22] & 7, {"gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}[codec], "stored as it came")

    def test_kcat_group_and_idempotent_producer(self):
        topic, group = self.create(unique("kcat"), 2), unique("g")
        self.kcat("-P", "-t", topic, "-X", "enable.idempotence=true", data=b"a\nb\nc\n")
        got = subprocess.run(["timeout", "20", "kcat", "-b", self.kafka, "-G", group, "-X", "auto.offset.reset=earliest", "-c", "3", "-q", topic],
                             capture_output=True, check=False, timeout=30)
        self.assertEqual(sorted(got.stdout.split()), [b"a", b"b", b"c"], got.stderr.decode()[-300:])

    def test_admin_grows_configures_and_describes(self):
        name, admin = self.create(unique("change"), 2), KafkaAdminClient(bootstrap_servers=self.kafka)
        self.addCleanup(admin.close)
        admin.create_partitions({name: NewPartitions(5)})
        self.assertEqual(len(self.consumer().partitions_for_topic(name)), 5)
        producer = self.producer()
        for partition in range(5):
            producer.send(name, b"v", partition=partition).get(WAIT)
        admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, name, {"max.message.bytes": "200", "flush.ms": "9"})])
        configs = {row[0]: row[1] for row in admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name)])[0].resources[0][4]}
        self.assertEqual((configs["max.message.bytes"], configs["flush.ms"]), ("200", "9"))
        self.assertEqual(configs["cleanup.policy"], "delete")
        with self.assertRaises(kafka.errors.MessageSizeTooLargeError):
            producer.send(name, b"x" * 1000).get(WAIT)
        group = unique("g")
        consumer = self.consumer(name, group_id=group)
        self.poll(consumer, 5)
        consumer.commit()
        self.assertIn((group, "consumer"), admin.list_consumer_groups())
        described = admin.describe_consumer_groups([group])[0]
        self.assertEqual((described.state, len(described.members)), ("Stable", 1))
        self.assertEqual(sum(o.offset for o in admin.list_consumer_group_offsets(group).values()), 5)
        consumer.close(False)
        self.assertEqual(admin.delete_consumer_groups([group])[0][1], kafka.errors.NoError)

    def test_topics_listed_created_deleted(self):
        name, light = unique("admin"), unique("light")
        mqtt = self.paho()
        mqtt.publish(light, "x")
        self.create(name, 2)
        listed = json.loads(self.kcat("-L", "-J"))["topics"]
        names = {t["topic"]: len(t["partitions"]) for t in listed}
        self.assertEqual(names.get(name), 2)
        self.assertNotIn(light, names, "a light topic is not listed")
        admin = KafkaAdminClient(bootstrap_servers=self.kafka)
        with self.assertRaises(kafka.errors.TopicAlreadyExistsError):
            admin.create_topics([NewTopic(name, 2, 1)])
        admin.delete_topics([name])
        admin.close()
        self.assertNotIn(name, [t["topic"] for t in json.loads(self.kcat("-L", "-J"))["topics"]])


class BothProtocols(WithBroker):
    def test_mqtt_to_kafka_over_a_stream_of_four(self):
        pub, consumer, run = self.paho(paho.MQTTv5), self.consumer("sensors"), unique("m2k")
        properties = Properties(PacketTypes.PUBLISH)
        properties.ContentType, properties.CorrelationData, properties.UserProperty = "a/b", b"\x01\xfe", [("u", "1"), ("mqtt.x", "2"), ("u", "3")]
        topics = [f"sensors/{run}/{i}" for i in range(12)]
        for n in range(5):
            for topic in topics:
                pub.publish(topic, f"{n}", 1, properties)
        pub.publish(topics[0], b"", 0)
        records = [r for r in self.poll_run(consumer, run, 61)]
        places, values = collections.defaultdict(set), collections.defaultdict(list)
        for r in records:
            places[r.key.decode()].add(r.partition)
            values[r.key.decode()].append(r.value)
        self.assertEqual(sorted(places), sorted(topics), "the key is the MQTT topic")
        self.assertTrue(all(len(p) == 1 for p in places.values()), "one MQTT topic stays in one partition")
        self.assertGreater(len(set.union(*places.values())), 1, "several partitions are used")
        self.assertEqual(values[topics[1]], [b"0", b"1", b"2", b"3", b"4"])
        self.assertEqual(values[topics[0]][-1], b"", "an empty payload is an empty value, not null")
        headers = next(r.headers for r in records if r.value == b"3")
        self.assertEqual([h for h in headers if not h[0].startswith("mqtt.") or h[0].startswith("mqtt.user.")],
                         [("u", b"1"), ("mqtt.user.mqtt.x", b"2"), ("u", b"3")])
        fixed = dict(h for h in headers if h[0].startswith("mqtt."))
        self.assertIn(fixed["mqtt.topic"].decode(), topics)
        self.assertEqual((fixed["mqtt.qos"], fixed["mqtt.content_type"], fixed["mqtt.correlation_data"]), (b"1", b"a/b", b"\x01\xfe"))

    def poll_run(self, consumer, run, count):
        out, deadline = [], time.monotonic() + WAIT
        while len(out) < count:
            self.assertLess(time.monotonic(), deadline, f"{len(out)} of {count}")
            for records in consumer.poll(200).values():
                out += [r for r in records if r.key and run.encode() in r.key]
        return out

    def test_kafka_to_mqtt(self):
        sub, producer, run = self.paho(paho.MQTTv5), self.producer(), unique("k2m")
        sub.subscribe(f"sensors/{run}/#")
        name = f"sensors/{run}/x"
        headers = [("mqtt.topic", name.encode()), ("mqtt.content_type", b"text/x"), ("h", b"1"), ("bin", b"\xff\xfe"), ("h", b"2")]
        producer.send("sensors", b"hello", key=b"any", headers=headers, partition=2)
        producer.send("sensors", None, key=b"any", headers=headers[:1], partition=2)
        producer.send("sensors", b"qos 0", headers=headers[:1] + [("mqtt.qos", b"0")], partition=2)
        producer.flush(WAIT)
        first, second, third = sub.message(), sub.message(), sub.message()
        self.assertEqual((first.topic, first.payload, first.qos), (name, b"hello", 1))
        self.assertEqual(first.properties.ContentType, "text/x")
        self.assertEqual(first.properties.UserProperty, [("h", "1"), ("h", "2")], "a header that is not UTF-8 is left out")
        self.assertEqual(second.payload, b"", "a null value is an empty payload")
        self.assertEqual((third.payload, third.qos), (b"qos 0", 0))

    def test_kafka_topics_by_their_mqtt_name(self):
        name = unique("plain")
        topic, sub = self.create(f"a.{name}.b", 4), self.paho()
        sub.subscribe(f"a/{name}/b")
        producer = self.producer()
        for i in range(8):
            producer.send(topic, str(i).encode(), partition=i % 4)
        producer.flush(WAIT)
        self.assertEqual(sorted(int(sub.message().payload) for _ in range(8)), list(range(8)))

    def test_compressed_batches_reach_mqtt(self):
        for codec in ("gzip", "snappy", "lz4", "zstd"):
            topic, sub = self.create(unique(codec)), self.paho()
            sub.subscribe(topic)
            lines = [f"{codec} {i} {'y' * 40}" for i in range(100)]
            self.kcat("-P", "-t", topic, "-z", codec, data="\n".join(lines).encode())
            self.assertEqual([sub.message().payload.decode() for _ in lines], lines)

    def test_a_light_topic_is_readable_by_name(self):
        pub, name = self.paho(), unique("light")
        for i in range(10):
            pub.publish(f"a/{name}/c", str(i))
        self.assertEqual(self.kcat("-C", "-t", f"a.{name}.c", "-e", "-q").split(), [str(i).encode() for i in range(10)])
        self.assertEqual(self.kcat("-C", "-t", f"a.{name}.c", "-o", "-3", "-e", "-q").split(), [b"7", b"8", b"9"])

    def test_a_parked_fetch_wakes_up(self):
        name = unique("parked")
        self.create(name)
        client, pub = Kafka(self.broker.ports["kafka"]), self.paho()
        began = time.monotonic()
        client.send_fetch(name, {0: 0}, max_wait_ms=15000)
        self.assertFalse(client.stream.fill(0.3), "nothing to answer yet")
        pub.publish(name, b"woken")
        client.response(5)
        self.assertLess(time.monotonic() - began, 5)
        client.close()


class ByteCounters(WithBroker):
    """A fetched batch is never decoded nor copied in user space, a produced one is copied at most once: the metrics show both."""

    def metrics(self):
        """Sums over all cores and labels, by name."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.broker.ports['admin']}/metrics", timeout=10) as r:
            lines = r.read().decode().splitlines()
        sums = collections.Counter()
        for line in lines:
            if line and not line.startswith("#"):
                name, value = line.rsplit(" ", 1)
                sums[name.split("{")[0]] += float(value)
        return sums

    def grown(self, before, suffix):
        after = self.metrics()
        names = [n for n in after if n.endswith(suffix)]
        self.assertTrue(names, f"/metrics has nothing that ends in {suffix}")
        return sum(after[n] - before[n] for n in names)

    def test_batches_pass_without_copies(self):
        topic, client = self.create(unique("copies")), Kafka(self.broker.ports["kafka"])
        batch = record_batch([(None, os.urandom(1000), []) for _ in range(64)])
        body, before = client.produce_body(topic, 0, batch), self.metrics()
        for _ in range(300):
            error, _ = client.produce_result(client.call(0, 7, body))
            self.assertEqual(error, 0)
        produced = 300 * len(batch)
        self.assertLessEqual(self.grown(before, "input_copied_bytes_total"), 1.05 * produced, "produced batches are copied at most once")
        before, offset, fetched = self.metrics(), 0, 0
        while offset < 300 * 64:
            _, _, batches = client.fetch(topic, {0: offset}, partition_bytes=1 << 20)[0]
            fetched += sum(len(b) for _, _, b in batches)
            offset = batches[-1][1] + 1
        client.close()
        self.assertEqual(fetched, produced)
        self.assertLessEqual(self.grown(before, "output_copied_bytes_total"), 0.02 * fetched, "fetched batches are not copied on the way out")
        self.assertLessEqual(self.grown(before, "read_copied_bytes_total"), 0.02 * fetched, "fetched batches are not read into user memory")


class BenchTool(WithBroker):
    """robust-bench, tiny, so that it does not rot."""

    def test_every_load_runs(self):
        tool = os.path.join(os.path.dirname(self.broker.binary), "robust-bench")
        if not os.path.exists(tool):
            self.skipTest("there is no robust-bench beside robust-server")
        kafka_port = self.broker.ports["kafka"]
        for command in ("mqtt-pairs --qos=0", "mqtt-pairs --qos=1", "mqtt-pairs --qos=2", "mqtt-fan-out", "mqtt-fan-in", "mqtt-shared --qos=1",
                        "mqtt-offline --qos=1", "mqtt-sessions --connections=20", "mqtt-latency --rate=500",
                        "mqtt-idle --connections=50", "kafka-produce", "kafka-fetch --fill_mib=4", "kafka-live --rate_mb=2",
                        "kafka-fill --fill_mib=4 --topic=benchold", "kafka-catch-up --rate_mb=0 --topic=benchold", f"bare-produce --dir={self.home}"):
            port = kafka_port if command.startswith("kafka") else self.mqtt
            pid = [] if command.startswith("bare") else [f"--pid={self.broker.pid}"]
            done = subprocess.run([tool, *command.split(), f"--port={port}", *pid, "--seconds=0.2", "--warmup_s=0.1", "--publishers=10",
                                   "--subscribers=10", "--json"], capture_output=True, text=True, check=False, timeout=60)
            self.assertEqual(done.returncode, 0, f"robust-bench {command}: {done.stderr}")
            values = json.loads(done.stdout)
            self.assertGreater(values.get("messages", values.get("MBs", values.get("connections", values.get("sessions")))), 0, command)
            self.assertEqual(values.get("missing", 0), 0, command)


class NodeClients(WithBroker):
    @classmethod
    def setUpClass(cls):
        npm_clients.install()
        super().setUpClass()

    def node(self, script):
        npm_clients.run(self, script, MQTT_PORT=str(self.mqtt), KAFKA=self.kafka, RUN=unique("npm"))

    def test_mqtt_js(self):
        self.node("mqtt.js")

    def test_kafkajs(self):
        self.node("kafkajs.js")


if __name__ == "__main__":
    sys.exit(not unittest.main(exit=False, verbosity=2).result.wasSuccessful())
