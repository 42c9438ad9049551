"""Random requests to a real Kafka and to us, answer against answer: the same error codes, shapes and offsets.

Each operation is drawn once and sent to both sides, with each side's own ids (topics, members, producers, sessions) in it. In the answers ids become the
names they stand for, texts, times, addresses and sizes are left out, and lists are sorted. What is written about a difference: the request, both answers. What
it touched is then left alone (new names), so that one difference is told once. Differences that are meant are in KNOWN, each with its reason."""
import collections
import json
import os
import random
import socket
import struct
import sys
import time

import frames
import oracle_known
import oracle_operations

sys.path.insert(0, os.path.join(frames.REPO, "tests", "e2e"))
from wire import batches_of  # noqa: E402

# Answers that say "not yet": asked again until they change.
LATER = {6, 14, 15, 16, 51}
LEFT_OUT = {"ThrottleTimeMs", "ErrorMessage", "Host", "Port", "ClusterId", "LogDir", "ControllerId", "LastTimestamp", "TransactionStartTimeMs", "CoordinatorEpoch",
            "PartitionSize", "TotalBytes", "UsableBytes", "ClientHost", "Documentation", "LogAppendTimeMs", "NodeEndpoints", "AssignmentEpoch", "Rack",
            "BatchIndexErrorMessage", "StatusMessage", "AcquisitionLockTimeoutMs", "Synonyms", "MaxTimestamp",
            "GroupEpoch", "AuthorizedOperations", "TopicAuthorizedOperations", "ClusterAuthorizedOperations"}


class Closed(Exception):
    pass


class Side:
    """One of the two: its connection and what its ids stand for."""

    def __init__(self, name, address):
        self.name, self.address, self.socket, self.correlation = name, address, None, 0
        self.ids, self.aliases, self.kept = {}, {}, {}
        self.first_epoch = 0  # the leader epoch that a topic begins with here

    def topic_id(self, topic):
        return self.ids.get(topic, bytes(15) + b"\x63")

    def epoch(self, wanted):
        """A leader epoch as this side counts: 0 is a new topic's."""
        return wanted + self.first_epoch if wanted >= 0 else wanted

    def alias(self, value, name):
        self.aliases[value] = name
        return value

    def call(self, name, version, body):
        self.correlation += 1
        if self.socket is None:
            host, port = self.address.split(":")
            self.socket = socket.create_connection((host, int(port)), 8)
        try:
            self.socket.sendall(frames.request(name, version, self.correlation, body))
            size = struct.unpack(">i", self.receive(4))[0]
            return frames.response(name, version, self.receive(size))
        except (ConnectionError, Closed, TimeoutError) as end:
            self.socket.close()
            self.socket = None
            return {"nothing": "silent" if isinstance(end, TimeoutError) else "closed"}

    def receive(self, count):
        out = b""
        while len(out) < count:
            got = self.socket.recv(count - len(out))
            if not got:
                raise Closed
            out += got
        return out


def batches(side, data):
    """Stored batches: offsets, producer, sequence and content; of markers only that they are there."""
    out = []
    for base, last, batch in batches_of(data or b""):
        attributes, _, _, _, pid, epoch, sequence, _ = struct.unpack_from(">hiqqqhii", batch, 21)
        if not attributes & 0x20:
            out.append([base, last, attributes, side.aliases.get(pid, "none" if pid == -1 else "?"), epoch, sequence, batch[61:].hex()[:200]])
        else:
            out.append([base, last, "marker", side.aliases.get(pid, "?"), epoch])
    return out


def is_left_out(field, value, row):
    if field == "Configs":
        return "NumPartitions" in row
    if field == "AbortedTransactions":
        return not value
    if field in ("LogStartOffset", "MemberId"):  # beside an error they mean nothing
        return row.get("ErrorCode") not in (None, 0, 79)
    if field == "RecordErrors":
        return True
    return field in LEFT_OUT


def levelled(side, value, field="", apart=()):
    """What both sides should say alike. Rows of lists that list everything are left out for the names of `apart`."""
    if isinstance(value, dict):
        names = [value.get(k) for k in ("Name", "TopicName", "Topic", "GroupId", "ResourceName")]
        if any(isinstance(n, str) and n.startswith("__") for n in names):
            return None
        if (field == "TransactionStates" and value["TransactionalId"] in apart and "TransactionTimeoutMs" not in value) or (
                field == "Groups" and "ProtocolType" in value and "Members" not in value and value["GroupId"] in apart):
            return None
        return {k: levelled(side, v, k, apart) for k, v in value.items() if not is_left_out(k, v, value)}
    if isinstance(value, list):
        return sorted((x for x in (levelled(side, v, field, apart) for v in value) if x is not None), key=lambda x: json.dumps(x, sort_keys=True))
    if field in ("LeaderEpoch", "CommittedLeaderEpoch"):
        return value - side.first_epoch if value >= side.first_epoch else value
    if field == "MemberEpoch":  # how often a coordinator bumps it is its own affair, as it is of a group's
        return "some" if value > 0 else value
    if field == "Records":
        return batches(side, value)
    if isinstance(value, bytes):
        known = {i: n for n, i in side.ids.items()}
        return "none" if not any(value) else known.get(value, "some id") if len(value) == 16 else value.hex()
    if field in ("MemberId", "ProducerId", "Leader", "ConsumerId"):
        return side.aliases.get(value, value if value in (-1, "", 1) else "?")
    if field == "Timestamp":
        return "some" if value > 0 else value
    if field == "SessionId":
        return "some" if value else 0
    return value


def codes(value):
    """Every error code in an answer."""
    if isinstance(value, dict):
        return {v for k, v in value.items() if k in ("ErrorCode", "PartitionErrorCode")} | {c for v in value.values() for c in codes(v)}
    if isinstance(value, list):
        return {c for v in value for c in codes(v)}
    return set()


def ask(side, operation):
    """The side's answer, asked again while it says "not yet"."""
    if operation.play:
        return operation.play(side)
    body = operation.build(side)
    for _ in range(200):
        answer = side.call(operation.name, operation.version, body)
        if not codes(answer) & LATER:
            break
        time.sleep(0.02)
    return answer


def describe_topics(side):
    """Every topic with its partitions, and the ids learnt on the way."""
    answer = side.call("Metadata", 12, {"Topics": None})
    for topic in answer["Topics"]:
        side.ids[topic["Name"]] = topic["TopicId"]
    return {t["Name"]: len(t["Partitions"]) for t in answer["Topics"] if not t["Name"].startswith("__")}


def settle(sides, apart):
    """Waits until both know the same topics: Kafka's brokers hear of them a moment later. What stays different is put into `apart`."""
    for _ in range(30):
        seen = [describe_topics(side) for side in sides]
        differs = {name for name in seen[0].keys() | seen[1].keys() if seen[0].get(name) != seen[1].get(name)} - apart
        if not differs:
            return
        time.sleep(0.02)
    apart |= differs


def warm_up(side, seed):
    """Kafka makes the topics of its coordinators when somebody asks for one, and is busy with that for a while."""
    topic = f"epochs.{seed}"
    side.call("CreateTopics", 4, {"Topics": [{"Name": topic, "NumPartitions": 1, "ReplicationFactor": 1}], "TimeoutMs": 5000})
    while topic not in describe_topics(side):
        time.sleep(0.1)
    side.first_epoch = side.call("Metadata", 12, {"Topics": [{"Name": topic}]})["Topics"][0]["Partitions"][0]["LeaderEpoch"]
    for kind in (0, 1):
        while side.call("FindCoordinator", 2, {"Key": "oracle", "KeyType": kind})["ErrorCode"]:
            time.sleep(0.1)
    for name, version, body in (("OffsetFetch", 8, {"Groups": [{"GroupId": "oracle", "Topics": None}]}), ("InitProducerId", 3, {"TransactionalId": "oracle", "TransactionTimeoutMs": 1000}),
                                ("ShareGroupDescribe", 1, {"GroupIds": ["oracle"]})):
        while codes(side.call(name, version, body)) & LATER:
            time.sleep(0.1)


def known(operation, ours, theirs):
    for name, applies, why in oracle_known.KNOWN:
        if name in (operation.name, "") and applies(operation, ours, theirs):
            return why
    return None


def play(us, kafka, count, seed, log):
    """Gives (operations done by API, differences as texts, reasons of the known ones with their counts)."""
    world = oracle_operations.World(random.Random(seed), seed)
    sides = [Side("us", us), Side("Kafka", kafka)]
    done, differences, explained, apart = collections.Counter(), {}, collections.Counter(), set()
    for side in sides:
        warm_up(side, seed)
    for number in range(count):
        operation = world.draw()
        done[operation.name] += 1
        answers = [ask(side, operation) for side in sides]
        for side, answer in zip(sides, answers):
            if operation.after and "nothing" not in answer:
                operation.after(side, answer)
        ours, theirs = (levelled(side, answer, apart=world.apart) for side, answer in zip(sides, answers))
        for _ in range(25):  # Kafka's own views of what it was told lag behind
            if ours == theirs or not operation.reads:
                break
            time.sleep(0.02)
            ours, theirs = (levelled(side, ask(side, operation), apart=world.apart) for side in sides)
        if ours != theirs:
            why = known(operation, ours, theirs)
            if why:
                explained[why] += 1
            else:
                text = f"#{number} {operation.name} {operation.version} {operation.told}" + "".join(
                    f"\n  {side.name + ':':6} {json.dumps(part)[:1500]}" for side, part in zip(sides, different_parts(ours, theirs)))
                key = (operation.name, tuple(sorted(codes(answers[0]))), tuple(sorted(codes(answers[1]))))
                differences.setdefault(key, []).append(text)
                log.write(text + "\n")
                log.flush()
            if not operation.reads:
                world.retire(operation.slots)
        elif operation.ends:
            world.retire(operation.slots)
        if operation.changes_topics:
            settle(sides, apart)
    return done, differences, explained


def different_parts(ours, theirs):
    """Both answers without what is equal in them."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        differing = [k for k in ours.keys() | theirs.keys() if ours.get(k) != theirs.get(k)]
        pairs = {k: different_parts(ours.get(k), theirs.get(k)) for k in sorted(differing)}
        return {k: v[0] for k, v in pairs.items()}, {k: v[1] for k, v in pairs.items()}
    if isinstance(ours, list) and isinstance(theirs, list):
        return [x for x in ours if x not in theirs], [x for x in theirs if x not in ours]
    return ours, theirs


def run(result, us, kafka, count, seed):
    with open(os.path.join(result.home, "oracle.txt"), "w") as log:
        done, differences, explained = play(us, kafka, count, seed, log)
    for name, times in sorted(done.items()):
        bad = [texts for key, texts in differences.items() if key[0] == name]
        result.tell(f"oracle (seed {seed}): {name}, {times} times", "\n".join(f"{len(t)} times: {t[0]}" for t in bad))
    for why, times in explained.items():
        print(f"        differs {times} times: {why}", flush=True)
