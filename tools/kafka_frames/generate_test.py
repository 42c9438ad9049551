#!/usr/bin/env python3
"""The generator of Kafka's frames: what a table may say, and that a wrong one is refused with file and line."""
import os
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import generate  # noqa: E402

GOOD = """# a comment
request Thing key=7 versions=1-4 advertised=0-4 flexible=3+
  Name string 0+ nullable=2+ default=null
  Items []Item 1+
    Number int32 1-2 default=-1
    Extra int64 4+ tag=0 tagged=4+ default=5
  Cursor Cursor 2+ nullable=2+ default=null
    Size int64 0+

response Thing key=7 versions=1-4 flexible=3+
  ErrorCode int16 0+
"""


def run(text):
    """The files made of one table, by name."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, 'thing.txt')
        with open(path, 'w', encoding='utf-8') as out:
            out.write(text)
        generate.main([os.path.join(folder, 'out'), path])
        made = {}
        for name in os.listdir(os.path.join(folder, 'out')):
            with open(os.path.join(folder, 'out', name), encoding='utf-8') as file:
                made[name] = file.read()
        return made


class Generate(unittest.TestCase):
    def test_makes_structs_and_tables(self):
        made = run(GOOD)
        self.assertEqual(set(made), {'thing.h', 'thing.cc', 'apis.h', 'all.h'})
        self.assertIn('{7, "Thing", 0, 4, 1, 4, 3, 3}', made['apis.h'])
        header = made['thing.h']
        self.assertIn('std::optional<std::string_view> name;', header)
        self.assertIn('int32_t number = -1;  // v1-2', header)
        self.assertIn('std::optional<Cursor> cursor;  // v2+', header)
        self.assertIn('int64_t size_value = 0;', header)  # size is a verb of the struct

    def test_is_the_same_every_time(self):
        self.assertEqual(run(GOOD), run(GOOD))

    def refused(self, old, new, line, words):
        with self.assertRaises(SystemExit) as refused:
            run(GOOD.replace(old, new))
        self.assertIn(f'thing.txt:{line}: ', str(refused.exception))
        self.assertIn(words, str(refused.exception))

    def test_names_the_line_that_is_wrong(self):
        self.refused('Name string 0+', 'Name string 0..4', 3, 'no range of versions')
        self.refused('default=-1', 'dfault=-1', 5, 'not known here')
        self.refused('    Number int32 1-2', '        Number int32 1-2', 5, 'nested too deep')
        self.refused('Items []Item 1+', 'Items []int32 1+', 4, 'has no fields')
        self.refused(' tagged=4+', '', 6, 'come together')
        self.refused('response Thing key=7', 'response Thing key=8', 2, 'no response with the same key')
        self.refused('    Size int64 0+\n', '', 7, 'is not described')

    def test_takes_the_tables_of_the_tree(self):
        schema = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'schema')
        paths = [os.path.join(schema, name) for name in os.listdir(schema)]
        with tempfile.TemporaryDirectory() as folder:
            generate.main([folder] + paths)
            self.assertEqual(len(os.listdir(folder)), 2 * len(paths) + 2)


if __name__ == '__main__':
    unittest.main()
