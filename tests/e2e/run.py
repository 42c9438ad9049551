#!/usr/bin/env python3
"""Runs every end-to-end test against one robust-server and ends with a plain line: "e2e: N passed, N failed".

The checker's own test, the README's story, foreign clients, bad input, the crash rounds, and the soak beside them.
"""
import argparse
import concurrent.futures
import contextlib
import importlib.util
import io
import os
import re
import subprocess
import sys
import threading
import time
import unittest
import warnings

HERE = os.path.dirname(os.path.abspath(__file__))
MODULES = ("checker_test", "story_test", "node_test", "interop_test", "listeners_test", "quic_test", "users_test", "light_test", "modes_test", "sessions_test", "extensions_test", "streams_test",
           "queues_test", "consumers_test", "shares_test", "quotas_test", "transactions_test", "failpoints_test", "compaction_test", "badinput_test")


class Result(unittest.TestResult):
    """One line a test, what it printed only when it failed."""

    def __init__(self):
        super().__init__()
        self.passed, self.failed, self.skips = 0, 0, []

    def startTest(self, test):
        super().startTest(test)
        self.began = time.monotonic()

    def say(self, test, outcome, detail=""):
        seconds = time.monotonic() - getattr(self, "began", time.monotonic())
        name = test.id().replace("__main__.", "")
        print(f"{outcome:7} {name} ({seconds:.1f} s){detail}", file=sys.__stdout__, flush=True)

    def addSuccess(self, test):
        self.passed += 1
        self.say(test, "ok")

    def fail_with(self, test, err):
        self.failed += 1
        self.say(test, "FAILED", "\n" + self._exc_info_to_string(err, test))

    def addFailure(self, test, err):
        self.fail_with(test, err)

    def addError(self, test, err):
        self.fail_with(test, err)

    def addSubTest(self, test, subtest, err):
        if err:
            self.fail_with(subtest, err)

    def addSkip(self, test, reason):
        self.skips.append(reason)
        self.say(test, "skipped", ": " + reason)


class Lanes:
    """Runs commands, some at a time, and counts what they say of themselves. What one prints comes as it comes, a test's lines together."""

    def __init__(self, lanes):
        self.pool, self.lock = concurrent.futures.ThreadPoolExecutor(lanes), threading.Lock()
        self.passed, self.failed, self.skips, self.started = 0, 0, [], []

    def say(self, lines):
        if lines:
            with self.lock:
                print("".join(lines), end="", flush=True)

    def run(self, name, command):
        """A module: its tests count. Anything else is one test."""
        counted, lines = None, []
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as run:
            for line in run.stdout:
                counted = re.match(r"e2e: (\d+) passed, (\d+) failed", line) or counted
                skip = re.match(r"skipped .*?\): (.*)", line)
                if skip:
                    self.skips.append(skip.group(1))
                if line.startswith(("e2e: ", "against ")):
                    continue
                if line.startswith(("ok ", "FAILED", "skipped")):
                    self.say(lines)
                    lines = []
                lines.append(line)
        is_module = name in MODULES
        if is_module and not counted:
            lines.append(f"FAILED  {name} ended with {run.returncode} before its last line\n")
        elif not is_module:
            lines.append(f"{'FAILED' if run.returncode else 'ok':7} {name}\n")
        self.say(lines)
        with self.lock:
            self.passed += int(counted.group(1)) if counted else not (is_module or run.returncode)
            self.failed += int(counted.group(2)) if counted else bool(is_module or run.returncode)

    def start(self, name, command):
        self.started.append(self.pool.submit(self.run, name, command))

    def wait(self):
        for one in self.started:
            one.result()


def run_all(rounds, soak_seconds):
    """Each module in a process of its own: two of them load different versions of one client library. They wait much of their time, so
    they run some at a time, with the soak beside them."""
    aside, lanes = Lanes(1), Lanes(3)
    if soak_seconds:
        aside.start("soak", ["nice", sys.executable, os.path.join(HERE, "soak.py"), "--seconds", str(soak_seconds)])
    if rounds:
        lanes.start("crash rounds", [sys.executable, os.path.join(HERE, "crash.py"), "--rounds", str(rounds)])
    for module in MODULES:
        lanes.start(module, [sys.executable, os.path.abspath(__file__), "--server", os.environ["ROBUSTMQ_SERVER"], "--only", module, "--rounds", "0"])
    lanes.wait()
    aside.wait()
    return lanes.passed + aside.passed, lanes.failed + aside.failed, lanes.skips


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--server", help="the robust-server to test (default: the newest under build/)")
    parser.add_argument("--only", action="append", help="a module, class or test, as unittest names them (several times allowed); 'crash' for the rounds")
    parser.add_argument("--rounds", type=int, default=30, help="crash rounds (0: none)")
    parser.add_argument("--soak", type=int, default=180, help="seconds of the soak beside the modules (0: none; not with --only)")
    args = parser.parse_args()
    if not importlib.util.find_spec("kafka") and sys.executable != "/usr/bin/python3":  # Debian's clients are Debian's python's
        os.execv("/usr/bin/python3", ["/usr/bin/python3", *sys.argv])
    sys.path.insert(0, HERE)
    from broker import find_binary
    os.environ["ROBUSTMQ_SERVER"] = find_binary(args.server)
    print(f"against {os.environ['ROBUSTMQ_SERVER']}", flush=True)
    warnings.simplefilter("ignore")
    if args.only:
        result = Result()
        with contextlib.redirect_stdout(io.StringIO()):
            unittest.defaultTestLoader.loadTestsFromNames([n for n in args.only if n != "crash"]).run(result)
        passed, failed, skips = result.passed, result.failed, result.skips
        if args.rounds and "crash" in args.only:
            done = subprocess.run([sys.executable, os.path.join(HERE, "crash.py"), "--rounds", str(args.rounds)], check=False)
            passed, failed = passed + (done.returncode == 0), failed + (done.returncode != 0)
    else:
        passed, failed, skips = run_all(args.rounds, args.soak)
    skipped = f", {len(skips)} skipped ({'; '.join(sorted(set(skips)))})" if skips else ""
    print(f"e2e: {passed} passed, {failed} failed{skipped}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
