// npm's mqtt against the broker at MQTT_URL, or on MQTT_PORT: both versions, QoS 0 and 1, properties. Ends with 0 when all held.
const assert = require('assert');
const mqtt = require('mqtt');

async function once(emitter, event) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`no ${event} within 15 s`)), 15000);
    emitter.once(event, (...args) => { clearTimeout(timer); resolve(args); });
  });
}

async function main() {
  for (const protocolVersion of [4, 5]) {
    const url = process.env.MQTT_URL || `mqtt://127.0.0.1:${process.env.MQTT_PORT}`;
    const client = await mqtt.connectAsync(url, {protocolVersion, reconnectPeriod: 0});
    const topic = `${process.env.RUN}/${protocolVersion}/a`;
    const granted = await client.subscribeAsync(`${process.env.RUN}/${protocolVersion}/#`, {qos: 1});
    assert.strictEqual(granted[0].qos, 1);
    for (const qos of [0, 1]) {
      const arrival = once(client, 'message');
      const properties = protocolVersion === 5 ? {userProperties: {k: ['1', '2']}, contentType: 't'} : undefined;
      await client.publishAsync(topic, `hello ${qos}`, {qos, properties});
      const [gotTopic, payload, packet] = await arrival;
      assert.strictEqual(gotTopic, topic);
      assert.strictEqual(payload.toString(), `hello ${qos}`);
      assert.strictEqual(packet.qos, qos);
      if (protocolVersion === 5) {
        assert.deepStrictEqual({...packet.properties.userProperties}, {k: ['1', '2']});
        assert.strictEqual(packet.properties.contentType, 't');
      }
    }
    await client.endAsync();
  }
}

main().then(() => process.exit(0), (e) => { console.error(e); process.exit(1); });
