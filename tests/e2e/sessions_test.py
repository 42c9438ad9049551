#!/usr/bin/env python3
"""Persistent sessions with paho-mqtt: what is published while a client is away, over kill -9 of the broker, at QoS 1 and 2."""
import os
import queue
import sys
import unittest

try:
    import paho.mqtt.client as paho
except ImportError:  # it is Debian's, and this is another python3
    if __name__ != "__main__" or sys.executable == "/usr/bin/python3":
        raise
    os.execv("/usr/bin/python3", ["/usr/bin/python3", *sys.argv])
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from broker import Broker, find_binary, scratch

CONFIG = """
[[topic_rule]]
filter = "kept/#"
topic = "kept"
partitions = 2
mode = "persistent"
"""
WAIT = 20  # seconds until a wait is a failure


class Client:
    """A paho client with a session that stays; messages and acknowledgements come out of queues."""

    def __init__(self, port, client_id, version=paho.MQTTv311, clean=False):
        self.messages, self.events = queue.Queue(), queue.Queue()
        more = {"clean_session": clean} if version != paho.MQTTv5 else {}
        self.client = paho.Client(client_id=client_id, protocol=version, **more)
        self.client.on_message = lambda c, u, m: self.messages.put((m.topic, m.payload.decode(), m.qos))
        self.client.on_subscribe = lambda *a: self.events.put(("suback", a[2]))
        self.client.on_publish = lambda c, u, mid: self.events.put(("published", mid))
        self.client.on_connect = lambda *a: self.events.put(("connack", a[2]["session present"]))
        self.version, self.clean = version, clean
        self.port = port

    def connect(self):
        more = {}
        if self.version == paho.MQTTv5:
            properties = Properties(PacketTypes.CONNECT)
            properties.SessionExpiryInterval = 3600
            more = {"clean_start": self.clean, "properties": properties}
        self.client.connect("127.0.0.1", self.port, 30, **more)
        self.client.loop_start()
        return self.expect("connack")

    def expect(self, kind):
        found = self.events.get(timeout=WAIT)
        assert found[0] == kind, f"{found} instead of {kind}"
        return found[1]

    def subscribe(self, topic_filter, qos):
        self.client.subscribe(topic_filter, qos)
        self.expect("suback")

    def publish(self, topic, payload, qos=1):
        self.client.publish(topic, payload, qos)
        self.expect("published")

    def take(self, count):
        return [self.messages.get(timeout=WAIT) for _ in range(count)]

    def close(self):
        self.client.disconnect()
        self.client.loop_stop()


class SessionsTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.home = cls.enterClassContext(scratch("sessions"))
        cls.broker = Broker(find_binary(), cls.home, CONFIG).start()

    @classmethod
    def tearDownClass(cls):
        cls.broker.kill9()

    def away(self, client_id, version, topic_filter, qos):
        first = Client(self.broker.ports["mqtt"], client_id, version)
        self.assertFalse(first.connect())
        first.subscribe(topic_filter, qos)
        first.close()

    def send(self, topic, values, qos):
        publisher = Client(self.broker.ports["mqtt"], "publisher", clean=True)
        publisher.connect()
        for value in values:
            publisher.publish(topic, value, qos)
        publisher.close()

    def crash(self):
        self.broker.kill9()
        self.broker.start()

    def test_offline_messages_come_after_kill9_at_each_qos_from_each_kind_of_topic(self):
        values = [str(n) for n in range(30)]
        for version, name in ((paho.MQTTv311, "v4"), (paho.MQTTv5, "v5")):
            for qos in (1, 2):
                for topic in ("kept/x", "light/x"):
                    with self.subTest(version=name, qos=qos, topic=topic):
                        client_id = f"{name}-{qos}-{topic}"
                        self.away(client_id, version, topic, qos)
                        self.send(topic, values[:15], qos)
                        self.crash()
                        self.send(topic, values[15:], qos)
                        back = Client(self.broker.ports["mqtt"], client_id, version)
                        self.assertTrue(back.connect())
                        self.assertEqual(back.take(30), [(topic, value, qos) for value in values])
                        back.close()
                        # Nothing of it comes a second time.
                        self.crash()
                        again = Client(self.broker.ports["mqtt"], client_id, version)
                        self.assertTrue(again.connect())
                        self.send(topic, ["last"], qos)
                        got = again.take(1)
                        while qos == 1 and got[-1][1] != "last":  # not acknowledged durably before the kill: may come again
                            got += again.take(1)
                        self.assertEqual(got[-1], (topic, "last", qos))
                        again.client.unsubscribe(topic)
                        again.close()

    def test_a_connected_client_that_reconnects_by_itself_misses_nothing(self):
        client = Client(self.broker.ports["mqtt"], "steady")
        client.connect()
        client.subscribe("steady/#", 1)
        self.send("steady/a", ["before"], 1)
        self.assertEqual(client.take(1)[0][1], "before")
        client.client.loop_stop()
        self.crash()
        self.send("steady/a", ["after"], 1)
        back = Client(self.broker.ports["mqtt"], "steady")
        self.assertTrue(back.connect())
        got = [value for _, value, _ in back.take(1)]
        if got == ["before"]:  # its acknowledgement was not stored yet: QoS 1 may come again
            got = [value for _, value, _ in back.take(1)]
        self.assertEqual(got, ["after"])
        back.close()

    def test_a_clean_start_drops_the_session(self):
        self.away("dropped", paho.MQTTv311, "d/#", 1)
        self.send("d/1", ["lost"], 1)
        clean = Client(self.broker.ports["mqtt"], "dropped", clean=True)
        self.assertFalse(clean.connect())
        clean.close()
        back = Client(self.broker.ports["mqtt"], "dropped")
        self.assertFalse(back.connect())
        back.close()


if __name__ == "__main__":
    unittest.main()
