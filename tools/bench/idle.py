#!/usr/bin/env python3
"""Memory of idle connections with one subscription each, plain and over TLS 1.3: `make bench-idle`.

VmRSS of the broker with all of them less that before, over their number, once it has been still for five seconds.
"""
import argparse
import os
import socket
import ssl
import struct
import sys
import time

REPO = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(REPO, "tests", "e2e"))
from broker import Broker, scratch  # noqa: E402
from certificates import Authority  # noqa: E402
from wire import mqtt_packet  # noqa: E402

AIMS = {"plain": 1.6, "TLS 1.3": 18}  # kB


def text(value):
    return struct.pack(">H", len(value)) + value.encode()


def connect(port, number, tls):
    """A connection with one subscription, both answered."""
    link = socket.create_connection(("127.0.0.1", port), timeout=30)
    if tls:
        link = tls.wrap_socket(link, server_hostname="localhost")
    client_id = f"idle-{number}"
    link.sendall(mqtt_packet(0x10, text("MQTT") + bytes([4, 2, 0, 0]) + text(client_id)) + mqtt_packet(0x82, b"\0\1" + text(f"idle/{number}") + b"\0"))
    answered = b""
    while len(answered) < 4 + 5:
        piece = link.recv(64)
        if not piece:
            raise SystemExit(f"connection {number} was closed")
        answered += piece
    return link


def still(broker):
    """VmRSS in kB, once it has not changed for five seconds."""
    seen, since = broker.status("VmRSS"), time.monotonic()
    while time.monotonic() - since < 5:
        time.sleep(0.5)
        now = broker.status("VmRSS")
        if now != seen:
            seen, since = now, time.monotonic()
    return seen


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--server", default=os.path.join(REPO, "build/release/bin/robust-server"))
    parser.add_argument("--connections", type=int, default=15000)
    args = parser.parse_args()
    print("| | kB a connection | aim | connections |\n|---|---|---|---|")
    for kind, aim in AIMS.items():
        with scratch("idle") as home:
            authority = Authority(os.path.join(home, "certificates"))
            certificate, key = authority.issue("localhost")
            tls = ssl.create_default_context(cafile=authority.ca) if kind != "plain" else None
            if tls:
                tls.minimum_version = ssl.TLSVersion.TLSv1_3
            broker = Broker(os.path.abspath(args.server), home, f'[tls]\ncertificate = "{certificate}"\nkey = "{key}"\n', ["--mqtt.listen_tls=127.0.0.1:0"]).start()
            links = []
            try:
                port = broker.ports["mqtt_tls" if tls else "mqtt"]
                links = [connect(port, f"warm-{i}", tls) for i in range(10)]
                before = still(broker)
                links += [connect(port, i, tls) for i in range(args.connections)]
                print(f"| {kind} | {(still(broker) - before) / args.connections:.2f} | {aim} | {args.connections:,} |", flush=True)
            finally:
                broker.kill9()
                for link in links:
                    link.close()


if __name__ == "__main__":
    main()
