#!/usr/bin/env python3
"""Shows that the checker passes a clean history and catches every kind of planted fault."""
import io
import random
import sys
import unittest

from checker import Checker, identity_of, payload_of, replay

STREAM = "s"


class Broker:
    """A model of a broker that keeps its promises, with the places where a fault is planted."""

    def __init__(self, partitions=4):
        self.logs = [[] for _ in range(partitions)]

    def append(self, key, payload):
        partition = hash_of(key) % len(self.logs)
        self.logs[partition].append(payload)
        return partition, len(self.logs[partition]) - 1


def hash_of(key):
    return sum(key.encode())


def run(seed, messages=3000, history=None, rounds=3):
    """A clean life: several producers, crashes with retries of the unacknowledged, reads along the way."""
    rng = random.Random(seed)
    checker, broker = Checker(history), Broker()
    seqs = {f"p{i}": 0 for i in range(5)}
    open_ = {name: [] for name in seqs}
    for _ in range(rounds):
        for _ in range(messages // rounds):
            producer = rng.choice(sorted(seqs))
            seqs[producer] += 1
            seq, key = seqs[producer], f"k{rng.randrange(3)}"
            checker.sent(STREAM, producer, key, seq, once=producer == "p0")
            partition, offset = broker.append(key, payload_of(producer, key, seq))
            if rng.random() < 0.02:
                open_[producer].append((seq, key))  # stored, the ack lost
            else:
                checker.acked(producer, seq, partition, offset if producer != "p1" else None)
        for producer, unknown in open_.items():
            for seq, key in unknown:
                if producer == "p0":  # idempotent: the broker remembers
                    checker.sent(STREAM, producer, key, seq, once=True)
                    checker.acked(producer, seq)
                elif rng.random() < 0.5:
                    checker.sent(STREAM, producer, key, seq)
                    checker.acked(producer, seq, *broker.append(key, payload_of(producer, key, seq)))
            unknown.clear()
        read(checker, broker)
    return checker, broker


def read(checker, broker):
    checker.begin_full_read()
    for partition, log in enumerate(broker.logs):
        for offset, payload in enumerate(log):
            if payload is not None:
                checker.saw(STREAM, partition, offset, payload)
    checker.end_full_read()


def one(checker, broker, producer, seq, key="k", ack=True, **kw):
    checker.sent(STREAM, producer, key, seq, **kw)
    place = broker.append(key, payload_of(producer, key, seq))
    if ack:
        checker.acked(producer, seq, *place)
    return place


class CheckerTest(unittest.TestCase):
    def kinds(self, checker):
        return sorted({v.kind for v in checker.verdicts()})

    def test_passes_clean_lives(self):
        for seed in range(20):
            checker, _ = run(seed)
            self.assertEqual(checker.verdicts(), [], f"seed {seed}")
            self.assertGreater(checker.counts["retries"], 5)

    def test_payload_carries_its_identity_and_shows_damage(self):
        payload = payload_of("p", "a/b", 7, 64)
        self.assertEqual(len(payload), 64)
        self.assertEqual(identity_of(payload), ("p", "a/b", 7))
        for i in range(len(payload)):
            self.assertIsNone(identity_of(payload[:i] + bytes([payload[i] ^ 1]) + payload[i + 1:]))
        self.assertIsNone(identity_of(None))
        self.assertIsNone(identity_of(b""))

    def test_catches_one_lost_in_many(self):
        for seed in range(5):
            checker, broker = Checker(), Broker()
            drop = random.Random(seed).randrange(20000)
            for seq in range(20000):
                partition, offset = one(checker, broker, "p", seq, f"k{seq % 3}")
                if seq == drop:
                    broker.logs[partition][offset] = None
            read(checker, broker)
            self.assertEqual(self.kinds(checker), ["lost"])
            self.assertIn(f"#{drop} ", checker.verdicts()[0].text)

    def test_catches_a_lost_tail(self):
        checker, broker = Checker(), Broker()
        for seq in range(100):
            one(checker, broker, "p", seq)
        del broker.logs[hash_of("k") % 4][90:]
        read(checker, broker)
        self.assertEqual(self.kinds(checker), ["lost"])
        self.assertEqual(len(checker.verdicts()), 10)

    def test_catches_loss_without_acked_offsets(self):  # MQTT: the PUBACK names none
        checker, broker = Checker(), Broker()
        for seq in range(10):
            checker.sent(STREAM, "p", "k", seq)
            partition, offset = broker.append("k", payload_of("p", "k", seq))
            checker.acked("p", seq)
        broker.logs[partition][3] = None
        read(checker, broker)
        self.assertEqual(self.kinds(checker), ["lost"])

    def test_catches_what_was_read_and_went(self):
        checker, broker = Checker(), Broker()
        one(checker, broker, "p", 0)
        partition, _ = one(checker, broker, "p", 1, ack=False)
        read(checker, broker)
        broker.logs[partition].pop()
        read(checker, broker)
        self.assertEqual(self.kinds(checker), ["vanished"])

    def test_catches_phantoms(self):
        checker, broker = Checker(), Broker()
        one(checker, broker, "p", 0)
        broker.append("k", payload_of("p", "k", 1))  # never sent
        broker.append("k", payload_of("p", "k", 0)[:-1] + b"!")  # damaged
        checker.sent(STREAM, "p", "k", 2)
        checker.failed("p", 2)
        broker.append("k", payload_of("p", "k", 2))  # refused, and there
        checker.sent("other", "p", "k", 3)
        broker.append("k", payload_of("p", "k", 3))  # in the wrong stream
        read(checker, broker)
        self.assertEqual(self.kinds(checker), ["phantom"])
        self.assertEqual(len(checker.verdicts()), 4)

    def test_retries_explain_duplicates_and_nothing_else_does(self):
        checker, broker = Checker(), Broker()
        one(checker, broker, "p", 0, ack=False)
        one(checker, broker, "p", 0)
        read(checker, broker)
        self.assertEqual(checker.verdicts(), [])
        broker.append("k", payload_of("p", "k", 0))
        read(checker, broker)
        self.assertEqual(self.kinds(checker), ["duplicate"])

    def test_an_idempotent_producer_has_one_copy(self):
        checker, broker = Checker(), Broker()
        one(checker, broker, "p", 0, ack=False, once=True)
        checker.sent(STREAM, "p", "k", 0, once=True)
        broker.append("k", payload_of("p", "k", 0))
        read(checker, broker)
        self.assertEqual(self.kinds(checker), ["duplicate"])

    def test_catches_swapped_neighbours(self):
        for seed in range(5):
            checker, broker = Checker(), Broker()
            for seq in range(1000):
                checker.sent(STREAM, "p", "k", seq)
                partition, _ = broker.append("k", payload_of("p", "k", seq))
                checker.acked("p", seq)
            log, at = broker.logs[partition], random.Random(seed).randrange(999)
            log[at], log[at + 1] = log[at + 1], log[at]
            read(checker, broker)
            self.assertEqual(self.kinds(checker), ["order"])

    def test_catches_a_late_arrival_after_a_crash(self):
        checker, broker = Checker(), Broker()
        for seq in (0, 1, 3):
            one(checker, broker, "p", seq)
        read(checker, broker)
        one(checker, broker, "p", 2)
        read(checker, broker)
        self.assertEqual(self.kinds(checker), ["order"])

    def test_catches_a_key_in_two_partitions(self):
        checker = Checker()
        for seq in (0, 1):
            checker.sent(STREAM, "p", "k", seq)
        checker.begin_full_read()
        checker.saw(STREAM, 0, 0, payload_of("p", "k", 0))
        checker.saw(STREAM, 1, 0, payload_of("p", "k", 1))
        checker.end_full_read()
        self.assertEqual(self.kinds(checker), ["order"])

    def test_catches_a_reused_offset(self):
        checker, broker = Checker(), Broker()
        partition, offset = one(checker, broker, "p", 0)
        read(checker, broker)
        checker.sent(STREAM, "p", "k", 1)
        broker.logs[partition][offset] = payload_of("p", "k", 1)
        read(checker, broker)
        self.assertIn("reuse", self.kinds(checker))

    def test_catches_an_offset_acknowledged_twice(self):
        checker = Checker()
        for seq in (0, 1):
            checker.sent(STREAM, "p", "k", seq)
            checker.acked("p", seq, 0, 5)
        self.assertEqual(self.kinds(checker), ["reuse"])

    def test_catches_an_ack_that_names_another_offset(self):
        checker, broker = Checker(), Broker()
        checker.sent(STREAM, "p", "k", 0)
        partition, offset = broker.append("k", payload_of("p", "k", 0))
        checker.acked("p", 0, partition, offset + 7)
        read(checker, broker)
        self.assertEqual(self.kinds(checker), ["ack"])

    def test_catches_commits_that_move_back(self):
        checker = Checker()
        for offset in (3, 5):
            checker.commit_sent("g", STREAM, 0, offset)
            checker.commit_acked("g", STREAM, 0, offset)
        checker.commit_sent("g", STREAM, 0, 9)
        checker.commit_found("g", STREAM, 0, 9)  # unknown outcome: may be there
        self.assertEqual(checker.verdicts(), [])
        checker.commit_found("g", STREAM, 0, 5)  # it was seen: may not go back
        checker.commit_found("g", STREAM, 0, 10)  # nobody committed it
        self.assertEqual([v.kind for v in checker.verdicts()], ["commit", "commit"])
        checker.commit_found("g", STREAM, 0, -1)  # forgotten
        self.assertEqual(len(checker.verdicts()), 3)

    def test_a_recorded_history_judges_the_same(self):
        history = io.StringIO()
        checker, broker = run(1, history=history)
        self.assertEqual(replay(history.getvalue().splitlines()).verdicts(), [])
        place = next((p, o) for p, log in enumerate(broker.logs) for o in range(len(log)))
        broker.logs[place[0]][place[1]] = None
        read(checker, broker)
        again = replay(history.getvalue().splitlines())
        self.assertEqual([v.kind for v in again.verdicts()], [v.kind for v in checker.verdicts()])
        self.assertEqual(self.kinds(again), ["vanished"])


if __name__ == "__main__":
    sys.exit(not unittest.main(exit=False).result.wasSuccessful())
