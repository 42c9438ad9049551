#!/usr/bin/env python3
"""Starts, watches and ends one broker process; finds the binary; makes throw-away directories and disks."""
import contextlib
import fcntl
import glob
import os
import re
import shutil
import signal
import struct
import subprocess
import tempfile
import threading
import time
import unittest

REPO = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
LISTENS = ("mqtt", "kafka", "admin")


def find_binary(given=None):
    """The robust-server to test: as given, $ROBUSTMQ_SERVER, or the newest one built."""
    given = given or os.environ.get("ROBUSTMQ_SERVER")
    if given:
        return os.path.abspath(given)
    built = glob.glob(os.path.join(REPO, "build", "*", "bin", "robust-server"))
    if not built:
        raise SystemExit("no robust-server under build/*/bin: build it first, or name it")
    return max(built, key=os.path.getmtime)


def is_sanitized(binary):
    """Built with ASan: correct, slow and large, so limits on memory say nothing."""
    with open(binary, "rb") as f:
        return b"__asan_init" in f.read()


class Failed(Exception):
    pass


class Broker:
    """A broker in its own directory. Ports are free ones, found anew at every start, unless `flags` fix them."""

    def __init__(self, binary, home, config="", flags=(), env=None, preexec=None, data_dir=None):
        self.binary, self.home, self.flags, self.preexec = binary, home, list(flags), preexec
        self.data_dir = data_dir or os.path.join(home, "data")
        self.config_path = os.path.join(home, "robust.toml")
        self.log_path = os.path.join(home, "broker.log")
        self.env = {"ASAN_OPTIONS": "quarantine_size_mb=4:malloc_context_size=4", **os.environ, **(env or {})}
        self.ports, self.process = {}, None
        self.start_seconds = 0.0
        self._changed = threading.Condition()
        os.makedirs(home, exist_ok=True)
        with open(self.config_path, "w") as f:
            f.write(config)

    def launch(self):
        """Starts the process and does not wait for it to be ready."""
        fixed = {flag.split("=")[0] for flag in self.flags}
        listens = [f"--{name}.listen" for name in LISTENS] + ["--mqtt.listen_websocket"]
        flags = [f"{flag}=127.0.0.1:0" for flag in listens if flag not in fixed]
        command = [self.binary, "start", "-c", self.config_path, f"--node.data_dir={self.data_dir}", *flags, *self.flags]
        self.ports = {}
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, cwd=self.home,
                                        env=self.env, preexec_fn=self.preexec, errors="replace", text=True)
        self._reader = threading.Thread(target=self._read, args=(self.process,), daemon=True)
        self._reader.start()

    def start(self, timeout=30):
        began = time.monotonic()
        self.launch()
        with self._changed:
            done = self._changed.wait_for(lambda: self._is_ready() or self._ended, timeout)
        if not done or not self._is_ready():
            state = f"ended with {self.process.poll()}" if self._ended else f"is not ready after {timeout} s"
            self.kill9()
            raise Failed(f"the broker {state}; its last words:\n{self.tail()}")
        self.start_seconds = time.monotonic() - began
        return self

    _ended = False

    def _is_ready(self):
        return all(name in self.ports for name in LISTENS)

    def _read(self, process):
        self._ended = False
        with open(self.log_path, "a") as log:
            log.write(f"--- started {time.strftime('%H:%M:%S')}\n")
            for line in process.stdout:
                log.write(line)
                log.flush()
                found = re.search(r"\b(\w+) listening on \S*:(\d+)", line)
                if found:
                    with self._changed:
                        self.ports[found.group(1)] = int(found.group(2))
                        self._changed.notify_all()
        with self._changed:
            if process is self.process:
                self._ended = True
            self._changed.notify_all()

    def tail(self, lines=30):
        try:
            with open(self.log_path) as log:
                return "".join(log.readlines()[-lines:])
        except OSError:
            return ""

    @property
    def pid(self):
        return self.process.pid

    def is_running(self):
        return self.process is not None and self.process.poll() is None

    def kill9(self):
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._reader.join(10)

    def stop(self, timeout=20):
        """SIGTERM; the exit code. Fails when it does not end in time."""
        if self.process is None:
            return 0
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill9()
            raise Failed(f"the broker did not stop within {timeout} s of SIGTERM:\n{self.tail()}") from None
        self._reader.join(10)
        return code

    def status(self, field):
        """A number of kB (or a plain number) from /proc/PID/status."""
        with open(f"/proc/{self.pid}/status") as f:
            for line in f:
                if line.startswith(field + ":"):
                    return int(line.split()[1])
        raise KeyError(field)


@contextlib.contextmanager
def scratch(name, keep_on_failure=True):
    """A directory of its own; kept, and named, when the block fails."""
    path = tempfile.mkdtemp(prefix=f"robustmq-{name}-")
    try:
        yield path
    except BaseException:
        if keep_on_failure:
            print(f"kept for a look: {path}", flush=True)
        else:
            shutil.rmtree(path, ignore_errors=True)
        raise
    shutil.rmtree(path, ignore_errors=True)


class LoopDisk:
    """An ext4 file system in a file on a loop device, mounted at `path`. cut() is a power cut."""

    SHUTDOWN = 0x8004587D  # EXT4_IOC_SHUTDOWN: _IOR('X', 125, __u32)
    NO_LOG_FLUSH = 2  # EXT4_GOING_FLAGS_NOLOGFLUSH: what the journal holds in memory is gone too

    def __init__(self, directory, megabytes=1024):
        self.image = os.path.join(directory, "disk.img")
        self.path = os.path.join(directory, "mnt")
        self.device = None
        self.is_mounted = False
        os.makedirs(self.path)
        with open(self.image, "wb") as f:
            f.truncate(megabytes << 20)
        self._run("mkfs.ext4", "-q", "-F", "-m", "0", self.image)
        self.device = self._run("losetup", "-f", "--show", self.image).strip()
        self.mount()

    @staticmethod
    def _run(*command):
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        except FileNotFoundError:
            raise Failed(f"a loop-mounted ext4 is needed here and {command[0]} is not installed") from None
        if done.returncode:
            raise Failed(f"a loop-mounted ext4 is needed here and is not permitted: {' '.join(command)}: {done.stderr.strip()}")
        return done.stdout

    def mount(self):
        self._run("mount", "-t", "ext4", self.device, self.path)
        self.is_mounted = True

    def unmount(self):
        if self.is_mounted:
            self._run("umount", self.path)
            self.is_mounted = False

    def cut(self):
        """Nothing that is not synced survives. The caller has killed what wrote there first: a sync in flight may succeed on
        the dead file system, and its acknowledgement would look like a loss of ours."""
        handle = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.ioctl(handle, self.SHUTDOWN, struct.pack("=I", self.NO_LOG_FLUSH))
        except OSError as e:
            raise Failed(f"the file system's shutdown call (EXT4_IOC_SHUTDOWN) is not permitted here: {e}") from e
        finally:
            os.close(handle)
        self.unmount()
        self.mount()

    def close(self):
        self.unmount()
        if self.device:
            self._run("losetup", "-d", self.device)
            self.device = None


class OneBroker(unittest.TestCase):
    """Tests of a class that share one broker. It must run to their end, and then stop cleanly."""

    flags = ()

    @classmethod
    def config(cls):
        return ""

    @classmethod
    def setUpClass(cls):
        cls.home = cls.enterClassContext(scratch(cls.__name__.lower()))
        cls.broker = Broker(find_binary(), cls.home, cls.config(), cls.flags).start()
        cls.addClassCleanup(cls.end)

    @classmethod
    def end(cls):
        running = cls.broker.is_running()
        code = cls.broker.stop()
        assert running and code == 0, f"the broker ended with {code} (running at the end: {running}):\n{cls.broker.tail()}"
