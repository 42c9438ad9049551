#!/usr/bin/env python3
"""The crash checker: a history of what was sent, acknowledged and read goes in, verdicts come out.

A message is (producer, seq); it has a key and a stream. Its payload is made by payload_of(), so a reader can tell from the
bytes alone which message it is and whether it is whole.

Verdicts (each is a broken promise):
  lost        acknowledged, and not there at a full read
  vanished    a reader saw it, and a later full read does not have it
  phantom     there, but never sent, or refused for good, or damaged, or in a stream it was not sent to
  duplicate   there more often than it was sent (an idempotent producer's message: more than once)
  order       the first copies of a producer's messages of one key are not in the order sent, or lie in two partitions
  reuse       one partition and offset held two different messages in the life of the run
  ack         the acknowledgement named an offset at which the message is not
  commit      a committed offset moved back, or is one that nobody committed
  refused     a message was refused although nothing was wrong (crash.py reports these through refuse_unexpectedly)

What has neither ack nor refusal has an unknown outcome: it may be there or not. Events may come from several threads.

    checker.py HISTORY     judges a recorded history (one JSON array a line, as written with history=)
"""
import collections
import json
import sys
import threading
import zlib

Verdict = collections.namedtuple("Verdict", "kind text")
KINDS = ("lost", "vanished", "phantom", "duplicate", "order", "reuse", "ack", "commit", "refused")


def payload_of(producer, key, seq, size=100):
    """The payload of a message: its identity, filler that follows from it, and a checksum."""
    head = b"%s %s %d " % (producer.encode(), key.encode(), seq)
    filler = max(0, size - len(head) - 8)
    unit = b"%08x" % (zlib.crc32(head) & 0xFFFFFFFF)
    body = head + (unit * (filler // 8 + 1))[:filler]
    return body + b"%08x" % (zlib.crc32(body) & 0xFFFFFFFF)


def identity_of(payload):
    """(producer, key, seq) of a payload that is whole, else None."""
    if payload is None or len(payload) < 8:
        return None
    body, tail = payload[:-8], payload[-8:]
    if b"%08x" % (zlib.crc32(body) & 0xFFFFFFFF) != tail:
        return None
    parts = body.split(b" ", 3)
    if len(parts) != 4:
        return None
    try:
        return parts[0].decode(), parts[1].decode(), int(parts[2])
    except ValueError:
        return None


class _Message:
    __slots__ = ("key", "stream", "attempts", "once", "state", "places", "acked_at")

    def __init__(self, key, stream, once):
        self.key, self.stream, self.once = key, stream, once
        self.attempts = 0
        self.state = "unknown"  # unknown | acked | failed
        self.places = []  # (partition, offset), as read
        self.acked_at = None  # (partition, offset), as acknowledged


def _add_range(ranges, first, last):
    """Adds [first, last] to a sorted list of disjoint ranges; cheap when it continues the last one."""
    if ranges and first == ranges[-1][1] + 1:
        ranges[-1][1] = last
        return
    ranges.append([first, last])
    ranges.sort()
    merged = []
    for a, b in ranges:
        if merged and a <= merged[-1][1] + 1:
            merged[-1][1] = max(merged[-1][1], b)
        else:
            merged.append([a, b])
    ranges[:] = merged


def _uncovered(ranges, cover):
    """The first offset in `ranges` that `cover` does not have, or None."""
    at = 0
    for first, last in ranges:
        while first <= last:
            while at < len(cover) and cover[at][1] < first:
                at += 1
            if at == len(cover) or cover[at][0] > first:
                return first
            first = cover[at][1] + 1
    return None


class Checker:
    """Takes events in the order they happened (per producer); verdicts() may be asked for at any time, most usefully after
    a full read. `history`: a text file that gets every event, for judging again."""

    def __init__(self, history=None):
        self._messages = {}  # (producer, seq) -> _Message
        self._content = {}  # (stream, partition) -> {offset: (producer, seq)}
        self._seen = {}  # (stream, partition) -> ranges any reader saw
        self._order = {}  # (stream, producer, key) -> (partition, offset, seq) of the newest first copy judged
        self._fresh = []  # (stream, partition, offset, producer, seq): first copies not yet judged for order
        self._unread = set()  # acknowledged, not yet read
        self._commits = {}  # (group, stream, partition) -> [offset acked, offset sent, set of offsets sent since]
        self._full = None  # {(stream, partition): ranges} of the full read that runs
        self._verdicts = []
        self._lock = threading.RLock()
        self._history = history
        self.counts = collections.Counter()

    # -- what the clients did
    def sent(self, stream, producer, key, seq, proto="", once=False):
        """One attempt to send. Again for every retry. once: the producer is idempotent, one copy whatever the attempts."""
        with self._lock:
            self._note("sent", stream, producer, key, seq, proto, once)
            message = self._messages.get((producer, seq))
            if message is None:
                message = self._messages[(producer, seq)] = _Message(key, stream, once)
                self.counts["sent"] += 1
            else:
                self.counts["retries"] += 1
            message.attempts += 1

    def acked(self, producer, seq, partition=None, offset=None):
        with self._lock:
            self._note("acked", producer, seq, partition, offset)
            message = self._messages[(producer, seq)]
            if message.state != "acked":
                self.counts["acked"] += 1
            message.state = "acked"
            if offset is not None and offset >= 0:
                message.acked_at = (partition, offset)
                self._place(message.stream, partition, offset, (producer, seq), "acknowledged")
                if message.places and message.acked_at not in message.places:
                    self._unread.add((producer, seq))
            if not message.places:
                self._unread.add((producer, seq))

    def acked_of(self, stream):
        """(producer, seq) of every message of the stream that was acknowledged."""
        with self._lock:
            return {identity for identity, message in self._messages.items() if message.stream == stream and message.state == "acked"}

    def failed(self, producer, seq):
        """Refused for good: it must never be read."""
        with self._lock:
            self._note("failed", producer, seq)
            message = self._messages[(producer, seq)]
            self.counts["failed"] += 1
            if message.state == "unknown" and message.attempts == 1:
                message.state = "failed"

    def refused_unexpectedly(self, producer, seq, why):
        with self._lock:
            self._note("refused", producer, seq, why)
            self._say("refused", f"{producer} #{seq}: {why}")

    # -- what was read
    def begin_full_read(self):
        with self._lock:
            self._note("begin_full_read")
            self._full = {}

    def saw(self, stream, partition, offset, payload):
        """A reader got this record."""
        identity = identity_of(payload)
        with self._lock:
            if self._history:
                self._note("saw", stream, partition, offset, *(identity or (None, None, None)))
            self._saw(stream, partition, offset, identity, payload)

    def _saw(self, stream, partition, offset, identity, payload=None):
        self._cover(stream, partition, offset, offset)
        self.counts["read"] += 1
        if identity is None:
            self._say("phantom", f"{stream}/{partition}@{offset}: a payload that nobody made or that is damaged: {payload!r:.80}")
            return
        producer, key, seq = identity
        message = self._messages.get((producer, seq))
        if message is None:
            self._say("phantom", f"{stream}/{partition}@{offset}: {producer} #{seq} was never sent")
            return
        if message.state == "failed":
            self._say("phantom", f"{stream}/{partition}@{offset}: {producer} #{seq} was refused, and is there")
        if message.stream != stream or message.key != key:
            self._say("phantom", f"{stream}/{partition}@{offset}: {producer} #{seq} was sent to {message.stream} as {message.key}")
            return
        if not self._place(stream, partition, offset, (producer, seq), "read"):
            return
        if (partition, offset) in message.places:
            return
        if not message.places:
            self._fresh.append((stream, partition, offset, producer, seq))
        message.places.append((partition, offset))
        self._unread.discard((producer, seq))
        if message.acked_at and message.acked_at not in message.places:
            self._unread.add((producer, seq))
        allowed = 1 if message.once else message.attempts
        if len(message.places) > allowed:
            self._say("duplicate", f"{producer} #{seq} is {len(message.places)} times in {stream} ({message.places}), "
                      f"sent {message.attempts} times{', idempotent' if message.once else ''}")

    def covered(self, stream, partition, first, last):
        """A reader got these offsets again, byte for byte as before."""
        with self._lock:
            self._note("covered", stream, partition, first, last)
            self._cover(stream, partition, first, last)

    def end_full_read(self):
        """Judges what a full read can show; begin_full_read() came before."""
        with self._lock:
            self._note("end_full_read")
            for place, ranges in self._seen.items():
                missing = _uncovered(ranges, self._full.get(place, []))
                if missing is not None:
                    self._say("vanished", f"{place[0]}/{place[1]}@{missing}: read before, not there now")
            for producer, seq in sorted(self._unread):
                message = self._messages[(producer, seq)]
                if message.places:
                    self._say("ack", f"{producer} #{seq}: acknowledged at {message.acked_at}, is at {message.places}")
                else:
                    self._say("lost", f"{producer} #{seq} (key {message.key}) was acknowledged and is not in {message.stream}")
            self._unread.clear()
            self._judge_order()
            self._full = None

    # -- committed offsets
    def commit_sent(self, group, stream, partition, offset):
        with self._lock:
            self._note("commit_sent", group, stream, partition, offset)
            self._commits.setdefault((group, stream, partition), [-1, set()])[1].add(offset)

    def commit_acked(self, group, stream, partition, offset):
        with self._lock:
            self._note("commit_acked", group, stream, partition, offset)
            commit = self._commits[(group, stream, partition)]
            commit[0] = max(commit[0], offset)
            self.counts["commits"] += 1

    def commit_found(self, group, stream, partition, offset):
        """What the broker says is committed (-1: nothing). Commits are sent in rising order."""
        with self._lock:
            self._note("commit_found", group, stream, partition, offset)
            acked, sent = self._commits.get((group, stream, partition), (-1, set()))
            name = f"group {group}, {stream}/{partition}"
            if offset < acked:
                self._say("commit", f"{name}: committed {acked}, found {offset}")
            elif offset >= 0 and offset not in sent:
                self._say("commit", f"{name}: found {offset}, which nobody committed")
            elif offset > acked:
                self._commits[(group, stream, partition)][0] = offset  # seen, so it may not move back either

    # -- judgement
    def verdicts(self):
        with self._lock:
            return list(self._verdicts)

    def _say(self, kind, text):
        assert kind in KINDS
        self._verdicts.append(Verdict(kind, text))

    def _note(self, *event):
        if self._history:
            self._history.write(json.dumps(event, separators=(",", ":")) + "\n")

    def _cover(self, stream, partition, first, last):
        place = (stream, partition)
        _add_range(self._seen.setdefault(place, []), first, last)
        if self._full is not None:
            _add_range(self._full.setdefault(place, []), first, last)

    def _place(self, stream, partition, offset, message, how):
        content = self._content.setdefault((stream, partition), {})
        there = content.setdefault(offset, message)
        if there == message:
            return True
        self._say("reuse", f"{stream}/{partition}@{offset}: {message[0]} #{message[1]} {how}, but the offset was given to {there[0]} #{there[1]}")
        return False

    def _judge_order(self):
        for stream, partition, offset, producer, seq in sorted(self._fresh):
            key = self._messages[(producer, seq)].key
            last = self._order.get((stream, producer, key))
            if last and last[0] != partition:
                self._say("order", f"{stream}: key {key} of {producer} is in partitions {last[0]} and {partition}")
            elif last and not (offset > last[1] and seq > last[2]):
                self._say("order", f"{stream}/{partition}: {producer} #{seq} (key {key}) at {offset} comes after #{last[2]} at {last[1]}")
                if seq < last[2]:
                    continue
            self._order[(stream, producer, key)] = (partition, offset, seq)
        self._fresh.clear()


def replay(lines, checker=None):
    """Feeds a recorded history to a checker and returns it."""
    checker = checker or Checker()
    for line in lines:
        name, *args = json.loads(line)
        if name == "saw":
            stream, partition, offset, producer, key, seq = args
            checker._saw(stream, partition, offset, None if producer is None else (producer, key, seq))
        else:
            getattr(checker, "refused_unexpectedly" if name == "refused" else name)(*args)
    return checker


def main():
    if len(sys.argv) != 2 or sys.argv[1] in ("-h", "--help"):
        print(__doc__.strip())
        return 2
    with open(sys.argv[1]) as history:
        checker = replay(history)
    found = checker.verdicts()
    for verdict in found[:50]:
        print(f"{verdict.kind}: {verdict.text}")
    print(f"{dict(checker.counts)}: {len(found)} verdicts")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
