#!/usr/bin/env python3
"""Crash rounds: load, `kill -9` (or a power cut) at a random moment, restart, read everything, judge.

In a round MQTT clients publish QoS 1 to a persistent stream that a topic rule made, some of it delayed, and retained messages; Kafka
clients produce acks=all to the same stream and to one of their own (one of them idempotent), a reader follows, a group commits
offsets, a stored MQTT session whose client is away is owed everything of that stream, and a worker works on a queue over it. Then the process is killed;
sometimes it is killed again while it recovers. Every producer repeats, or leaves, what has no answer. The checker (checker.py)
judges the whole life after every round.

--power-cut puts the data on an ext4 file system on a loop device; a round ends with `kill -9` and then the file system's shutdown
call, so that only what was synced is left. --expect-loss turns the sync off in the broker (ROBUSTMQ_UNSAFE_SKIP_SYNC=1) and passes
when the checker sees the loss: it shows that the power cuts would.
"""
import argparse
import collections
import json
import os
import random
import shutil
import sys
import threading
import time
import urllib.request

from broker import Broker, Failed, LoopDisk, find_binary, scratch
from checker import Checker, identity_of, payload_of
from wire import Closed, Damaged, Kafka, KafkaError, Mqtt, mqtt_connect, mqtt_publish, record_batch, records_of

PARTITIONS = 4
RULED, OWN = "crash", "crash-own"
CONFIG = f"""
[mqtt]
queues_available = true

[[topic_rule]]
filter = "{RULED}/#"
topic = "{RULED}"
partitions = {PARTITIONS}
mode = "persistent"
"""


class Lost(Failed):
    """Something acknowledged is gone, or is what it was before."""


class Producer:
    """What all producers share: a name, a counter, and the messages without an answer, oldest first."""

    def __init__(self, name, checker, seed):
        self.name, self.checker, self.rng = name, checker, random.Random(f"{seed}/{name}")
        self.seq = 0
        self.open = collections.OrderedDict()  # seq -> whatever resending needs
        self.error = None

    def run(self, broker, dying):
        """Loads until the connection is gone, which is an error unless `dying` is set: then the broker is being killed."""
        try:
            self.load(broker)
        except Closed as e:
            if not dying.is_set():
                self.error = e
        except Exception as e:  # shown by the round, which fails
            self.error = e

    @staticmethod
    def drain_rest(client, drain):
        try:
            while client.stream.fill(0):
                pass
        except Closed:
            pass
        drain()

    def forget_or_retry(self):
        """After a crash: keeps what is to be sent again. Leaving some is as legal as repeating all."""
        if self.rng.random() < 0.4:
            self.open.clear()


class MqttProducer(Producer):
    WINDOW = 32

    def __init__(self, name, checker, seed, version):
        super().__init__(name, checker, seed)
        self.version = version

    def topic_of(self, seq):
        return f"{RULED}/{self.name}/{seq % 3}"

    def load(self, broker):
        self.forget_or_retry()
        client = Mqtt(broker.ports["mqtt"], self.name, self.version)
        in_flight, ids = {}, iter(range(1, 1 << 30))
        resend = list(self.open)
        try:
            while True:
                data = bytearray()
                while len(in_flight) < self.WINDOW:
                    seq = resend.pop(0) if resend else self.next_seq()
                    packet_id = next(ids) % 65535 + 1
                    key = self.topic_of(seq)
                    self.checker.sent(RULED, self.name, key, seq, f"mqtt{self.version}")
                    in_flight[packet_id] = seq
                    data += mqtt_publish(key, payload_of(self.name, key, seq, 100 if seq % 50 else 3000), 1, packet_id, self.version)
                client.stream.send(data)
                client.stream.fill()
                self._drain(client, in_flight)
        except Closed:  # what the broker had sent before it died counts
            self.drain_rest(client, lambda: self._drain(client, in_flight))
            raise
        finally:
            client.stream.close()

    def next_seq(self):
        self.seq += 1
        self.open[self.seq] = None
        return self.seq

    def _drain(self, client, in_flight):
        while True:
            found = client.packet_if_there()
            if not found:
                return
            first, body = found
            if first != 0x40:
                raise KafkaError(f"{self.name}: an unexpected packet {first:#x} {body!r:.60}", -1)
            packet_id, reason = body[0] << 8 | body[1], body[2] if len(body) > 2 else 0
            seq = in_flight.pop(packet_id)
            if reason >= 0x80:
                self.checker.refused_unexpectedly(self.name, seq, f"PUBACK {reason:#x}")
            else:
                self.checker.acked(self.name, seq)
            self.open.pop(seq, None)


class KafkaProducer(Producer):
    """Pipelines up to 5 batches; the idempotent one repeats the same batches with the same sequences until it has an answer."""

    WINDOW = 5

    def __init__(self, name, checker, seed, stream, once=False):
        super().__init__(name, checker, seed)
        self.stream, self.once = stream, once
        self.partition = self.rng.randrange(PARTITIONS)
        self.pid = None
        self.next_sequence = 0
        # open: first seq of a batch -> (its seqs, base sequence)

    def forget_or_retry(self):
        if not self.once:
            super().forget_or_retry()

    def load(self, broker):
        self.forget_or_retry()
        client = Kafka(broker.ports["kafka"], client_id=self.name)
        if self.once and self.pid is None:
            self.pid = client.init_producer_id()
        in_flight = collections.deque()
        resend = list(self.open.values())
        try:
            while True:
                while len(in_flight) < self.WINDOW:
                    batch = resend.pop(0) if resend else self.next_batch()
                    in_flight.append(batch)
                    self.send(client, *batch)
                client.stream.fill()
                self.drain(client, in_flight)
        except Closed:
            self.drain_rest(client, lambda: self.drain(client, in_flight))
            raise
        finally:
            client.close()

    def next_batch(self):
        seqs = [self.seq + 1 + i for i in range(self.rng.randrange(1, 20))]
        self.seq = seqs[-1]
        batch = self.open[seqs[0]] = (seqs, self.next_sequence)
        self.next_sequence += len(seqs)
        return batch

    def key_of(self, seq):
        return f"{self.name}-{seq % 2}"

    def send(self, client, seqs, base_sequence):
        records = []
        for seq in seqs:
            key = self.key_of(seq)
            self.checker.sent(self.stream, self.name, key, seq, "kafka", self.once)
            records.append((key.encode(), payload_of(self.name, key, seq, 80 if seq % 40 else 2500), []))
        pid, epoch = self.pid or (-1, -1)
        batch = record_batch(records, pid=pid, epoch=epoch, base_sequence=base_sequence if self.once else -1)
        client.request(0, 7, client.produce_body(self.stream, self.partition, batch))

    def drain(self, client, in_flight):
        while True:
            answer = client.response_if_there()
            if answer is None:
                return
            error, base = client.produce_result(answer)
            seqs, _ = in_flight.popleft()
            self.open.pop(seqs[0], None)
            for i, seq in enumerate(seqs):
                if error == 0:
                    self.checker.acked(self.name, seq, self.partition, base + i if base >= 0 else None)
                elif error == 46 and self.once:  # DUPLICATE_SEQUENCE_NUMBER: it is there
                    self.checker.acked(self.name, seq)
                else:
                    self.checker.refused_unexpectedly(self.name, seq, f"Produce error {error}")


class DelayedProducer(MqttProducer):
    """Publishes to the stream through $delayed/: there once when due, or never sent; never sent again. A topic of its own each, since
    what is due earlier comes earlier."""

    WINDOW = 16

    def __init__(self, name, checker, seed, version):
        super().__init__(name, checker, seed, version)
        self.due_by = 0.0

    def topic_of(self, seq):
        return f"{RULED}/{self.name}/{seq}"

    def forget_or_retry(self):
        self.open.clear()

    def load(self, broker):
        self.forget_or_retry()
        client = Mqtt(broker.ports["mqtt"], self.name, self.version)
        in_flight, ids = {}, iter(range(1, 1 << 30))
        try:
            while True:
                data = bytearray()
                while len(in_flight) < self.WINDOW:
                    seq, wait = self.next_seq(), self.rng.choice((0, 1))
                    packet_id = next(ids) % 65535 + 1
                    key = self.topic_of(seq)
                    self.checker.sent(RULED, self.name, key, seq, "delayed", once=True)
                    in_flight[packet_id] = seq
                    self.due_by = max(self.due_by, time.time() + wait)
                    data += mqtt_publish(f"$delayed/{wait}/{key}", payload_of(self.name, key, seq, 100), 1, packet_id, self.version)
                client.stream.send(data)
                client.stream.fill()
                self._drain(client, in_flight)
        except Closed:
            self.drain_rest(client, lambda: self._drain(client, in_flight))
            raise
        finally:
            client.stream.close()


class RetainedProducer(Producer):
    """Sets and clears retained messages, one at a time a topic; after a crash each topic has the last one acknowledged, or one sent
    after it."""

    TOPICS = 20

    def __init__(self, name, checker, seed):
        super().__init__(name, checker, seed)
        self.may_be = {}  # topic -> the values it may have: the last acknowledged, then what was sent since; b"": none

    def load(self, broker):
        client = Mqtt(broker.ports["mqtt"], self.name, 4)
        try:
            while True:
                sent = {}
                for i in self.rng.sample(range(self.TOPICS), 8):
                    self.seq += 1
                    topic = f"retained/{self.name}/{i}/v"
                    value = b"" if self.rng.random() < 0.2 else b"%d" % self.seq
                    self.may_be.setdefault(topic, [b""]).append(value)
                    sent[len(sent) + 1] = topic
                    client.stream.send(mqtt_publish(topic, value, 1, len(sent), 4, retain=True))
                while sent:
                    topic = sent.pop(client.puback()[0])
                    del self.may_be[topic][:-1]
        finally:
            client.stream.close()

    def judge(self, broker):
        client = Mqtt(broker.ports["mqtt"], self.name + "-judge", 4)
        client.subscribe(f"retained/{self.name}/+/v", 0)
        there = sum(values != [b""] for values in self.may_be.values())
        found = {}
        try:
            while len(found) < there:
                message = client.message(timeout=0.5)
                found[message.topic] = message.payload
        except Closed:
            pass  # some of them may have been cleared
        client.stream.close()
        for topic, values in self.may_be.items():
            value = found.pop(topic, b"")
            if value not in values:
                raise Lost(f"the retained message of {topic} is {value!r}, and may be {values}")
            self.may_be[topic] = [value]
        if found:
            raise Failed(f"retained messages that nobody sent: {found}")


class Committer(Producer):
    """Commits rising offsets of a group, one at a time."""

    def load(self, broker):
        client = Kafka(broker.ports["kafka"], client_id=self.name)
        while True:
            self.seq += 1
            self.checker.commit_sent("crash-group", RULED, 0, self.seq)
            client.commit("crash-group", RULED, 0, self.seq)
            self.checker.commit_acked("crash-group", RULED, 0, self.seq)


class Reader:
    """Reads streams from the start or from where the last read ended. A batch that came before, byte for byte, is not decoded again."""

    def __init__(self, checker):
        self.checker = checker
        self.known = {}  # (stream, partition, base offset) -> hash of the batch's bytes
        self.ends = collections.Counter()
        self.error = None

    def follow(self, broker, dying):
        """The live reader: from the last full read's end on."""
        try:
            client = Kafka(broker.ports["kafka"], client_id="follower")
            while True:
                for stream in (RULED, OWN):
                    offsets = {p: self.ends[stream, p] for p in range(PARTITIONS)}
                    self.take(stream, client.fetch(stream, offsets, max_wait_ms=20))
        except Closed as e:
            if not dying.is_set():
                self.error = e
        except Exception as e:
            self.error = e

    def read_all(self, broker):
        client = Kafka(broker.ports["kafka"], client_id="reader")
        self.checker.begin_full_read()
        for stream in (RULED, OWN):
            try:
                until = {p: client.list_offsets(stream, p) for p in range(PARTITIONS)}
            except KafkaError as e:
                if e.code != 3:  # a stream that is gone is empty, and what was acknowledged there is lost
                    raise
                continue
            for p in range(PARTITIONS):
                self.ends[stream, p] = client.list_offsets(stream, p, -2)
            while True:
                offsets = {p: self.ends[stream, p] for p in range(PARTITIONS) if self.ends[stream, p] < until[p]}
                if not offsets:
                    break
                if not self.take(stream, client.fetch(stream, offsets, max_wait_ms=1000)):
                    raise Failed(f"reading {stream} stands still at {offsets}, the ends are {until}")
        self.checker.end_full_read()
        client.close()

    def take(self, stream, fetched):
        moved = False
        for partition, (error, _, batches) in fetched.items():
            if error:
                raise KafkaError(f"fetch {stream}/{partition}@{self.ends[stream, partition]}", error)
            for base, last, data in batches:
                place, digest = (stream, partition, base), hash(data)
                if self.known.get(place) == (last, digest):
                    self.checker.covered(stream, partition, base, last)
                else:
                    self.decode(stream, partition, data)
                    self.known[place] = (last, digest)
                self.ends[stream, partition] = last + 1
                moved = True
        return moved

    def decode(self, stream, partition, data):
        for record in records_of(data):
            identity, payload = identity_of(record.value), record.value
            if identity and (record.key or b"").decode(errors="replace") != identity[1]:
                payload = b"a record whose key %r is not its message's" % record.key
            self.checker.saw(stream, partition, record.offset, payload)


class Owed:
    """Who is to get all of the first stream at QoS 1, at least once."""

    QUIET = 10  # seconds without a message after which something is missing

    def __init__(self, who, checker):
        self.who, self.checker = who, checker
        self.got = set()  # (producer, seq)

    def take(self, client, timeout):
        identity = identity_of(client.message(timeout).payload)
        if identity:
            self.got.add((identity[0], identity[2]))

    def take_rest(self, client):
        # What is delayed comes when it is due; the streams' reader judges that.
        wanted = {one for one in self.checker.acked_of(RULED) if one[0] != "delayed"}
        while missing := wanted - self.got:
            try:
                for _ in missing:
                    self.take(client, self.QUIET)
            except Closed:
                missing = wanted - self.got
                if missing:
                    raise Failed(f"{self.who} is owed {len(missing)} messages that do not come, such as {sorted(missing)[:5]}") from None


class Away(Owed):
    """A stored session whose client comes once a round."""

    def connect(self, broker):
        client = Mqtt(broker.ports["mqtt"], "away", connect=False)
        client.stream.send(mqtt_connect("away", clean=False))
        first, body = client.packet()
        if first != 0x20 or body[1] != 0:
            raise Failed(f"the session's CONNECT was refused: {first:#x} {bytes(body)!r}")
        return client, body[0] == 1

    def begin(self, broker):
        client, _ = self.connect(broker)
        client.subscribe(f"{RULED}/#", 1)
        client.close()

    def come_back(self, broker):
        client, is_present = self.connect(broker)
        if not is_present:
            raise Failed("the session is gone after the restart")
        self.take_rest(client)
        client.close()


class Worker(Producer):
    """Works on the queue over the first stream, as long as the broker lives; and once a round until nothing is left."""

    def __init__(self, name, checker, seed):
        super().__init__(name, checker, seed)
        self.owed = Owed("the queue", checker)

    def begin(self, broker):
        client = Mqtt(broker.ports["mqtt"], self.name)
        if client.subscribe(f"$queue/{RULED}", 1) != 1:
            raise Failed("the subscription to the queue was refused")
        return client

    def load(self, broker):
        client = self.begin(broker)
        try:
            while True:
                self.owed.take(client, 30)
        finally:
            client.stream.close()

    def work_off(self, broker):
        client = self.begin(broker)
        self.owed.take_rest(client)
        client.close()


class Life:
    """One data directory, from its first start to its end."""

    def __init__(self, binary, home, seed, disk=None, env=None):
        self.rng = random.Random(seed)
        self.disk = disk
        self.history = open(os.path.join(home, "history"), "w")
        self.checker = Checker(self.history)
        self.reader = Reader(self.checker)
        self.broker = Broker(binary, home, CONFIG, env=env, data_dir=os.path.join(disk.path, "data") if disk else None)
        self.committer = Committer("committer", self.checker, seed)
        make = [lambda n, i=i: MqttProducer(n, self.checker, seed, 4 + i % 2) for i in range(3)]
        make += [lambda n: KafkaProducer(n, self.checker, seed, RULED), lambda n: KafkaProducer(n, self.checker, seed, OWN),
                 lambda n: KafkaProducer(n, self.checker, seed, OWN, once=True)]
        self.producers = [f(f"p{i}") for i, f in enumerate(make)]
        self.delayed = DelayedProducer("delayed", self.checker, seed, 5)
        self.retained = RetainedProducer("retained", self.checker, seed)
        self.producers += [self.delayed, self.retained]
        self.away = Away("the session", self.checker)
        self.worker = Worker("worker", self.checker, seed)
        self.restarts = []

    def begin(self):
        """First start: both streams and the session exist afterwards."""
        self.broker.start()
        self.away.begin(self.broker)
        self.worker.begin(self.broker).close()
        client = Mqtt(self.broker.ports["mqtt"], "setup")
        self.checker.sent(RULED, "setup", f"{RULED}/setup", 1)
        client.publish(f"{RULED}/setup", payload_of("setup", f"{RULED}/setup", 1), 1)
        _, reason = client.puback()
        if reason >= 0x80:
            raise Failed(f"the first publish to the stream of the topic rule was refused: {reason:#x}")
        self.checker.acked("setup", 1)
        client.close()
        kafka = Kafka(self.broker.ports["kafka"])
        kafka.create_topic(OWN, PARTITIONS)
        kafka.close()

    def round(self):
        """Load, crash, restart, read, judge. The broker runs before and after."""
        dying = threading.Event()
        threads = [threading.Thread(target=p.run, args=(self.broker, dying)) for p in self.producers + [self.committer, self.worker]]
        threads.append(threading.Thread(target=self.reader.follow, args=(self.broker, dying)))
        before = self.checker.counts["acked"]
        for thread in threads:
            thread.start()
        time.sleep(self.rng.uniform(0.05, 0.7))  # the random moment itself, not a wait for something
        if not self.broker.is_running():
            raise Failed(f"the broker ended by itself under load:\n{self.broker.tail()}")
        dying.set()  # from here on a closed connection is no surprise
        self.crash()
        for thread in threads:
            thread.join(30)
        for one in self.producers + [self.committer, self.worker, self.reader]:
            if one.error:
                raise Failed(f"{getattr(one, 'name', 'the follower')}: {one.error!r}")
        while self.rng.random() < 0.25:  # killed again while it recovers
            self.broker.launch()
            time.sleep(self.rng.uniform(0.0, 0.15))
            self.crash()
        self.broker.start()
        self.restarts.append(self.broker.start_seconds)
        self.judge()
        return self.checker.counts["acked"] - before

    def crash(self):
        self.broker.kill9()
        if self.disk:
            self.disk.cut()

    def wait_for_delayed(self):
        """Until nothing that is due waits any more; how soon it goes is the machine's matter, that it goes is not."""
        until = max(self.delayed.due_by, time.time()) + 20
        while True:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.broker.ports['admin']}/api/v1/delayed", timeout=10) as answer:
                waiting = json.load(answer)["messages"]
            if not waiting and time.time() > self.delayed.due_by:
                return
            if time.time() > until:
                raise Failed(f"{len(waiting)} delayed messages or more wait 20 s after they were due, the first: {waiting[:1]}")
            time.sleep(0.1)

    def judge(self):
        self.wait_for_delayed()
        self.reader.read_all(self.broker)
        self.retained.judge(self.broker)
        client = Kafka(self.broker.ports["kafka"], client_id="reader")
        self.checker.commit_found("crash-group", RULED, 0, client.committed("crash-group", RULED, 0))
        client.close()
        if not self.checker.verdicts():  # what the stream has lost, no session gets
            self.away.come_back(self.broker)
            self.worker.work_off(self.broker)

    def end(self):
        """A clean stop and start lose nothing either."""
        if self.broker.stop() != 0:
            raise Failed(f"SIGTERM ended the broker with {self.broker.process.returncode}, not 0:\n{self.broker.tail()}")
        self.broker.start()
        self.judge()
        self.broker.stop()

    def close(self):
        self.broker.kill9()
        self.history.close()


def say_verdicts(checker):
    found = checker.verdicts()
    for verdict in found[:20]:
        print(f"  {verdict.kind}: {verdict.text}")
    if len(found) > 20:
        print(f"  ... and {len(found) - 20} more: {dict(collections.Counter(v.kind for v in found))}")


def run_rounds(binary, home, args, disk, env=None):
    life = Life(binary, home, args.seed, disk, env)
    try:
        life.begin()
        for i in range(args.rounds):
            acked = life.round()
            if args.verbose:
                print(f"  round {i + 1}: {acked} acknowledged, up again in {life.restarts[-1]:.2f} s", flush=True)
            if life.checker.verdicts():
                print(f"round {i + 1} of {args.rounds} (--seed {args.seed}):")
                say_verdicts(life.checker)
                raise Failed("the checker found broken promises")
        life.end()
        if life.checker.verdicts():
            say_verdicts(life.checker)
            raise Failed("the checker found broken promises after a clean restart")
        if life.checker.counts["acked"] < args.rounds * 20:
            raise Failed(f"only {life.checker.counts['acked']} messages were acknowledged: too few to show anything")
    finally:
        life.close()
    counts, restarts = life.checker.counts, sorted(life.restarts)
    print(f"{'power cut' if disk else 'crash'}: {args.rounds} rounds, {counts['sent']} messages, {counts['acked']} acknowledged, "
          f"{counts['retries']} sent again, {counts['commits']} commits; ready after {restarts[len(restarts) // 2]:.2f} s "
          f"(worst {restarts[-1]:.2f} s); 0 broken promises", flush=True)


def run_expecting_loss(binary, home, args, disk):
    """Every round is a life of its own, since a life goes no further after a loss."""
    lost = 0
    for i in range(args.rounds):
        life = Life(binary, home, args.seed + i, disk, {"ROBUSTMQ_UNSAFE_SKIP_SYNC": "1"})
        try:
            life.begin()
            life.round()
            kinds = {v.kind for v in life.checker.verdicts()}
            lost += bool(kinds & {"lost", "vanished"})
        except Lost as e:
            lost += 1
            kinds = {str(e)}
        except (Failed, KafkaError, Damaged, Closed) as e:  # shows nothing either way
            kinds = {str(e).splitlines()[0][:80]}
        finally:
            life.close()
        if args.verbose:
            print(f"  round {i + 1}: {sorted(kinds)}", flush=True)
        shutil.rmtree(life.broker.data_dir, ignore_errors=True)
    if lost == 0:
        raise Failed(f"{args.rounds} power cuts without any sync lost nothing: the power cuts show nothing")
    print(f"power cut without sync: {lost} of {args.rounds} rounds lost what was acknowledged, as they must", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0], epilog=__doc__.split("\n\n", 1)[1],
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", help="the robust-server to test (default: the newest under build/)")
    parser.add_argument("--rounds", type=int, help="rounds (default: 30; 20 with --power-cut; 5 with --expect-loss)")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="of the random choices; timing stays random")
    parser.add_argument("--power-cut", action="store_true", help="cut the file system after every kill (needs root and loop devices)")
    parser.add_argument("--expect-loss", action="store_true", help="with --power-cut: sync left out, the cuts must show it")
    parser.add_argument("-v", "--verbose", action="store_true")
    args = parser.parse_args()
    if args.expect_loss and not args.power_cut:
        parser.error("--expect-loss goes with --power-cut")
    args.rounds = args.rounds or (5 if args.expect_loss else 20 if args.power_cut else 30)
    binary = find_binary(args.server)
    print(f"{os.path.basename(__file__)}: {args.rounds} rounds, --seed {args.seed}", flush=True)
    try:
        with scratch("crash") as home:
            disk = LoopDisk(home) if args.power_cut else None
            try:
                (run_expecting_loss if args.expect_loss else run_rounds)(binary, home, args, disk)
            finally:
                if disk:
                    disk.close()
    except (Failed, Closed, KafkaError, Damaged) as e:
        print(f"crash: FAILED: {e}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
