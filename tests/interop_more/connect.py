"""Kafka Connect, distributed, with exactly.once.source.support=enabled: a file into a topic and on into a file, with the worker killed in the middle."""
import json
import os
import subprocess
import time
import urllib.error
import urllib.request

import places
from processes import Process, bad_lines, free_port

WORKER = """bootstrap.servers={server}
group.id=connect-interop
key.converter=org.apache.kafka.connect.storage.StringConverter
value.converter=org.apache.kafka.connect.storage.StringConverter
offset.storage.topic=connect-offsets
config.storage.topic=connect-configs
status.storage.topic=connect-status
offset.storage.replication.factor=1
config.storage.replication.factor=1
status.storage.replication.factor=1
offset.storage.partitions=3
offset.flush.interval.ms=500
session.timeout.ms=10000
listeners=http://127.0.0.1:{port}
exactly.once.source.support=enabled
plugin.discovery=service_load
"""
LINES = 20000
# What a killed worker leaves behind: its successor says so.
ALLOWED = (r"ServiceLoader", r"Fetching topic metadata|metadata response .* recoverable", r"[Cc]atching up", r"producer .* fenc", r"Close timed out")


def ask(port, path, body=None):
    """The worker's answer, tried again while it rebalances."""
    until = time.monotonic() + 60
    while True:
        request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", method="PUT" if body else "GET", data=json.dumps(body).encode() if body else None,
                                         headers={"content-type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return json.load(answer)
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            if time.monotonic() > until:
                raise
            time.sleep(0.2)


def lines_of(path):
    try:
        with open(path) as f:
            return f.read().split("\n")[:-1]
    except OSError:
        return []


def run(result, version, class_path):
    home = os.path.join(result.home, "connect")
    os.makedirs(home)
    port, source, sink = free_port(), os.path.join(home, "source.txt"), os.path.join(home, "sink.txt")
    config = os.path.join(home, "worker.properties")
    with open(config, "w") as f:
        f.write(WORKER.format(server=result.server, port=port))

    def add(first, last):
        with open(source, "a") as f:
            f.writelines(f"line {i}\n" for i in range(first, last))

    def start():
        return Process(places.java(class_path, "org.apache.kafka.connect.cli.ConnectDistributed", config), os.path.join(home, "worker.log"))

    add(0, LINES // 2)
    worker = start()
    try:
        ask(port, "/")
        ask(port, "/connectors/source/config", {"connector.class": "org.apache.kafka.connect.file.FileStreamSourceConnector", "file": source, "topic": "from-file",
                                                 "tasks.max": "1", "exactly.once.support": "required", "transaction.boundary": "poll", "batch.size": "500"})
        ask(port, "/connectors/sink/config", {"connector.class": "org.apache.kafka.connect.file.FileStreamSinkConnector", "file": sink, "topics": "from-file",
                                               "tasks.max": "1", "consumer.override.isolation.level": "read_committed"})
        worker.wait_until(lambda: len(lines_of(sink)) > 500, "the first lines came out")
        worker.kill9()
        worker = start()
        add(LINES // 2, LINES)
        worker.wait_until(lambda: len(set(lines_of(sink))) == LINES, "every line came out", 180)
        for name in ("source", "sink"):
            state = ask(port, f"/connectors/{name}/status")
            result.tell(f"connect {version}: {name} runs", "" if state["tasks"][0]["state"] == "RUNNING" else json.dumps(state))
    finally:
        worker.stop()
    read = places.java(class_path, "org.apache.kafka.tools.consumer.ConsoleConsumer", "--bootstrap-server", result.server, "--topic", "from-file", "--from-beginning",
                       "--isolation-level", "read_committed", "--timeout-ms", "8000")
    got = subprocess.run(read, capture_output=True, text=True, timeout=120, check=False).stdout.splitlines()
    wanted = [f"line {i}" for i in range(LINES)]
    result.tell(f"connect {version}: each line once and in order over kill -9 of the worker",
                "" if got == wanted else f"{len(got)} lines, {len(set(got))} different ones, instead of {LINES}")
    bad = bad_lines(worker.text(), ALLOWED)
    result.tell(f"connect {version}: no warnings", "\n".join(bad[:20]))
