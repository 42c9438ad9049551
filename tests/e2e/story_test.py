#!/usr/bin/env python3
"""The story of the README, run word for word: every command of its quick start, with the ports put in their place.

A `sh` block that starts the broker runs in the broker's terminal, one with mosquitto_sub in a terminal of its own, all others in one
shell. A command that ends in "# prints X" must print X.
"""
import os
import re
import shutil
import subprocess
import sys
import threading
import unittest

from broker import LISTENS, REPO, Broker, find_binary, scratch
from wire import Kafka

FLAGS = {"1883": "mqtt", "9092": "kafka", "58080": "admin"}


def blocks(text):
    """[(language, code)] of the quick start, in order."""
    section = re.search(r"^## Quick start\n(.*?)^## ", text, re.M | re.S).group(1)
    return re.findall(r"^```(\w+)\n(.*?)^```$", section, re.M | re.S)


class Shell:
    """One bash that gets commands as a terminal does."""

    def __init__(self, cwd):
        self.process = subprocess.Popen(["bash"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                        cwd=cwd, start_new_session=True)

    def run(self, command, timeout=120):
        """What the command printed, and its status."""
        alarm = threading.Timer(timeout, self.process.kill)
        alarm.start()
        self.process.stdin.write(f"{command}\necho \"__end $?\"\n")
        self.process.stdin.flush()
        out = ""
        for line in self.process.stdout:
            if line.startswith("__end "):
                alarm.cancel()
                return out, int(line.split()[1])
            out += line
        raise AssertionError(f"no end within {timeout} s: {command}\n{out}")

    def close(self):
        self.process.stdin.close()
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


class Subscriber:
    """mosquitto_sub in its own terminal; ready when the broker has acknowledged the subscription."""

    def __init__(self, command):
        self.process = subprocess.Popen(["stdbuf", "-oL", "bash", "-c", "exec " + command + " -d"], stdout=subprocess.PIPE, text=True)
        self.lines = []
        for line in self.process.stdout:
            self.lines.append(line)
            if line.startswith("Subscribed"):
                return
        raise AssertionError(f"not subscribed: {self.lines}")

    def finish(self, timeout=20):
        out, _ = self.process.communicate(timeout=timeout)
        return "".join(line + "\n" for line in out.splitlines() if not line.startswith("Client "))


class Story(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        for tool in ("mosquitto_pub", "mosquitto_sub", "kcat", "stdbuf"):
            if not shutil.which(tool):
                raise AssertionError(f"{tool} is needed for the README's story and is not installed")

    def test_readme_word_for_word(self):
        with open(os.path.join(REPO, "README.md")) as f:
            story = blocks(f.read())
        with scratch("story") as home:
            self.home, self.broker, self.subscriber, self.expected = home, None, None, None
            self.shell = Shell(home)
            try:
                for language, code in story:
                    if language == "toml":
                        self.config = code
                    else:
                        self.block(code)
            finally:
                self.shell.close()
                if self.broker:
                    self.broker.kill9()
        self.assertGreaterEqual(len(story), 8, "the quick start lost its blocks")

    def block(self, code):
        for line in code.strip().splitlines():
            command, _, comment = (part.strip() for part in line.partition("#"))
            prints = re.match(r"prints (\S+)$", comment)
            self.command(command, prints.group(1) if prints else None)

    def command(self, command, prints):
        if command == "make run":
            self.broker = Broker(find_binary(), self.home).start()
        elif command == "build/release/bin/robust-server start -c robust.toml":
            self.start_with_rule()
        elif command.startswith("mosquitto_sub"):
            self.subscriber, self.expected = Subscriber(self.with_ports(command)), prints
        else:
            is_kill = "kill -9" in command
            out, status = self.shell.run(self.with_ports(command))
            self.assertEqual(status, 0, f"{command}: {out}")
            if prints:
                self.assertEqual(out.strip(), prints, command)
            if is_kill:
                self.assert_killed_in_the_middle()
            if self.subscriber:
                self.assertEqual(self.subscriber.finish().strip(), self.expected)
                self.subscriber = None

    def with_ports(self, command):
        """The same command for the ports and the process of this run."""
        for port, name in FLAGS.items():
            command = command.replace(f"127.0.0.1:{port}", f"127.0.0.1:{self.broker.ports[name]}")
        command = re.sub(r"\bmosquitto_(pub|sub) ", rf"mosquitto_\1 -p {self.broker.ports['mqtt']} ", command)
        return command.replace("$(pidof robust-server)", str(self.broker.pid))

    def start_with_rule(self):
        if self.broker.is_running():  # Ctrl-C
            self.assertEqual(self.broker.stop(), 0, self.broker.tail())
        ports = self.broker.ports  # the publisher comes back to where it was
        flags = [f"--{name}.listen=127.0.0.1:{port}" for name, port in ports.items() if name in LISTENS]
        self.broker = Broker(self.broker.binary, self.home, self.config, flags).start()

    def assert_killed_in_the_middle(self):
        self.broker.process.wait(10)
        jobs, _ = self.shell.run("jobs -r")
        self.assertIn("mosquitto_pub", jobs, "the kill came after the last message: it was not in the middle")
        again = Broker(self.broker.binary, self.home, self.config).start()  # on other ports: the publisher does not see it
        client = Kafka(again.ports["kafka"])
        stored = sum(client.list_offsets("sensors", p) for p in range(4))
        client.close()
        again.kill9()
        self.assertTrue(0 < stored < 60000, f"the kill was not in the middle: {stored} were stored")


if __name__ == "__main__":
    sys.exit(not unittest.main(exit=False, verbosity=2).result.wasSuccessful())
