// npm's kafkajs: transactions with offsets, an abort, a producer that is fenced. Ends with 0 when all held.
const assert = require('assert');
const {Kafka, logLevel} = require('kafkajs');

async function read(kafka, topic, groupId, count) {
  const consumer = kafka.consumer({groupId, readUncommitted: false, heartbeatInterval: 500, sessionTimeout: 10000});
  await consumer.connect();
  await consumer.subscribe({topic, fromBeginning: true});
  const values = [];
  await new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`${values.length} of ${count} messages within 30 s: ${values}`)), 30000);
    consumer.run({
      autoCommit: false,
      eachMessage: async ({message}) => {
        values.push(message.value.toString());
        if (values.length === count) { clearTimeout(timer); setTimeout(resolve, 300); }
      },
    }).catch(reject);
  });
  await consumer.disconnect();
  return values;
}

async function main() {
  const kafka = new Kafka({clientId: 'npm', brokers: [process.env.KAFKA], logLevel: logLevel.ERROR, retry: {retries: 8}});
  const topic = process.env.RUN;
  const admin = kafka.admin();
  await admin.connect();
  await admin.createTopics({topics: [{topic, numPartitions: 2}]});
  const producer = kafka.producer({transactionalId: `${topic}-tid`, idempotent: true, maxInFlightRequests: 1});
  await producer.connect();
  const send = (transaction, value, partition) => transaction.send({topic, messages: [{value, partition}]});

  const first = await producer.transaction();
  await send(first, 'one', 0);
  await send(first, 'two', 1);
  await first.sendOffsets({consumerGroupId: `${topic}-chain`, topics: [{topic, partitions: [{partition: 0, offset: '1'}]}]});
  await first.commit();
  const aborted = await producer.transaction();
  await send(aborted, 'void', 0);
  await aborted.sendOffsets({consumerGroupId: `${topic}-chain`, topics: [{topic, partitions: [{partition: 0, offset: '77'}]}]});
  await aborted.abort();
  const third = await producer.transaction();
  await send(third, 'three', 0);
  await third.commit();
  assert.deepStrictEqual((await read(kafka, topic, `${topic}-r`, 3)).sort(), ['one', 'three', 'two']);
  const offsets = await admin.fetchOffsets({groupId: `${topic}-chain`, topics: [topic]});
  assert.strictEqual(offsets[0].partitions.find((p) => p.partition === 0).offset, '1');

  // Another producer of the same id takes over.
  const hanging = await producer.transaction();
  await send(hanging, 'hanging', 0);
  const next = kafka.producer({transactionalId: `${topic}-tid`, idempotent: true, maxInFlightRequests: 1});
  await next.connect();
  const fourth = await next.transaction();
  await send(fourth, 'four', 0);
  await fourth.commit();
  await assert.rejects(hanging.commit());
  assert.deepStrictEqual((await read(kafka, topic, `${topic}-r2`, 4)).sort(), ['four', 'one', 'three', 'two']);
  await Promise.all([producer.disconnect(), next.disconnect(), admin.disconnect()]);
}

main().then(() => process.exit(0), (error) => { console.error(error); process.exit(1); });
