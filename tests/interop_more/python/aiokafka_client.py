"""aiokafka: every codec, a group whose members come and go, transactions, admin. Argument: the bootstrap server."""
import asyncio
import collections
import sys

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError
from report import end, same, step, unique

SERVER = sys.argv[1]


async def create(name, partitions):
    topic, admin = unique(name), AIOKafkaAdminClient(bootstrap_servers=SERVER)
    await admin.start()
    await admin.create_topics([NewTopic(topic, partitions, 1)])
    await admin.close()
    return topic


async def until(done, what, seconds=60):
    async with asyncio.timeout(seconds):
        while not (done() if not asyncio.iscoroutinefunction(done) else await done()):
            await asyncio.sleep(0.02)
    return what


async def read(consumer, count):
    out = []
    async with asyncio.timeout(30):
        while len(out) < count:
            for records in (await consumer.getmany(timeout_ms=200)).values():
                out += records
    return out


async def codecs():
    topic, sent, got = await create("codecs", 2), collections.defaultdict(list), collections.defaultdict(list)
    tried = [None, "gzip"]
    for codec in ("snappy", "lz4", "zstd"):  # cramjam is what aiokafka asks for
        try:
            AIOKafkaProducer(bootstrap_servers=SERVER, compression_type=codec)
            tried.append(codec)
        except RuntimeError as e:
            print(f"without {codec}: {e}", file=sys.stderr)
    for codec in tried:
        async with AIOKafkaProducer(bootstrap_servers=SERVER, compression_type=codec, enable_idempotence=True, linger_ms=5) as producer:
            for i in range(500):
                value = f"{codec}-{i}-" + "x" * (i % 97)
                sent[str(codec)].append(value)
                await producer.send(topic, value.encode(), key=str(codec).encode(), headers=[("n", str(i).encode())])
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=SERVER, auto_offset_reset="earliest")
    async with consumer:
        for r in await read(consumer, 500 * len(tried)):
            got[r.key.decode()].append(r.value.decode())
    same(got, sent, "records by codec")


async def groups():
    topic, group, members, sent = await create("groups", 6), unique("group"), [], 0

    async def member(consumer):
        async for record in consumer:
            await consumer.commit({TopicPartition(record.topic, record.partition): record.offset + 1})

    async with AIOKafkaProducer(bootstrap_servers=SERVER) as producer:
        for wanted in (1, 2, 3, 2, 1, 3):
            while len(members) < wanted:
                consumer = AIOKafkaConsumer(topic, bootstrap_servers=SERVER, group_id=group, auto_offset_reset="earliest", enable_auto_commit=False,
                                            session_timeout_ms=10000, heartbeat_interval_ms=500)
                await consumer.start()
                members.append((consumer, asyncio.create_task(member(consumer))))
            while len(members) > wanted:
                consumer, task = members.pop(0)
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
                await consumer.stop()
            await until(lambda: sorted(p.partition for c, _ in members for p in c.assignment()) == list(range(6)), f"{wanted} members share")
            for i in range(60):
                await producer.send_and_wait(topic, str(i).encode(), partition=i % 6)
            sent += 10
            for n in range(6):
                async def done(n=n, sent=sent):
                    return await members[0][0].committed(TopicPartition(topic, n)) == sent if TopicPartition(topic, n) in members[0][0].assignment() else True
                await until(done, "committed")
    for consumer, task in members:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await consumer.stop()


async def transactions():
    source, target, tid, group = await create("source", 2), await create("target", 2), unique("tid"), unique("chain")
    async with AIOKafkaProducer(bootstrap_servers=SERVER) as fill:
        for i in range(100):
            await fill.send_and_wait(source, str(i).encode(), partition=i % 2)
    consumer = AIOKafkaConsumer(source, bootstrap_servers=SERVER, group_id=group, auto_offset_reset="earliest", enable_auto_commit=False,
                                isolation_level="read_committed", max_poll_records=10)
    done = turn = 0
    async with AIOKafkaProducer(bootstrap_servers=SERVER, transactional_id=tid) as producer, consumer:
        while done < 100:
            batches = await consumer.getmany(timeout_ms=500)
            if not batches:
                continue
            turn += 1
            await producer.begin_transaction()
            for records in batches.values():
                for r in records:
                    await producer.send(target, r.value + b"!", partition=r.partition)
            await producer.send_offsets_to_transaction({p: records[-1].offset + 1 for p, records in batches.items()}, group)
            if turn % 4 == 0:
                await producer.flush()
                await producer.abort_transaction()
                for p, records in batches.items():
                    consumer.seek(p, records[0].offset)
            else:
                await producer.commit_transaction()
                done += sum(map(len, batches.values()))
        async with AIOKafkaProducer(bootstrap_servers=SERVER, transactional_id=tid) as second:
            try:
                await producer.begin_transaction()
                await producer.send_and_wait(target, b"zombie", partition=0)
                await producer.commit_transaction()
                raise AssertionError("a zombie committed")
            except KafkaError:
                pass
            await second.begin_transaction()
            await second.commit_transaction()
    out = AIOKafkaConsumer(target, bootstrap_servers=SERVER, auto_offset_reset="earliest", isolation_level="read_committed")
    async with out:
        values = [r.value for r in await read(out, 100)]
    same((len(values), len(set(values))), (100, 100), "values, each once")


async def admin():
    topic, client = await create("admin", 2), AIOKafkaAdminClient(bootstrap_servers=SERVER)
    await client.start()
    try:
        same(topic in await client.list_topics(), True, "listed")
        await client.create_partitions({topic: NewPartitions(4)})
        same(len((await client.describe_topics([topic]))[0]["partitions"]), 4, "partitions")
        await client.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, {"retention.ms": "123456"})])
        found = await client.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])
        same("123456" in str(found), True, "retention.ms")
        await client.describe_cluster()
        await client.list_consumer_groups()
        async with AIOKafkaProducer(bootstrap_servers=SERVER) as producer:
            for i in range(5):
                await producer.send_and_wait(topic, b"x", partition=0)
        await client.delete_records({TopicPartition(topic, 0): __import__("aiokafka.admin", fromlist=["RecordsToDelete"]).RecordsToDelete(3)})
        await client.delete_topics([topic])
    finally:
        await client.close()


for work in (codecs, groups, transactions, admin):
    step(work.__name__, lambda work=work: asyncio.run(work()))
end()
