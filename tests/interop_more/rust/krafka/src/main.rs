//! krafka: every codec, groups of both protocols whose members come and go, share groups, transactions, admin. Argument: the bootstrap server.
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use krafka::admin::{ConfigOp, ConfigResource, NewTopic, OffsetSpec, TopicPartition};
use krafka::consumer::{AutoOffsetReset, ConsumerRecord, GroupProtocol, IsolationLevel, PartitionAssignmentStrategy};
use krafka::producer::TopicPartitionOffset;
use krafka::share_consumer::AcknowledgementMode;
use krafka::{Compression, Kafka, Record};
use report::{same, server, unique, wait, Outcome, Report};

type Failure = Box<dyn std::error::Error + Send + Sync>;

async fn kafka() -> krafka::Result<Kafka> {
    Kafka::builder(server()).connect().await
}

/// The one result of a call that answers by name.
fn one<K, T>(results: HashMap<K, krafka::Result<T>>) -> Result<T, Failure> {
    Ok(results.into_values().next().ok_or("no result")??)
}

async fn create(kafka: &Kafka, name: &str, partitions: i32) -> Result<String, Failure> {
    let topic = unique(name);
    one(kafka.admin().create_topics([NewTopic::new(&topic, partitions, 1)?], Default::default()).await?)?;
    Ok(topic)
}

async fn codecs() -> Outcome {
    let kafka = kafka().await?;
    let topic = create(&kafka, "codecs", 2).await?;
    let (mut sent, mut got) = (BTreeMap::<String, String>::new(), BTreeMap::<String, String>::new());
    for codec in [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd] {
        let producer = kafka.producer().compression(codec).linger(Duration::from_millis(5)).build().await?;
        let (key, mut handles) = (format!("{codec:?}"), Vec::new());
        for i in 0..500 {
            let value = format!("{key}-{i}-{};", "x".repeat(i % 97));
            *sent.entry(key.clone()).or_default() += &value;
            handles.push(producer.enqueue(Record::new(&*topic, value).key(key.clone()).header("n", key.clone())).await?);
        }
        for handle in handles {
            let _ = handle.await?;
        }
        producer.close().await?;
    }
    let consumer = kafka.consumer_without_group().auto_offset_reset(AutoOffsetReset::Earliest).build().await?;
    consumer.assign(&topic, vec![0, 1]).await?;
    for record in read(&consumer, 2500).await? {
        *got.entry(record.key_str().unwrap_or("").into()).or_default() += record.value_str().unwrap_or("");
        same(record.header_str("n"), record.key_str(), "header")?;
    }
    same(got == sent, true, "all records as they were sent")
}

async fn read(consumer: &krafka::consumer::Consumer, count: usize) -> Result<Vec<ConsumerRecord>, Failure> {
    let mut out = Vec::new();
    while out.len() < count {
        out.extend(consumer.poll(Duration::from_millis(500)).await?);
    }
    Ok(out)
}

#[derive(Clone, Copy)]
enum Kind {
    Eager,
    Cooperative,
    Server,
}

/// A member that reads and commits until it is told to end.
struct Member {
    is_ending: Arc<AtomicBool>,
    has: Arc<Mutex<usize>>,
    task: tokio::task::JoinHandle<Outcome>,
}

// A connection of its own: a join that waits for the others holds up what follows it on the same one.
async fn join(topic: &str, group: &str, kind: Kind, seen: Arc<Mutex<HashSet<String>>>) -> Result<Member, Failure> {
    let kafka = kafka().await?;
    let builder = kafka.consumer(group).auto_offset_reset(AutoOffsetReset::Earliest).enable_auto_commit(false);
    let builder = match kind {
        Kind::Server => builder.group_protocol(GroupProtocol::Consumer),
        Kind::Eager => builder.session_timeout(Duration::from_secs(10)).heartbeat_interval(Duration::from_millis(500)),
        Kind::Cooperative => builder
            .session_timeout(Duration::from_secs(10))
            .heartbeat_interval(Duration::from_millis(500))
            .partition_assignment_strategy(PartitionAssignmentStrategy::CooperativeSticky),
    };
    let consumer = builder.build().await?;
    consumer.subscribe([topic]).await?;
    let (is_ending, has) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(0)));
    let (end, holds) = (is_ending.clone(), has.clone());
    let task = tokio::spawn(async move {
        while !end.load(Ordering::Relaxed) {
            let records = consumer.poll(Duration::from_millis(100)).await?;
            seen.lock().unwrap().extend(records.iter().filter_map(|r| r.value_str().map(String::from)));
            *holds.lock().unwrap() = consumer.assignment().await.values().map(Vec::len).sum();
            if !records.is_empty() {
                // A commit that falls into a rebalance is refused; the records come again to whoever has the partition then.
                let _ = consumer.commit().await;
            }
        }
        consumer.close().await?;
        drop(kafka);
        Ok(())
    });
    Ok(Member { is_ending, has, task })
}

async fn groups(kind: Kind) -> Outcome {
    let kafka = kafka().await?;
    let (topic, group, seen) = (create(&kafka, "groups", 6).await?, unique("group"), Arc::new(Mutex::new(HashSet::new())));
    let producer = kafka.producer().build().await?;
    let mut members: Vec<Member> = Vec::new();
    let mut sent = 0;
    for wanted in [1, 2, 3, 2, 1, 3] {
        while members.len() < wanted {
            members.push(join(&topic, &group, kind, seen.clone()).await?);
        }
        while members.len() > wanted {
            leave(members.remove(0)).await?;
        }
        wait(&format!("{wanted} members that share 6 partitions"), || async {
            let has: Vec<usize> = members.iter().map(|m| *m.has.lock().unwrap()).collect();
            Ok(has.iter().sum::<usize>() == 6 && has.iter().all(|n| *n > 0))
        })
        .await?;
        for i in 0..60 {
            let _ = producer.send(Record::new(&*topic, format!("{sent}")).partition(i % 6)).await?;
            sent += 1;
        }
        wait("all that was sent", || async { Ok(seen.lock().unwrap().len() == sent) }).await?;
    }
    for member in members {
        leave(member).await?;
    }
    let kept = kafka.admin().list_consumer_group_offsets(&*group, Default::default()).await?;
    same(kept.len(), 6, "partitions with offsets")?;
    one(kafka.admin().delete_consumer_groups([&group], Default::default()).await?)
}

async fn leave(member: Member) -> Outcome {
    member.is_ending.store(true, Ordering::Relaxed);
    member.task.await?
}

async fn shares() -> Outcome {
    let kafka = kafka().await?;
    let (topic, group) = (create(&kafka, "shares", 2).await?, unique("shares"));
    one(kafka.admin().incremental_alter_configs([(ConfigResource::group(&*group), vec![ConfigOp::set("share.auto.offset.reset", "earliest")])], Default::default()).await?)?;
    let producer = kafka.producer().build().await?;
    for i in 0..100 {
        let _ = producer.send(Record::new(&*topic, format!("{i}")).partition(i % 2)).await?;
    }
    let mut members = Vec::new();
    for _ in 0..3 {
        let member = kafka.share_consumer(&*group).acknowledgement_mode(AcknowledgementMode::Explicit).max_poll_records(10).build().await?;
        member.subscribe([&topic]).await?;
        members.push(member);
    }
    let (mut accepted, mut released, mut rejected) = (HashSet::new(), HashSet::new(), HashSet::new());
    while accepted.len() + rejected.len() < 100 {
        for member in &members {
            for record in member.poll(Duration::from_millis(200)).await? {
                let number: usize = record.value_str().ok_or("no value")?.parse()?;
                if number % 10 == 3 && released.insert(number) {
                    same(record.delivery_count, Some(1), "first delivery")?;
                    member.release(&record)?;
                } else if number % 10 == 7 {
                    same(rejected.insert(number), true, "rejected once")?;
                    member.reject(&record)?;
                } else {
                    same(accepted.insert(number), true, "accepted once")?;
                    same(record.delivery_count, Some(if number % 10 == 3 { 2 } else { 1 }), "delivery count")?;
                    member.ack(&record)?;
                }
            }
            for outcome in member.commit().await?.into_values() {
                outcome?;
            }
        }
    }
    for member in members {
        member.close().await?;
    }
    same((accepted.len(), released.len(), rejected.len()), (90, 10, 10), "accepted, released, rejected")
}

async fn transactions() -> Outcome {
    let kafka = kafka().await?;
    let (source, target, tid) = (create(&kafka, "source", 2).await?, create(&kafka, "target", 2).await?, unique("tid"));
    let fill = kafka.producer().build().await?;
    for i in 0..100 {
        let _ = fill.send(Record::new(&*source, format!("{i}")).partition(i % 2)).await?;
    }
    let make = || async { kafka.producer().transaction_timeout(Duration::from_secs(60)).delivery_timeout(Duration::from_secs(45)).build_transactional(&*tid).await };
    let producer = make().await?;
    let consumer = kafka.consumer(unique("chain")).auto_offset_reset(AutoOffsetReset::Earliest).isolation_level(IsolationLevel::ReadCommitted).enable_auto_commit(false).max_poll_records(10).build().await?;
    consumer.subscribe([&source]).await?;
    let (mut done, mut turn) = (0, 0);
    while done < 100 {
        let records = consumer.poll(Duration::from_secs(1)).await?;
        let Some(member) = consumer.group_metadata().await else { continue };
        if records.is_empty() {
            continue;
        }
        producer.begin()?;
        let (mut offsets, mut first) = (HashMap::new(), HashMap::new());
        for record in &records {
            let _ = producer.send(Record::new(&*target, format!("{}!", record.value_str().unwrap_or(""))).partition(record.partition)).await?;
            offsets.insert(record.partition, record.offset + 1);
            first.entry(record.partition).or_insert(record.offset);
        }
        let offsets: Vec<_> = offsets.into_iter().map(|(partition, next)| TopicPartitionOffset::new(&*source, partition, next)).collect();
        producer.send_offsets(&offsets, &member).await?;
        turn += 1;
        if turn % 4 == 0 {
            producer.abort().await?;
            for (partition, offset) in first {
                consumer.seek(&source, partition, offset).await?;
            }
        } else {
            producer.commit().await?;
            done += records.len();
        }
    }
    let out = kafka.consumer_without_group().auto_offset_reset(AutoOffsetReset::Earliest).isolation_level(IsolationLevel::ReadCommitted).build().await?;
    out.assign(&target, vec![0, 1]).await?;
    let values = read(&out, 100).await?;
    let different: HashSet<_> = values.iter().map(|r| r.value_str().map(String::from)).collect();
    same((values.len(), different.len()), (100, 100), "values, each once")?;

    let second = make().await?;
    producer.begin()?;
    let zombie = match producer.send(Record::new(&*target, "zombie")).await {
        Ok(_) => producer.commit().await,
        Err(why) => Err(why),
    };
    same(zombie.is_err(), true, "a zombie is refused")?;
    second.begin()?;
    let _ = second.send(Record::new(&*target, "after")).await?;
    let described = one(kafka.admin().describe_transactions([&tid], Default::default()).await?)?;
    same(described.state, "Ongoing", "state")?;
    Ok(second.commit().await?)
}

async fn admin() -> Outcome {
    let kafka = kafka().await?;
    let admin = kafka.admin();
    let (topic, group) = (create(&kafka, "admin", 2).await?, unique("admin"));
    let at = TopicPartition::new(&*topic, 0);
    one(admin.create_partitions([(&topic, 4)], Default::default()).await?)?;
    same(one(admin.describe_topics([&topic], Default::default()).await?)?.partitions.len(), 4, "partitions")?;
    let resource = ConfigResource::topic(&*topic);
    one(admin.incremental_alter_configs([(resource.clone(), vec![ConfigOp::set("retention.ms", "123456")])], Default::default()).await?)?;
    let entries = one(admin.describe_configs([resource], Default::default()).await?)?;
    same(entries.iter().find(|e| e.name == "retention.ms").and_then(|e| e.value.clone()), Some("123456".into()), "retention.ms")?;
    let producer = kafka.producer().build().await?;
    for i in 0..10 {
        let made = producer.send(Record::new(&*topic, "x").partition(0).timestamp(1_700_000_000_000 + i)).await?;
        same(made.offset, i, "offset")?;
    }
    for (spec, wanted) in [(OffsetSpec::Latest, 10), (OffsetSpec::Timestamp(1_700_000_000_004), 4), (OffsetSpec::MaxTimestamp, 9)] {
        same(one(admin.list_offsets([(at.clone(), spec)], Default::default()).await?)?.offset, wanted, "offset")?;
    }
    same(one(admin.delete_records([(at.clone(), 3)], Default::default()).await?)?, 3, "low watermark")?;
    one(admin.alter_consumer_group_offsets(&*group, [(at.clone(), 5)], Default::default()).await?)?;
    same(one(admin.list_consumer_group_offsets(&*group, Default::default()).await?)?.offset, Some(5), "offset of the group")?;
    one(admin.delete_consumer_groups([&group], Default::default()).await?)?;
    same(admin.describe_cluster(Default::default()).await?.brokers.len(), 1, "brokers")?;
    one(admin.list_transactions(Default::default()).await?)?;
    admin.describe_features(Default::default()).await?;
    one(admin.delete_topics([&topic], Default::default()).await?)
}

#[tokio::main]
async fn main() {
    let mut report = Report::default();
    report.step("codecs", codecs()).await;
    report.step("groups", groups(Kind::Eager)).await;
    report.step("groups cooperative", groups(Kind::Cooperative)).await;
    report.step("groups consumer", groups(Kind::Server)).await;
    report.step("share groups", shares()).await;
    report.step("transactions", transactions()).await;
    report.step("admin", admin()).await;
    report.end()
}
