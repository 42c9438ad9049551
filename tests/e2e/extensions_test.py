#!/usr/bin/env python3
"""What users of EMQX and Mosquitto expect around MQTT, with paho and plain HTTP against a real process: rewritten topics, $exclusive, automatic
subscriptions, $SYS, messages by HTTP, clients listed and ended, bans over kill -9, flapping, rates, slow subscriptions, counted topics."""
import json
import threading
import time
import unittest
import urllib.error
import urllib.parse
import urllib.request

import paho.mqtt.client as mqtt

from broker import OneBroker

CONFIG = """
[extension]
sys_interval_ms = 300
[mqtt]
slow_ms_min = 300
[ban]
flapping_detected = true
flapping_ends_max = 4
flapping_ban_ms = 3_600_000
[connection.rates]
client_messages_per_s = 20

[[topic_rewrite]]
source = "old/#"
expression = "^old/(.+)$"
destination = "new/$1"

[[auto_subscribe]]
filter = "to/%c/#"
qos = 1

[[topic_rule]]
filter = "gone/#"
mode = "none"
"""


class Client:
    """A paho client that remembers what it gets; every step waits for its answer."""

    def __init__(self, port, name, v5=True):
        kind = {"client_id": name, "protocol": mqtt.MQTTv5 if v5 else mqtt.MQTTv311}
        try:
            self.client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION1, **kind)
        except AttributeError:
            self.client = mqtt.Client(**kind)
        self.changed, self.got, self.codes, self.granted, self.ended = threading.Condition(), [], [], {}, []
        self.client.on_connect = lambda c, u, flags, rc, *p: self.note(self.codes, rc)
        self.client.on_disconnect = lambda c, u, rc, *p: self.note(self.ended, rc)
        self.client.on_subscribe = lambda c, u, mid, codes, *p: self.grant(mid, codes)
        self.client.on_message = lambda c, u, m: self.note(self.got, (m.topic, m.payload.decode()))
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()
        self.wait(lambda: self.codes)
        self.code = getattr(self.codes[0], "value", self.codes[0])

    def note(self, where, what):
        with self.changed:
            where.append(what)
            self.changed.notify_all()

    def grant(self, mid, codes):
        with self.changed:
            self.granted[mid] = [getattr(code, "value", code) for code in codes]
            self.changed.notify_all()

    def wait(self, holds, seconds=20):
        with self.changed:
            if not self.changed.wait_for(holds, seconds):
                raise AssertionError(f"it did not come; got {self.got}, {self.codes}, {self.ended}")

    def subscribe(self, topic, qos=1):
        mid = self.client.subscribe(topic, qos)[1]
        self.wait(lambda: mid in self.granted)
        return self.granted[mid][0]

    def publish(self, topic, payload, qos=1):
        self.client.publish(topic, payload, qos).wait_for_publish(20)

    def close(self):
        self.client.disconnect()
        self.client.loop_stop()


class Extensions(OneBroker):
    @classmethod
    def config(cls):
        return CONFIG

    def client(self, name, v5=True):
        client = Client(self.broker.ports["mqtt"], name, v5)
        self.addCleanup(client.close)
        return client

    def ask(self, method, path, body=None, headers=None):
        """(status, JSON) of an answer."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.broker.ports['admin']}{path}", data, headers or {}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                text = answer.read()
                return answer.status, json.loads(text) if text else None
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read())

    def test_topics_are_rewritten(self):
        one = self.client("rewrite")
        self.assertEqual(one.subscribe("old/+"), 1)
        one.publish("old/a", "1")
        one.wait(lambda: one.got == [("new/a", "1")])

    def test_an_exclusive_topic_is_one_clients(self):
        one, two = self.client("exclusive1"), self.client("exclusive2")
        self.assertEqual(one.subscribe("$exclusive/door"), 1)
        self.assertEqual(two.subscribe("$exclusive/door"), 0x97)
        two.publish("door", "open")
        one.wait(lambda: one.got == [("door", "open")])
        one.close()
        for _ in range(50):
            if two.subscribe("$exclusive/door") == 1:
                return
            time.sleep(0.1)
        self.fail("the topic did not come free")

    def test_clients_are_subscribed_when_they_connect(self):
        one, two = self.client("auto1"), self.client("auto2")
        deadline = time.monotonic() + 20
        while not one.got and time.monotonic() < deadline:  # the subscription is made behind CONNACK
            two.publish("to/auto1/x", "for one")
            time.sleep(0.1)
        self.assertEqual(one.got[0], ("to/auto1/x", "for one"))
        self.assertEqual(two.got, [])

    def test_the_node_tells_of_itself(self):
        one = self.client("watcher")
        one.subscribe("$SYS/#")
        two = self.client("watched")
        one.wait(lambda: any(t.endswith("/clients/watched/connected") for t, _ in one.got))
        two.close()
        one.wait(lambda: any(t.endswith("/clients/watched/disconnected") for t, _ in one.got))
        one.wait(lambda: any(t == "$SYS/broker/uptime" and p.endswith(" seconds") for t, p in one.got))

    def test_messages_come_in_by_http(self):
        one = self.client("http")
        one.subscribe("by/http")
        status, json_ = self.ask("POST", "/api/v5/publish", {"topic": "by/http", "payload": "aGk=", "payload_encoding": "base64", "qos": 1})
        self.assertEqual((status, list(json_)), (200, ["id"]))
        one.wait(lambda: one.got == [("by/http", "hi")])
        self.assertEqual(self.ask("POST", "/api/v5/publish", {"topic": "gone/x", "payload": ""}),
                         (202, {"reason_code": 16, "message": "no_matching_subscribers"}))
        self.assertEqual(self.ask("POST", "/api/v5/publish", {"topic": "a/#", "payload": ""})[0], 400)
        status, rows = self.ask("POST", "/api/v5/publish/bulk", [{"topic": "by/http", "payload": str(n)} for n in range(3)])
        self.assertEqual((status, len(rows)), (200, 3))
        one.wait(lambda: [p for _, p in one.got] == ["hi", "0", "1", "2"])

    def test_web_pages_need_the_key(self):
        status, error = self.ask("POST", "/api/v5/publish", {"topic": "a", "payload": ""}, {"Origin": "http://page.example"})
        self.assertEqual((status, error["code"]), (403, "not_authorised"))

    def test_clients_are_listed_and_ended(self):
        one = self.client("a/listed")
        one.subscribe("x/#")
        self.assertIn("a/listed", [c["id"] for c in self.ask("GET", "/api/v1/clients")[1]["clients"]])
        path = "/api/v1/clients/" + urllib.parse.quote("a/listed", safe="")
        self.assertIn({"filter": "x/#", "qos": 1}, self.ask("GET", path)[1]["subscriptions"])
        one.client.reconnect_delay_set(60, 60)
        self.assertEqual(self.ask("DELETE", path)[0], 204)
        one.wait(lambda: one.ended)

    def test_bans_hold_until_they_are_taken_back(self):
        one = self.client("bad")
        one.client.reconnect_delay_set(60, 60)
        self.assertEqual(self.ask("POST", "/api/v1/bans", {"by": "client_id", "who": "bad", "for_s": 3600})[0], 204)
        one.wait(lambda: one.ended)
        one.close()
        self.assertEqual(self.client("bad").code, 0x8A)
        self.broker.kill9()
        self.broker.start()
        self.assertEqual(self.client("bad", v5=False).code, 5)
        self.assertEqual([b["who"] for b in self.ask("GET", "/api/v1/bans")[1]["bans"] if b["by"] == "client_id" and b["who"] == "bad"], ["bad"])
        self.assertEqual(self.ask("DELETE", "/api/v1/bans/client_id/bad")[0], 204)
        self.assertEqual(self.ask("DELETE", "/api/v1/bans/client_id/bad")[0], 404)
        self.assertEqual(self.client("bad").code, 0)

    def test_who_flaps_is_banned(self):
        for _ in range(4):
            Client(self.broker.ports["mqtt"], "flapper").close()
        deadline = time.monotonic() + 20
        while not any(b["who"] == "flapper" for b in self.ask("GET", "/api/v1/bans")[1]["bans"]):
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.05)
        self.assertEqual(self.client("flapper").code, 0x8A)

    def test_a_client_over_its_rate_waits_and_loses_nothing(self):
        one, two = self.client("fast"), self.client("reader")
        two.subscribe("rate")
        began = time.monotonic()
        for n in range(60):
            one.client.publish("rate", str(n), 1)
        two.wait(lambda: len(two.got) == 60)
        self.assertEqual([p for _, p in two.got], [str(n) for n in range(60)])
        self.assertGreater(time.monotonic() - began, 1.8, "20 at once, then 20 a second")

    def test_slow_subscriptions_and_topics_are_listed_on_demand(self):
        self.assertEqual(self.ask("POST", "/api/v1/topic_metrics", {"topic": "slow/t"})[0], 204)
        self.assertEqual(self.ask("POST", "/api/v1/topic_metrics", {"topic": "slow/t"})[0], 409)
        one, two = self.client("publisher"), self.client("slowpoke")
        self.assertEqual(two.subscribe("slow/t"), 1)
        one.publish("slow/t", "1")
        two.wait(lambda: two.got)
        counts = [t for t in self.ask("GET", "/api/v1/topic_metrics")[1]["topics"] if t["topic"] == "slow/t"][0]
        self.assertEqual((counts["messages_in"], counts["messages_in_qos1"], counts["messages_out"]), (1, 1, 1))
        self.assertEqual(self.ask("GET", "/api/v1/slow_subscriptions")[0], 200)
        self.assertEqual(self.ask("DELETE", "/api/v1/slow_subscriptions")[0], 204)
        self.assertEqual(self.ask("DELETE", "/api/v1/topic_metrics/slow%2Ft")[0], 204)


if __name__ == "__main__":
    unittest.main()
