#!/usr/bin/env python3
"""Small MQTT and Kafka clients on plain sockets: full control over what is in flight, no hidden retries.

Kafka requests use the newest versions before the flexible encoding: ApiVersions 0, Metadata 7, Produce 7, Fetch 11,
ListOffsets 5, FindCoordinator 2, OffsetCommit 7, OffsetFetch 5, CreateTopics 4, DeleteTopics 3, InitProducerId 1.
"""
import collections
import select
import socket
import struct
import time

# ---------------------------------------------------------------------------------------------------------------- MQTT


class Closed(Exception):
    """The peer closed or reset the connection, or did not answer in time."""


class Stream:
    """A socket with a read buffer."""

    def __init__(self, host, port, timeout=10):
        try:
            self.sock = socket.create_connection((host, port), timeout)
        except OSError as e:
            raise Closed(f"connect to {host}:{port}: {e}") from e
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.timeout = timeout
        self.buffer = bytearray()
        self.is_closed = False

    def send(self, data):
        try:
            self.sock.sendall(data)
        except OSError as e:
            raise Closed(str(e)) from e

    def fill(self, timeout=None):
        """Reads what is there, waiting up to `timeout` seconds (0: not at all). False when nothing came in time."""
        poll = select.poll()  # not select(): it takes no descriptor above 1023
        poll.register(self.sock, select.POLLIN)
        if not poll.poll((self.timeout if timeout is None else timeout) * 1000):
            return False
        try:
            data = self.sock.recv(1 << 20)
        except OSError as e:
            self.is_closed = True
            raise Closed(str(e)) from e
        if not data:
            self.is_closed = True
            raise Closed("closed by the peer")
        self.buffer += data
        return True

    def close(self):
        self.sock.close()


def _utf8(text):
    data = text.encode() if isinstance(text, str) else text
    return struct.pack(">H", len(data)) + data


def _varint(n):
    out = bytearray()
    while True:
        n, byte = n >> 7, n & 0x7F
        out.append(byte | (0x80 if n else 0))
        if not n:
            return bytes(out)


def mqtt_packet(first, body):
    return bytes([first]) + _varint(len(body)) + body


def mqtt_connect(client_id, version=4, clean=True, keep_alive=0, properties=b""):
    flags = 2 if clean else 0
    body = _utf8("MQTT") + bytes([version, flags]) + struct.pack(">H", keep_alive)
    if version == 5:
        body += _varint(len(properties)) + properties
    return mqtt_packet(0x10, body + _utf8(client_id))


def mqtt_publish(topic, payload, qos=0, packet_id=0, version=4, dup=False, retain=False, properties=b""):
    body = _utf8(topic) + (struct.pack(">H", packet_id) if qos else b"")
    if version == 5:
        body += _varint(len(properties)) + properties
    return mqtt_packet(0x30 | (8 if dup else 0) | qos << 1 | (1 if retain else 0), body + payload)


Message = collections.namedtuple("Message", "topic payload qos packet_id dup properties")


class Mqtt:
    """One MQTT connection, version 4 (3.1.1) or 5."""

    def __init__(self, port, client_id, version=4, host="127.0.0.1", timeout=10, keep_alive=0, properties=b"", connect=True):
        self.stream = Stream(host, port, timeout)
        self.version = version
        self.inbox = collections.deque()
        self.acknowledges = True
        if connect:
            self.stream.send(mqtt_connect(client_id, version, True, keep_alive, properties))
            first, body = self.packet()
            if first != 0x20 or body[1] != 0:
                raise Closed(f"CONNECT refused: {first:#x} {bytes(body)!r}")

    def packet_if_there(self):
        """(first byte, body) of the next whole packet in the buffer, or None."""
        buffer = self.stream.buffer
        length, shift = 0, 0
        for i in range(1, min(len(buffer), 5)):
            length |= (buffer[i] & 0x7F) << shift
            shift += 7
            if buffer[i] < 0x80:
                if len(buffer) < i + 1 + length:
                    return None
                out = buffer[0], bytes(buffer[i + 1:i + 1 + length])
                del buffer[:i + 1 + length]
                return out
        return None

    def packet(self, timeout=None):
        deadline = time.monotonic() + (self.stream.timeout if timeout is None else timeout)
        while True:
            found = self.packet_if_there()
            if found:
                return found
            left = deadline - time.monotonic()
            if left <= 0 or not self.stream.fill(left):
                raise Closed("no packet in time")

    def subscribe(self, topic_filter, qos=0, packet_id=1):
        """The granted code."""
        props = b"\0" if self.version == 5 else b""
        self.stream.send(mqtt_packet(0x82, struct.pack(">H", packet_id) + props + _utf8(topic_filter) + bytes([qos])))
        while True:
            first, body = self.packet()
            if first == 0x90:
                return body[-1]
            self._keep(first, body)

    def publish(self, topic, payload, qos=0, packet_id=1, **kw):
        self.stream.send(mqtt_publish(topic, payload, qos, packet_id, self.version, **kw))

    def puback(self, timeout=None):
        """(packet id, reason code) of the next PUBACK."""
        while True:
            first, body = self.packet(timeout)
            if first == 0x40:
                return struct.unpack(">H", body[:2])[0], body[2] if len(body) > 2 else 0
            self._keep(first, body)

    def message(self, timeout=None):
        """The next PUBLISH, acknowledged when it asks for it and `acknowledges`; raises Closed when none comes in time."""
        while not self.inbox:
            self._keep(*self.packet(timeout))
        return self.inbox.popleft()

    def _keep(self, first, body):
        if first >> 4 == 3:
            qos = first >> 1 & 3
            n = struct.unpack(">H", body[:2])[0]
            topic, at, packet_id, properties = body[2:2 + n].decode(), 2 + n, 0, b""
            if qos:
                packet_id, at = struct.unpack(">H", body[at:at + 2])[0], at + 2
            if self.version == 5:
                length, shift = 0, 0
                while True:
                    byte = body[at]
                    at += 1
                    length |= (byte & 0x7F) << shift
                    shift += 7
                    if byte < 0x80:
                        break
                properties, at = body[at:at + length], at + length
            self.inbox.append(Message(topic, body[at:], qos, packet_id, bool(first & 8), properties))
            if qos == 1 and self.acknowledges:
                self.stream.send(mqtt_packet(0x40, struct.pack(">H", packet_id)))
        elif first >> 4 == 14:
            raise Closed(f"DISCONNECT from the broker, reason {body[0] if body else 0:#x}")

    def close(self):
        try:
            self.stream.send(b"\xe0\0")
        except Closed:
            pass
        self.stream.close()


# --------------------------------------------------------------------------------------------------------------- Kafka


def _crc32c_table():
    table = []
    for n in range(256):
        for _ in range(8):
            n = n >> 1 ^ (0x82F63B78 if n & 1 else 0)
        table.append(n)
    return table


_CRC = _crc32c_table()


def crc32c(data):
    crc, table = 0xFFFFFFFF, _CRC
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


def _zigzag(n):
    return _varint(((n << 1) ^ (n >> 63)) & 0xFFFFFFFFFFFFFFFF)


def record_batch(records, now_ms=None, pid=-1, epoch=-1, base_sequence=-1):
    """records: (key or None, value or None, [(header, value or None)])"""
    now_ms = int(time.time() * 1000) if now_ms is None else now_ms
    body = bytearray()
    for i, (key, value, headers) in enumerate(records):
        record = b"\0" + _zigzag(0) + _zigzag(i)
        for part in (key, value):
            record += _zigzag(-1) if part is None else _zigzag(len(part)) + part
        record += _zigzag(len(headers))
        for name, content in headers:
            record += _zigzag(len(name)) + name + (_zigzag(-1) if content is None else _zigzag(len(content)) + content)
        body += _zigzag(len(record)) + record
    covered = struct.pack(">hiqqqhii", 0, len(records) - 1, now_ms, now_ms, pid, epoch, base_sequence, len(records)) + body
    return struct.pack(">qiibI", 0, 9 + len(covered), -1, 2, crc32c(covered)) + covered


Record = collections.namedtuple("Record", "offset timestamp key value headers")


class Damaged(Exception):
    """A record batch that is not what its checksum says."""


def batches_of(data):
    """Splits fetched bytes into whole batches: (base offset, last offset, bytes). A cut last batch is left out."""
    at = 0
    while at + 61 <= len(data):
        base, length = struct.unpack_from(">qi", data, at)
        if at + 12 + length > len(data):
            return
        delta = struct.unpack_from(">i", data, at + 23)[0]
        yield base, base + delta, bytes(data[at:at + 12 + length])
        at += 12 + length


def records_of(batch, check=True):
    """The records of one uncompressed batch."""
    base, _, _, magic, crc = struct.unpack_from(">qiibI", batch)
    attributes, _, first_time, _, _, _, _, count = struct.unpack_from(">hiqqqhii", batch, 21)
    if magic != 2 or (check and crc32c(batch[21:]) != crc):
        raise Damaged(f"batch at {base}: magic {magic}, checksum does not match")
    if attributes & 7:
        raise Damaged(f"batch at {base} is compressed; this client does not decode it")
    at = 61

    def varint():
        nonlocal at
        n, shift = 0, 0
        while True:
            byte = batch[at]
            at += 1
            n |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return (n >> 1) ^ -(n & 1)

    def chunk():
        nonlocal at
        length = varint()
        if length < 0:
            return None
        at += length
        return batch[at - length:at]

    out = []
    for _ in range(count):
        varint()
        at += 1
        timestamp, offset = first_time + varint(), base + varint()
        key, value = chunk(), chunk()
        headers = [(chunk(), chunk()) for _ in range(varint())]
        out.append(Record(offset, timestamp, key, value, headers))
    if at != len(batch):
        raise Damaged(f"batch at {base}: {len(batch) - at} bytes behind the last record")
    return out


class _Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, fmt):
        values = struct.unpack_from(">" + fmt, self.data, self.at)
        self.at += struct.calcsize(">" + fmt)
        return values[0] if len(values) == 1 else values

    def string(self):
        n = self.take("h")
        if n < 0:
            return None
        self.at += n
        return self.data[self.at - n:self.at].decode()

    def bytes(self):
        n = self.take("i")
        if n < 0:
            return None
        self.at += n
        return self.data[self.at - n:self.at]

    def array(self, item):
        return [item() for _ in range(max(0, self.take("i")))]


def _array(items):
    return struct.pack(">i", len(items)) + b"".join(items)


class KafkaError(Exception):
    def __init__(self, what, code):
        super().__init__(f"{what}: error {code}")
        self.code = code


class Kafka:
    """One Kafka connection. request() and response() may be pipelined; the others are one round trip."""

    def __init__(self, port, host="127.0.0.1", client_id="wire", timeout=10):
        self.stream = Stream(host, port, timeout)
        self.client_id = client_id
        self.next_id = 1
        self.waiting = collections.deque()

    def request(self, key, version, body):
        header = struct.pack(">hhi", key, version, self.next_id) + _utf8(self.client_id)
        self.stream.send(struct.pack(">i", len(header) + len(body)) + header + body)
        self.waiting.append(self.next_id)
        self.next_id += 1

    def response_if_there(self):
        buffer = self.stream.buffer
        if len(buffer) < 4:
            return None
        size = struct.unpack_from(">i", buffer)[0]
        if len(buffer) < 4 + size:
            return None
        reader = _Reader(bytes(buffer[4:4 + size]))
        del buffer[:4 + size]
        correlation, expected = reader.take("i"), self.waiting.popleft()
        if correlation != expected:
            raise Closed(f"answer {correlation} where {expected} was due")
        return reader

    def response(self, timeout=None):
        deadline = time.monotonic() + (self.stream.timeout if timeout is None else timeout)
        while True:
            found = self.response_if_there()
            if found:
                return found
            left = deadline - time.monotonic()
            if left <= 0 or not self.stream.fill(left):
                raise Closed("no answer in time")

    def call(self, key, version, body, timeout=None):
        self.request(key, version, body)
        return self.response(timeout)

    # -- what the tests need
    def api_versions(self):
        r = self.call(18, 0, b"")
        error = r.take("h")
        rows = r.array(lambda: r.take("hhh"))
        return error, {key: (low, high) for key, low, high in rows}

    def metadata(self, topics=None, create=False):
        """({node: (host, port)}, {topic: (error, {partition: leader})})"""
        body = struct.pack(">i", -1) if topics is None else _array([_utf8(t) for t in topics])
        r = self.call(3, 7, body + bytes([1 if create else 0]))
        r.take("i")
        brokers = {node: (host, port) for node, host, port, _ in r.array(lambda: (r.take("i"), r.string(), r.take("i"), r.string()))}
        r.string(), r.take("i")

        def partition():
            error, index, leader, _ = r.take("hiii")
            for _ in range(3):
                r.array(lambda: r.take("i"))
            return index, leader

        topics = {name: (error, dict(partitions)) for error, name, _, partitions in
                  r.array(lambda: (r.take("h"), r.string(), r.take("b"), r.array(partition)))}
        return brokers, topics

    def create_topic(self, name, partitions=1, configs=()):
        body = _array([_utf8(name) + struct.pack(">ih", partitions, 1) + _array([]) +
                       _array([_utf8(k) + _utf8(v) for k, v in configs])]) + struct.pack(">ib", 10000, 0)
        r = self.call(19, 4, body)
        r.take("i")
        for _, code, text in r.array(lambda: (r.string(), r.take("h"), r.string())):
            if code:
                raise KafkaError(f"create topic {name} ({text})", code)

    def delete_topic(self, name):
        r = self.call(20, 3, _array([_utf8(name)]) + struct.pack(">i", 10000))
        r.take("i")
        for _, code in r.array(lambda: (r.string(), r.take("h"))):
            if code:
                raise KafkaError(f"delete topic {name}", code)

    @staticmethod
    def produce_body(topic, partition, batch, acks=-1):
        return struct.pack(">hhi", -1, acks, 10000) + _array([_utf8(topic) + _array([struct.pack(">ii", partition, len(batch)) + batch])])

    @staticmethod
    def produce_result(r):
        """(error, base offset) of an answer to a request with one partition."""
        found = r.array(lambda: (r.string(), r.array(lambda: r.take("ihqqq"))))
        _, error, base, _, _ = found[0][1][0]
        return error, base

    def produce(self, topic, partition, records, acks=-1, **kw):
        """The base offset."""
        error, base = self.produce_result(self.call(0, 7, self.produce_body(topic, partition, record_batch(records, **kw), acks)))
        if error:
            raise KafkaError(f"produce to {topic}/{partition}", error)
        return base

    def init_producer_id(self):
        r = self.call(22, 1, struct.pack(">hi", -1, 60000))
        _, error, pid, epoch = r.take("ihqh")
        if error:
            raise KafkaError("init producer id", error)
        return pid, epoch

    def fetch(self, topic, offsets, max_wait_ms=500, min_bytes=1, max_bytes=50 << 20, partition_bytes=4 << 20):
        """offsets: {partition: offset} -> {partition: (error, high watermark, batches)}"""
        self.send_fetch(topic, offsets, max_wait_ms, min_bytes, max_bytes, partition_bytes)
        return self.fetch_result(self.response(max_wait_ms / 1000 + self.stream.timeout))

    def send_fetch(self, topic, offsets, max_wait_ms=500, min_bytes=1, max_bytes=50 << 20, partition_bytes=4 << 20):
        body = struct.pack(">iiiibii", -1, max_wait_ms, min_bytes, max_bytes, 0, 0, -1)
        body += _array([_utf8(topic) + _array([struct.pack(">iiqqi", p, -1, o, -1, partition_bytes) for p, o in offsets.items()])])
        self.request(1, 11, body + _array([]) + _utf8(""))

    @staticmethod
    def fetch_result(r):
        _, error, _ = r.take("ihi")
        if error:
            raise KafkaError("fetch", error)
        out = {}

        def partition():
            index, error, high, _, _ = r.take("ihqqq")
            r.array(lambda: r.take("qq"))
            r.take("i")
            out[index] = (error, high, list(batches_of(r.bytes() or b"")))

        r.array(lambda: (r.string(), r.array(partition)))
        return out

    def list_offsets(self, topic, partition, timestamp=-1):
        r = self.call(2, 5, struct.pack(">ib", -1, 0) + _array([_utf8(topic) + _array([struct.pack(">iiq", partition, -1, timestamp)])]))
        r.take("i")
        _, error, _, offset, _ = r.array(lambda: (r.string(), r.array(lambda: r.take("ihqqi"))))[0][1][0]
        if error:
            raise KafkaError(f"list offsets of {topic}/{partition}", error)
        return offset

    def find_coordinator(self, group):
        r = self.call(10, 2, _utf8(group) + b"\0")
        _, error = r.take("ih")
        r.string()
        if error:
            raise KafkaError("find coordinator", error)
        return r.take("i"), r.string(), r.take("i")

    def commit(self, group, topic, partition, offset):
        body = _utf8(group) + struct.pack(">i", -1) + _utf8("") + struct.pack(">h", -1)
        body += _array([_utf8(topic) + _array([struct.pack(">iqi", partition, offset, -1) + struct.pack(">h", -1)])])
        r = self.call(8, 7, body)
        r.take("i")
        error = r.array(lambda: (r.string(), r.array(lambda: r.take("ih"))))[0][1][0][1]
        if error:
            raise KafkaError("offset commit", error)

    def committed(self, group, topic, partition):
        r = self.call(9, 5, _utf8(group) + _array([_utf8(topic) + _array([struct.pack(">i", partition)])]))
        r.take("i")
        rows = r.array(lambda: (r.string(), r.array(lambda: (r.take("iqi"), r.string(), r.take("h")))))
        error = r.take("h") or rows[0][1][0][2]
        if error:
            raise KafkaError("offset fetch", error)
        return rows[0][1][0][0][1]

    def read_all(self, topic, partitions, at=0):
        """Everything in the topic, partition by partition: {partition: [Record]}"""
        out = {}
        for partition in range(partitions):
            offset, records = at, []
            end = self.list_offsets(topic, partition)
            while offset < end:
                error, _, batches = self.fetch(topic, {partition: offset})[partition]
                if error:
                    raise KafkaError(f"fetch {topic}/{partition}@{offset}", error)
                for _, last, batch in batches:
                    records += [r for r in records_of(batch) if r.offset >= offset]
                    offset = last + 1
            out[partition] = records
        return out

    def close(self):
        self.stream.close()
