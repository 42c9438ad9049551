"""confluent-kafka (librdkafka): every codec, groups of both protocols whose members come and go, transactions, admin. Argument: the bootstrap server."""
import collections
import sys
import threading

import confluent_kafka as ck
from confluent_kafka import admin as adm
from report import end, same, step, unique, wait

SERVER = sys.argv[1]
ADMIN = adm.AdminClient({"bootstrap.servers": SERVER})
WAIT = 30


def create(name, partitions):
    topic = unique(name)
    ADMIN.create_topics([adm.NewTopic(topic, partitions, 1)])[topic].result(WAIT)
    return topic


def producer(**more):
    return ck.Producer({"bootstrap.servers": SERVER, **{k.replace("_", "."): v for k, v in more.items()}})


def consumer(group, **more):
    return ck.Consumer({"bootstrap.servers": SERVER, "group.id": group, "auto.offset.reset": "earliest", "enable.auto.commit": False,
                        **{k.replace("_", "."): v for k, v in more.items()}})


def read(source, count):
    out = []
    wait(lambda: out.extend(m for m in source.consume(500, 0.3) if not m.error()) or len(out) >= count, f"{count} records")
    return out


def codecs():
    topic, sent = create("codecs", 2), collections.defaultdict(list)
    for codec in ("none", "gzip", "snappy", "lz4", "zstd"):
        p = producer(compression_type=codec, enable_idempotence=True, linger_ms=5)
        for i in range(500):
            value = f"{codec}-{i}-" + "x" * (i % 97)
            sent[codec].append(value)
            p.produce(topic, value, codec, headers=[("n", str(i))])
        same(p.flush(WAIT), 0, "unsent")
    c, got = consumer(unique("codecs"), check_crcs=True), collections.defaultdict(list)
    c.subscribe([topic])
    for m in read(c, 2500):
        got[m.key().decode()].append(m.value().decode())
        same(m.headers()[0][1].decode(), m.value().decode().split("-")[1], "header")
    same(got, sent, "records by codec")
    c.close()


class Member(threading.Thread):
    def __init__(self, topic, group, settings):
        super().__init__(daemon=True)
        self.consumer, self.has, self.is_ending, self.failure = consumer(group, **settings), set(), False, None
        self.consumer.subscribe([topic])
        self.start()

    def run(self):
        try:
            while not self.is_ending:
                for m in self.consumer.consume(100, 0.1):
                    if m.error():
                        raise ck.KafkaException(m.error())
                    self.consumer.commit(m, asynchronous=True)
                self.has = {p.partition for p in self.consumer.assignment()}
            self.consumer.close()
        except BaseException as e:
            self.failure = e


def groups(settings):
    topic, group, members, sent = create("groups", 6), unique("group"), [], 0
    p = producer()
    for wanted in (1, 2, 3, 2, 1, 3):
        while len(members) < wanted:
            members.append(Member(topic, group, settings))
        while len(members) > wanted:
            members[0].is_ending = True
            members.pop(0).join(WAIT)
        wait(lambda: sorted(x for m in members for x in m.has) == list(range(6)) and all(m.has for m in members), f"{wanted} members that share 6 partitions")
        for i in range(60):
            p.produce(topic, str(i), partition=i % 6)
        p.flush(WAIT)
        sent += 10

        def committed(sent=sent):
            asked = ck.ConsumerGroupTopicPartitions(group)
            found = ADMIN.list_consumer_group_offsets([asked])[group].result(WAIT).topic_partitions
            return sorted((t.partition, t.offset) for t in found) == [(n, sent) for n in range(6)]
        wait(committed, "all committed")
        same([m.failure for m in members if m.failure], [], "failures")
    for m in members:
        m.is_ending = True
        m.join(WAIT)
    ADMIN.delete_consumer_groups([group])[group].result(WAIT)


def transactions():
    source, target, tid = create("source", 2), create("target", 2), unique("tid")
    fill = producer()
    for i in range(100):
        fill.produce(source, str(i), partition=i % 2)
    fill.flush(WAIT)
    p, c = producer(transactional_id=tid), consumer(unique("chain"), isolation_level="read_committed")
    p.init_transactions(WAIT)
    c.subscribe([source])
    done = turn = 0
    while done < 100:
        records = [m for m in c.consume(10, 1.0) if not m.error()]
        if not records:
            continue
        p.begin_transaction()
        for m in records:
            p.produce(target, m.value() + b"!", partition=m.partition())
        p.send_offsets_to_transaction(c.position(c.assignment()), c.consumer_group_metadata(), WAIT)
        turn += 1
        if turn % 4 == 0:
            p.abort_transaction(WAIT)
            for at in c.committed(c.assignment(), WAIT):
                at.offset = max(at.offset, 0)
                c.seek(at)
        else:
            p.commit_transaction(WAIT)
            done += len(records)
    out = consumer(unique("out"), isolation_level="read_committed")
    out.subscribe([target])
    values = [m.value() for m in read(out, 100)] + [m.value() for m in out.consume(500, 0.5) if not m.error()]
    same((len(values), len(set(values))), (100, 100), "values, each once")
    second = producer(transactional_id=tid)
    second.init_transactions(WAIT)
    try:
        p.begin_transaction()
        p.produce(target, b"zombie")
        p.commit_transaction(WAIT)
        raise AssertionError("a zombie committed")
    except ck.KafkaException as e:
        same(e.args[0].fatal(), True, "the zombie's end")


def admin():
    topic, group = create("admin", 2), unique("admin")
    same(len(ADMIN.list_topics(topic).topics[topic].partitions), 2, "partitions")
    ADMIN.create_partitions([adm.NewPartitions(topic, 4)])[topic].result(WAIT)
    described = ADMIN.describe_topics(ck.TopicCollection([topic]))[topic].result(WAIT)
    same(len(described.partitions), 4, "partitions")
    resource = adm.ConfigResource(adm.ConfigResource.Type.TOPIC, topic, incremental_configs=[
        adm.ConfigEntry("retention.ms", "123456", incremental_operation=adm.AlterConfigOpType.SET)])
    ADMIN.incremental_alter_configs([resource])[resource].result(WAIT)
    same(ADMIN.describe_configs([resource])[resource].result(WAIT)["retention.ms"].value, "123456", "retention.ms")
    p = producer()
    for i in range(10):
        p.produce(topic, str(i), partition=0, timestamp=1_700_000_000_000 + i)
    p.flush(WAIT)
    at = ck.TopicPartition(topic, 0)

    def offset(spec):
        return ADMIN.list_offsets({at: spec})[at].result(WAIT).offset
    same([offset(s) for s in (adm.OffsetSpec.latest(), adm.OffsetSpec.for_timestamp(1_700_000_000_004), adm.OffsetSpec.max_timestamp())], [10, 4, 9], "offsets")
    ADMIN.delete_records([ck.TopicPartition(topic, 0, 3)])[at].result(WAIT)
    same(offset(adm.OffsetSpec.earliest()), 3, "earliest")
    ADMIN.alter_consumer_group_offsets([ck.ConsumerGroupTopicPartitions(group, [ck.TopicPartition(topic, 0, 5)])])[group].result(WAIT)
    found = ADMIN.list_consumer_group_offsets([ck.ConsumerGroupTopicPartitions(group)])[group].result(WAIT).topic_partitions
    same([(t.partition, t.offset) for t in found], [(0, 5)], "offsets of the group")
    ADMIN.describe_consumer_groups([group])[group].result(WAIT)
    ADMIN.list_consumer_groups().result(WAIT)
    ADMIN.delete_consumer_groups([group])[group].result(WAIT)
    ADMIN.describe_cluster().result(WAIT)
    ADMIN.delete_topics([topic])[topic].result(WAIT)


step("codecs", codecs)
step("groups", groups, {"session_timeout_ms": 10000, "heartbeat_interval_ms": 500})
step("groups cooperative", groups, {"session_timeout_ms": 10000, "heartbeat_interval_ms": 500, "partition_assignment_strategy": "cooperative-sticky"})
step("groups consumer", groups, {"group_protocol": "consumer"})
step("transactions", transactions)
step("admin", admin)
end()
