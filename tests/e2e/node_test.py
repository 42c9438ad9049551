#!/usr/bin/env python3
"""The node as its operator meets it: `make run`, Ctrl-C, its HTTP pages, its command line tool, the address it tells Kafka's clients."""
import json
import os
import re
import signal
import subprocess
import sys
import time
import unittest
import urllib.error
import urllib.request

from broker import REPO, Broker, find_binary, is_sanitized, scratch
from wire import Kafka

LISTENS = ("mqtt.listen", "mqtt.listen_websocket", "kafka.listen", "admin.listen")


class MakeRun(unittest.TestCase):
    """With the preset of the binary under test, so that nothing is built anew."""

    def preset(self):
        folder = os.path.dirname(os.path.dirname(find_binary()))
        if os.path.dirname(folder) != os.path.join(REPO, "build"):
            self.skipTest(f"{folder} is not a build folder of this checkout")
        return os.path.basename(folder)

    def run_once(self, home):
        """Started, told to stop by Ctrl-C: seconds until the line to try, and what it said."""
        flags = [f"--node.data_dir={home}/data", *(f"--{listen}=127.0.0.1:0" for listen in LISTENS)]
        began = time.monotonic()
        make = subprocess.Popen(["make", "run", f"RUN_PRESET={self.preset()}", "ARGS=" + " ".join(flags)], cwd=REPO, text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)
        said = []
        try:
            for line in make.stdout:
                said.append(line)
                if line.startswith("try: "):
                    break
            seconds = time.monotonic() - began
            os.killpg(make.pid, signal.SIGINT)  # what a terminal does
            rest, _ = make.communicate(timeout=20)
        finally:
            if make.poll() is None:
                os.killpg(make.pid, signal.SIGKILL)
                make.wait()
        said = "".join(said) + rest
        self.assertIn("node_stopped", said)  # make itself ends by the signal
        return seconds, said

    def test_prints_where_it_listens_and_stops_on_ctrl_c(self):
        with scratch("makerun") as home:
            _, said = self.run_once(home)
            for protocol in ("mqtt", "kafka", "admin"):
                self.assertRegex(said, rf"(?m)^{protocol} listening on 127\.0\.0\.1:\d+")
            self.assertRegex(said, r"(?m)^try: mosquitto_pub ")
            again = min(self.run_once(home)[0] for _ in range(3))
            # The promise is 2 s for the release; ASan's start reads a far larger program.
            self.assertLess(again, 6 if is_sanitized(find_binary()) else 2, "a second make run starts at once")


class Pages(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.scratch = scratch("node")
        home = cls.scratch.__enter__()
        cls.addClassCleanup(cls.scratch.__exit__, None, None, None)
        cls.broker = Broker(find_binary(), home, flags=["--kafka.advertised=kafka.example:19092"]).start()
        cls.addClassCleanup(cls.broker.kill9)

    def ask(self, method, path, body=None):
        request = urllib.request.Request(f"http://127.0.0.1:{self.broker.ports['admin']}{path}", method=method,
                                         data=None if body is None else json.dumps(body).encode())
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def test_health(self):
        self.assertEqual(self.ask("GET", "/health/live")[0], 200)
        self.assertEqual(self.ask("GET", "/health/ready")[0], 200)

    def test_topics_are_made_listed_and_deleted(self):
        status, body = self.ask("POST", "/api/v1/topics", {"name": "by.http", "partitions": 3})
        self.assertIn(status, (200, 201), body)
        listed = json.loads(self.ask("GET", "/api/v1/topics")[1])["topics"]
        self.assertEqual([(t["name"], t["partitions"]) for t in listed if t["name"] == "by.http"], [("by.http", 3)])
        kcat = subprocess.run(["kcat", "-b", f"127.0.0.1:{self.broker.ports['kafka']}", "-L", "-t", "by.http"], capture_output=True, text=True,
                              timeout=30, check=True)
        self.assertIn('topic "by.http" with 3 partitions', kcat.stdout)
        self.assertEqual(self.ask("POST", "/api/v1/topics", {"name": "by.http"})[0], 409)
        self.assertIn(self.ask("DELETE", "/api/v1/topics/by.http")[0], (200, 204))
        self.assertEqual(self.ask("GET", "/api/v1/topics/by.http")[0], 404)
        self.assertEqual(self.ask("DELETE", "/api/v1/topics/by.http")[0], 404)

    def test_the_command_line_tool(self):
        tool = os.path.join(os.path.dirname(self.broker.binary), "robust-ctl")
        run = lambda *words: subprocess.run([tool, "-s", f"127.0.0.1:{self.broker.ports['admin']}", *words], capture_output=True,  # noqa: E731
                                            text=True, timeout=30, check=False)
        health = run("health")
        self.assertEqual((health.returncode, "ready" in health.stdout), (0, True), health.stderr)
        self.assertNotEqual(run("no-such-command").returncode, 0)
        self.assertIn("topic", run("--help").stdout)

    def test_kafka_clients_are_told_the_advertised_address(self):
        client = Kafka(self.broker.ports["kafka"])
        self.assertEqual(list(client.metadata()[0].values()), [("kafka.example", 19092)])
        self.assertEqual(client.find_coordinator("g")[1:], ("kafka.example", 19092))
        client.close()


if __name__ == "__main__":
    sys.exit(unittest.main(verbosity=2))
