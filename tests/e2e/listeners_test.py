#!/usr/bin/env python3
"""The listeners, by clients that nobody here wrote: WebSocket, TLS, both, the PROXY protocol; certificates that change."""
import base64
import os
import signal
import socket
import ssl
import struct
import subprocess
import sys
import time
import unittest
import urllib.request

try:
    import kafka
    import paho.mqtt.client as paho
except ImportError:  # it is Debian's, and this is another python3
    if __name__ != "__main__" or sys.executable == "/usr/bin/python3":
        raise
    os.execv("/usr/bin/python3", ["/usr/bin/python3", *sys.argv])

import npm_clients
from certificates import Authority, served_subject
from broker import OneBroker
from interop_test import WAIT, Paho, unique
from wire import mqtt_connect, mqtt_publish


class WithListeners(OneBroker):
    def paho(self, name, version=paho.MQTTv311, **kw):
        client = Paho(self.broker.ports[name], version, **kw)
        self.addCleanup(client.close)
        return client

    def metric(self, name, listener):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.broker.ports['admin']}/metrics", timeout=WAIT) as page:
            for line in page.read().decode().splitlines():
                if line.startswith(f"robustmq_{name}{{") and f'listener="{listener}"' in line:
                    return float(line.split()[-1])
        raise AssertionError(f"no {name} of {listener}")

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


class Tls(WithListeners):
    """TLS and secure WebSocket by the simple options; client certificates and Kafka by [[listener]]."""

    flags = ("--mqtt.listen_tls=127.0.0.1:0", "--mqtt.listen_websocket_tls=127.0.0.1:0", "--kafka.listen_tls=127.0.0.1:0")

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
tls = {{ certificate = "{cls.certificate}", key = "{cls.key}", ca = "{cls.authority.ca}", clients = "required", version_min = "1.3" }}

[[listener]]
name = "polite"
tls = {{ certificate = "{cls.certificate}", key = "{cls.key}", ca = "{cls.authority.ca}", clients = "optional" }}

[[listener]]
name = "floor"
identity = "client_id"
mountpoint = "floor1/${{clientid}}/"
tls = {{ certificate = "{cls.certificate}", key = "{cls.key}", ca = "{cls.authority.ca}", clients = "required" }}
"""

    def test_paho_over_tls_and_secure_websocket(self):
        for version in (paho.MQTTv311, paho.MQTTv5):
            over_tls = self.paho("mqtt_tls", version, tls={"ca_certs": self.authority.ca})
            over_wss = self.paho("mqtt_websocket_tls", version, transport="websockets", tls={"ca_certs": self.authority.ca})
            self.exchange(over_tls, over_wss)
            self.exchange(over_wss, over_tls)

    def mosquitto(self, name, *more):
        """A message through mosquitto_pub and mosquitto_sub over TLS; the exit code of the publisher."""
        topic = unique("mosquitto")
        to = ["-h", "127.0.0.1", "-p", str(self.broker.ports[name]), "--cafile", self.authority.ca, "-t", topic, "-q", "1", *more]
        sub = subprocess.Popen(["stdbuf", "-oL", "mosquitto_sub", *to, "-C", "1", "-W", "15", "-d"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        lines = []
        for line in sub.stdout:
            lines.append(line)
            if "received SUBACK" in line or "error" in line.lower():
                break
        pub = subprocess.run(["mosquitto_pub", *to, "-m", "over TLS"], capture_output=True, text=True, check=False, timeout=WAIT)
        lines += sub.communicate(timeout=WAIT)[0].splitlines()
        return pub.returncode, any("over TLS" in line for line in lines)

    def test_npm_over_tls_and_secure_websocket(self):
        npm_clients.install()
        ports = self.broker.ports
        for url in (f"mqtts://localhost:{ports['mqtt_tls']}", f"wss://localhost:{ports['mqtt_websocket_tls']}/mqtt"):
            npm_clients.run(self, "mqtt.js", MQTT_URL=url, RUN=unique("npm"), NODE_EXTRA_CA_CERTS=self.authority.ca)

    def test_mosquitto_over_each_version(self):
        for version in ("tlsv1.2", "tlsv1.3"):
            self.assertEqual(self.mosquitto("mqtt_tls", "--tls-version", version), (0, True), version)

    def test_client_certificates(self):
        certificate, key = self.authority.issue("device 7")
        own = ("--cert", certificate, "--key", key)
        stranger = Authority(os.path.join(self.home, "strangers"), "stranger").issue("device 7")
        foreign = ("--cert", stranger[0], "--key", stranger[1])
        self.assertEqual(self.mosquitto("strict", *own), (0, True))
        self.assertEqual(self.mosquitto("polite", *own), (0, True))
        self.assertEqual(self.mosquitto("polite"), (0, True))
        for name, more in (("strict", ()), ("strict", foreign), ("polite", foreign)):
            code, arrived = self.mosquitto(name, *more)
            self.assertNotEqual(code, 0, name)
            self.assertFalse(arrived)

    def test_a_mountpoint_by_the_certificates_name(self):
        certificate, key = self.authority.issue("device 7")
        whole = self.paho("mqtt_tls", tls={"ca_certs": self.authority.ca})
        inside = self.paho("floor", tls={"ca_certs": self.authority.ca, "certfile": certificate, "keyfile": key})
        self.assertEqual(whole.subscribe("floor1/#"), 1)
        self.assertEqual(inside.subscribe("#"), 1)
        inside.publish("a/b", b"up")
        for client, topic in ((whole, "floor1/device 7/a/b"), (inside, "a/b")):
            message = client.message()
            self.assertEqual((message.topic, message.payload), (topic, b"up"))
        whole.publish("elsewhere/c", b"not theirs")
        whole.publish("floor1/device 7/c", b"down")
        message = inside.message()
        self.assertEqual((message.topic, message.payload), ("c", b"down"))

    def test_versions_and_ciphers(self):
        context = ssl.create_default_context(cafile=self.authority.ca)

        def connect(name, least, most):
            context.minimum_version, context.maximum_version = least, most
            with socket.create_connection(("127.0.0.1", self.broker.ports[name]), 10) as link, context.wrap_socket(
                    link, server_hostname="localhost") as tls:
                return tls.version(), tls.cipher()[0]

        self.assertEqual(connect("mqtt_tls", ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)[0], "TLSv1.3")
        version, cipher = connect("mqtt_tls", ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_2)
        self.assertEqual(version, "TLSv1.2")
        self.assertTrue(cipher.startswith("ECDHE-"), cipher)
        with self.assertRaises(ssl.SSLError):
            connect("strict", ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_2)
        context.set_ciphers("ALL:@SECLEVEL=0")
        with self.assertRaises(ssl.SSLError):
            connect("mqtt_tls", ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1)

    def test_a_session_is_resumed_by_its_ticket(self):
        context = ssl.create_default_context(cafile=self.authority.ca)
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            context.minimum_version = context.maximum_version = version
            session = None
            # Enough connections to meet every core: each takes the tickets of all.
            for _ in range(8):
                with socket.create_connection(("127.0.0.1", self.broker.ports["mqtt_tls"]), 10) as link, context.wrap_socket(
                        link, server_hostname="localhost", session=session) as tls:
                    self.assertEqual(tls.session_reused, session is not None)
                    tls.sendall(mqtt_connect(unique("resumed")))
                    self.assertEqual(tls.recv(4), b"\x20\x02\0\0")
                    session = tls.session

    def test_a_new_certificate_is_served_from_sighup_on(self):
        stays = self.paho("mqtt_tls", tls={"ca_certs": self.authority.ca})
        port = self.broker.ports["mqtt_tls"]
        self.assertEqual(served_subject(port), "server one")
        self.authority.issue("server two", "server")
        self.broker.process.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + WAIT
        # Every core gets it.
        while {served_subject(port) for _ in range(6)} != {"server two"}:
            self.assertLess(time.monotonic(), deadline, self.broker.tail())
        self.exchange(stays, stays)
        # One that is no good changes nothing.
        with open(self.certificate) as f:
            good = f.read()
        with open(self.certificate, "w") as f:
            f.write("no certificate\n")
        self.broker.process.send_signal(signal.SIGHUP)
        while "certificate_not_reloaded" not in self.broker.tail(100):
            self.assertLess(time.monotonic(), deadline, self.broker.tail())
            time.sleep(0.05)
        self.assertEqual(served_subject(port), "server two")
        with open(self.certificate, "w") as f:
            f.write(good)

    def test_kafka_over_tls(self):
        port = self.broker.ports["kafka_tls"]
        topic = unique("kafka-tls")
        for name in ("kafka_tls", "kafka"):
            more = {"security_protocol": "SSL", "ssl_cafile": self.authority.ca, "ssl_check_hostname": False} if name == "kafka_tls" else {}
            producer = kafka.KafkaProducer(bootstrap_servers=f"127.0.0.1:{self.broker.ports[name]}", acks="all", **more)
            for i in range(20):
                producer.send(topic, bytes([i]) * 50_000, partition=0)
            producer.flush(WAIT)
            producer.close()
        # Stored ranges, read and encrypted.
        consumer = kafka.KafkaConsumer(topic, bootstrap_servers=f"127.0.0.1:{port}", auto_offset_reset="earliest", security_protocol="SSL",
                                       ssl_cafile=self.authority.ca, ssl_check_hostname=False)
        got, deadline = [], time.monotonic() + WAIT
        while len(got) < 40:
            self.assertLess(time.monotonic(), deadline, f"{len(got)} of 40")
            for records in consumer.poll(200).values():
                got += [r.value for r in records]
        consumer.close()
        self.assertEqual(got, [bytes([i]) * 50_000 for i in range(20)] * 2)

    def test_garbage_is_refused_and_counted(self):
        for garbage in (b"\x10\x0c\0\4MQTT\4\2\0\x3c\0\0", b"\x16\x03\x01\xff\xff" + b"x" * 3000, b"GET / HTTP/1.1\r\n\r\n"):
            with socket.create_connection(("127.0.0.1", self.broker.ports["mqtt_tls"]), 10) as link:
                link.sendall(garbage)
                link.settimeout(WAIT)
                try:
                    while link.recv(4096):
                        pass
                except ConnectionResetError:
                    pass
        self.assertGreaterEqual(self.metric("listener_refused_tls_total", "mqtt_tls"), 3)


class UnixSocket(WithListeners):
    @classmethod
    def config(cls):
        cls.path = os.path.join(cls.home, "mqtt.sock")
        return f'[mqtt]\nlisten = "127.0.0.1:0"\n[[listener]]\nname = "local"\nbind = "{cls.path}"\n'

    def test_a_message_from_the_socket_to_tcp(self):
        over_tcp = self.paho("mqtt")
        topic = unique("unix")
        over_tcp.subscribe(topic)
        with socket.socket(socket.AF_UNIX) as link:
            link.settimeout(WAIT)
            link.connect(self.path)
            link.sendall(mqtt_connect(unique("unix")))
            self.assertEqual(link.recv(4), b"\x20\x02\0\0")
            link.sendall(mqtt_publish(topic, b"from here"))
            self.assertEqual(over_tcp.message().payload, b"from here")


class Proxy(WithListeners):
    @classmethod
    def config(cls):
        return """
[node]
log_level = "debug"

[mqtt]
listen = "127.0.0.1:0"

[[listener]]
name = "proxied"
proxy_protocol = true
connections_max = 50

[[listener]]
name = "proxied_websocket"
proxy_protocol = true
websocket = true
handshake_ms_max = 300
"""

    def connect(self, header, name="proxied"):
        link = socket.create_connection(("127.0.0.1", self.broker.ports[name]), 10)
        self.addCleanup(link.close)
        link.settimeout(WAIT)
        link.sendall(header + mqtt_connect(unique("proxied")))
        return link

    def logged(self, text):
        deadline = time.monotonic() + WAIT
        while text not in self.broker.tail(400):
            self.assertLess(time.monotonic(), deadline, f"{text} is not in the log:\n{self.broker.tail(20)}")
            time.sleep(0.05)

    def test_the_clients_own_address_is_logged(self):
        version_2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11" + struct.pack(">H4s4sHH", 12, bytes([192, 0, 2, 9]), bytes(4), 4711, 1883)
        for header, peer in ((b"PROXY TCP4 192.0.2.8 127.0.0.1 4710 1883\r\n", "192.0.2.8:4710"), (version_2, "192.0.2.9:4711")):
            link = self.connect(header)
            self.assertEqual(link.recv(4), b"\x20\x02\0\0")
            link.close()
            self.logged(f"peer={peer}")

    def test_who_sends_no_header_is_refused(self):
        link = self.connect(b"")
        self.assertEqual(self.end_of(link), b"")
        self.logged("why=proxy_protocol")
        silent = socket.create_connection(("127.0.0.1", self.broker.ports["proxied_websocket"]), 10)
        self.addCleanup(silent.close)
        silent.settimeout(WAIT)
        self.assertEqual(self.end_of(silent), b"")

    def end_of(self, link):
        try:
            return link.recv(100)
        except ConnectionResetError:
            return b""


if __name__ == "__main__":
    unittest.main()
