"""More random operations of the oracle: quotas, features, markers, fetch sessions, and what members of share groups do."""
import itertools
import struct
import time

import frames
from wire import batches_of, records_of

TRIES = 100  # how often a share group's member asks before it takes nothing for an answer
QUIET, QUIET_AT_FIRST = 8, 40  # fetches that bring nothing before it has all


def operation(*args, **more):
    from oracle_operations import Operation
    return Operation(*args, **more)


class Member:
    """A share group's only member, for one exchange: it joins, opens a session and notes what it is answered."""

    def __init__(self, side, group, topic, version):
        self.side, self.group, self.topic, self.version, self.epoch, self.told, self.id = side, group, topic, version, 0, [], group.ljust(22, "B")

    def configure(self):
        """The group begins with the oldest records, and gets none again before its member gives it back."""
        settings = {"share.auto.offset.reset": "earliest", "share.record.lock.duration.ms": "60000"}
        self.side.call("IncrementalAlterConfigs", 1, {"Resources": [{"ResourceType": 32, "ResourceName": self.group, "Configs": [
            {"Name": name, "Value": value, "ConfigOperation": 0} for name, value in settings.items()]}]})

    def join(self):
        """The partitions that it is given; the other side may give them some heartbeats later."""
        epoch, topics = 0, [self.topic]
        for _ in range(TRIES):
            answer = self.side.call("ShareGroupHeartbeat", 1, {"GroupId": self.group, "MemberId": self.id, "MemberEpoch": epoch, "SubscribedTopicNames": topics})
            if answer.get("ErrorCode") in (14, 15, 16):
                time.sleep(0.05)
                continue
            if answer["ErrorCode"]:
                self.told.append(("join", answer["ErrorCode"]))
                return []
            epoch, topics = answer["MemberEpoch"], None
            self.side.kept["epoch", self.group], self.side.kept["member", self.group] = epoch, self.side.alias(self.id, "member of " + self.group)
            given = [p for t in (answer["Assignment"] or {}).get("TopicPartitions", []) for p in t["Partitions"]]
            if given:
                return sorted(given)
            time.sleep(0.05)
        return []

    def body(self, partitions, acknowledged=(), epoch=None, **more):
        """A request of the session. `acknowledged`: (partition, offset, type)."""
        rows = {p: {"PartitionIndex": p, "AcknowledgementBatches": []} for p in partitions}
        for partition, offset, kind in acknowledged:
            row = rows.setdefault(partition, {"PartitionIndex": partition, "AcknowledgementBatches": []})
            row["AcknowledgementBatches"].append({"FirstOffset": offset, "LastOffset": offset, "AcknowledgeTypes": [kind]})
        return {"GroupId": self.group, "MemberId": self.id, "ShareSessionEpoch": self.epoch if epoch is None else epoch,
                "Topics": [{"TopicId": self.side.topic_id(self.topic), "Partitions": [rows[p] for p in sorted(rows)]}] if rows else [], **more}

    def fetch(self, partitions, acknowledged=(), epoch=None, wait_ms=100):
        answer = self.side.call("ShareFetch", self.version, self.body(partitions, acknowledged, epoch, MaxWaitMs=wait_ms, MinBytes=1, MaxBytes=1 << 20, MaxRecords=1000, BatchSize=1000))
        if epoch is None and not answer.get("ErrorCode", -1):
            self.epoch += 1
        return answer

    def acknowledge(self, acknowledged, epoch=None):
        answer = self.side.call("ShareAcknowledge", self.version, self.body([], acknowledged, epoch))
        if epoch is None and not answer.get("ErrorCode", -1):
            self.epoch += 1
        return self.errors(answer)

    @staticmethod
    def errors(answer):
        if "nothing" in answer:
            return answer["nothing"]
        rows = sorted((p["PartitionIndex"], p["ErrorCode"], p.get("AcknowledgeErrorCode", 0)) for t in answer["Responses"] for p in t["Partitions"])
        return [answer["ErrorCode"], *rows]

    def take(self, partitions):
        """(partition, offset) with its delivery count of every record that is given; control records, which one side locks, apart."""
        given, control, quiet = {}, [], 0
        for turn in range(TRIES):
            answer = self.fetch(partitions if turn == 0 else [], wait_ms=50)
            errors = self.errors(answer)
            if "nothing" in answer or answer["ErrorCode"] or any(e for _, e, _ in errors[1:]):
                self.told.append(("fetch", errors))
                break
            found = 0
            for topic in answer["Responses"]:
                for row in topic["Partitions"]:
                    held = {o for base, _, data in batches_of(row["Records"] or b"") if not struct.unpack_from(">h", data, 21)[0] & 0x20 for o in
                            (record[0] for record in records_of(data))}
                    for acquired in row["AcquiredRecords"]:
                        found += 1
                        for offset in range(acquired["FirstOffset"], acquired["LastOffset"] + 1):
                            if offset in held:
                                given[row["PartitionIndex"], offset] = acquired["DeliveryCount"]
                            else:
                                control.append((row["PartitionIndex"], offset, 0))
            quiet = 0 if found else quiet + 1
            if quiet == (QUIET if given else QUIET_AT_FIRST):
                break
        return given, control

    def leave(self):
        self.side.call("ShareGroupHeartbeat", 1, {"GroupId": self.group, "MemberId": self.id, "MemberEpoch": -1})
        self.side.kept.pop(("epoch", self.group), None)


class More:
    # ---- share groups

    def share_exchange(self, name, work):
        slots, group = self.group("s", 2)
        if not slots:
            slots, group = ["s0"], self.name("s0")
        more, topic = self.known_topic()
        pattern = [self.one_of(1, 1, 1, 2, 3) for _ in range(5)]

        def play(side):
            member = Member(side, group, topic, made.version)
            member.configure()
            partitions = member.join()
            member.told.append(("partitions", partitions))
            if partitions:
                given, control = member.take(partitions)
                member.told.append(("given", sorted((*key, count) for key, count in given.items())))
                kinds = [(p, o, pattern[(p + o) % 5]) for p, o in sorted(given)]
                work(member, kinds, control)
                member.told.append(("closed", member.acknowledge([], epoch=-1) if name == "ShareAcknowledge" else member.errors(member.fetch([], epoch=-1))))
            member.leave()
            return {"told": " | ".join(f"{what}: {answer}" for what, answer in member.told)}
        made = operation(self, name, None, label=f"{group} {topic} types {pattern}", slots=slots + more, play=play)
        return made

    def share_fetch(self):
        wrong = self.one_of("", "", "epoch", "again", "far")

        def work(member, kinds, control):
            if wrong == "epoch":
                member.told.append(("a wrong epoch", member.errors(member.fetch([], epoch=member.epoch + 5))))
            kept = [(p, o, 1 if kind == 2 else kind) for p, o, kind in kinds]  # what is released here is given again at once, or not yet
            answer = member.errors(member.fetch([], sorted(kept + control), wait_ms=0)) if kinds or control else []
            member.told.append(("acknowledged", [row for row in answer[1:] if row[2]] if isinstance(answer, list) else answer))
            if wrong == "again" and kinds:
                member.told.append(("again", member.errors(member.fetch([], kinds[:1], wait_ms=0))[:2]))
            if wrong == "far":
                member.told.append(("far", member.errors(member.fetch([], [(0, 5000, 1)], wait_ms=0))[:2]))
        return self.share_exchange("ShareFetch", work)

    def share_acknowledge(self):
        wrong = self.one_of("", "", "epoch", "again", "far", "type", "first")

        def work(member, kinds, control):
            if wrong == "epoch":
                member.told.append(("a wrong epoch", member.acknowledge(kinds[:1], epoch=member.epoch + 5)))
            if wrong == "first":
                member.told.append(("at the first epoch", member.acknowledge(kinds[:1], epoch=0)))
            if wrong == "type" and kinds:
                member.told.append(("a type that is none", member.acknowledge([(*kinds[0][:2], 9)])))
            by_partition = [list(rows) for _, rows in itertools.groupby(sorted(kinds + control), key=lambda row: row[0])]
            for rows in by_partition:
                member.told.append(("acknowledged", member.acknowledge(rows)) if any(kind for _, _, kind in rows) else ("acknowledged", member.acknowledge(rows) and []))
            if wrong == "again" and kinds:
                member.told.append(("again", member.acknowledge(kinds[:1])))
            if wrong == "far":
                member.told.append(("far", member.acknowledge([(0, 5000, 1)])))
        return self.share_exchange("ShareAcknowledge", work)

    # ---- fetch sessions

    def fetch_session(self):
        """A session of two topics: opened, gone on with after something was produced, a topic left out, ended."""
        (first, a), (second, b) = self.known_topic(), self.known_topic()
        offset, wrong, again = self.one_of(0, 0, 1), self.one_of("", "", "", "epoch", "session"), self.one_of(True, False)

        def play(side):
            told, version = [], made.version

            def fetch(session, epoch, topics, forgotten=()):
                answer = side.call("Fetch", version, {
                    "MaxWaitMs": 0, "MinBytes": 0, "MaxBytes": 1 << 20, "SessionId": session, "SessionEpoch": epoch,
                    "Topics": [{"Topic": t, "TopicId": side.topic_id(t), "Partitions": [{"Partition": p, "CurrentLeaderEpoch": -1, "FetchOffset": offset, "PartitionMaxBytes": 1 << 20}
                                                                                        for p in (0, 1)]} for t in topics],
                    "ForgottenTopicsData": [{"Topic": t, "TopicId": side.topic_id(t), "Partitions": [0, 1]} for t in forgotten]})
                rows = [] if "nothing" in answer else sorted(
                    (self.named(side, t), p["PartitionIndex"], p["ErrorCode"], [base for base, _, _ in batches_of(p["Records"] or b"")]) for t in answer["Responses"] for p in t["Partitions"])
                told.append([answer.get("ErrorCode", answer.get("nothing")), rows])
                return answer.get("SessionId", 0)
            session = fetch(0, 0, dict.fromkeys((a, b)))
            if session:
                fetch(session, 1, [])
                if again:
                    fetch(session, 2, [b], [a] if a != b else [])
                if wrong:
                    fetch(session + (wrong == "session") * 7, 9, [])
                fetch(session, -1, [])
            return {"told": " | ".join(map(str, told)), "session": bool(session)}
        made = operation(self, "Fetch", None, label=f"session {a} {b} at {offset} {wrong}", slots=[*first, *second], play=play, low=7, reads=True)
        return made

    @staticmethod
    def named(side, row):
        known = {i: n for n, i in side.ids.items()}
        return row.get("Topic") or known.get(row.get("TopicId"), "?")

    # ---- markers, quotas, features, versions

    def write_txn_markers(self):
        """As kafka-transactions.sh's abort ends what hangs; the id is left alone afterwards."""
        slots, tid = self.tid()
        more, name = self.known_topic()
        kind, commit, partition = self.one_of("open", "open", "none", "behind"), self.one_of(False, True), self.partition()

        def build(side):
            pid, epoch = side.kept.get(tid, (5555, 0))
            return {"Markers": [{"ProducerId": 987654 if kind == "none" else pid, "ProducerEpoch": max(epoch - (kind == "behind"), 0), "TransactionResult": commit, "CoordinatorEpoch": 0,
                                 "Topics": [{"Name": name, "PartitionIndexes": [partition]}]}]}
        return operation(self, "WriteTxnMarkers", build, label=f"{kind} {tid} {commit} {name}-{partition}", slots=slots + more, ends=True)

    def quota_entity(self):
        """Rows of an entity, and whether a quota of it could slow the oracle itself."""
        kinds = self.one_of(["client-id"], ["client-id"], ["user"], ["user", "client-id"], ["ip"], ["nosuch"], ["ip", "user"])
        rows = [{"EntityType": k, "EntityName": self.one_of("127.9.9.9", "127.9.9.8", "no address", None) if k == "ip" else self.one_of(f"q1.{self.run}", f"q2.{self.run}", None, "")} for k in kinds]
        return rows, any(row["EntityName"] is None for row in rows)

    def alter_client_quotas(self):
        rows, is_wide = self.quota_entity()
        keys = ["connection_creation_rate"] if rows[0]["EntityType"] == "ip" else ["producer_byte_rate", "consumer_byte_rate", "request_percentage", "controller_mutation_rate"]
        values = [1e9] if is_wide else [1e9, 1024.5, 1024.0, 1.0, 0.5, 0.0, -1.0]
        ops = [{"Key": self.one_of(*keys, *keys, "nosuch"), "Value": self.one_of(*values), "Remove": self.one_of(False, False, True)} for _ in range(self.one_of(1, 1, 2))]
        body = {"Entries": [{"Entity": rows, "Ops": ops}], "ValidateOnly": self.one_of(False, False, True)}
        return operation(self, "AlterClientQuotas", lambda side: body)

    def describe_client_quotas(self):
        components = []
        for kind in self.one_of([], ["user"], ["client-id"], ["user", "client-id"], ["ip"], ["nosuch"], ["user", "user"], ["user", "ip"]):
            match = self.one_of(0, 0, 1, 2, 3)
            components.append({"EntityType": kind, "MatchType": match, "Match": self.one_of(f"q1.{self.run}", "127.9.9.9") if match == 0 else None})
        body = {"Components": components, "Strict": self.one_of(False, True)}
        return operation(self, "DescribeClientQuotas", lambda side: body, reads=True)

    def update_features(self):
        """What changes a feature in Kafka is only tried."""
        on = {"group.version": 1, "share.version": 1, "transaction.version": 2, "nosuch": 1}
        name, level, kind = self.one_of(*on), self.one_of("on", "on", "far", "off", "minus"), self.one_of(1, 1, 2, 3, 0)
        level = {"on": on[name], "far": 99, "off": 0, "minus": -2}[level]
        body = {"timeoutMs": 5000, "FeatureUpdates": [{"Feature": name, "MaxVersionLevel": level, "UpgradeType": kind}], "ValidateOnly": True}
        return operation(self, "UpdateFeatures", lambda side: body, low=1)

    def api_versions(self):
        body = {"ClientSoftwareName": self.one_of("oracle", "", "-", "a b"), "ClientSoftwareVersion": "1.0"}

        def play(side):
            answer = side.call("ApiVersions", made.version, body)
            served = {m.key for m in frames.MESSAGES.values() if m.key is not None}
            return {"ErrorCode": answer.get("ErrorCode"), "nothing": answer.get("nothing"), "rows": sorted(str(row) for row in answer.get("ApiKeys", []) if row["ApiKey"] in served)}
        made = operation(self, "ApiVersions", lambda side: body, play=play)
        return made
