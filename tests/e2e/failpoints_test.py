#!/usr/bin/env python3
"""Kills the broker at each step of a transaction, by its failpoints (src/base/failpoint.h): a producer (confluent-kafka, librdkafka) writes to
three partitions of two topics and commits a group's offsets with them. After the restart all of it is there, or nothing; where the
outcome was decided, it is that."""
import os
import random
import subprocess
import sys
import time
import unittest
import uuid

try:
    import confluent_kafka as ck
    from confluent_kafka.admin import AdminClient, NewTopic
except ImportError:  # it is Debian's, and this is another python3
    if __name__ == "__main__" and sys.executable != "/usr/bin/python3":
        os.execv("/usr/bin/python3", ["/usr/bin/python3", *sys.argv])
    ck = None

from broker import Broker, Failed, find_binary, scratch

WAIT = 30
ALL_POINTS = os.environ.get("FAILPOINTS") == "all"  # else a third of them, drawn anew each time
TRANSACT = "--transact"
OFFSET = 7
BEGINNING = [("transaction_write_Ongoing", 1), ("transaction_row_Ongoing", 1), ("transaction_write_Ongoing", 2), ("transaction_row_Ongoing", 2),
             ("transaction_appended", 1), ("transaction_appended", 2), ("transaction_appended", 3), ("transaction_offsets_pending", 1)]
UNDECIDED_END = [("transaction_write_Prepare{}", 1)]
DECIDED_END = [("transaction_row_Prepare{}", 1), ("transaction_marker", 1), ("transaction_marker", 2), ("transaction_marker", 3),
               ("transaction_handed_out", 1), ("transaction_handed_out", 2), ("transaction_handed_out", 3),
               ("transaction_marker_written", 1), ("transaction_marker_written", 2), ("transaction_marker_written", 3),
               ("transaction_offsets_shown", 1), ("transaction_end_answered", 1), ("transaction_write_Complete{}", 1),
               ("transaction_row_Complete{}", 1)]


def has_failpoints(binary):
    with open(binary, "rb") as f:
        return b"ROBUSTMQ_UNSAFE_FAILPOINT" in f.read()


def transact(server, tid, first, second, group, commits):
    producer = ck.Producer({"bootstrap.servers": server, "transactional.id": tid})
    producer.init_transactions(WAIT)
    consumer = ck.Consumer({"bootstrap.servers": server, "group.id": group})
    producer.begin_transaction()
    producer.produce(first, b"0", partition=0)
    producer.produce(first, b"1", partition=1)
    producer.produce(second, b"2", partition=0)
    producer.flush(WAIT)
    producer.send_offsets_to_transaction([ck.TopicPartition(first, 0, OFFSET)], consumer.consumer_group_metadata(), WAIT)
    if commits:
        producer.commit_transaction(WAIT)
    else:
        producer.abort_transaction(WAIT)
    print("answered", flush=True)


def count_committed(server, partitions):
    """Records that readers of what is committed see."""
    consumer = ck.Consumer({"bootstrap.servers": server, "group.id": uuid.uuid4().hex, "isolation.level": "read_committed", "enable.partition.eof": True,
                            "enable.auto.commit": False})
    consumer.assign([ck.TopicPartition(topic, partition, 0) for topic, partition in partitions])
    ended, count, until = set(), 0, time.monotonic() + WAIT
    while len(ended) < len(partitions) and time.monotonic() < until:
        message = consumer.poll(0.5)
        if message is None:
            continue
        if message.error():
            if message.error().code() == ck.KafkaError._PARTITION_EOF:
                ended.add((message.topic(), message.partition()))
            continue
        count += 1
    consumer.close()
    if len(ended) < len(partitions):
        raise Failed("the end of a partition was not reached")
    return count


@unittest.skipIf(ck is None, "python3-confluent-kafka is not installed")
class Failpoints(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        if not has_failpoints(find_binary()):
            raise unittest.SkipTest("a release build has no failpoints")
        cls.home = cls.enterClassContext(scratch("failpoints"))
        cls.broker = Broker(find_binary(), cls.home, flags=["--transaction.retry_ms=100"]).start()
        cls.broker.flags.append(f"--kafka.listen=127.0.0.1:{cls.broker.ports['kafka']}")
        cls.server = f"127.0.0.1:{cls.broker.ports['kafka']}"

    @classmethod
    def tearDownClass(cls):
        cls.broker.kill9()

    def cut(self, point, commits, is_decided):
        names = [uuid.uuid4().hex for _ in range(4)]
        first, second, tid, group = names
        broker = self.broker
        admin = AdminClient({"bootstrap.servers": self.server, "log_level": 0})
        for made in admin.create_topics([NewTopic(first, 2, 1), NewTopic(second, 1, 1)]).values():
            made.result(WAIT)
        broker.kill9()
        broker.env["ROBUSTMQ_UNSAFE_FAILPOINT"] = point
        broker.start()
        command = [sys.executable, os.path.abspath(__file__), TRANSACT, self.server, tid, first, second, group, str(int(commits))]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as worker:
            try:
                broker.process.wait(WAIT)
            except subprocess.TimeoutExpired:
                self.fail(f"the broker never came by {point}")
            finally:
                time_to_hear = 0.2  # what was answered before the end
                try:
                    worker.wait(time_to_hear)
                except subprocess.TimeoutExpired:
                    worker.kill()
                answered = "answered" in worker.stdout.read()
        self.assertEqual(broker.process.returncode, -9)
        del broker.env["ROBUSTMQ_UNSAFE_FAILPOINT"]
        broker.kill9()
        broker.start()
        # The next producer of the id ends what was open.
        ck.Producer({"bootstrap.servers": self.server, "transactional.id": tid}).init_transactions(WAIT)
        count = count_committed(self.server, [(first, 0), (first, 1), (second, 0)])
        consumer = ck.Consumer({"bootstrap.servers": self.server, "group.id": group})
        offset = consumer.committed([ck.TopicPartition(first, 0)], WAIT)[0].offset
        consumer.close()
        self.assertIn(count, (0, 3), "a part of the transaction")
        self.assertEqual(offset == OFFSET, count == 3, "the offsets are not as the records")
        if not commits:
            self.assertEqual(count, 0)
        elif is_decided or answered:
            self.assertEqual(count, 3)
        return count

    def run_points(self, commits):
        word = "Commit" if commits else "Abort"
        outcomes = {}
        for points, is_decided in ((BEGINNING, False), (UNDECIDED_END, False), (DECIDED_END, True)):
            for name, times in points if ALL_POINTS else random.sample(points, (len(points) + 2) // 3):
                point = f"{name.format(word)}:{times}"
                with self.subTest(point=point):
                    outcomes[point] = self.cut(point, commits, is_decided)
        return outcomes

    def test_a_commit_is_all_or_nothing_wherever_the_broker_ends(self):
        outcomes = self.run_points(True)
        self.assertEqual({count for count in outcomes.values()}, {0, 3})

    def test_an_abort_leaves_nothing_wherever_the_broker_ends(self):
        self.run_points(False)


if __name__ == "__main__":
    if len(sys.argv) > 1 and sys.argv[1] == TRANSACT:
        transact(*sys.argv[2:7], sys.argv[7] == "1")
    else:
        unittest.main()
