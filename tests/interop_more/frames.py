"""Kafka's messages as dicts of the field names of tools/kafka_frames/schema/*.txt, written and read in any version by those tables."""
import glob
import os
import struct
import sys

REPO = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(REPO, "tools", "kafka_frames"))
import generate  # noqa: E402

SCALARS = {"bool": ">?", "int8": ">b", "int16": ">h", "uint16": ">H", "int32": ">i", "uint32": ">I", "int64": ">q", "float64": ">d"}
MESSAGES = {}
for _path in glob.glob(os.path.join(REPO, "tools", "kafka_frames", "schema", "*.txt")):
    for _message in generate.parse(_path):
        MESSAGES[_message.name] = _message


def has(versions, version):
    return versions[0] <= version <= versions[1]


def varint(n):
    out = bytearray()
    while n > 127:
        out.append(n & 127 | 128)
        n >>= 7
    return bytes(out) + bytes([n])


def default(field):
    if field.is_array:
        return None if field.default == "null" else []
    if field.default is not None:
        words = {"null": None, "true": True, "false": False}
        return words[field.default] if field.default in words else field.default if field.element == "string" else int(field.default, 0)
    return {"string": "", "bytes": b"", "records": None, "uuid": bytes(16), "bool": False}.get(field.element, {} if field.is_struct() else 0)


class Writer:
    def __init__(self, message, version):
        self.message, self.version, self.flexible = message, version, version >= message.flexible_from

    def counted(self, field, n, short):
        """A length, or -1 for null."""
        if self.flexible and not field.keeps_old_form:
            return varint(n + 1)
        return struct.pack(">h" if short else ">i", n)

    def one(self, field, kind, value):
        if kind in SCALARS:
            return struct.pack(SCALARS[kind], value)
        if kind == "uuid":
            return value
        if kind in ("string", "bytes", "records"):
            if value is None:
                return self.counted(field, -1, kind == "string")
            data = value.encode() if kind == "string" else value
            return self.counted(field, len(data), kind == "string") + data
        return self.fields(field.fields or self.message.structs[kind], value)

    def value(self, field, value):
        if field.is_array:
            if value is None:
                return self.counted(field, -1, False)
            return self.counted(field, len(value), False) + b"".join(self.one(field, field.element, v) for v in value)
        if field.is_struct() and field.nullable != generate.NEVER and has(field.nullable, self.version):
            return b"\xff" if value is None else b"\1" + self.one(field, field.element, value)
        return self.one(field, field.element, value)

    def fields(self, fields, values):
        out, tagged = b"", []
        for field in fields:
            if not has(field.versions, self.version):
                continue
            value = values.get(field.name, default(field))
            if field.tag is not None and has(field.tagged, self.version):
                if field.name in values and value != default(field):
                    tagged.append((field.tag, self.value(field, value)))
            else:
                out += self.value(field, value)
        if self.flexible:
            out += varint(len(tagged)) + b"".join(varint(tag) + varint(len(data)) + data for tag, data in sorted(tagged))
        return out


class Reader:
    def __init__(self, message, version, data):
        self.message, self.version, self.flexible, self.data, self.at = message, version, version >= message.flexible_from, data, 0

    def take(self, count):
        assert self.at + count <= len(self.data), f"{self.message.name} {self.version} ends early"
        self.at += count
        return self.data[self.at - count:self.at]

    def varint(self):
        value = shift = 0
        while True:
            byte = self.take(1)[0]
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    def counted(self, field, short):
        if self.flexible and not field.keeps_old_form:
            return self.varint() - 1
        return struct.unpack(">h", self.take(2))[0] if short else struct.unpack(">i", self.take(4))[0]

    def one(self, field, kind):
        if kind in SCALARS:
            return struct.unpack(SCALARS[kind], self.take(struct.calcsize(SCALARS[kind])))[0]
        if kind == "uuid":
            return self.take(16)
        if kind in ("string", "bytes", "records"):
            count = self.counted(field, kind == "string")
            data = None if count < 0 else self.take(count)
            return data.decode() if kind == "string" and data is not None else data
        return self.fields(field.fields or self.message.structs[kind])

    def value(self, field):
        if field.is_array:
            count = self.counted(field, False)
            return None if count < 0 else [self.one(field, field.element) for _ in range(count)]
        if field.is_struct() and field.nullable != generate.NEVER and has(field.nullable, self.version):
            return None if self.take(1) == b"\xff" else self.one(field, field.element)
        return self.one(field, field.element)

    def fields(self, fields):
        out = {}
        for field in fields:
            if has(field.versions, self.version) and not (field.tag is not None and has(field.tagged, self.version)):
                out[field.name] = self.value(field)
        if self.flexible:
            tags = {f.tag: f for f in fields if f.tag is not None and has(f.tagged, self.version)}
            for _ in range(self.varint()):
                tag, size = self.varint(), self.varint()
                end = self.at + size
                if tag in tags:
                    out[tags[tag].name] = self.value(tags[tag])
                self.at = end
        return out


def request(name, version, correlation, body, client="oracle"):
    """A whole request, with its length."""
    message = MESSAGES[name + "Request"]
    header = struct.pack(">hhih", message.key, version, correlation, len(client)) + client.encode()
    if version >= message.flexible_from:
        header += b"\0"
    unknown = set(body) - {f.name for f in message.fields}
    assert not unknown, f"{message.name} has no {unknown}"
    data = header + Writer(message, version).fields(message.fields, body)
    return struct.pack(">i", len(data)) + data


def response(name, version, data):
    """The body of a response, read to its end."""
    message = MESSAGES[name + "Response"]
    reader = Reader(message, version, data)
    reader.take(4)
    if version >= message.flexible_from and name != "ApiVersions":
        assert reader.varint() == 0, "tags in a response's header"
    out = reader.fields(message.fields)
    assert reader.at == len(data), f"{name} {version}: {len(data) - reader.at} bytes too many"
    return out


def versions(name):
    return MESSAGES[name + "Request"].versions
