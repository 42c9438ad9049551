"""Kafka's own command-line tools, run the same way against a real Kafka and against us: exit codes, output and the errors they name are to be equal.

What is made by chance or by time (ids, ports, paths, times) is levelled; of an error its class counts, not its text. A step with `differs` says why the two
may answer differently; then it has only to end as it says."""
import difflib
import json
import os
import re
import subprocess
import threading

import places


class Step:
    def __init__(self, main, *args, feed=None, sort=False, shape=False, last=None, since="3", differs="", named="--bootstrap-server"):
        self.main = main if main.startswith("kafka.") else "org.apache.kafka.tools." + main
        self.args, self.feed, self.sort, self.shape, self.last, self.since, self.differs, self.named = args, feed, sort, shape, last, since, differs, named

    def __str__(self):
        return " ".join([self.main.rsplit(".", 1)[1], *self.args])


def steps(files):
    """The story; `files` is where its input files are."""
    def topics(*args, **more):
        return Step("TopicCommand", *args, **more)

    def groups(*args, **more):
        return Step("consumer.group.ConsumerGroupCommand", *args, **more)

    def shares(*args, **more):
        return Step("consumer.group.ShareGroupCommand", *args, since="4", **more)

    def configs(*args, **more):
        return Step("kafka.admin.ConfigCommand", *args, **more)

    def offsets(*args, **more):
        return Step("GetOffsetShell", *args, **more)

    def file(name, value):
        path = os.path.join(files, name)
        with open(path, "w") as f:
            json.dump(value, f)
        return path

    def keyed(codec):
        return "".join(f"k{i}:{codec}{i}\n" for i in range(1, 21))

    quotas = "client quotas are not built here"
    first = {"topic": "t1", "partition": 0}
    deleted = file("delete.json", {"partitions": [{**first, "offset": 3}], "version": 1})
    refused = file("refuse.json", {"partitions": [{**first, "offset": 3000}, {"topic": "t2", "partition": 0, "offset": 1}], "version": 1})
    moved = file("move.json", {"version": 1, "partitions": [{**first, "replicas": [1]}]})
    reader = ["--reader-property", "parse.key=true", "--reader-property", "key.separator=:"]
    return [
        topics("--create", "--topic", "t1", "--partitions", "3"),
        topics("--create", "--topic", "t2", "--config", "retention.ms=100000", "--config", "cleanup.policy=compact"),
        topics("--create", "--topic", "t1"),
        topics("--create", "--topic", "t1", "--if-not-exists"),
        topics("--create", "--topic", "bad", "--config", "nosuch=1"),
        topics("--create", "--topic", "bad", "--replication-factor", "3"),
        topics("--create", "--topic", "b/d"),
        topics("--list", "--exclude-internal"),
        topics("--describe"),
        topics("--alter", "--topic", "t1", "--partitions", "5"),
        topics("--alter", "--topic", "t1", "--partitions", "2"),
        topics("--describe", "--topic", "t1"),
        topics("--describe", "--under-replicated-partitions"),
        topics("--describe", "--topics-with-overrides", differs="a Kafka 4 node sets min.insync.replicas on its cluster, which its tool takes for an override"),
        topics("--describe", "--topic", "nosuch"),
        *[Step("ConsoleProducer", "--topic", "t1", "--compression-codec", codec, "--command-property", "linger.ms=5", *reader, feed=keyed(codec))
          for codec in ("none", "gzip", "snappy", "lz4", "zstd")],
        Step("ConsoleProducer", "--topic", "t1", "--command-property", "acks=0", *reader, feed="k1:zero\n"),
        Step("ConsoleProducer", "--topic", "t1", "--command-property", "acks=1", *reader, feed="k1:one\n"),
        *[Step("consumer.ConsoleConsumer", "--topic", "t1", "--from-beginning", "--max-messages", "102", "--timeout-ms", "30000",
               "--formatter-property", "print.key=true", "--formatter-property", "print.partition=true", "--formatter-property", "print.offset=true",
               "--group", group, "--command-property", f"group.protocol={protocol}", sort=True) for group, protocol in (("g1", "classic"), ("g2", "consumer"))],
        Step("consumer.ConsoleConsumer", "--topic", "t1", "--partition", "1", "--offset", "2", "--max-messages", "3", "--timeout-ms", "30000"),
        groups("--list", sort=True),
        groups("--list", "--state", sort=True),
        groups("--list", "--type", sort=True, since="4"),
        groups("--describe", "--all-groups", sort=True),
        groups("--describe", "--group", "g1", "--state"),
        groups("--describe", "--group", "g2", "--members", "--verbose"),
        groups("--describe", "--group", "nosuch"),
        *[groups("--reset-offsets", "--group", group, *how, sort=True) for group, *how in (
            ("g1", "--topic", "t1", "--to-earliest", "--dry-run"), ("g1", "--topic", "t1", "--to-earliest", "--execute"),
            ("g1", "--topic", "t1", "--shift-by", "5", "--execute"), ("g2", "--topic", "t1:0,1", "--to-offset", "3", "--execute"),
            ("g2", "--all-topics", "--to-datetime", "2020-01-01T00:00:00.000", "--execute"), ("g2", "--all-topics", "--by-duration", "PT1H", "--execute"),
            ("g2", "--all-topics", "--to-current", "--export"), ("new", "--topic", "t1", "--to-latest", "--execute"))],
        groups("--delete-offsets", "--group", "g1", "--topic", "t1"),
        groups("--delete", "--group", "g1"),
        groups("--delete", "--group", "nosuch"),
        Step("GroupsCommand", "--list", sort=True, since="4"),
        *[offsets("--topic", "t1", "--time", time) for time in ("latest", "earliest", "earliest-local", "latest-tiered", "1000")],
        offsets("--topic-partitions", "t1:0-2,t2"),
        offsets("--topic", "nosuch"),
        Step("DeleteRecordsCommand", "--offset-json-file", deleted),
        Step("DeleteRecordsCommand", "--offset-json-file", refused, sort=True),
        offsets("--topic", "t1", "--time", "earliest"),
        Step("LogDirsCommand", "--describe", "--topic-list", "t1", shape=True, sort=True),
        configs("--describe", "--entity-type", "topics", "--entity-name", "t2", differs="where a setting is given its default is not named as a synonym"),
        configs("--describe", "--entity-type", "topics", "--entity-name", "t2", "--all",
                differs="robustmq.mode is ours, segment.bytes is 256 MiB where nobody sets it, and settings without effect are their own synonyms"),
        configs("--alter", "--entity-type", "topics", "--entity-name", "t2", "--add-config", "retention.ms=5000,segment.bytes=1048576"),
        configs("--alter", "--entity-type", "topics", "--entity-name", "t2", "--delete-config", "retention.ms"),
        *[configs("--alter", "--entity-type", "topics", "--entity-name", name, "--add-config", setting) for name, setting in (
            ("t2", "retention.ms=x"), ("t2", "nosuch=x"), ("nosuch", "retention.ms=1000"), ("t2", "cleanup.policy=[compact,delete]"))],
        configs("--describe", "--entity-type", "topics", "--entity-name", "t2", differs="where a setting is given its default is not named as a synonym"),
        configs("--describe", "--entity-type", "brokers", "--entity-name", "1", differs="a Kafka 4 node sets min.insync.replicas on its cluster"),
        configs("--alter", "--entity-type", "groups", "--entity-name", "g2", "--add-config", "consumer.session.timeout.ms=50000", since="4"),
        configs("--describe", "--entity-type", "groups", "--entity-name", "g2", since="4", differs="where a setting is given its default is not named as a synonym"),
        configs("--describe", "--entity-type", "clients"),
        configs("--describe", "--entity-type", "client-metrics"),
        configs("--alter", "--entity-type", "clients", "--entity-name", "c", "--add-config", "producer_byte_rate=1024", differs=quotas),
        Step("ClientMetricsCommand", "--list"),
        Step("TransactionsCommand", "list"),
        Step("TransactionsCommand", "describe", "--transactional-id", "nosuch"),
        Step("TransactionsCommand", "describe-producers", "--topic", "t1", "--partition", "0", shape=True, sort=True),
        Step("TransactionsCommand", "find-hanging", "--topic", "t1", "--partition", "0"),
        Step("BrokerApiVersionsCommand", differs="what is not served is not advertised"),
        Step("FeatureCommand", "describe", differs="metadata.version, kraft.version, eligible.leader.replicas.version and streams.version are none of ours"),
        Step("FeatureCommand", "upgrade", "--feature", "group.version=1", since="4"),
        Step("ClusterTool", "cluster-id"),
        Step("LeaderElectionCommand", "--election-type", "PREFERRED", "--all-topic-partitions", sort=True),
        Step("LeaderElectionCommand", "--election-type", "UNCLEAN", "--topic", "t1", "--partition", "0"),
        Step("reassign.ReassignPartitionsCommand", "--reassignment-json-file", moved, "--execute"),
        Step("reassign.ReassignPartitionsCommand", "--reassignment-json-file", moved, "--verify"),
        Step("reassign.ReassignPartitionsCommand", "--list"),
        configs("--alter", "--entity-type", "groups", "--entity-name", "sg1", "--add-config", "share.auto.offset.reset=earliest", since="4"),
        *[Step("consumer.ConsoleShareConsumer", "--topic", "t1", "--group", "sg1", "--max-messages", "20", "--timeout-ms", "30000", *how, since="4", last=1)
          for how in ((), ("--release",), ("--reject",))],
        shares("--list"),
        shares("--describe", "--group", "sg1", shape=True, sort=True),
        shares("--describe", "--group", "sg1", "--members", "--verbose"),
        shares("--describe", "--group", "sg1", "--state", "--verbose", differs="a group's epoch counts fewer changes here"),
        shares("--reset-offsets", "--group", "sg1", "--topic", "t1", "--to-latest", "--dry-run", sort=True),
        shares("--reset-offsets", "--group", "sg1", "--topic", "t1", "--to-earliest", "--execute", sort=True),
        shares("--reset-offsets", "--group", "sg1", "--all-topics", "--to-latest", "--execute", sort=True),
        shares("--delete-offsets", "--group", "sg1", "--topic", "t1"),
        shares("--delete", "--group", "sg1"),
        shares("--describe", "--group", "sg1"),
        topics("--create", "--topic", "perf", "--partitions", "2"),
        Step("ProducerPerformance", "--topic", "perf", "--num-records", "5000", "--record-size", "100", "--throughput", "-1", shape=True,
             named="--producer-props", last=1),
        Step("ConsumerPerformance", "--topic", "perf", "--messages", "5000", shape=True, last=1),
        configs("--alter", "--entity-type", "groups", "--entity-name", "perfshare", "--add-config", "share.auto.offset.reset=earliest", since="4"),
        Step("ShareConsumerPerformance", "--topic", "perf", "--messages", "5000", "--group", "perfshare", shape=True, since="4.1", last=1),
        topics("--create", "--topic", "verify", "--partitions", "1"),
        Step("VerifiableProducer", "--topic", "verify", "--max-messages", "20", shape=True, last=20),
        *[Step("VerifiableConsumer", "--topic", "verify", "--group-id", group, "--max-messages", "20", "--reset-policy", "earliest", "--group-protocol", protocol,
               shape=True, sort=True) for group, protocol in (("v1", "classic"), ("v2", "consumer"))],
        Step("VerifiableShareConsumer", "--topic", "verify", "--group-id", "v3", "--max-messages", "20", "--offset-reset-strategy", "earliest", since="4",
             shape=True, sort=True),
        topics("--delete", "--topic", "t2"),
        topics("--delete", "--topic", "nosuch"),
        topics("--list", "--exclude-internal"),
    ]


# What Kafka 3.9's tools call what 4.2's renamed.
BEFORE = {"--reader-property": "--property", "--formatter-property": "--property"}


def spelled(step, version, server):
    args = list(step.args)
    if version.startswith("3."):
        names = {**BEFORE, "--command-property": "--producer-property" if "Producer" in step.main else "--consumer-property"}
        args = [names.get(a, a) for a in args]
    elif step.main.endswith("ConsumerPerformance"):
        args = [{"--messages": "--num-records"}.get(a, a) for a in args]
    at = [step.named, f"bootstrap.servers={server}" if step.named == "--producer-props" else server]
    if step.main.endswith(("ClusterTool", "FeatureCommand", "TransactionsCommand")):
        return [*args, *at] if step.main.endswith("ClusterTool") else [*at, *args]
    return [*at, *args]


LEVELS = [(r"127\.0\.0\.1:\d+", "SERVER"), (r"/\S*/(home|data|real\S*)(?=[\"',\]])", "DIRECTORY"), (r"min\.insync\.replicas=1,?", ""),
          (r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f-]{22,27}", "UUID"), (r"TopicId: \S+", "TopicId: ID"), (r"Cluster ID: \S+", "Cluster ID: ID"),
          (r"\b\d{13}\b", "TIME"), (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d[:.]\d+", "TIME"), (r"Epoch: \d+", "Epoch: N"), (r"\s+$", ""), (r"[ \t]+", " ")]


def levelled(step, text):
    """The lines that count; of errors only which class they are."""
    lines = []
    for line in text.splitlines():
        if re.match(r"\s+at |\s*$|\s+\.\.\. \d+ more|.*KIP-848", line):
            continue
        for pattern, level in LEVELS:
            line = re.sub(pattern, level, line)
        named = re.findall(r"(?:\w+\.)+(\w+(?:Exception|Error))\b", line)
        is_error = re.match(r"(WARN|ERROR|FATAL) \w+", line)
        if named or is_error:
            line = " ".join(([is_error.group(0)] if is_error else []) + named)
        line = re.sub(r"^(Error.*?:|partition: \S+ error:) .*", r"\1", line)
        lines.append(re.sub(r"-?\d+(\.\d+)?", "N", line) if step.shape else line)
    if step.sort:
        lines.sort()
    if step.shape and step.sort:
        lines = sorted(set(lines))
    return lines[-step.last:] if step.last else lines


def run_one(step, version, class_path, server):
    command = places.java(class_path, step.main, *spelled(step, version, server))
    try:
        done = subprocess.run(command, input=step.feed or "", capture_output=True, text=True, timeout=120, check=False)
        return done.returncode, done.stdout + done.stderr
    except subprocess.TimeoutExpired as late:
        return -1, f"it did not end within {late.timeout} s\n{(late.stdout or b'').decode()}"


def run(version, class_path, us, kafka, home):
    """Both at once; yields (step, problem or "", its explanation)."""
    os.makedirs(home)
    story = [s for s in steps(home) if tuple(map(int, s.since.split("."))) <= tuple(map(int, version.split(".")))]
    seen = {}

    def tell(name, server):
        seen[name] = [run_one(step, version, class_path, server) for step in story]

    threads = [threading.Thread(target=tell, args=each) for each in (("us", us), ("kafka", kafka))]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    with open(os.path.join(home, "outputs.txt"), "w") as f:
        for step, ours, theirs in zip(story, seen["us"], seen["kafka"]):
            f.write(f"$ {step}\n--- us: {ours[0]}\n{ours[1]}\n--- Kafka: {theirs[0]}\n{theirs[1]}\n")
    for step, ours, theirs in zip(story, seen["us"], seen["kafka"]):
        wanted, got = levelled(step, theirs[1]), levelled(step, ours[1])
        problem = []
        if ours[0] != theirs[0]:
            problem.append(f"it ended with {ours[0]}, against Kafka with {theirs[0]}")
        problem += [line for line in difflib.unified_diff(wanted, got, "Kafka", "us", lineterm="", n=0) if not line.startswith("@@")]
        yield step, "\n".join(problem), step.differs
