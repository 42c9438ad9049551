"""The random operations of the oracle: what is drawn, and how each request is built for a side."""
import struct
import time

import frames
import oracle_more
from wire import crc32c, record_batch

NOW = int(time.time() * 1000)
TOPICS, GROUPS, CONSUMERS, SHARES, TRANSACTIONS = 6, 3, 2, 2, 3


class Operation:
    """One request, or with `play` a short exchange that gives what came of it. `ends`: its names are not used again, whatever the answers."""

    def __init__(self, world, name, build, label="", after=None, reads=False, changes_topics=False, slots=(), low=0, high=99, play=None, ends=False):
        least, most = frames.versions(name)
        self.name, self.version, self.build = name, world.random.randint(max(least, low), min(most, high)), build
        self.label, self.after, self.reads, self.changes_topics, self.slots, self.play, self.ends = label, after, reads, changes_topics, list(slots), play, ends
        self.told = label or str(build(Nobody()))[:600]


class Nobody:
    """A side that only tells what a request says."""
    aliases, kept, ids = {}, {}, {}

    def topic_id(self, topic):
        return topic

    def epoch(self, wanted):
        return wanted


def batch(world, records, pid=-1, epoch=-1, sequence=-1, attributes=0, at=NOW):
    data = bytearray(record_batch(records, at, pid, epoch, sequence))
    struct.pack_into(">h", data, 21, attributes)
    struct.pack_into(">I", data, 17, crc32c(bytes(data[21:])))
    return bytes(data)


class World(oracle_more.More):
    def __init__(self, random, run):
        self.random, self.run, self.born, self.count = random, run, {}, 0
        self.apart = {""}  # names that the two sides know different things of; a group without one is refused here in a transaction
        self.draws = [(weight, getattr(self, name)) for name, weight in WEIGHTS.items()]
        self.to_make = [f"t{i}" for i in range(TOPICS - 1)]  # topics that are made before anything else

    def draw(self):
        self.count += 1
        if self.to_make:
            return self.create_plain(self.to_make.pop())
        return self.random.choices([d for _, d in self.draws], [w for w, _ in self.draws])[0]()

    def retire(self, slots):
        for slot in slots:
            self.apart.add(self.name(slot))
            self.born[slot] = self.born.get(slot, 0) + 1
            if slot[0] == "t":
                self.to_make.append(slot)

    # ---- names

    def slot(self, kind, count):
        return f"{kind}{self.random.randrange(count)}"

    def name(self, slot):
        return f"{slot}.{self.run}.{self.born.get(slot, 0)}"

    def topic(self):
        """(slot, name); now and then one that is not there or cannot be."""
        if self.random.random() < 0.06:
            return [], self.random.choice(["nosuch", "a/b", "", ".", "x" * 250])
        slot = self.slot("t", TOPICS)
        return [slot], self.name(slot)

    def known_topic(self):
        slot = self.slot("t", TOPICS)
        return [slot], self.name(slot) if self.random.random() < 0.95 else "nosuch"

    def group(self, kind="g", count=GROUPS):
        slot = self.slot(kind, count)
        if self.random.random() < 0.03:
            return [], self.random.choice(["nogroup", ""])
        return [slot], self.name(slot)

    def any_group(self):
        return self.group(*self.random.choice([("g", GROUPS), ("c", CONSUMERS), ("s", SHARES)]))

    def tid(self):
        slot = self.slot("x", TRANSACTIONS)
        return [slot], self.name(slot)

    def partition(self):
        return self.random.choice([0, 0, 0, 0, 1, 1, 2, 9, -1])

    def offset(self):
        return self.random.choice([0, 0, 1, 2, 3, 5, 8, 13, 100, -1])

    def one_of(self, *values):
        return self.random.choice(values)

    def records(self):
        return [(self.one_of(None, b"k", b"key"), self.one_of(None, b"", b"v%d" % self.count, b"x" * 50), self.one_of([], [(b"h", b"1")], [(b"h", None)]))
                for _ in range(self.random.randint(1, 4))]

    # ---- topics

    def settings(self):
        return self.one_of([], [], [], [("retention.ms", "600000")], [("cleanup.policy", "compact")], [("max.message.bytes", "2000")], [("nosuch", "1")],
                           [("retention.ms", "x")], [("cleanup.policy", "delete,compact")], [("message.timestamp.type", "LogAppendTime")], [("retention.ms", None)],
                           [("segment.bytes", "1048576")], [("min.cleanable.dirty.ratio", "2")], [("retention.ms", "-5")])

    def create_plain(self, slot):
        body = {"Topics": [{"Name": self.name(slot), "NumPartitions": 3, "ReplicationFactor": 1}], "TimeoutMs": 5000}
        return Operation(self, "CreateTopics", lambda side: body, label=f"plain {slot}", changes_topics=True)

    def create_topics(self):
        slots, topics = [], []
        for _ in range(self.one_of(1, 1, 2)):
            made, name = self.topic()
            slots += made
            topic = {"Name": name, "NumPartitions": self.one_of(1, 2, 3, 3, 0, -1, -2), "ReplicationFactor": self.one_of(1, 1, 1, -1, 0, 2),
                     "Configs": [{"Name": n, "Value": v} for n, v in self.settings()]}
            if topic["NumPartitions"] == -1 and self.one_of(True, False):
                topic.update(ReplicationFactor=-1, Assignments=[{"PartitionIndex": i, "BrokerIds": [self.one_of(1, 1, 1, 1, 7)]} for i in self.one_of([0], [0, 1], [1], [0, 2])])
            topics.append(topic)
        body = {"Topics": topics, "TimeoutMs": 5000, "ValidateOnly": self.one_of(False, False, False, True)}
        return Operation(self, "CreateTopics", lambda side: body, slots=slots, changes_topics=True)

    def delete_topics(self):
        slots, name = self.topic()
        by_id = self.one_of(True, False)

        def build(side):
            return {"Topics": [{"Name": None, "TopicId": side.topic_id(name)} if by_id else {"Name": name}], "TopicNames": [name], "TimeoutMs": 5000}
        return Operation(self, "DeleteTopics", build, slots=slots, changes_topics=True)

    def create_partitions(self):
        slots, name = self.topic()
        assigned = self.one_of(None, None, None, [{"BrokerIds": [1]}], [{"BrokerIds": [5]}])
        body = {"Topics": [{"Name": name, "Count": self.one_of(0, 1, 2, 3, 4), "Assignments": assigned}], "TimeoutMs": 5000, "ValidateOnly": self.one_of(False, True)}
        return Operation(self, "CreatePartitions", lambda side: body, slots=slots, changes_topics=True)

    def metadata(self):
        slots, name = self.topic()
        by_id = self.one_of(True, False)

        def build(side):
            one = {"Name": None, "TopicId": side.topic_id(name)} if by_id else {"Name": name}
            return {"Topics": [one], "AllowAutoTopicCreation": False, "IncludeTopicAuthorizedOperations": True}
        return Operation(self, "Metadata", build, reads=True, slots=slots, low=12 if by_id else 4)

    def describe_topic_partitions(self):
        slots, name = self.topic()
        body = {"Topics": [{"Name": name}], "ResponsePartitionLimit": self.one_of(2000, 1, 2), "Cursor": self.one_of(None, None, {"TopicName": name, "PartitionIndex": 1})}
        return Operation(self, "DescribeTopicPartitions", lambda side: body, reads=True, slots=slots)

    def describe_configs(self):
        slots, name = self.topic()
        keys = ["retention.ms", "cleanup.policy", "max.message.bytes", "message.timestamp.type", "nosuch"]
        body = {"Resources": [{"ResourceType": self.one_of(2, 2, 2, 2, 7), "ResourceName": name, "ConfigurationKeys": keys}]}
        return Operation(self, "DescribeConfigs", lambda side: body, reads=True, slots=slots)

    def alter_configs(self):
        slots, name = self.topic()
        body = {"Resources": [{"ResourceType": self.one_of(2, 2, 2, 9), "ResourceName": name, "Configs": [{"Name": n, "Value": v} for n, v in self.settings()]}],
                "ValidateOnly": self.one_of(False, True)}
        return Operation(self, "AlterConfigs", lambda side: body, slots=slots, changes_topics=True)

    def incremental_alter_configs(self):
        slots, name = self.topic()
        changes = [{"Name": n, "Value": v, "ConfigOperation": self.one_of(0, 0, 0, 1, 2, 3, 4)} for n, v in self.settings()]
        body = {"Resources": [{"ResourceType": 2, "ResourceName": name, "Configs": changes}], "ValidateOnly": self.one_of(False, True)}
        return Operation(self, "IncrementalAlterConfigs", lambda side: body, slots=slots, changes_topics=True)

    def list_config_resources(self):
        return Operation(self, "ListConfigResources", lambda side: {"ResourceTypes": [2]}, reads=True, low=1)

    def elect_leaders(self):
        slots, name = self.topic()
        body = {"ElectionType": self.one_of(0, 1), "TopicPartitions": [{"Topic": name, "Partitions": [self.partition()]}], "TimeoutMs": 5000}
        return Operation(self, "ElectLeaders", lambda side: body, slots=slots)

    def alter_partition_reassignments(self):
        slots, name = self.topic()
        body = {"TimeoutMs": 5000, "Topics": [{"Name": name, "Partitions": [{"PartitionIndex": self.partition(), "Replicas": self.one_of(None, [1], [5], [])}]}]}
        return Operation(self, "AlterPartitionReassignments", lambda side: body, slots=slots)

    def list_partition_reassignments(self):
        slots, name = self.topic()
        body = {"TimeoutMs": 5000, "Topics": self.one_of(None, [{"Name": name, "PartitionIndexes": [0]}])}
        return Operation(self, "ListPartitionReassignments", lambda side: body, reads=True, slots=slots)

    def describe_cluster(self):
        return Operation(self, "DescribeCluster", lambda side: {"EndpointType": 1}, reads=True)

    def describe_log_dirs(self):
        slots, name = self.known_topic()
        return Operation(self, "DescribeLogDirs", lambda side: {"Topics": [{"Topic": name, "Partitions": [0, 1]}]}, reads=True, slots=slots)

    # ---- records

    def produce_of(self, name, slots, data, label, tid=None):
        partition, acks = self.partition(), self.one_of(-1, -1, 1, 1, 5)

        def build(side):
            topic = {"Name": name, "TopicId": side.topic_id(name), "PartitionData": [{"Index": partition, "Records": data(side)}]}
            return {"TransactionalId": tid, "Acks": acks, "TimeoutMs": 5000, "TopicData": [topic]}
        return Operation(self, "Produce", build, label=f"{label} to {name}-{partition} acks {acks} {tid or ''}", slots=slots, low=7 if "zstd" in label else 3)

    def produce(self):
        slots, name = self.known_topic()
        records, kind = self.records(), self.one_of("", "", "", "", "", "wrong CRC", "old", "future", "large", "transactional")
        data = batch(self, records, at=NOW + (3_700_000 if kind == "future" else 0))
        if kind == "wrong CRC":
            data = data[:-1] + bytes([data[-1] ^ 1])
        if kind == "old":
            data = data[:16] + b"\1" + data[17:]
        if kind == "large":
            data = batch(self, [(b"k", b"l" * 3000, [])])
        if kind == "transactional":
            data = batch(self, records, attributes=0x10)
        return self.produce_of(name, slots, lambda side: data, f"{kind or 'plain'} {len(records)} records")

    def init_producer_id(self):
        slots, tid = self.tid()
        kind = self.one_of("idempotent", "idempotent", "transactional", "transactional", "same", "bad timeout", "empty")
        slot = "x" + slots[0][1:] if kind != "idempotent" else "idempotent"

        def build(side):
            pid, epoch = side.kept.get(tid, (-1, -1)) if kind == "same" else (-1, -1)
            return {"TransactionalId": {"idempotent": None, "empty": ""}.get(kind, tid), "TransactionTimeoutMs": 0 if kind == "bad timeout" else 500000, "ProducerId": pid,
                    "ProducerEpoch": epoch}

        def after(side, answer):
            if answer["ErrorCode"] == 0:
                key = "idempotent" if kind == "idempotent" else tid
                side.kept[key] = (answer["ProducerId"], answer["ProducerEpoch"])
                side.alias(answer["ProducerId"], key)
                for other in [k for k in side.kept if k[0] == "sequence" and k[1] == key]:
                    del side.kept[other]
        return Operation(self, "InitProducerId", build, label=f"{kind} {tid} {slot}", after=after, slots=slots, low=3 if kind == "same" else 0)

    def idempotent(self):
        slots, name = self.known_topic()
        partition, records, step = self.one_of(0, 1), self.records(), self.one_of(0, 0, 0, 0, 0, 0, -1, 1, 7)

        def build(side):
            pid, epoch = side.kept.get("idempotent", (-1, -1))
            at = side.kept.get(("sequence", "idempotent", name, partition), 0) + step
            data = batch(self, records, pid, epoch, max(at, 0) if pid >= 0 else -1)
            return {"TransactionalId": None, "Acks": -1, "TimeoutMs": 5000, "TopicData": [
                {"Name": name, "TopicId": side.topic_id(name), "PartitionData": [{"Index": partition, "Records": data}]}]}

        def after(side, answer):
            if not any(p["ErrorCode"] for t in answer["Responses"] for p in t["PartitionResponses"]) and step == 0:
                key = ("sequence", "idempotent", name, partition)
                side.kept[key] = side.kept.get(key, 0) + len(records)
        return Operation(self, "Produce", build, label=f"idempotent, sequence {step:+d}, {len(records)} records to {name}-{partition}", after=after, slots=[*slots, "idempotent"])

    def fetch(self):
        slots, name = self.known_topic()
        partition, offset, isolation, epoch = self.partition(), self.offset(), self.one_of(0, 1), self.one_of(-1, -1, -1, 0, 9)
        limit, size = self.one_of(1 << 20, 1 << 20, 1), self.one_of(1 << 20, 100, 0)
        session, turn = self.one_of((0, -1), (0, -1), (0, -1), (77, 1), (0, 5)), self.count

        def build(side):
            return {"MaxWaitMs": 0, "MinBytes": self.one_of_fixed(turn, 0, 1), "MaxBytes": limit, "IsolationLevel": isolation, "SessionId": session[0], "SessionEpoch": session[1],
                    "Topics": [{"Topic": name, "TopicId": side.topic_id(name), "Partitions": [
                        {"Partition": partition, "CurrentLeaderEpoch": side.epoch(epoch), "FetchOffset": offset, "PartitionMaxBytes": size}]}]}
        return Operation(self, "Fetch", build, reads=True, slots=slots)

    @staticmethod
    def one_of_fixed(turn, *values):
        return values[turn % len(values)]

    def list_offsets(self):
        slots, name = self.known_topic()
        time_of, least = self.one_of((-1, 1), (-2, 1), (-3, 7), (-4, 8), (-5, 9), (NOW, 1), (NOW + 10_000_000, 1), (0, 1), (-6, 11), (-7, 1))
        partition, epoch, isolation = self.partition(), self.one_of(-1, -1, 0, 5), self.one_of(0, 1)

        def build(side):
            return {"ReplicaId": -1, "IsolationLevel": isolation, "TimeoutMs": 1000, "Topics": [
                {"Name": name, "Partitions": [{"PartitionIndex": partition, "CurrentLeaderEpoch": side.epoch(epoch), "Timestamp": time_of}]}]}
        return Operation(self, "ListOffsets", build, reads=True, slots=slots, low=least)

    def offset_for_leader_epoch(self):
        slots, name = self.known_topic()
        partition, current, wanted = self.partition(), self.one_of(-1, 0, 4), self.one_of(0, 0, 1, 5, -1)

        def build(side):
            return {"ReplicaId": -1, "Topics": [{"Topic": name, "Partitions": [
                {"Partition": partition, "CurrentLeaderEpoch": side.epoch(current), "LeaderEpoch": side.epoch(wanted)}]}]}
        return Operation(self, "OffsetForLeaderEpoch", build, reads=True, slots=slots)

    def delete_records(self):
        slots, name = self.known_topic()
        body = {"Topics": [{"Name": name, "Partitions": [{"PartitionIndex": self.partition(), "Offset": self.one_of(0, 1, 2, 4, -1, 1000, -2)}]}], "TimeoutMs": 5000}
        return Operation(self, "DeleteRecords", lambda side: body, slots=slots)

    def describe_producers(self):
        slots, name = self.known_topic()
        body = {"Topics": [{"Name": name, "PartitionIndexes": [self.partition()]}]}
        return Operation(self, "DescribeProducers", lambda side: body, reads=True, slots=slots)

    # ---- classic groups, one member each

    def join_group(self):
        slots, group = self.group()
        kind = self.one_of("", "", "", "", "unknown member", "no protocols", "other type", "bad timeout")

        def build(side):
            member = "unknown" if kind == "unknown member" else side.kept.get(("member", group), "")
            return {"GroupId": group, "SessionTimeoutMs": 5 if kind == "bad timeout" else 300000, "RebalanceTimeoutMs": 300000, "MemberId": member,
                    "ProtocolType": "other" if kind == "other type" else "consumer",
                    "Protocols": [] if kind == "no protocols" else [{"Name": "range", "Metadata": b"\0\1\0\0\0\0\0\0\0\0"}]}

        def after(side, answer):
            if answer["ErrorCode"] in (0, 79) and answer["MemberId"]:
                side.kept["member", group] = side.alias(answer["MemberId"], "member of " + group)
                if answer["ErrorCode"] == 0:
                    side.kept["generation", group] = answer["GenerationId"]
        return Operation(self, "JoinGroup", build, label=f"{kind} {group}", after=after, slots=slots)

    def as_member(self, group, side, wrong):
        member, generation = side.kept.get(("member", group), ""), side.kept.get(("generation", group), -1)
        return ("unknown" if wrong == "member" else member), (generation + 5 if wrong == "generation" else generation)

    def sync_group(self):
        slots, group = self.group()
        wrong, kind = self.one_of("", "", "", "member", "generation"), self.one_of("consumer", "consumer", None, "other")

        def build(side):
            member, generation = self.as_member(group, side, wrong)
            return {"GroupId": group, "GenerationId": generation, "MemberId": member, "ProtocolType": kind, "ProtocolName": "range" if kind else None,
                    "Assignments": [{"MemberId": member, "Assignment": b"assigned"}]}
        return Operation(self, "SyncGroup", build, label=f"{wrong} {kind} {group}", slots=slots)

    def heartbeat(self):
        slots, group = self.group()
        wrong = self.one_of("", "", "", "member", "generation")

        def build(side):
            member, generation = self.as_member(group, side, wrong)
            return {"GroupId": group, "GenerationId": generation, "MemberId": member}
        return Operation(self, "Heartbeat", build, label=f"{wrong} {group}", slots=slots)

    def leave_group(self):
        slots, group = self.group()
        wrong = self.one_of("", "member")

        def build(side):
            member = self.as_member(group, side, wrong)[0]
            return {"GroupId": group, "MemberId": member, "Members": [{"MemberId": member}]}
        return Operation(self, "LeaveGroup", build, label=f"{wrong} {group}", slots=slots)

    def offset_commit(self):
        slots, group = self.group(*self.one_of(("g", GROUPS), ("g", GROUPS), ("c", CONSUMERS), ("s", SHARES)))
        more, name = self.known_topic()
        kind, partition, offset, note = self.one_of("member", "member", "", "", "wrong generation", "wrong member"), self.partition(), self.offset(), self.one_of("", "note", None, "x" * 5000)

        def build(side):
            member, generation = self.as_member(group, side, kind[6:]) if kind else ("", -1)
            if kind and ("epoch", group) in side.kept:
                member, generation = side.kept["member", group], side.kept["epoch", group]
            return {"GroupId": group, "GenerationIdOrMemberEpoch": generation, "MemberId": member, "Topics": [{"Name": name, "TopicId": side.topic_id(name), "Partitions": [
                {"PartitionIndex": partition, "CommittedOffset": offset, "CommittedLeaderEpoch": 0, "CommittedMetadata": note}]}]}
        return Operation(self, "OffsetCommit", build, slots=slots + more)

    def offset_fetch(self):
        slots, group = self.any_group()
        more, name = self.known_topic()
        everything, stable = self.one_of(True, False), self.one_of(True, False)

        def build(side):
            topics = None if everything else [{"Name": name, "TopicId": side.topic_id(name), "PartitionIndexes": [0, 1]}]
            return {"GroupId": group, "Topics": topics, "Groups": [{"GroupId": group, "Topics": topics}], "RequireStable": stable}
        return Operation(self, "OffsetFetch", build, reads=True, slots=slots + more, low=7 if stable else 2)

    def offset_delete(self):
        slots, group = self.any_group()
        more, name = self.known_topic()
        body = {"GroupId": group, "Topics": [{"Name": name, "Partitions": [{"PartitionIndex": self.partition()}]}]}
        return Operation(self, "OffsetDelete", lambda side: body, slots=slots + more)

    def describe_groups(self):
        slots, group = self.any_group()
        return Operation(self, "DescribeGroups", lambda side: {"Groups": [group], "IncludeAuthorizedOperations": True}, reads=True, slots=slots)

    def list_groups(self):
        body = {"StatesFilter": self.one_of([], ["Stable"], ["Empty", "Dead"], ["nosuch"]), "TypesFilter": self.one_of([], ["classic"], ["consumer"], ["Share"], ["nosuch"])}
        return Operation(self, "ListGroups", lambda side: body, reads=True, low=5)

    def delete_groups(self):
        slots, group = self.any_group()

        def after(side, answer):
            if answer["Results"][0]["ErrorCode"] == 0:
                for key in ("member", "generation", "epoch"):
                    side.kept.pop((key, group), None)
        return Operation(self, "DeleteGroups", lambda side: {"GroupsNames": [group]}, after=after, slots=slots)

    def find_coordinator(self):
        key, kind = self.one_of("g0", "", "x"), self.one_of(0, 0, 1, 5)
        return Operation(self, "FindCoordinator", lambda side: {"Key": key, "KeyType": kind, "CoordinatorKeys": [key]}, reads=True, low=1)

    # ---- groups whose server assigns, one member each

    def consumer_group_heartbeat(self):
        slots, group = self.group("c", CONSUMERS)
        more, name = self.known_topic()
        kind = self.one_of("join", "join", "", "", "", "", "leave", "ahead", "bad assignor", "unknown")
        kept_id = f"{group}-{kind == 'unknown'}".ljust(22, "A")

        def build(side):
            epoch = side.kept.get(("epoch", group), 0)
            body = {"GroupId": group, "MemberId": kept_id, "MemberEpoch": {"join": 0, "leave": -1, "ahead": epoch + 3}.get(kind, max(epoch, 1))}
            if kind in ("join", "bad assignor"):
                body.update(MemberEpoch=0, RebalanceTimeoutMs=300000, SubscribedTopicNames=[name], TopicPartitions=[], ServerAssignor="nosuch" if kind == "bad assignor" else "range")
            return body

        def after(side, answer):
            if answer["ErrorCode"] == 0:
                side.kept["member", group] = side.alias(kept_id, "member of " + group)
                side.kept["epoch", group] = answer["MemberEpoch"]
                if kind == "leave":
                    del side.kept["epoch", group]
        return Operation(self, "ConsumerGroupHeartbeat", build, label=f"{kind} {group} {name}", after=after, slots=slots + more)

    def consumer_group_describe(self):
        slots, group = self.any_group()
        return Operation(self, "ConsumerGroupDescribe", lambda side: {"GroupIds": [group], "IncludeAuthorizedOperations": False}, reads=True, slots=slots)

    # ---- transactions

    def of_transaction(self, tid, side, wrong):
        pid, epoch = side.kept.get(tid, (5555, 0))
        return (pid + 1000 if wrong == "id" else pid), (epoch + 1 if wrong == "ahead" else max(epoch - 1, 0) if wrong == "behind" else epoch)

    def wrong(self):
        return self.one_of("", "", "", "", "", "", "id", "ahead", "behind")

    def add_partitions_to_txn(self):
        slots, tid = self.tid()
        more, name = self.known_topic()
        wrong, partition, verify = self.wrong(), self.partition(), self.one_of(False, False, True)

        def build(side):
            pid, epoch = self.of_transaction(tid, side, wrong)
            topics = [{"Name": name, "Partitions": [partition]}]
            return {"V3AndBelowTransactionalId": tid, "V3AndBelowProducerId": pid, "V3AndBelowProducerEpoch": epoch, "V3AndBelowTopics": topics,
                    "Transactions": [{"TransactionalId": tid, "ProducerId": pid, "ProducerEpoch": epoch, "VerifyOnly": verify, "Topics": topics}]}
        return Operation(self, "AddPartitionsToTxn", build, label=f"{wrong} {'verify' if verify else 'add'} {tid} {name}-{partition}", slots=slots + more)

    def add_offsets_to_txn(self):
        slots, tid = self.tid()
        more, group = self.group()
        wrong = self.wrong()

        def build(side):
            pid, epoch = self.of_transaction(tid, side, wrong)
            return {"TransactionalId": tid, "ProducerId": pid, "ProducerEpoch": epoch, "GroupId": group}
        return Operation(self, "AddOffsetsToTxn", build, label=f"{wrong} {tid} {group}", slots=slots + more)

    def transactional(self):
        slots, tid = self.tid()
        more, name = self.known_topic()
        partition, records, wrong, version = self.one_of(0, 1), self.records(), self.wrong(), self.random.randint(3, 13)

        def build(side):
            pid, epoch = self.of_transaction(tid, side, wrong)
            at = side.kept.get(("sequence", tid, name, partition, epoch), 0)
            return {"TransactionalId": tid, "Acks": -1, "TimeoutMs": 5000, "TopicData": [{"Name": name, "TopicId": side.topic_id(name), "PartitionData": [
                {"Index": partition, "Records": batch(self, records, pid, epoch, at, 0x10)}]}]}

        def after(side, answer):
            if not any(p["ErrorCode"] for t in answer["Responses"] for p in t["PartitionResponses"]):
                key = ("sequence", tid, name, partition, self.of_transaction(tid, side, wrong)[1])
                side.kept[key] = side.kept.get(key, 0) + len(records)
        return Operation(self, "Produce", build, label=f"transactional {wrong} {tid}, {len(records)} records to {name}-{partition}", after=after, slots=slots + more, low=version, high=version)

    def txn_offset_commit(self):
        slots, tid = self.tid()
        middle, group = self.group()
        more, name = self.known_topic()
        wrong, partition, offset = self.wrong(), self.partition(), self.offset()

        def build(side):
            pid, epoch = self.of_transaction(tid, side, wrong)
            return {"TransactionalId": tid, "GroupId": group, "ProducerId": pid, "ProducerEpoch": epoch, "Topics": [
                {"Name": name, "Partitions": [{"PartitionIndex": partition, "CommittedOffset": offset, "CommittedMetadata": ""}]}]}
        made = Operation(self, "TxnOffsetCommit", build, label=f"{wrong} {tid} {group} {name}-{partition} at {offset}", slots=slots + middle + more)
        made.ends = made.version >= 5 and (name == "nosuch" or partition not in (0, 1, 2))  # begins a transaction here, and none in Kafka
        return made

    def end_txn(self):
        slots, tid = self.tid()
        wrong, commit = self.wrong(), self.one_of(True, False)

        def build(side):
            pid, epoch = self.of_transaction(tid, side, wrong)
            return {"TransactionalId": tid, "ProducerId": pid, "ProducerEpoch": epoch, "Committed": commit}

        def after(side, answer):
            if answer["ErrorCode"] == 0 and answer.get("ProducerId", -1) >= 0:
                side.kept[tid] = (answer["ProducerId"], answer["ProducerEpoch"])
                side.alias(answer["ProducerId"], tid)
            for _ in range(200):  # Kafka writes the markers after it has answered
                found = side.call("DescribeTransactions", 0, {"TransactionalIds": [tid]})["TransactionStates"][0]
                if not found["TransactionState"].startswith("Prepare"):
                    break
                time.sleep(0.01)
        return Operation(self, "EndTxn", build, label=f"{wrong} {tid} {commit}", after=after, slots=slots)

    def describe_transactions(self):
        slots, tid = self.tid()
        return Operation(self, "DescribeTransactions", lambda side: {"TransactionalIds": [tid, ""][:1]}, reads=True, slots=slots)

    def list_transactions(self):
        body = {"StateFilters": self.one_of([], ["Ongoing"], ["Empty", "CompleteCommit"], ["nosuch"]), "ProducerIdFilters": [], "DurationFilter": -1}
        return Operation(self, "ListTransactions", lambda side: body, reads=True)

    # ---- share groups, one member each

    def share_group_heartbeat(self):
        slots, group = self.group("s", SHARES)
        more, name = self.known_topic()
        kind = self.one_of("join", "join", "", "", "", "leave", "ahead")
        member = f"{group}".ljust(22, "B")

        def build(side):
            epoch = side.kept.get(("epoch", group), 0)
            body = {"GroupId": group, "MemberId": member, "MemberEpoch": {"join": 0, "leave": -1, "ahead": epoch + 3}.get(kind, max(epoch, 1))}
            if kind == "join":
                body["SubscribedTopicNames"] = [name]
            return body

        def after(side, answer):
            if answer["ErrorCode"] == 0:
                side.kept["member", group] = side.alias(member, "member of " + group)
                side.kept["epoch", group] = max(answer["MemberEpoch"], 0)
        return Operation(self, "ShareGroupHeartbeat", build, label=f"{kind} {group} {name}", after=after, slots=slots + more)

    def share_group_describe(self):
        slots, group = self.any_group()
        return Operation(self, "ShareGroupDescribe", lambda side: {"GroupIds": [group]}, reads=True, slots=slots)

    def share_offsets(self):
        slots, group = self.any_group()
        more, name = self.known_topic()
        kind = self.one_of("DescribeShareGroupOffsets", "AlterShareGroupOffsets", "DeleteShareGroupOffsets")
        if kind == "DescribeShareGroupOffsets":
            body = {"Groups": [{"GroupId": group, "Topics": self.one_of(None, [{"TopicName": name, "Partitions": [0]}])}]}
        elif kind == "AlterShareGroupOffsets":
            body = {"GroupId": group, "Topics": [{"TopicName": name, "Partitions": [{"PartitionIndex": self.one_of(0, 0, 1, 9), "StartOffset": self.one_of(0, 1, 2)}]}]}
        else:
            body = {"GroupId": group, "Topics": [{"TopicName": name}]}
        return Operation(self, kind, lambda side: body, reads=kind.startswith("Describe"), slots=slots + more)


WEIGHTS = {
    "create_topics": 4, "delete_topics": 1, "create_partitions": 1, "metadata": 3, "describe_topic_partitions": 2, "describe_configs": 2, "alter_configs": 1,
    "incremental_alter_configs": 2, "list_config_resources": 0.3, "elect_leaders": 1, "alter_partition_reassignments": 1, "list_partition_reassignments": 1,
    "describe_cluster": 0.3, "describe_log_dirs": 1, "produce": 8, "init_producer_id": 2, "idempotent": 6, "fetch": 7, "list_offsets": 5, "offset_for_leader_epoch": 2,
    "delete_records": 1, "describe_producers": 2, "join_group": 4, "sync_group": 3, "heartbeat": 3, "leave_group": 1, "offset_commit": 5, "offset_fetch": 4,
    "offset_delete": 1, "describe_groups": 2, "list_groups": 1, "delete_groups": 1, "find_coordinator": 1, "consumer_group_heartbeat": 5, "consumer_group_describe": 2,
    "add_partitions_to_txn": 3, "add_offsets_to_txn": 2, "transactional": 5, "txn_offset_commit": 3, "end_txn": 4, "describe_transactions": 2, "list_transactions": 1,
    "share_group_heartbeat": 3, "share_group_describe": 1, "share_offsets": 2, "share_fetch": 2, "share_acknowledge": 2, "fetch_session": 2, "write_txn_markers": 1,
    "describe_client_quotas": 2, "alter_client_quotas": 2, "update_features": 0.5, "api_versions": 0.3,
}
