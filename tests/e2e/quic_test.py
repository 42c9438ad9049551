#!/usr/bin/env python3
"""MQTT over QUIC by clients that know no QUIC, through quic-bridge: TCP on their side, QUIC on the broker's."""
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
import unittest

try:
    import paho.mqtt.client as paho
except ImportError:  # it is Debian's, and this is another python3
    if __name__ != "__main__" or sys.executable == "/usr/bin/python3":
        raise
    os.execv("/usr/bin/python3", ["/usr/bin/python3", *sys.argv])

from broker import find_binary
from certificates import Authority
from interop_test import WAIT, Paho, unique
from listeners_test import WithListeners


class Bridge:
    """A running quic-bridge to one port of the broker."""

    def __init__(self, port, ca, certificate=None, name="localhost"):
        program = os.path.join(os.path.dirname(find_binary()), "quic-bridge")
        command = [program, f"127.0.0.1:{port}", name, ca, *(certificate or ())]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.port = int(self.line().split()[1])

    def line(self):
        line = self.process.stdout.readline().strip()
        assert line, f"the bridge ended with {self.process.poll()}"
        return line

    def move(self):
        """All connections go on from another UDP port; told to the server every second time."""
        self.process.send_signal(signal.SIGHUP)
        assert self.line() == "moved"

    def close(self):
        self.process.terminate()
        self.process.wait(WAIT)
        self.process.stdout.close()


class Relay(threading.Thread):
    """Carries datagrams to one port and back, and loses some. One client address at a time."""

    def __init__(self, port, lost):
        super().__init__(daemon=True)
        self.to, self.lost, self.random, self.dropped = ("127.0.0.1", port), lost, random.Random(7), 0
        self.near = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.near.bind(("127.0.0.1", 0))
        self.far = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.far.bind(("127.0.0.1", 0))
        self.port, self.client = self.near.getsockname()[1], None
        threading.Thread(target=self.back, daemon=True).start()
        self.start()

    def keeps(self):
        keeps = self.random.random() >= self.lost
        self.dropped += not keeps
        return keeps

    def run(self):
        while True:
            data, self.client = self.near.recvfrom(65536)
            if self.keeps():
                self.far.sendto(data, self.to)

    def back(self):
        while True:
            data = self.far.recv(65536)
            if self.keeps():
                self.near.sendto(data, self.client)


class Quic(WithListeners):
    flags = ("--mqtt.listen_tls=127.0.0.1:0", "--mqtt.listen_quic=127.0.0.1:0")

    @classmethod
    def config(cls):
        cls.authority = Authority(os.path.join(cls.home, "certificates"))
        cls.certificate, cls.key = cls.authority.issue("server one", "server")
        return f"""
[tls]
certificate = "{cls.certificate}"
key = "{cls.key}"
check_ms = 0

[[listener]]
name = "strict"
quic = true
identity = "client_id"
mountpoint = "floor1/${{clientid}}/"
tls = {{ certificate = "{cls.certificate}", key = "{cls.key}", ca = "{cls.authority.ca}", clients = "required" }}

[[listener]]
name = "small"
quic = true
connections_max = 1
tls = {{ certificate = "{cls.certificate}", key = "{cls.key}" }}
"""

    def bridge(self, name, port=None, **kw):
        bridge = Bridge(port or self.broker.ports[name], self.authority.ca, **kw)
        self.addCleanup(bridge.close)
        return bridge

    def over(self, bridge, version=paho.MQTTv311):
        client = Paho(bridge.port, version)
        self.addCleanup(client.close)
        return client

    def test_paho_over_quic_and_tls(self):
        bridge = self.bridge("mqtt_quic")
        for version in (paho.MQTTv311, paho.MQTTv5):
            over_quic = self.over(bridge, version)
            over_tls = self.paho("mqtt_tls", version, tls={"ca_certs": self.authority.ca})
            self.exchange(over_quic, over_tls)
            self.exchange(over_tls, over_quic)
            self.exchange(over_quic, over_quic)

    def test_mosquitto_over_quic(self):
        bridge = self.bridge("mqtt_quic")
        topic = unique("mosquitto")
        to = ["-h", "127.0.0.1", "-p", str(bridge.port), "-t", topic, "-q", "2"]
        sub = subprocess.Popen(["stdbuf", "-oL", "mosquitto_sub", *to, "-C", "1", "-W", "15", "-d"], stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, text=True)
        for line in sub.stdout:
            if "received SUBACK" in line:
                break
        pub = subprocess.run(["mosquitto_pub", *to, "-m", "over QUIC"], capture_output=True, text=True, check=False, timeout=WAIT)
        self.assertEqual(pub.returncode, 0, pub.stderr)
        self.assertIn("over QUIC", sub.communicate(timeout=WAIT)[0])

    def test_everything_arrives_through_loss(self):
        relay = Relay(self.broker.ports["mqtt_quic"], 0.1)
        client = self.over(self.bridge("mqtt_quic", relay.port))
        self.exchange(client, client)
        self.assertGreater(relay.dropped, 0)

    def test_clients_go_on_from_other_addresses(self):
        bridge = self.bridge("mqtt_quic")
        # Enough clients to be on every core, and of sessions that live on another.
        clients = [self.over(bridge) for _ in range(6)]
        topics = [unique("moving") for _ in clients]
        for client, topic in zip(clients, topics):
            self.assertEqual(client.subscribe(topic), 1)
        before = self.metric("quic_migrated_total", "mqtt_quic")
        for step in range(4):
            # ngtcp2 0.12 ends connections that change faster than their former ids are given back.
            time.sleep(1)
            bridge.move()
            for client, topic in zip(clients, topics):
                client.publish(topic, f"step {step}".encode())
                self.assertEqual(client.message().payload, f"step {step}".encode())
            deadline = time.monotonic() + WAIT
            while self.metric("quic_migrated_total", "mqtt_quic") - before < 6 * (step + 1):
                self.assertLess(time.monotonic(), deadline, self.broker.tail())
                time.sleep(0.05)
        self.assertEqual(self.metric("quic_resets_sent_total", "mqtt_quic"), 0)

    def test_certificates_say_who_a_client_is(self):
        inside = self.over(self.bridge("strict", certificate=self.authority.issue("device 7")))
        whole = self.paho("mqtt_tls", tls={"ca_certs": self.authority.ca})
        self.assertEqual(whole.subscribe("floor1/#"), 1)
        inside.publish("a/b", b"up")
        message = whole.message()
        self.assertEqual((message.topic, message.payload), ("floor1/device 7/a/b", b"up"))
        stranger = Authority(os.path.join(self.home, "strangers"), "stranger").issue("device 7")
        for certificate in (None, stranger):
            self.refused(self.bridge("strict", certificate=certificate).port)
        self.assertGreaterEqual(self.metric("listener_refused_quic_total", "strict"), 2)

    def refused(self, port):
        """Nothing comes of a connection through this bridge but its end."""
        with socket.create_connection(("127.0.0.1", port), 10) as link:
            link.settimeout(WAIT)
            link.sendall(b"\x10\x0c\0\4MQTT\4\2\0\x3c\0\0")
            try:
                self.assertEqual(link.recv(100), b"")
            except ConnectionResetError:
                pass

    def test_connections_over_the_limit_are_refused(self):
        bridge = self.bridge("small")
        first = self.over(bridge)
        self.refused(bridge.port)
        self.assertGreaterEqual(self.metric("quic_connections_refused_total", "small"), 1)
        first.close()
        deadline = time.monotonic() + WAIT
        while self.metric("listener_connections", "small") > 0:
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.05)
        self.over(bridge)

    def wait_for_reloads(self, times):
        """Until the last of the listeners has its new certificate for the so-manieth time."""
        deadline = time.monotonic() + WAIT
        while sum("certificate_reloaded" in line and "small" in line for line in self.broker.tail(1000).splitlines()) < times:
            self.assertLess(time.monotonic(), deadline, self.broker.tail())
            time.sleep(0.05)

    def test_a_new_certificate_is_served_from_sighup_on(self):
        stays = self.over(self.bridge("mqtt_quic"))
        other = Authority(os.path.join(self.home, "others"), "other")
        with open(self.certificate) as f:
            former_certificate = f.read()
        with open(self.key) as f:
            former_key = f.read()
        certificate, key = other.issue("server two", "server")
        try:
            for source, target in ((key, self.key), (certificate, self.certificate)):
                with open(source) as f, open(target, "w") as t:
                    t.write(f.read())
            self.broker.process.send_signal(signal.SIGHUP)
            self.wait_for_reloads(1)
            bridge = Bridge(self.broker.ports["mqtt_quic"], other.ca)
            self.addCleanup(bridge.close)
            self.exchange(self.over(bridge), stays)
            self.refused(self.bridge("mqtt_quic").port)
        finally:
            for text, target in ((former_key, self.key), (former_certificate, self.certificate)):
                with open(target, "w") as f:
                    f.write(text)
            self.broker.process.send_signal(signal.SIGHUP)
            self.wait_for_reloads(2)


if __name__ == "__main__":
    unittest.main()
