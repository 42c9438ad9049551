"""The processes beside the broker that is tested: a real Kafka of one node, and others that are watched by what they write."""
import contextlib
import os
import re
import signal
import socket
import subprocess
import time

import places


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Process:
    """A process whose output goes to a file."""

    def __init__(self, command, log, cwd=None):
        self.log = log
        with open(log, "a") as out:
            self.process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, cwd=cwd)

    def text(self):
        with open(self.log, errors="replace") as f:
            return f.read()

    def wait_until(self, done, what, seconds=90):
        until = time.monotonic() + seconds
        while not done():
            if self.process.poll() is not None:
                raise AssertionError(f"it ended with {self.process.returncode} before {what}:\n{self.text()[-3000:]}")
            if time.monotonic() > until:
                raise AssertionError(f"{what}: not within {seconds} s:\n{self.text()[-3000:]}")
            time.sleep(0.1)

    def kill9(self):
        self.process.kill()
        self.process.wait()

    def stop(self, seconds=30):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(seconds)
            self.kill9()


KAFKA = """process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
log.dirs={data}
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=4
group.initial.rebalance.delay.ms=0
"""


class RealKafka:
    """A Kafka of one node, broker and controller in one process, in `home`. `more` are lines of its configuration, `options` are Java's."""

    def __init__(self, home, class_path, more="", options=places.BRIEF):
        os.makedirs(home)
        self.home, self.port, controller, config = home, free_port(), free_port(), os.path.join(home, "kafka.properties")
        self.data, self.node = os.path.join(home, "data"), None
        with open(config, "w") as f:
            f.write(KAFKA.format(port=self.port, controller=controller, data=self.data) + more)
        places.run(places.java(class_path, "kafka.tools.StorageTool", "format", "-t", "AAAAAAAAAAAAAAAAAAAAAQ", "-c", config), "Kafka's storage is not formatted")
        self.command = places.java(class_path, "kafka.Kafka", config, heap="1g", options=options)

    def launch(self):
        """Starts the process and does not wait for it to listen."""
        self.node = Process(self.command, os.path.join(self.home, "kafka.log"), self.home)

    def start(self):
        self.launch()
        self.node.wait_until(lambda: answers(self.port), "it listens")
        return self

    @property
    def pid(self):
        return self.node.process.pid

    def kill9(self):
        self.node.kill9()

    def stop(self):
        if self.node:
            self.node.stop()


@contextlib.contextmanager
def real_kafka(home, class_path):
    """A Kafka of one node in `home`; gives its address."""
    kafka = RealKafka(home, class_path)
    try:
        yield f"127.0.0.1:{kafka.start().port}"
    finally:
        kafka.stop()


def answers(port):
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def bad_lines(text, allowed=()):
    """Warnings and errors of a log that are none of the allowed patterns."""
    return [line for line in text.splitlines() if re.match(r"(WARN|ERROR|FATAL) ", line) and not any(re.search(a, line) for a in allowed)]
