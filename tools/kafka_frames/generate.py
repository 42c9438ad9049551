#!/usr/bin/env python3
"""Generates C++ structs with decode, size and encode for Kafka's messages from the schema tables in schema/*.txt.

    generate.py OUT_DIR SCHEMA...      writes OUT_DIR/<schema>.h and .cc for each table, apis.h and all.h

The form of a table: a message begins at the margin, its fields follow, one a line, nested by two blanks a level.

    request|response NAME key=K versions=A-B [advertised=A-B] flexible=V     V: 9+, or none
    header NAME versions=A-B flexible=V
      FIELD TYPE VERSIONS [nullable=V] [tag=N tagged=V] [flexible=none] [default=X]
        FIELD ...                       the fields of a struct that is named here for the first time
      struct NAME VERSIONS              a struct that several fields name
        FIELD ...

TYPE is bool, int8, int16, uint16, int32, uint32, int64, float64, string, bytes, records, uuid, the name of a struct, or []TYPE.
VERSIONS is 3, 3-7, or 3+. `versions` is what can be read and written, `advertised` what ApiVersions says where that differs.
`flexible=none` on a field keeps the old length form in flexible versions too. A default is a number, true, false, null or text.
"""
import os
import re
import sys

SCALARS = {  # schema type -> (C++ type, Reader verb, Writer verb, bytes)
    'bool': ('bool', 'boolean', 'boolean', 1),
    'int8': ('int8_t', 'i8', 'i8', 1),
    'int16': ('int16_t', 'i16', 'i16', 2),
    'uint16': ('uint16_t', 'u16', 'u16', 2),
    'int32': ('int32_t', 'i32', 'i32', 4),
    'uint32': ('uint32_t', 'u32', 'u32', 4),
    'int64': ('int64_t', 'i64', 'i64', 8),
    'float64': ('double', 'f64', 'f64', 8),
    'uuid': ('Uuid', 'uuid', 'uuid', 16),
}
TAKEN = {'size', 'decode', 'encode', 'visit', 'version', 'w', 'r', 'v', 'n', 'tags', 'flexible'}  # what generated code uses itself
NEVER = (1, 0)  # an empty range of versions
HIGHEST = 32767


def fail(place, text):
    sys.exit(f'{place}: {text}')


def parse_range(text, place):
    if text == 'none':
        return NEVER
    match = re.fullmatch(r'(\d+)(\+|-(\d+))?', text)
    if not match:
        fail(place, f'"{text}" is no range of versions (3, 3-7, 3+ or none)')
    low = int(match[1])
    if match[2] == '+':
        return (low, HIGHEST)
    return (low, int(match[3]) if match[3] else low)


def snake(name):
    return re.sub(r'(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])', '_', name).lower()


class Field:
    def __init__(self, place, words):
        if len(words) < 3:
            fail(place, 'a field has at least a name, a type and versions')
        self.place, self.name, self.type = place, words[0], words[1]
        self.versions = parse_range(words[2], place)
        self.nullable, self.tagged, self.tag = NEVER, NEVER, None
        self.keeps_old_form, self.default, self.fields = False, None, []
        for word in words[3:]:
            key, _, value = word.partition('=')
            if key == 'nullable':
                self.nullable = parse_range(value, place)
            elif key == 'tag':
                self.tag = int(value)
            elif key == 'tagged':
                self.tagged = parse_range(value, place)
            elif key == 'flexible' and value == 'none':
                self.keeps_old_form = True
            elif key == 'default':
                self.default = value
            else:
                fail(place, f'"{word}" is not known here')
        if (self.tag is None) != (self.tagged == NEVER):
            fail(place, 'tag and tagged come together')
        self.member = snake(self.name)
        if self.member in TAKEN:
            self.member += '_value'
        self.is_array = self.type.startswith('[]')
        self.element = self.type[2:] if self.is_array else self.type

    def is_struct(self):
        return self.element not in SCALARS and self.element not in ('string', 'bytes', 'records')


class Message:
    def __init__(self, place, words):
        self.place, self.kind, self.base = place, words[0], words[1]
        self.name = words[1] if self.kind == 'header' else words[1] + self.kind.capitalize()
        facts = dict(word.partition('=')[::2] for word in words[2:])
        self.key = int(facts.pop('key', -1))
        self.versions = parse_range(facts.pop('versions'), place)
        self.advertised = parse_range(facts['advertised'], place) if 'advertised' in facts else self.versions
        facts.pop('advertised', None)
        flexible = parse_range(facts.pop('flexible'), place)
        self.flexible_from = HIGHEST if flexible == NEVER else flexible[0]
        if facts:
            fail(place, f'not known here: {", ".join(facts)}')
        self.fields, self.structs = [], {}  # struct name -> fields


def parse(path):
    messages, stack = [], []  # stack: (depth, list that takes fields of depth)
    with open(path, encoding='utf-8') as table:
        lines = table.read().splitlines()
    for number, line in enumerate(lines, 1):
        text = line.split('#')[0].rstrip()
        if not text:
            continue
        place, depth, words = f'{path}:{number}', (len(text) - len(text.lstrip())) // 2, text.split()
        if depth == 0:
            if words[0] not in ('request', 'response', 'header'):
                fail(place, 'a message begins with request, response or header')
            messages.append(Message(place, words))
            stack = [(1, messages[-1].fields)]
            continue
        while stack and stack[-1][0] > depth:
            stack.pop()
        if not stack or stack[-1][0] != depth:
            fail(place, 'nested too deep')
        if words[0] == 'struct' and depth == 1:
            stack.append((2, messages[-1].structs.setdefault(words[1], [])))
            continue
        field = Field(place, words)
        stack[-1][1].append(field)
        stack.append((depth + 1, field.fields))
    for message in messages:
        collect_structs(message, message.fields)
    return messages


def collect_structs(message, fields):
    for field in fields:
        if field.is_struct() and field.fields:
            if message.structs.setdefault(field.element, field.fields) is not field.fields:
                fail(field.place, f'struct {field.element} is there twice')
            collect_structs(message, field.fields)
        elif field.fields:
            fail(field.place, f'{field.type} has no fields')


def condition(versions, valid):
    """C++ for "version is in this range", given that it is in `valid`; '' when always, None when never."""
    low, high = max(versions[0], valid[0]), min(versions[1], valid[1])
    if low > high:
        return None
    parts = []
    if low > valid[0]:
        parts.append(f'version >= {low}')
    if high < valid[1]:
        parts.append(f'version <= {high}')
    return ' && '.join(parts)


class Emitter:
    def __init__(self, message):
        self.message, self.valid = message, message.versions
        self.header, self.source, self.done = [], [], set()

    def element_type(self, field):
        if field.element in SCALARS:
            return SCALARS[field.element][0]
        if field.element == 'string':
            return 'std::string_view'
        if field.element == 'bytes':
            return 'Bytes'
        if field.element == 'records':
            return 'Records' if self.message.kind == 'response' else 'Bytes'
        return field.element

    def may_be_null(self, field):
        return condition(field.nullable, self.valid) is not None

    def cpp_type(self, field):
        inner = self.element_type(field)
        if field.is_array:
            inner = f'std::vector<{inner}>'
        return f'std::optional<{inner}>' if self.may_be_null(field) else inner

    def default(self, field):
        if field.default == 'null':
            return ''
        if field.is_array or field.element in ('bytes', 'records', 'uuid') or field.is_struct():
            return '{}' if self.may_be_null(field) is False or field.is_array is False else ' = {{}}'
        if field.element == 'string':
            return f' = "{field.default or ""}"'
        if field.element == 'bool':
            return f' = {field.default or "false"}'
        value = field.default or '0'
        number = int(value, 0) if field.element != 'float64' else value
        if number == -2147483648:
            return ' = INT32_MIN'
        return f' = {number}'

    def initialiser(self, field):
        if self.may_be_null(field):
            inner = self.cpp_type(field)[len('std::optional<'):-1]
            if field.default == 'null':
                return ''
            if field.element == 'string' and not field.is_array:
                return f' = std::string_view("{field.default or ""}")'
            return f' = {inner}{{}}'
        return self.default(field)

    def is_default(self, field):
        """C++ for "the field has its default", for tagged fields."""
        if field.is_array and not self.may_be_null(field):
            return f'{field.member}.empty()'
        if self.may_be_null(field):
            return f'!{field.member}' if field.default == 'null' else f'{field.member} == {self.cpp_type(field)}{self.initialiser(field)[3:]}'
        if field.element == 'uuid':
            return f'{field.member}.is_zero()'
        if field.element in ('bytes', 'records'):
            return f'{field.member}.empty()'
        if field.is_struct():
            return f'{field.member} == {field.element}{{}}'
        text = self.default(field)[3:]
        return f'!{field.member}' if text == 'false' else (field.member if text == 'true' else f'{field.member} == {text}')

    # One value (not a whole array). `at` names it; `flexible` is C++.
    def read(self, field, at, flexible):
        if field.element in SCALARS:
            return f'{at} = r.{SCALARS[field.element][1]}();'
        if field.element == 'string':
            return f'{at} = r.string({flexible});'
        if field.element == 'bytes':
            return f'{at} = r.bytes({flexible});'
        if field.element == 'records':
            return f'r.records({at}, {flexible});'
        return f'{at}.decode(r, version);'

    def measure(self, field, at, flexible):
        if field.element in SCALARS:
            return f'{SCALARS[field.element][3]}'
        if field.element in ('string', 'bytes', 'records'):
            return f'size_of_{field.element}({at}, {flexible})'
        return f'{at}.size(version)'

    def write(self, field, at, flexible):
        if field.element in SCALARS:
            return f'w.{SCALARS[field.element][2]}({at});'
        if field.element in ('string', 'bytes', 'records'):
            return f'w.{field.element}({at}, {flexible});'
        return f'{at}.encode(w, version);'

    def flexible_of(self, field):
        if field.keeps_old_form or self.message.flexible_from > self.valid[1]:
            return 'false'
        return 'true' if self.message.flexible_from <= self.valid[0] else 'flexible'

    def decode_field(self, field):
        flexible, member, lines = self.flexible_of(field), field.member, []
        nullable = condition(field.nullable, self.valid)
        if nullable is not None:
            null_allowed = 'true' if nullable == '' else nullable
            if field.is_array:
                lines.append(f'r.nullable_array({member}, {flexible}, {null_allowed}, [&](auto& e) {{ {self.read(field, "e", flexible)} }});')
            elif field.is_struct():
                lines.append(f'r.nullable_struct({member}, {null_allowed}, [&](auto& e) {{ {self.read(field, "e", flexible)} }});')
            else:
                lines.append(f'r.nullable_{field.element}({member}, {flexible}, {null_allowed});')
        elif field.is_array:
            lines.append(f'r.array({member}, {flexible}, [&](auto& e) {{ {self.read(field, "e", flexible)} }});')
        else:
            lines.append(self.read(field, member, flexible))
        return lines

    def size_field(self, field):
        """A C++ expression."""
        flexible, member = self.flexible_of(field), field.member
        if self.may_be_null(field):
            if field.is_array:
                return f'size_of_nullable_array({member}, {flexible}, [&]([[maybe_unused]] const auto& e) -> size_t {{ return {self.measure(field, "e", flexible)}; }})'
            if field.is_struct():
                return f'1 + ({member} ? {member}->size(version) : 0)'
            return f'size_of_nullable_{field.element}({member}, {flexible})'
        if field.is_array:
            if field.element in SCALARS:
                return f'size_of_length({member}.size(), {flexible}) + {SCALARS[field.element][3]} * {member}.size()'
            return f'size_of_array({member}, {flexible}, [&]([[maybe_unused]] const auto& e) -> size_t {{ return {self.measure(field, "e", flexible)}; }})'
        return self.measure(field, member, flexible)

    def encode_field(self, field):
        flexible, member = self.flexible_of(field), field.member
        if self.may_be_null(field):
            nullable = condition(field.nullable, self.valid)
            null_allowed = 'true' if nullable == '' else nullable
            if field.is_array:
                return f'w.nullable_array({member}, {flexible}, {null_allowed}, [&](const auto& e) {{ {self.write(field, "e", flexible)} }});'
            if field.is_struct():
                return f'w.nullable_struct({member}, [&](const auto& e) {{ {self.write(field, "e", flexible)} }});'
            return f'w.nullable_{field.element}({member}, {flexible}, {null_allowed});'
        if field.is_array:
            return f'w.array({member}, {flexible}, [&](const auto& e) {{ {self.write(field, "e", flexible)} }});'
        return self.write(field, member, flexible)

    def guarded(self, test, lines, indent):
        pad = '  ' * indent
        if test is None:
            return []
        if test == '':
            return [pad + line for line in lines]
        if len(lines) == 1:
            return [f'{pad}if ({test}) {lines[0]}']
        return [f'{pad}if ({test}) {{'] + [pad + '  ' + line for line in lines] + [pad + '}']

    def emit_struct(self, name, fields, is_message):
        """Declares the struct and defines its verbs."""
        # The structs of a message stand before it: inside it they would not be complete where its own fields need them.
        message, h = self.message, self.header
        parts = f'{snake(message.name)}_parts'
        qualified = name if is_message else f'{parts}::{name}'
        inner = self.order(message.fields, []) if is_message else []
        if inner:
            h.append(f'namespace {parts} {{')
            for struct in inner:
                self.emit_struct(struct, message.structs[struct], False)
            h.append(f'}}  // namespace {parts}')
            h.append('')
        h.append(f'struct {name} {{')
        if is_message:
            if message.kind != 'header':
                h.append(f'  static constexpr int16_t kApiKey = {message.key};')
            h.append(f'  static constexpr int16_t kVersionMin = {message.versions[0]}, kVersionMax = {message.versions[1]};')
            h.append(f'  static constexpr int16_t kFlexibleFrom = {message.flexible_from};')
            h.append(f'  static constexpr std::string_view kName = "{message.name}";')
            h.extend(f'  using {struct} = {parts}::{struct};' for struct in inner)
            h.append('')
        for field in fields:
            if condition(field.versions, self.valid) is None:
                continue
            note = self.versions_note(field)
            h.append(f'  {self.cpp_type(field)} {field.member}{self.initialiser(field)};{note}')
        h.append('')
        h.append('  void decode(Reader& r, int version);')
        h.append('  size_t size(int version) const;')
        h.append('  void encode(Writer& w, int version) const;')
        h.append(f'  bool operator==(const {name}&) const = default;')
        h.append('  template <class Visitor>')
        h.append('  void visit(Visitor& v, [[maybe_unused]] int version) {')
        for field in fields:
            test = condition(field.versions, self.valid)
            null = condition(field.nullable, self.valid)
            null = 'false' if null is None else (null or 'true')
            h.extend(self.guarded(test, [f'v.field("{field.name}", {field.member}, {null});'], 2))
        h.append('  }')
        h.append('};')
        self.emit_verbs(qualified, fields)

    def versions_note(self, field):
        test = condition(field.versions, self.valid)
        if test == '':
            return ''
        low, high = max(field.versions[0], self.valid[0]), min(field.versions[1], self.valid[1])
        return f'  // v{low}+' if high == self.valid[1] else f'  // v{low}-{high}'

    def emit_verbs(self, qualified, fields):
        plain = [f for f in fields if f.tag is None]
        tagged = sorted((f for f in fields if f.tag is not None and condition(f.tagged, self.valid) is not None), key=lambda f: f.tag)
        flexible_from, s = self.message.flexible_from, self.source
        is_ever_flexible = flexible_from <= self.valid[1]
        flexible_line = f'  [[maybe_unused]] const bool flexible = version >= {flexible_from};'
        s.append(f'void {qualified}::decode(Reader& r, [[maybe_unused]] int version) {{')
        s.append(flexible_line)
        for field in plain:
            s.extend(self.guarded(condition(field.versions, self.valid), self.decode_field(field), 1))
        if is_ever_flexible:
            s.append('  if (!flexible) return;')
            if not tagged:
                s.append('  r.skip_tags();')
            else:
                s.append('  r.tags([&](uint32_t tag) {')
                s.append('    switch (tag) {')
                for field in tagged:
                    test = condition(self.tagged_in(field), self.valid)
                    s.append(f'      case {field.tag}:')
                    if test:
                        s.append(f'        if (!({test})) return false;')
                    s.extend('        ' + line for line in self.decode_field(field))
                    s.append('        return true;')
                s.append('      default: return false;')
                s.append('    }')
                s.append('  });')
        s.append('}')
        s.append(f'size_t {qualified}::size([[maybe_unused]] int version) const {{')
        s.append(flexible_line)
        s.append('  size_t n = 0;')
        for field in plain:
            s.extend(self.guarded(condition(field.versions, self.valid), [f'n += {self.size_field(field)};'], 1))
        if is_ever_flexible:
            s.append('  if (!flexible) return n;')
            if tagged:
                s.append('  uint32_t tags = 0;')
                for field in tagged:
                    s.extend(self.guarded(self.present(field), ['++tags;', f'n += size_of_tag({field.tag}, {self.size_field(field)});'], 1))
                s.append('  n += size_of_uvarint(tags);')
            else:
                s.append('  n += 1;')
        s.append('  return n;')
        s.append('}')
        s.append(f'void {qualified}::encode(Writer& w, [[maybe_unused]] int version) const {{')
        s.append(flexible_line)
        for field in plain:
            s.extend(self.guarded(condition(field.versions, self.valid), [self.encode_field(field)], 1))
        if is_ever_flexible:
            s.append('  if (!flexible) return;')
            if tagged:
                s.append('  uint32_t tags = 0;')
                for field in tagged:
                    s.extend(self.guarded(self.present(field), ['++tags;'], 1))
                s.append('  w.uvarint(tags);')
                for field in tagged:
                    s.extend(self.guarded(self.present(field),
                                          [f'w.tag({field.tag}, {self.size_field(field)});', self.encode_field(field)], 1))
            else:
                s.append('  w.uvarint(0);')
        s.append('}')
        s.append('')

    def tagged_in(self, field):
        return (max(field.tagged[0], self.message.flexible_from), field.tagged[1])

    def present(self, field):
        test = condition(self.tagged_in(field), self.valid)
        return f'!({self.is_default(field)})' + (f' && {test}' if test else '')

    def order(self, fields, out):
        for field in fields:
            if field.is_struct() and condition(field.versions, self.valid) is not None:
                if field.element not in self.message.structs:
                    fail(field.place, f'struct {field.element} is not described')
                self.order(self.message.structs[field.element], out)
                if field.element not in out:
                    out.append(field.element)
        return out


BANNER = '// Generated by tools/kafka_frames/generate.py from tools/kafka_frames/schema/{}. Pure.\n'


def emit(stem, messages, out_dir):
    header, source = [], []
    for message in messages:
        emitter = Emitter(message)
        emitter.emit_struct(message.name, message.fields, True)
        header += emitter.header + ['']
        source += emitter.source
    write(os.path.join(out_dir, stem + '.h'), BANNER.format(stem + '.txt') + '#pragma once\n\n#include "protocol/kafka/frames/wire.h"\n\n'
          'namespace robustmq::kafka {\n\n' + '\n'.join(header) + '\n}  // namespace robustmq::kafka\n')
    write(os.path.join(out_dir, stem + '.cc'), BANNER.format(stem + '.txt') + f'#include "protocol/kafka/frames/{stem}.h"\n\n'
          'namespace robustmq::kafka {\n\n' + '\n'.join(source) + '\n}  // namespace robustmq::kafka\n')


def emit_tables(stems, messages, out_dir):
    requests = sorted((m for m in messages if m.kind == 'request'), key=lambda m: m.key)
    responses = {m.base: m for m in messages if m.kind == 'response'}
    for request in requests:
        response = responses.get(request.base)
        if response is None or (response.key, response.versions) != (request.key, request.versions):
            fail(request.place, f'{request.base} has no response with the same key and versions')
    rows = ',\n'.join(f'    {{{m.key}, "{m.base}", {m.advertised[0]}, {m.advertised[1]}, {m.versions[0]}, {m.versions[1]}, '
                      f'{m.flexible_from}, {responses[m.base].flexible_from}}}' for m in requests)
    write(os.path.join(out_dir, 'apis.h'), BANNER.format('*.txt') + '''#pragma once

#include <cstdint>
#include <string_view>

namespace robustmq::kafka {

// One API: its key, the versions that ApiVersions says, those that can be read and written, and from which version on request
// and response are flexible.
struct ApiFacts {
  int16_t key;
  std::string_view name;
  int16_t advertised_min, advertised_max;
  int16_t version_min, version_max;
  int16_t flexible_from, response_flexible_from;
};

// By key, ascending.
inline constexpr ApiFacts kApis[] = {
''' + rows + '''};

// The row of a key; nullptr: not served.
constexpr const ApiFacts* api_of(int16_t key) {
  for (const ApiFacts& api : kApis) {
    if (api.key == key) return &api;
  }
  return nullptr;
}

}  // namespace robustmq::kafka
''')
    bodies = [m for m in messages if m.kind != 'header']
    calls = '\n'.join(f'  f.template operator()<{m.name}>();' for m in messages)
    pairs = '\n'.join(f'    case {m.key}: f.template operator()<{m.base}Request, {m.base}Response>(); return true;' for m in requests)
    includes = '\n'.join(f'#include "protocol/kafka/frames/{stem}.h"' for stem in stems)
    assert bodies
    write(os.path.join(out_dir, 'all.h'), BANNER.format('*.txt') + f'''#pragma once

{includes}

namespace robustmq::kafka {{

// Calls f.operator()<Message>() for each message there is.
template <class F>
void for_each_message(F&& f) {{
{calls}
}}

// Calls f.operator()<Request, Response>() for the API of this key; false: there is none.
template <class F>
bool with_api(int16_t key, F&& f) {{
  switch (key) {{
{pairs}
    default: return false;
  }}
}}

}}  // namespace robustmq::kafka
''')


def write(path, text):
    """Leaves a file that is the same untouched, so that nothing is compiled again."""
    if os.path.exists(path):
        with open(path, encoding='utf-8') as old:
            if old.read() == text:
                return
    with open(path, 'w', encoding='utf-8') as out:
        out.write(text)


def main(arguments):
    if len(arguments) < 2:
        sys.exit(__doc__)
    out_dir, paths = arguments[0], sorted(arguments[1:])
    os.makedirs(out_dir, exist_ok=True)
    stems, messages = [], []
    for path in paths:
        stem = os.path.splitext(os.path.basename(path))[0]
        parsed = parse(path)
        stems.append(stem)
        messages += parsed
        emit(stem, parsed, out_dir)
    emit_tables(stems, messages, out_dir)


if __name__ == "__main__":
    main(sys.argv[1:])
