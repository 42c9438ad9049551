"""MirrorMaker 2, dedicated and exactly once, from a real Kafka to us: topics with their settings and partitions, every record once, offsets of groups."""
import os
import subprocess
import time

import places
from processes import Process, bad_lines

CONFIG = """clusters=real,us
real.bootstrap.servers={kafka}
us.bootstrap.servers={server}
real->us.enabled=true
us->real.enabled=false
topics=orders.*
groups=billing.*
replication.factor=1
checkpoints.topic.replication.factor=1
heartbeats.topic.replication.factor=1
offset-syncs.topic.replication.factor=1
offset.storage.replication.factor=1
status.storage.replication.factor=1
config.storage.replication.factor=1
real->us.sync.group.offsets.enabled=true
real->us.sync.group.offsets.interval.seconds=1
real->us.emit.checkpoints.interval.seconds=1
real->us.refresh.topics.interval.seconds=1
real->us.refresh.groups.interval.seconds=1
real->us.sync.topic.configs.interval.seconds=1
real->us.sync.topic.acls.enabled=false
real->us.offset.lag.max=0
us.exactly.once.source.support=enabled
us.offset.flush.interval.ms=500
plugin.discovery=service_load
tasks.max=2
"""
CODECS = ("none", "gzip", "snappy", "lz4", "zstd")
ALLOWED = (r"ServiceLoader", r"closing", r"Close timed out", r"metadata response .* recoverable")


def run(result, version, class_path, kafka):
    home = os.path.join(result.home, "mirror")
    os.makedirs(home)
    config = os.path.join(home, "mirror.properties")
    with open(config, "w") as f:
        f.write(CONFIG.format(kafka=kafka, server=result.server))

    def tool(server, main, *args, feed=""):
        done = subprocess.run(places.java(class_path, "org.apache.kafka.tools." + main, "--bootstrap-server", server, *args), input=feed, capture_output=True,
                              text=True, timeout=120, check=False)
        return done.stdout

    def fill(codec, keys):
        tool(kafka, "ConsoleProducer", "--topic", "orders", "--compression-codec", codec, "--reader-property", "parse.key=true", "--reader-property",
             "key.separator=:", feed="".join(f"{key}:{codec}{key}\n" for key in keys))

    def read(server, topic, *more):
        out = tool(server, "consumer.ConsoleConsumer", "--topic", topic, "--from-beginning", "--timeout-ms", "6000", "--isolation-level", "read_committed",
                   "--formatter-property", "print.key=true", "--formatter-property", "print.partition=true", "--formatter-property", "print.timestamp=true", *more)
        return sorted(out.splitlines())

    tool(kafka, "TopicCommand", "--create", "--topic", "orders", "--partitions", "3", "--config", "retention.ms=7200000")
    for codec in CODECS:
        fill(codec, range(50))
    tool(kafka, "consumer.ConsoleConsumer", "--topic", "orders", "--from-beginning", "--max-messages", "250", "--group", "billing", "--timeout-ms", "20000")
    mirror = Process(places.java(class_path, "org.apache.kafka.connect.mirror.MirrorMaker", config), os.path.join(home, "mirror.log"))
    try:
        wait(mirror, lambda: "orders" in tool(result.server, "TopicCommand", "--list"), "the topic is made")
        wait(mirror, lambda: len(read(result.server, "real.orders")) >= 250, "the records are there")
        fill("zstd", range(50, 100))
        tool(kafka, "TopicCommand", "--alter", "--topic", "orders", "--partitions", "5")
        wait(mirror, lambda: "PartitionCount: 5" in tool(result.server, "TopicCommand", "--describe", "--topic", "real.orders"), "the topic grew")
        fill("none", range(100, 150))
        wait(mirror, lambda: len(read(result.server, "real.orders")) >= 350, "all records are there")
        described = tool(result.server, "TopicCommand", "--describe", "--topic", "real.orders")
        result.tell(f"mirror {version}: the topic's settings", "" if "retention.ms=7200000" in described else described)
        wanted, got = read(kafka, "orders"), read(result.server, "real.orders")
        result.tell(f"mirror {version}: each record once, in its partition, with its key and time",
                    "" if wanted == got else f"{len(got)} records, {len(set(got))} different ones, instead of {len(wanted)}")
        wait(mirror, lambda: "billing" in tool(result.server, "consumer.group.ConsumerGroupCommand", "--describe", "--group", "billing"), "the group's offsets are there")
        result.tell(f"mirror {version}: the group's offsets")
    finally:
        mirror.stop()
    result.tell(f"mirror {version}: no warnings", "\n".join(bad_lines(mirror.text(), ALLOWED)[:20]))


def wait(mirror, done, what):
    until = time.monotonic() + 120
    while not done():
        if time.monotonic() > until:
            raise AssertionError(f"{what}: not within 120 s:\n{mirror.text()[-3000:]}")
