#!/usr/bin/env python3
"""Who may come in: users made by robust-ctl, paho with user name and password in both versions, SCRAM-SHA-256 by a client of its own (hashlib
does the arithmetic), re-authentication, a file that changes while clients are connected, and what the start refuses."""
import base64
import hashlib
import hmac
import os
import signal
import stat
import struct
import subprocess
import threading
import time
import unittest
import urllib.request

import paho.mqtt.client as mqtt

from broker import Broker, Failed, find_binary, scratch
from wire import Closed, Mqtt, _utf8, _varint, mqtt_packet

ITERATIONS = 4096
METHOD = "SCRAM-SHA-256"


def ctl(*words, password=None):
    """(exit code, what it said)."""
    program = os.path.join(os.path.dirname(find_binary()), "robust-ctl")
    done = subprocess.run([program, *words], input=password, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout + done.stderr


class Paho:
    """A paho client that remembers its CONNACK and its end."""

    def __init__(self, port, name, user=None, password=None, v5=True):
        kind = {"client_id": name, "protocol": mqtt.MQTTv5 if v5 else mqtt.MQTTv311}
        try:
            self.client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION1, **kind)
        except AttributeError:
            self.client = mqtt.Client(**kind)
        self.changed, self.codes, self.ended = threading.Condition(), [], []
        self.client.reconnect_delay_set(60, 60)
        if user is not None:
            self.client.username_pw_set(user, password)
        self.client.on_connect = lambda c, u, flags, rc, *p: self.note(self.codes, rc)
        self.client.on_disconnect = lambda c, u, rc, *p: self.note(self.ended, rc)
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()
        self.wait(lambda: self.codes)
        self.code = getattr(self.codes[0], "value", self.codes[0])

    def note(self, where, what):
        with self.changed:
            where.append(what)
            self.changed.notify_all()

    def wait(self, holds, seconds=20):
        with self.changed:
            if not self.changed.wait_for(holds, seconds):
                raise AssertionError(f"it did not come: {self.codes}, {self.ended}")

    def close(self):
        self.client.disconnect()
        self.client.loop_stop()


def properties_of(method, data):
    return b"\x15" + _utf8(method) + (b"" if data is None else b"\x16" + struct.pack(">H", len(data)) + data)


def auth_packet(reason, data, method=METHOD):
    properties = properties_of(method, data)
    return mqtt_packet(0xF0, bytes([reason]) + _varint(len(properties)) + properties)


def read_properties(raw):
    """{id: value} of the properties that CONNACK, AUTH and DISCONNECT of this broker have."""
    length, at, shift = 0, 0, 0
    while True:
        length |= (raw[at] & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if raw[at - 1] < 0x80:
            break
    found, end = {}, at + length
    sizes = {0x11: 4, 0x21: 2, 0x22: 2, 0x24: 1, 0x25: 1, 0x27: 4, 0x28: 1, 0x29: 1, 0x2A: 1, 0x13: 2}
    while at < end:
        what, at = raw[at], at + 1
        size = sizes.get(what)
        if size is None:
            size, at = struct.unpack(">H", raw[at:at + 2])[0], at + 2
        found[what], at = raw[at:at + size], at + size
    return found


class Scram:
    """The client's side of one exchange."""

    def __init__(self, user, password):
        self.user, self.password = user, password
        self.bare = f"n={user},r={base64.b64encode(os.urandom(18)).decode()}"

    def first(self):
        return ("n,," + self.bare).encode()

    def last(self, challenge):
        challenge = challenge.decode()
        nonce, salt, iterations = (part[2:] for part in challenge.split(","))
        assert nonce.startswith(self.bare.split("r=")[1]) and len(nonce) > len(self.bare.split("r=")[1]) + 16, challenge
        salted = hashlib.pbkdf2_hmac("sha256", self.password.encode(), base64.b64decode(salt), int(iterations))
        key = hmac.digest(salted, b"Client Key", "sha256")
        without_proof = f"c=biws,r={nonce}"
        signed = f"{self.bare},{challenge},{without_proof}".encode()
        proof = bytes(a ^ b for a, b in zip(key, hmac.digest(hashlib.sha256(key).digest(), signed, "sha256")))
        self.server_final = b"v=" + base64.b64encode(hmac.digest(hmac.digest(salted, b"Server Key", "sha256"), signed, "sha256"))
        return f"{without_proof},p={base64.b64encode(proof).decode()}".encode()


class ScramClient:
    """MQTT 5 with enhanced authentication on a plain socket."""

    def __init__(self, port, client_id, method=METHOD, data=None, user_name=None):
        self.link = Mqtt(port, client_id, 5, connect=False)
        properties = properties_of(method, data)
        flags = 2 | (0x80 if user_name else 0)
        body = _utf8("MQTT") + bytes([5, flags]) + struct.pack(">H", 0) + _varint(len(properties)) + properties
        self.link.stream.send(mqtt_packet(0x10, body + _utf8(client_id) + (_utf8(user_name) if user_name else b"")))

    def send(self, reason, data, method=METHOD):
        self.link.stream.send(auth_packet(reason, data, method))

    def packet(self):
        """(type, reason, properties)."""
        first, body = self.link.packet()
        if first >> 4 == 2:
            return 2, body[1], read_properties(body[2:])
        return first >> 4, body[0] if body else 0, read_properties(body[1:]) if len(body) > 1 else {}

    def is_closed(self):
        try:
            while self.link.stream.fill(20):
                pass
        except Closed:
            return True
        return False


def log_in(port, client_id, user, password, **kw):
    """(the client, CONNACK's reason)."""
    scram = Scram(user, password)
    client = ScramClient(port, client_id, data=scram.first(), **kw)
    kind, reason, properties = client.packet()
    assert (kind, reason) == (15, 0x18), (kind, reason)
    assert properties[0x15] == METHOD.encode()
    client.send(0x18, scram.last(properties[0x16]))
    kind, reason, properties = client.packet()
    assert kind == 2, kind
    if reason == 0:
        assert properties[0x15] == METHOD.encode() and properties[0x16] == scram.server_final, properties
    return client, reason


class Users(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.scratch = scratch("users")
        cls.home = cls.scratch.__enter__()
        cls.file = os.path.join(cls.home, "users")
        cls.add("ada", "one")
        cls.add("bob", "two words: $%")
        cls.broker = Broker(find_binary(), cls.home, f'[auth]\nuser_file = "{cls.file}"\ncheck_ms = 0\n[mqtt]\nconnect_timeout_ms = 3000\n').start()
        cls.port = cls.broker.ports["mqtt"]
        cls.addClassCleanup(cls.end)

    @classmethod
    def end(cls):
        code = cls.broker.stop()
        assert code == 0, f"the broker ended with {code}:\n{cls.broker.tail()}"
        cls.scratch.__exit__(None, None, None)

    @classmethod
    def add(cls, name, password, iterations=ITERATIONS):
        code, said = ctl("user", "add", name, "-f", cls.file, "-i", str(iterations), password=password + "\n")
        assert code == 0, said

    def paho(self, *args, **kw):
        client = Paho(self.port, *args, **kw)
        self.addCleanup(client.close)
        return client

    def metric(self, name):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.broker.ports['admin']}/metrics", timeout=20) as page:
            for line in page.read().decode().splitlines():
                if line.startswith(f"robustmq_auth_{name} "):
                    return float(line.split()[-1])
        raise AssertionError(f"no {name}")

    def reload(self):
        before = self.metric("user_file_reads_total") + self.metric("user_file_failures_total")
        os.kill(self.broker.pid, signal.SIGHUP)
        deadline = time.monotonic() + 20
        while self.metric("user_file_reads_total") + self.metric("user_file_failures_total") == before:
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.05)

    def test_paho_logs_in_with_user_name_and_password(self):
        for v5 in (True, False):
            self.assertEqual(self.paho("p1", "ada", "one", v5=v5).code, 0)
            self.assertEqual(self.paho("p2", "bob", "two words: $%", v5=v5).code, 0)

    def test_paho_is_refused_in_the_words_of_its_version(self):
        for v5, wrong, missing in ((True, 0x86, 0x87), (False, 4, 5)):
            self.assertEqual(self.paho("p3", "ada", "two", v5=v5).code, wrong)
            self.assertEqual(self.paho("p3", "eve", "one", v5=v5).code, wrong)
            self.assertEqual(self.paho("p3", "ada", None, v5=v5).code, wrong)
            self.assertEqual(self.paho("p3", v5=v5).code, missing)

    def test_the_client_of_version_3_1(self):
        for password, code in (("one", 0), ("two", 4)):
            link = Mqtt(self.port, "", connect=False)
            link.stream.send(mqtt_packet(0x10, _utf8("MQIsdp") + bytes([3, 0xC2, 0, 0]) + _utf8("p31") + _utf8("ada") + _utf8(password)))
            self.assertEqual(link.packet(), (0x20, bytes([0, code])))
            link.stream.close()

    def test_scram(self):
        for user, password in (("ada", "one"), ("bob", "two words: $%")):
            client, reason = log_in(self.port, "s1", user, password)
            self.assertEqual(reason, 0)
            self.assertEqual(client.link.subscribe("x"), 0)
            client.link.publish("x", b"hi")
            self.assertEqual(client.link.message().payload, b"hi")
            client.link.close()

    def test_scram_tells_nothing(self):
        self.assertEqual(log_in(self.port, "s2", "ada", "two")[1], 0x87)
        self.assertEqual(log_in(self.port, "s2", "eve", "one")[1], 0x87)
        salts = set()
        for _ in range(3):
            client = ScramClient(self.port, "s2", data=Scram("eve", "x").first())
            salts.add(client.packet()[2][0x16].split(b",", 1)[1])
            client.link.close()
        self.assertEqual(len(salts), 1)

    def test_wrong_exchanges(self):
        client = ScramClient(self.port, "s3", method="PLAIN", data=b"\0ada\0one")
        self.assertEqual(client.packet()[:2], (2, 0x8C))
        self.assertTrue(client.is_closed())
        client = ScramClient(self.port, "s3", data=b"garbage")
        self.assertEqual(client.packet()[:2], (2, 0x87))
        client = ScramClient(self.port, "s3", data=Scram("ada", "one").first())
        self.assertEqual(client.packet()[:2], (15, 0x18))
        client.link.publish("x", b"early")
        self.assertEqual(client.packet()[:2], (2, 0x82))
        self.assertTrue(client.is_closed())
        # The proof of an exchange is worth nothing in another one.
        scram = Scram("ada", "one")
        client = ScramClient(self.port, "s3", data=scram.first())
        last = scram.last(client.packet()[2][0x16])
        other = ScramClient(self.port, "s4", data=scram.first())
        other.packet()
        other.send(0x18, last)
        self.assertEqual(other.packet()[:2], (2, 0x87))
        client.link.close()

    def test_who_does_not_answer_is_closed(self):
        began = time.monotonic()
        client = ScramClient(self.port, "s5", data=Scram("ada", "one").first())
        self.assertEqual(client.packet()[:2], (15, 0x18))
        self.assertEqual(client.packet()[:2], (2, 0x87))
        self.assertTrue(client.is_closed())
        self.assertGreater(time.monotonic() - began, 2)

    def test_reauthentication(self):
        client, reason = log_in(self.port, "s6", "ada", "one")
        self.assertEqual(reason, 0)
        for _ in range(2):
            scram = Scram("ada", "one")
            client.send(0x19, scram.first())
            kind, reason, properties = client.packet()
            self.assertEqual((kind, reason), (15, 0x18))
            client.send(0x18, scram.last(properties[0x16]))
            kind, reason, properties = client.packet()
            self.assertEqual((kind, reason, properties[0x16]), (15, 0, scram.server_final))
        scram = Scram("bob", "two words: $%")
        client.send(0x19, scram.first())
        client.send(0x18, scram.last(client.packet()[2][0x16]))
        self.assertEqual(client.packet()[:2], (14, 0x87), "another user's proof is none")
        self.assertTrue(client.is_closed())

    def test_nobody_takes_over_anothers_client(self):
        client, reason = log_in(self.port, "own", "ada", "one")
        self.assertEqual(reason, 0)
        self.assertEqual(self.paho("own", "bob", "two words: $%").code, 0x87)
        client.link.stream.send(b"\xc0\0")
        self.assertEqual(client.link.packet(), (0xD0, b""))
        self.assertEqual(self.paho("own", "ada", "one").code, 0)
        self.assertEqual(client.packet()[:2], (14, 0x8E))

    def test_the_file_changes_while_clients_are_connected(self):
        self.add("cleo", "first")
        self.add("dora", "stays")
        self.reload()
        cleo, dora = self.paho("f1", "cleo", "first"), self.paho("f2", "dora", "stays")
        self.assertEqual((cleo.code, dora.code), (0, 0))
        self.add("cleo", "second")
        self.reload()
        cleo.wait(lambda: cleo.ended)
        self.assertEqual(self.paho("f3", "cleo", "first").code, 0x86)
        again = self.paho("f3", "cleo", "second")
        self.assertEqual(again.code, 0)
        self.assertEqual(ctl("user", "remove", "cleo", "-f", self.file)[0], 0)
        self.reload()
        again.wait(lambda: again.ended)
        self.assertEqual(self.paho("f3", "cleo", "second").code, 0x86)
        with open(self.file, encoding="ascii") as file:
            good = file.read()
        with open(self.file, "w", encoding="ascii") as file:
            file.write(good[:-5])
        self.reload()
        self.assertEqual(self.paho("f4", "ada", "one").code, 0, "the former users stay")
        with open(self.file, "w", encoding="ascii") as file:
            file.write(good)
        os.kill(self.broker.pid, signal.SIGHUP)
        self.assertFalse(dora.ended)

    def test_robust_ctl_writes_the_file(self):
        self.assertEqual(stat.S_IMODE(os.stat(self.file).st_mode), 0o600)
        code, said = ctl("user", "list", "-f", self.file)
        self.assertEqual(code, 0)
        self.assertIn("ada", said)
        with open(self.file, encoding="ascii") as file:
            self.assertNotIn("two words", file.read())
        self.assertEqual(ctl("user", "remove", "nobody", "-f", self.file)[0], 1)
        self.assertEqual(ctl("user", "add", "x", "-f", self.file, password="\n")[0], 1)
        self.assertEqual(ctl("user", "add", "x", "password", "-f", self.file)[0], 2)
        self.assertEqual(ctl("user", "add", "x", "-f", self.file, password="p\u00e4ss\n")[0], 1)


class Start(unittest.TestCase):
    def refused(self, config, flags=()):
        with scratch("users-start") as home:
            broker = Broker(find_binary(), home, config, flags=flags)
            with self.assertRaises(Failed) as failed:
                broker.start()
            return str(failed.exception)

    def test_a_listener_for_everybody_is_refused(self):
        self.assertIn("nobody has to log in", self.refused("", ["--mqtt.listen=0.0.0.0:0"]))
        self.assertIn("Kafka clients do not log in", self.refused("", ["--kafka.listen=0.0.0.0:0"]))

    def test_a_file_that_is_missing_or_wrong_is_refused(self):
        self.assertIn("auth.user_file", self.refused('[auth]\nuser_file = "/nowhere/users"\n'))
        self.assertIn("auth.user_file", self.refused('[auth]\nuser_file = "robust.toml"\n'))

    def test_a_listener_opens_where_the_option_says_so(self):
        with scratch("users-open") as home:
            broker = Broker(find_binary(), home, "[auth]\nopen_listeners = true\n", flags=["--mqtt.listen=0.0.0.0:0", "--kafka.listen=0.0.0.0:0"]).start()
            try:
                client = Paho(broker.ports["mqtt"], "anybody", "whoever", "anything")
                self.assertEqual(client.code, 0)
                client.close()
            finally:
                self.assertEqual(broker.stop(), 0)


if __name__ == "__main__":
    unittest.main()
