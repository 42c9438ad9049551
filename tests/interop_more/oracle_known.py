"""Where the oracle's two sides differ and are meant to; docs/kafka.md says the same in its own words."""


def codes_are(ours, theirs, us, kafka):
    """Both answers have one error code each, these."""
    return ours.get("ErrorCode") == us and theirs.get("ErrorCode") == kafka


def all_codes(answer):
    """The error codes of an answer's rows or of their partitions."""
    rows = answer.get("Responses") or answer.get("Topics") or answer.get("Results") or []
    return [p["ErrorCode"] for row in rows for p in row.get("Partitions", row.get("PartitionResponses", [row]))]


def only_starts_differ(ours, theirs):
    """Both name the same partitions, with other starts or lags."""
    def rows(answer):
        return [(g["GroupId"], g["ErrorCode"], t["TopicName"], p["PartitionIndex"], p["ErrorCode"]) for g in answer["Groups"] for t in g["Topics"] for p in t["Partitions"]]
    return sorted(rows(ours)) == sorted(rows(theirs))


def only_empty_are_more(ours, theirs):
    """Kafka lists classic groups without members that are not there here, and nothing else differs."""
    more = [g for g in theirs["Groups"] if g not in ours["Groups"]]
    return all(g in theirs["Groups"] for g in ours["Groups"]) and all(g.get("GroupState") == "Empty" and g.get("GroupType") == "classic" for g in more)


EMPTY = "a classic group without members and offsets is gone at once, and in Kafka at its next clean-up"

# (API or "", does it apply, why the two differ and are meant to).
KNOWN = [
    ("ConsumerGroupHeartbeat", lambda o, us, kafka: codes_are(us, kafka, 25, 69), "a member of a group that is not there is told to join again, not that there is no group"),
    ("Produce", lambda o, us, kafka: set(all_codes(kafka)) <= {3, 100} and set(all_codes(us)) <= {2, 21, 32, 87},
     "acks that are none and batches that are none are refused before their partition is looked for"),
    ("Produce", lambda o, us, kafka: (all_codes(us), all_codes(kafka)) == ([21], [87]), "acks that are none are refused before the batch is looked at"),
    ("Produce", lambda o, us, kafka: (all_codes(us), all_codes(kafka)) == ([3], [100]), "a transaction's batch for an id that is not there gets 3 instead of 100"),
    ("TxnOffsetCommit", lambda o, us, kafka: set(all_codes(kafka)) == {3} and set(all_codes(us)) <= {24, 47, 48, 49, 90, 120},
     "a producer that may not commit is told so before its topics are looked for"),
    ("AddOffsetsToTxn", lambda o, us, kafka: us.get("ErrorCode") == 24, "a group without a name is refused at once in a transaction"),
    ("ConsumerGroupHeartbeat", lambda o, us, kafka: us["ErrorCode"] == kafka["ErrorCode"] == 0 and not (kafka.get("Assignment") or {}).get("TopicPartitions"),
     "Kafka's coordinator hears of a new topic a moment later"),
    ("CreatePartitions", lambda o, us, kafka: (all_codes(us), all_codes(kafka)) == ([17], [3]), "a name that cannot be is 17, where Kafka says that it is not there"),
    ("IncrementalAlterConfigs", lambda o, us, kafka: (all_codes(us), all_codes(kafka)) == ([3], [17]), "a name that cannot be is not there"),
    ("AlterConfigs", lambda o, us, kafka: (all_codes(us), all_codes(kafka)) == ([3], [17]), "a name that cannot be is not there"),
    ("DescribeShareGroupOffsets", lambda o, us, kafka: "'none'" in str(us) and "'none'" in str(kafka), "a share group's offsets of a topic that is not there are 3"),
    ("AlterShareGroupOffsets", lambda o, us, kafka: (us["ErrorCode"], kafka["ErrorCode"]) == (0, 69), "an empty classic group without offsets may become a share group"),
    ("DescribeGroups", lambda o, us, kafka: "CompletingRebalance" in str(us) and "CompletingRebalance" in str(kafka),
     "the assignment of a generation that is over is not shown while the next is made"),
    ("ListGroups", lambda o, us, kafka: [g["GroupId"] for g in us["Groups"]] == [g["GroupId"] for g in kafka["Groups"]] or o.told.count("'StatesFilter': []") == 0,
     "the state of a consumer group between two heartbeats"),
    ("Produce", lambda o, us, kafka: all_codes(us) == [87] and all_codes(kafka) in ([47], [48], [49], [120]), "records without a key in a compacted topic are refused before the producer is looked at"),
    ("DescribeConfigs", lambda o, us, kafka: "delete,compact" in str(kafka), "cleanup.policy has one order here"),
    ("ConsumerGroupDescribe", lambda o, us, kafka: "Assigning" in str(kafka), "the state of a consumer group between two heartbeats"),
    ("CreateTopics", lambda o, us, kafka: all(u in (37, 38, 39) and k == 40 for u, k in zip(all_codes(us), all_codes(kafka)) if u != k),
     "numbers of replicas and partitions are refused before a value out of range"),
    ("JoinGroup", lambda o, us, kafka: kafka.get("ErrorCode") == -1, "Kafka fails with -1 on a join to a group that another protocol's requests made"),
    ("AlterConfigs", lambda o, us, kafka: (all_codes(us), all_codes(kafka)) == ([40], [17]), "a setting that is none is told before a name that cannot be"),
    ("IncrementalAlterConfigs", lambda o, us, kafka: (all_codes(us), all_codes(kafka)) in (([40], [17]), ([42], [40])), "a setting that is none is told before a name that cannot be"),
    ("IncrementalAlterConfigs", lambda o, us, kafka: set(all_codes(kafka)) == {-1}, "an operation that is none is 42, where Kafka fails with -1"),
    ("AlterConfigs", lambda o, us, kafka: (all_codes(us), all_codes(kafka)) == ([3], [40]), "a topic that is not there is told before a value out of range"),
    ("IncrementalAlterConfigs", lambda o, us, kafka: (all_codes(us), all_codes(kafka)) == ([3], [40]), "a topic that is not there is told before a value out of range"),
    ("Fetch", lambda o, us, kafka: all_codes(us) == all_codes(kafka) == [1], "an offset out of range is answered with the log's bounds, where Kafka says -1"),
    ("ListGroups", lambda o, us, kafka: only_empty_are_more(us, kafka), EMPTY),
    ("DeleteGroups", lambda o, us, kafka: (all_codes(us), all_codes(kafka)) == ([69], [0]), EMPTY),
    ("OffsetDelete", lambda o, us, kafka: codes_are(us, kafka, 69, 0), EMPTY),
    ("DeleteShareGroupOffsets", lambda o, us, kafka: kafka["ErrorCode"] == 0 and not kafka["Responses"] and set(all_codes(us)) == {3},
     "a topic that a share group has not read is 3, and by Kafka left out at times"),
    ("DescribeGroups", lambda o, us, kafka: [(g["GroupState"], len(g["Members"])) for g in us["Groups"] + kafka["Groups"]] == [("Dead", 0), ("Empty", 0)], EMPTY),
    ("ShareAcknowledge", lambda o, us, kafka: us["told"] == kafka["told"].replace("far: [0, (0, 42, 0)]", "far: [0, (0, 121, 0)]"),
     "an acknowledgement behind all that was given is 121, where Kafka says 42 while it holds anything"),
    ("ShareFetch", lambda o, us, kafka: us["told"] == kafka["told"].replace("far: [0, (0, 0, 42)]", "far: [0, (0, 0, 121)]"),
     "an acknowledgement behind all that was given is 121, where Kafka says 42 while it holds anything"),
    ("UpdateFeatures", lambda o, us, kafka: us["ErrorCode"] == 95 and kafka["ErrorCode"] == 0, "no feature can be changed here"),
    ("DescribeTopicPartitions", lambda o, us, kafka: [t["ErrorCode"] for t in us["Topics"]] == [17] and [t["ErrorCode"] for t in kafka["Topics"]] == [-1],
     "a topic without a name is 17, where Kafka fails with -1"),
    ("DescribeShareGroupOffsets", lambda o, us, kafka: only_starts_differ(us, kafka), "where a share group stands is told at once, and by Kafka when its coordinator has stored it"),
    ("AlterShareGroupOffsets", lambda o, us, kafka: "'ErrorCode': 3" in str(kafka) and "'ErrorCode': 3" not in str(us), "Kafka's coordinator hears of a new topic a moment later"),
    ("ShareGroupHeartbeat", lambda o, us, kafka: us["ErrorCode"] == kafka["ErrorCode"] == 0 and not kafka["Assignment"]["TopicPartitions"],
     "Kafka gives a share group's partitions when it has initialised them, some heartbeats later"),
    ("ShareGroupHeartbeat", lambda o, us, kafka: codes_are(us, kafka, 25, 69), "a member of a group that is not there is told to join again, not that there is no group"),
]
