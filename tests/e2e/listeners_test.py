#!/usr/bin/env python3
"""The listeners, by clients that nobody here wrote: MQTT over WebSocket by paho and npm's mqtt."""
import base64
import os
import socket
import sys
import unittest

try:
    import paho.mqtt.client as paho
except ImportError:  # it is Debian's, and this is another python3
    if __name__ != "__main__" or sys.executable == "/usr/bin/python3":
        raise
    os.execv("/usr/bin/python3", ["/usr/bin/python3", *sys.argv])

import npm_clients
from broker import Broker, find_binary, scratch
from interop_test import Paho, unique


class WithListeners(unittest.TestCase):
    flags = ()

    @classmethod
    def config(cls):
        return ""

    @classmethod
    def setUpClass(cls):
        cls.scratch = scratch("listeners")
        cls.home = cls.scratch.__enter__()
        cls.broker = Broker(find_binary(), cls.home, cls.config(), flags=cls.flags).start()
        cls.addClassCleanup(cls.end)

    @classmethod
    def end(cls):
        running = cls.broker.is_running()
        code = cls.broker.stop()
        assert running and code == 0, f"the broker ended with {code} (running at the end: {running}):\n{cls.broker.tail()}"
        cls.scratch.__exit__(None, None, None)

    def paho(self, name, version=paho.MQTTv311, **kw):
        client = Paho(self.broker.ports[name], version, **kw)
        self.addCleanup(client.close)
        return client

    def exchange(self, one, other):
        """Messages of several sizes from one client to the other."""
        topic = unique("listeners")
        self.assertEqual(other.subscribe(topic), 1)
        for size in (0, 1, 100, 20_000, 500_000):
            one.publish(topic, b"x" * size)
            self.assertEqual(len(other.message().payload), size)


class WebSocket(WithListeners):
    def test_paho_over_websocket_and_tcp(self):
        for version in (paho.MQTTv311, paho.MQTTv5):
            over_websocket = self.paho("mqtt_websocket", version, transport="websockets")
            over_tcp = self.paho("mqtt", version)
            self.exchange(over_websocket, over_tcp)
            self.exchange(over_tcp, over_websocket)

    def open_raw(self, protocol="mqtt"):
        link = socket.create_connection(("127.0.0.1", self.broker.ports["mqtt_websocket"]), 10)
        key = base64.b64encode(os.urandom(16)).decode()
        link.sendall((f"GET /mqtt HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                      f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Protocol: {protocol}\r\n\r\n").encode())
        self.addCleanup(link.close)
        return link

    def test_a_text_frame_is_answered_with_1003(self):
        link = self.open_raw()
        answer = link.recv(4096)
        self.assertTrue(answer.startswith(b"HTTP/1.1 101 "), answer)
        link.sendall(b"\x81\x81\0\0\0\0x")
        self.assertEqual(link.recv(4096), b"\x88\x02\x03\xeb")
        self.assertEqual(link.recv(4096), b"")

    def test_an_unknown_protocol_is_refused(self):
        self.assertTrue(self.open_raw("chat").recv(4096).startswith(b"HTTP/1.1 400 "))


class NpmOverWebSocket(WithListeners):
    @classmethod
    def setUpClass(cls):
        npm_clients.install()
        super().setUpClass()

    def test_mqtt_js(self):
        npm_clients.run(self, "mqtt.js", MQTT_URL=f"ws://127.0.0.1:{self.broker.ports['mqtt_websocket']}/mqtt", RUN=unique("npm"))


if __name__ == "__main__":
    unittest.main()
