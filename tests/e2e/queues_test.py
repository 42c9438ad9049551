#!/usr/bin/env python3
"""Queues over MQTT: work shared out among mosquitto_sub and paho clients, kept while nobody is there, over kill -9 and lost connections, and
seen by Kafka's clients; made by subscribing, over HTTP and by robust-ctl."""
import json
import os
import struct
import subprocess
import threading
import unittest
import urllib.error
import urllib.request
import uuid

import paho.mqtt.client as mqtt

from broker import OneBroker
from wire import Mqtt, mqtt_packet

CONFIG = """
[mqtt]
queues_available = true

[[topic_rule]]
filter = "jobs/#"
topic = "jobs"
partitions = 3

[[topic_rule]]
filter = "auto/#"
topic = "auto"

[[auto_subscribe]]
filter = "$queue/auto"
qos = 1

[[listener]]
name = "floor"
port = 0
mountpoint = "jobs/floor1/"
"""
WAIT = 30


class Worker:
    """A paho client that remembers what it got."""

    changed = threading.Condition()  # of any of them

    def __init__(self, port, filter_, name=None, qos=1, clean=True):
        self.got, self.codes = [], None
        arguments = {"client_id": name or f"w-{uuid.uuid4().hex[:8]}", "clean_session": clean}
        try:
            self.client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION1, **arguments)
        except AttributeError:
            self.client = mqtt.Client(**arguments)
        self.client.on_message = self.take
        self.client.on_subscribe = self.grant
        self.client.on_connect = lambda client, *_: client.subscribe(filter_, qos) if filter_ else self.grant(None, None, None, [])
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()
        self.wait(lambda: self.codes is not None)

    def take(self, _client, _user, message):
        with self.changed:
            self.got.append((message.topic, message.payload.decode()))
            self.changed.notify_all()

    def grant(self, _client, _user, _mid, codes):
        with self.changed:
            self.codes = list(codes)
            self.changed.notify_all()

    def wait(self, holds):
        with self.changed:
            if not self.changed.wait_for(holds, WAIT):
                raise AssertionError(f"it did not come; got {len(self.got)}: {self.got[-3:]}")

    def values(self):
        with self.changed:
            return [value for _, value in self.got]

    def close(self):
        self.client.disconnect()
        self.client.loop_stop()


class Queues(OneBroker):
    @classmethod
    def config(cls):
        return CONFIG

    def setUp(self):
        self.name = f"jobs/{uuid.uuid4().hex[:8]}"
        self.queue = f"$queue/jobs/{self.name}/#"  # of this test alone

    def publish(self, values, topic=None, qos=1):
        lines = "".join(f"{value}\n" for value in values)
        subprocess.run(["mosquitto_pub", "-p", str(self.broker.ports["mqtt"]), "-q", str(qos), "-t", topic or f"{self.name}/a", "-l"], input=lines,
                       text=True, check=True, timeout=60)

    def worker(self, filter_=None, port="mqtt", **more):
        worker = Worker(self.broker.ports[port], filter_ or self.queue, **more)
        self.addCleanup(worker.close)
        return worker

    def holder(self, qos=1):
        """One that acknowledges nothing."""
        holder = Mqtt(self.broker.ports["mqtt"], f"h-{uuid.uuid4().hex[:8]}")
        holder.acknowledges = False
        self.addCleanup(holder.stream.close)
        self.assertEqual(holder.subscribe(self.queue, qos), qos)
        return holder

    def test_workers_share_the_work_at_every_qos(self):
        workers = [self.worker(qos=qos) for qos in (0, 1, 2)]
        self.publish(range(300), qos=2)
        workers[0].wait(lambda: sum(len(each.got) for each in workers) == 300)
        got = sorted(int(value) for worker in workers for value in worker.values())
        self.assertEqual(got, list(range(300)), "each message goes to one of them")
        self.assertTrue(all(worker.values() for worker in workers))

    def test_mosquitto_sub_finds_what_came_while_nobody_was_there(self):
        self.worker().close()
        self.publish(range(50))
        found = subprocess.run(["mosquitto_sub", "-p", str(self.broker.ports["mqtt"]), "-q", "1", "-t", self.queue, "-C", "50", "-W", "30"],
                               capture_output=True, text=True, check=True, timeout=60)
        self.assertEqual(found.stdout.split(), [str(i) for i in range(50)])

    def test_what_is_received_is_done_also_after_kill_9(self):
        client = self.holder(qos=2)
        self.publish(range(20), qos=2)
        got = [client.message() for _ in range(20)]
        done = {message.payload.decode() for message in got[::2]}
        for message in got[::2]:
            client.stream.send(mqtt_packet(0x50, struct.pack(">H", message.packet_id)))
            self.assertEqual(client.packet(), (0x62, struct.pack(">H", message.packet_id)), "PUBREL: it is durable")
        self.broker.kill9()
        self.broker.start()
        later = self.worker()
        later.wait(lambda: len(later.got) == 10)
        self.publish(["last"])
        later.wait(lambda: "last" in later.values())
        self.assertEqual(set(later.values()), {str(i) for i in range(20)} - done | {"last"})

    def test_a_lost_connections_work_goes_to_others(self):
        lost = self.holder()
        self.publish(range(5))
        self.assertEqual([lost.message().payload for _ in range(5)], [b"0", b"1", b"2", b"3", b"4"])
        other = self.worker()
        lost.stream.close()
        other.wait(lambda: len(other.got) == 5)
        self.assertEqual(other.values(), [str(i) for i in range(5)], "in order")

    def test_a_stored_session_works_on_when_it_returns(self):
        self.worker(name=self.name, clean=False).close()
        self.publish(range(3))
        back = Worker(self.broker.ports["mqtt"], None, name=self.name, clean=False)
        self.addCleanup(back.close)
        back.wait(lambda: len(back.got) == 3)

    def test_kafka_writes_and_mqtt_works(self):
        topic = f"k-{uuid.uuid4().hex[:8]}"
        kafka = f"127.0.0.1:{self.broker.ports['kafka']}"
        subprocess.run(["kcat", "-P", "-b", kafka, "-t", topic], input="before\n", text=True, check=True, timeout=60)
        worker = self.worker(f"$queue/{topic}")
        for codec in ("none", "gzip", "lz4", "zstd", "snappy"):
            subprocess.run(["kcat", "-P", "-b", kafka, "-t", topic, "-z", codec], input=f"{codec}\n", text=True, check=True, timeout=60)
        worker.wait(lambda: len(worker.got) == 5)
        self.assertEqual(worker.got, [(topic, codec) for codec in ("none", "gzip", "lz4", "zstd", "snappy")])

    def test_a_rules_filter_names_the_queue_of_its_stream(self):
        one, two, three = self.worker("$q/jobs/#"), self.worker("$queue/jobs"), self.worker("$queue/jobs/jobs/#")
        self.publish(range(30))
        one.wait(lambda: len(one.got) + len(two.got) + len(three.got) == 30)

    def test_under_a_mountpoint_it_is_what_lies_there(self):
        worker = self.worker("$queue/jobs", port="floor")
        self.publish(["elsewhere"], "jobs/floor2/x")
        self.publish(["here"], "jobs/floor1/x")
        worker.wait(lambda: worker.got == [("x", "here")])

    def test_what_names_no_stream_is_refused(self):
        self.assertEqual(self.worker("$queue/nowhere").codes, [0x80])

    # ---- Made by subscribing ----

    def subscribe_v5(self, filter_, wait=True):
        """The reason code and reason string of a SUBACK."""
        answer = {}
        came = threading.Event()
        try:
            client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION1, protocol=mqtt.MQTTv5)
        except AttributeError:
            client = mqtt.Client(protocol=mqtt.MQTTv5)

        def granted(_client, _user, _mid, codes, properties=None):
            answer["code"] = codes[0].value
            answer["why"] = getattr(properties, "ReasonString", "")
            came.set()
        client.on_subscribe = granted
        client.on_connect = lambda c, *_: c.subscribe(filter_, 1)
        client.connect("127.0.0.1", self.broker.ports["mqtt"])
        client.loop_start()
        self.addCleanup(client.loop_stop)
        self.addCleanup(client.disconnect)
        self.assertTrue(came.wait(WAIT))
        return answer["code"], answer["why"]

    def admin(self, method, path, body=None):
        request = urllib.request.Request(f"http://127.0.0.1:{self.broker.ports['admin']}{path}", method=method,
                                         data=None if body is None else json.dumps(body).encode())
        try:
            with urllib.request.urlopen(request, timeout=WAIT) as answer:
                text = answer.read()
                return answer.status, json.loads(text) if text else None
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read())

    def kcat(self, topic):
        return subprocess.run(["kcat", "-C", "-b", f"127.0.0.1:{self.broker.ports['kafka']}", "-t", topic, "-o", "beginning", "-e", "-q", "-f", "%k=%s\n"],
                              capture_output=True, text=True, check=True, timeout=60).stdout.split()

    def test_a_subscription_makes_a_queue_that_outlives_kill_9_and_kafka_reads(self):
        queue = f"temps-{uuid.uuid4().hex[:8]}"
        plant = uuid.uuid4().hex[:8]
        self.publish(["before"], f"{plant}/1/temp")
        worker = self.worker(f"$queue/{queue}/{plant}/+/temp")
        self.publish(["one"], f"{plant}/1/temp")
        self.publish(["other"], f"{plant}/1/rpm")
        worker.wait(lambda: worker.got == [(f"{plant}/1/temp", "one")])
        worker.close()
        self.publish(["two"], f"{plant}/2/temp")
        self.broker.kill9()
        self.broker.start()
        self.publish(["three"], f"{plant}/3/temp")
        later = self.worker(f"$queue/{queue}")
        later.wait(lambda: len(later.got) == 2)
        self.assertEqual(sorted(later.values()), ["three", "two"])
        self.assertEqual(sorted(self.kcat(queue)), sorted([f"{plant}/1/temp=one", f"{plant}/2/temp=two", f"{plant}/3/temp=three"]))

    def test_what_others_claim_is_refused_with_the_reason(self):
        code, why = self.subscribe_v5("$queue/mine/jobs/+/x")
        self.assertEqual((code, why), (0x83, "messages of jobs/+/x go elsewhere already, by jobs/# to the stream jobs, of which jobs/jobs/+/x is a part"))
        name, made = uuid.uuid4().hex[:8], uuid.uuid4().hex[:8]
        self.assertEqual(self.subscribe_v5(f"$queue/{name}/{made}/#")[0], 1)
        code, why = self.subscribe_v5(f"$queue/other/+/a")
        self.assertEqual(code, 0x83)
        self.assertIn("go elsewhere already", why)
        self.assertEqual(self.subscribe_v5(f"$stream/none/{name}/#")[0], 0x8F, "streams are not made unless an option says so")

    def test_queues_and_streams_are_made_changed_and_deleted_over_http_and_by_robust_ctl(self):
        name, made = uuid.uuid4().hex[:8], uuid.uuid4().hex[:8]
        status, queue = self.admin("POST", "/api/v1/queues", {"name": name, "mqtt_filter": f"{made}/#", "dispatch": "random", "partitions": 2})
        self.assertEqual((status, queue["dispatch"], len(queue["partitions"])), (201, "random", 2))
        self.assertEqual(self.admin("POST", "/api/v1/queues", {"name": name})[0], 409)
        self.publish(["one", "two"], f"{made}/a")
        status, queue = self.admin("GET", f"/api/v1/queues/{name}")
        self.assertEqual((status, queue["stream"], queue["messages"]), (200, name, 2))
        self.assertEqual(self.admin("PUT", f"/api/v1/queues/{name}", {"dispatch": "least_inflight"})[1]["dispatch"], "least_inflight")
        self.assertEqual(self.admin("PUT", f"/api/v1/queues/{name}", {"dispatch": "fair"})[0], 400)
        self.assertEqual(self.admin("PUT", f"/api/v1/queues/{name}", {"is_lastvalue": True})[0], 501)
        self.assertIn({"name": name, "dispatch": "least_inflight", "last_value": False}, self.admin("GET", "/api/v1/queues")[1]["queues"])
        own = f"/api/v1/queues/{name}%2F{made}%2Fb"
        self.assertEqual(self.admin("POST", "/api/v1/queues", {"name": f"{name}/{made}/b"})[0], 201)
        self.assertEqual(self.admin("DELETE", own)[0], 204)
        self.assertEqual(self.admin("GET", own)[0], 404)
        self.assertEqual(self.admin("PUT", f"/api/v1/streams/{name}", {"settings": {"retention_ms": 1000000}})[0], 204)
        self.assertEqual(self.admin("GET", f"/api/v1/streams/{name}")[1]["settings"]["retention_ms"], "1000000")
        self.assertEqual(self.admin("POST", "/api/v1/streams", {"name": "x", "mqtt_filter": "jobs/x"})[0], 501)
        ctl = os.path.join(os.path.dirname(self.broker.binary), "robust-ctl")
        if os.path.exists(ctl):
            run = lambda *words: subprocess.run([ctl, "-s", f"127.0.0.1:{self.broker.ports['admin']}", *words], capture_output=True, text=True, check=True, timeout=60).stdout
            self.assertIn(name, run("queues", "list"))
            self.assertIn(f"{made}/#", run("streams", "list"))
            self.assertIn("round_robin", run("queues", "set", name, "--dispatch", "round_robin"))
            self.assertEqual(run("streams", "delete", name), f"deleted {name}\n")
        else:
            self.assertEqual(self.admin("DELETE", f"/api/v1/streams/{name}")[0], 204)
        self.assertEqual(self.admin("GET", f"/api/v1/streams/{name}")[0], 404)
        self.publish(["light"], f"{made}/a")
        self.assertEqual(self.kcat(f"{made}.a"), ["=light"], "a light topic again")

    def test_of_last_values_a_worker_gets_the_newest_of_each_topic(self):
        name, made = uuid.uuid4().hex[:8], uuid.uuid4().hex[:8]
        self.assertEqual(self.admin("POST", "/api/v1/queues", {"name": name, "mqtt_filter": f"{made}/#", "last_value": True})[0], 201)
        self.publish(range(100), f"{made}/a")
        self.publish(["b"], f"{made}/b")
        worker = self.worker(f"$queue/{name}")
        worker.wait(lambda: len(worker.got) == 2)
        self.assertEqual(worker.got, [(f"{made}/a", "99"), (f"{made}/b", "b")])
        self.assertEqual(self.admin("GET", f"/api/v1/queues/{name}")[1]["last_value"], True)
        self.assertEqual(self.admin("PUT", f"/api/v1/queues/{name}", {"key_expression": "message.from"})[0], 501)
        self.assertEqual(len(self.kcat(name)), 101, "the stream keeps them, as its settings say")

    def test_automatic_subscriptions_take_part_in_a_queue(self):
        workers = [Worker(self.broker.ports["mqtt"], None) for _ in range(2)]
        for worker in workers:
            self.addCleanup(worker.close)
        self.publish([str(i) for i in range(10)], "auto/x")
        workers[0].wait(lambda: sum(len(each.got) for each in workers) == 10)


if __name__ == "__main__":
    unittest.main()
