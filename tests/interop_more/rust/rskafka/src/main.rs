//! rskafka: every codec, offsets by time, deleted records, topics made and deleted; it has no groups and no transactions. Argument: the bootstrap server.
use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{TimeZone, Utc};
use report::{same, server, unique, wait, Outcome, Report};
use rskafka::client::partition::{Compression, OffsetAt, PartitionClient, UnknownTopicHandling};
use rskafka::client::{Client, ClientBuilder};
use rskafka::record::Record;

const CODECS: [Compression; 5] = [Compression::NoCompression, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];

async fn client() -> Result<Client, rskafka::client::error::Error> {
    ClientBuilder::new(vec![server()]).build().await
}

async fn create(name: &str) -> Result<(String, PartitionClient), rskafka::client::error::Error> {
    let (client, topic) = (client().await?, unique(name));
    client.controller_client()?.create_topic(&topic, 2, 1, 5000).await?;
    let partition = client.partition_client(&topic, 1, UnknownTopicHandling::Retry).await?;
    Ok((topic, partition))
}

fn record(value: String, at_ms: i64) -> Record {
    Record { key: Some(b"k".to_vec()), value: Some(value.into_bytes()), headers: BTreeMap::from([("n".into(), b"1".to_vec())]), timestamp: Utc.timestamp_millis_opt(at_ms).unwrap() }
}

async fn codecs() -> Outcome {
    let (_, partition) = create("codecs").await?;
    let (mut sent, mut got) = (Vec::new(), Vec::new());
    for codec in CODECS {
        let batch: Vec<Record> = (0..500).map(|i| record(format!("{codec:?}-{i}-{}", "x".repeat(i % 97)), 1_700_000_000_000)).collect();
        sent.extend(batch.iter().cloned());
        partition.produce(batch, codec).await?;
    }
    while got.len() < sent.len() {
        let (records, _) = partition.fetch_records(got.len() as i64, 1..1_000_000, 1000).await?;
        got.extend(records.into_iter().map(|r| r.record));
    }
    same(got == sent, true, "all records as they were sent")
}

async fn admin() -> Outcome {
    let (topic, partition) = create("admin").await?;
    for i in 0..10 {
        let offsets = partition.produce(vec![record(format!("{i}"), 1_700_000_000_000 + i)], Compression::NoCompression).await?;
        same(offsets, vec![i], "offset")?;
    }
    same(partition.get_offset(OffsetAt::Latest).await?, 10, "latest")?;
    same(partition.get_offset(OffsetAt::Timestamp(Utc.timestamp_millis_opt(1_700_000_000_004).unwrap())).await?, 4, "by time")?;
    partition.delete_records(3, 5000).await?;
    same(partition.get_offset(OffsetAt::Earliest).await?, 3, "earliest")?;
    let client = Arc::new(client().await?);
    same(client.list_topics().await?.iter().any(|t| t.name == topic), true, "it is listed")?;
    client.controller_client()?.delete_topic(&topic, 5000).await?;
    wait("the topic is gone", || async { Ok(!client.list_topics().await?.iter().any(|t| t.name == topic)) }).await
}

#[tokio::main]
async fn main() {
    let mut report = Report::default();
    report.step("codecs", codecs()).await;
    report.step("admin", admin()).await;
    report.end()
}
