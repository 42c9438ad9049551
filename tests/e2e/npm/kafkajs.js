// npm's kafkajs against the broker at KAFKA: create, produce, a group that commits and resumes. Ends with 0 when all held.
const assert = require('assert');
const {Kafka, logLevel, CompressionTypes} = require('kafkajs');

async function consume(kafka, topic, groupId, count) {
  const consumer = kafka.consumer({groupId, heartbeatInterval: 500, sessionTimeout: 10000});
  await consumer.connect();
  await consumer.subscribe({topic, fromBeginning: true});
  const seen = [];
  await new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`${seen.length} of ${count} messages within 30 s`)), 30000);
    consumer.run({
      autoCommit: false,
      eachMessage: async ({partition, message}) => {
        if (seen.length === count) return;
        seen.push(message);
        await consumer.commitOffsets([{topic, partition, offset: (Number(message.offset) + 1).toString()}]);
        if (seen.length === count) { clearTimeout(timer); resolve(); }
      },
    }).catch(reject);
  });
  await consumer.disconnect();
  return seen;
}

// What an administrator changes and asks.
async function changes(admin, producer, topic) {
  await admin.createPartitions({topicPartitions: [{topic, count: 3}]});
  const metadata = await admin.fetchTopicMetadata({topics: [topic]});
  assert.strictEqual(metadata.topics[0].partitions.length, 3);
  await admin.alterConfigs({validateOnly: false, resources: [{type: 2, name: topic, configEntries: [{name: 'retention.ms', value: '123456'}]}]});
  const described = await admin.describeConfigs({includeSynonyms: false, resources: [{type: 2, name: topic, configNames: ['retention.ms']}]});
  assert.strictEqual(described.resources[0].configEntries[0].configValue, '123456');
  await admin.deleteTopicRecords({topic, partitions: [{partition: 0, offset: '4'}]});
  const offsets = await admin.fetchTopicOffsets(topic);
  assert.strictEqual(offsets.find((o) => o.partition === 0).low, '4');
  const groups = await admin.listGroups();
  assert.ok(groups.groups.some((g) => g.groupId === `${topic}-g`));
  assert.strictEqual((await admin.describeGroups([`${topic}-g`])).groups[0].state, 'Empty');
  await admin.resetOffsets({groupId: `${topic}-g`, topic, earliest: true});
  await admin.deleteGroups([`${topic}-g`]);
}

async function main() {
  const kafka = new Kafka({clientId: 'npm', brokers: [process.env.KAFKA], logLevel: logLevel.ERROR, retry: {retries: 3}});
  const topic = process.env.RUN;
  const admin = kafka.admin();
  await admin.connect();
  assert.strictEqual(await admin.createTopics({topics: [{topic, numPartitions: 1}]}), true);
  const producer = kafka.producer();
  await producer.connect();
  const message = (i) => ({key: `k${i}`, value: i === 3 ? null : `v${i}`, headers: {h: Buffer.from([0xff, i])}});
  await producer.send({topic, acks: -1, messages: [0, 1, 2, 3, 4].map(message)});
  await producer.send({topic, acks: -1, compression: CompressionTypes.GZIP, messages: [5, 6, 7, 8, 9].map(message)});
  const first = await consume(kafka, topic, `${topic}-g`, 4);
  assert.deepStrictEqual(first.map((m) => m.value && m.value.toString()), ['v0', 'v1', 'v2', null]);
  assert.deepStrictEqual([...first[1].headers.h], [0xff, 1]);
  const rest = await consume(kafka, topic, `${topic}-g`, 6);
  assert.deepStrictEqual(rest.map((m) => m.value.toString()), ['v4', 'v5', 'v6', 'v7', 'v8', 'v9']);
  await changes(admin, producer, topic);
  await producer.disconnect();
  await admin.deleteTopics({topics: [topic]});
  await admin.disconnect();
}

main().then(() => process.exit(0), (e) => { console.error(e); process.exit(1); });
