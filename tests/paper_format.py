#!/usr/bin/python3
# Copyright 2026 The HalfRemembered authors
# SPDX-License-Identifier: ISC

"""paper_format.py PAPER STORE [EXPECTED [STORE EXPECTED]...]

Read stores by the tables of the paper's section "The format, byte by byte", from
which every offset, width, type and constant is taken, and print what they hold as
tests/paper/list.c does. With files of such lists: compare, and try each row of the
tables with a wrong offset, its neighbour's, and each constant with a wrong value: each
must be noticed.
"""

import re
import struct
import sys

import xxhash

SECTION = "The format, byte by byte"
EXAMPLE = "A node in full"
FORMATS = {"u8": "<B", "u16": "<H", "u32": "<I", "u64": "<Q", "i64": "<q",
           "be64": ">Q", "f32": "<f", "f64": "<d"}


class Wrong(Exception):
    """The store is not as described."""


def require(condition, sentence):
    if not condition:
        raise Wrong(sentence)


def hash64(data, seed=0):
    return xxhash.xxh3_64_intdigest(data, seed)


def hex_dump(text):
    """The bytes of lines of 8 in hexadecimal, before what is said of them."""
    return bytes.fromhex("".join(re.findall(r"^((?:[0-9a-f]{2} ){8})", text, re.M)))


# ---- The description -----------------------------------------------------------


class Description:
    """The tables under each heading: {heading: {name or field: the row's cells}}."""

    def __init__(self, paper):
        section = re.search(rf"^(#+) (?:[\d.]+ )?{SECTION}\n(.*?)(?=^#{{1,3}} |\Z)", paper, re.M | re.S)
        require(section, f'no section "{SECTION}"')
        self.tables, self.example = {}, []
        for part in re.split(r"^####+ ", section[2], flags=re.M)[1:]:
            heading, _, text = part.partition("\n")
            rows = [[cell.strip() for cell in line.strip("| ").split(" | ")]
                    for line in text.splitlines() if line.startswith("|")]
            if heading.strip() == EXAMPLE:
                self.example = [hex_dump(block) for block in re.findall(r"^```text\n(.*?)^```", text, re.M | re.S)]
            if rows:
                name = rows[0].index("field") if "field" in rows[0] else 0
                self.tables[heading.strip()] = {
                    row[name]: dict(zip(rows[0], row)) for row in rows[2:]}

    def constant(self, name):
        return int(self.tables["Constants"][name]["value"], 0)

    def read(self, table, data, at=0):
        """All fields of what begins at `at`."""
        return Record(self.tables[table], data, at)

    def size(self, table):
        """Of what has no field of variable length."""
        return max(int(row["offset"]) + int(row["bytes"]) for row in self.tables[table].values()
                   if row["bytes"] != "rest")


class Record:
    def __init__(self, rows, data, at):
        self.values = {}
        for field, row in rows.items():
            begin = at + int(row["offset"])
            width = len(data) - begin if row["bytes"] == "rest" else int(row["bytes"])
            require(0 <= begin and begin + width <= len(data) and width >= 0, f"{field} lies outside")
            value = data[begin:begin + width]
            if row["type"] != "bytes":
                value = struct.unpack(FORMATS[row["type"]], value)[0]
            self.values[field] = value
            if field in ("pad", "reserved"):
                require(not any(data[begin:begin + width]), f"{field} is not 0")

    def __getitem__(self, field):
        return self.values[field]


# ---- Pages ---------------------------------------------------------------------


class Pages:
    def __init__(self, description, data):
        self.its = description
        self.data = data
        self.constant = description.constant
        metas = [self.meta(number) for number in (0, 1)]
        self.newest = max(metas, key=lambda meta: meta["transaction"])

    def page(self, number, count=1):
        size = self.constant("page size")
        require((number + count) * size <= len(self.data), f"page {number} lies outside")
        return self.data[number * size:(number + count) * size]

    def header(self, page, number, kind):
        header = self.its.read("Page header", page)
        require(header["number"] == number, f"page {number} bears another number")
        require(header["flags"] == self.constant(kind), f"page {number} is no {kind}")
        return header

    def meta(self, number):
        page = self.page(number)
        # The page size, where others have nothing, is looked at below.
        require(self.its.read("Page header", page)["flags"] == self.constant("meta page"), "no meta page")
        meta = self.its.read("LMDB meta page", page)
        require(meta["magic"] == self.constant("meta magic"), "no LMDB file")
        require(meta["version"] == self.constant("meta version"), "another version of LMDB")
        require(meta["address"] == 0, "to be mapped at an address")
        require(meta["transaction"] % 2 == number, "the meta pages do not take turns")
        require(0 < meta["last page"] < len(self.data) // self.constant("page size"), "cut short")
        return meta

    def entries(self, page, header, table):
        begin = self.its.tables["Page header"]["slots"]["offset"]
        slots = header["slots"][:header["lower"] - int(begin)]
        for (slot,) in struct.iter_unpack("<H", slots):
            require(slot >= header["upper"], "an entry lies in the free room")
            yield self.its.read(table, page, slot)

    def walk(self, number, depth, counts):
        """Keys and values of a B+tree, in order."""
        page = self.page(number)
        if depth > 1:
            counts["branch pages"] += 1
            header = self.header(page, number, "branch page")
            children = list(self.entries(page, header, "Branch page entry"))
            require(children and children[0]["key size"] == 0, "the first entry has a key")
            for child in children:
                low = child["key"][:child["key size"]]
                for key, value, flags in self.walk(child["page low"] | child["page high"] << 32,
                                                   depth - 1, counts):
                    require(low <= key or len(low) == 8, "a key is less than the page above says")
                    yield key, value, flags
            return
        counts["leaf pages"] += 1
        for entry in self.entries(page, self.header(page, number, "leaf page"), "Leaf entry"):
            counts["entries"] += 1
            key, rest = entry["key"][:entry["key size"]], entry["key"][entry["key size"]:]
            require(len(key) == entry["key size"], "a key lies outside")
            if entry["flags"] == self.constant("big value"):
                value = self.big_value(struct.unpack_from("<Q", rest)[0], entry["value size"], counts)
            else:
                require(entry["flags"] in (0, self.constant("sub-database")), "unknown flags")
                value = rest[:entry["value size"]]
            require(len(value) == entry["value size"], "a value lies outside")
            yield key, value, entry["flags"]

    def big_value(self, number, size, counts):
        table = "Overflow page header"
        first = self.its.read(table, self.page(number))
        require(first["number"] == number, "an overflow page bears another number")
        require(first["flags"] == self.constant("overflow page"), "no overflow page")
        counts["overflow pages"] += first["pages"]
        return self.its.read(table, self.page(number, first["pages"]))["value"][:size]

    def database(self, record, integer_keys=False):
        """What a database record leads to; its counts have to be right."""
        record = self.its.read("Named database record (MDB_db)", record)
        require(bool(record["flags"] & self.constant("integer keys")) == integer_keys, "another kind of keys")
        counts = {"branch pages": 0, "leaf pages": 0, "overflow pages": 0, "entries": 0}
        found = []
        if record["root"] != self.constant("no page"):
            require(0 < record["depth"] < 32, "an impossible depth")
            found = list(self.walk(record["root"], record["depth"], counts))
        else:
            require(record["depth"] == 0, "an empty tree has a depth")
        keys = [struct.unpack("<Q", key)[0] if integer_keys else key for key, _, _ in found]
        require(keys == sorted(set(keys)), "keys out of order")
        for name, count in counts.items():
            require(record[name] == count, f"{record[name]} {name}, {count} found")
        return found


# ---- The store -------------------------------------------------------------------


class Store:
    def __init__(self, description, data):
        self.its = description
        self.constant = description.constant
        self.lines = []
        pages = Pages(description, data)
        self.map_size = pages.newest["map size"]
        main = {key.decode(): (value, flags) for key, value, flags in pages.database(pages.newest["main"])}
        header, flags = main.pop("halfremembered")
        self.header = description.read("Store header", header)
        require(flags == 0 and len(header) == description.size("Store header"), "an odd header")
        require(self.header["magic"] == b"HALFREM\0", "no store")
        require(self.header["format"] == self.constant("store format"), "another format")
        require(self.header["page size"] == self.constant("page size"), "another page size")
        require(abs(self.header["created"] / 1e9 - 1.8e9) < 1e9, "an odd time of creation")
        self.free_pages(pages)
        tables = description.tables["Databases"]
        require(set(main) == set(tables), "other databases")
        self.data = {}
        for name, (value, flags) in main.items():
            require(flags == self.constant("sub-database"), "no database")
            integers = tables[name]["key"].startswith("u64")
            entries = pages.database(value, integers)
            self.data[name] = [(key, self.unsealed(name, key, value)) for key, value, _ in entries]
        self.names = dict(self.data["names"])

    @staticmethod
    def free_pages(pages):
        """The page size stands in the free list's record, whose own counts begin as others do."""
        record = pages.newest["free list"]
        pad = pages.its.tables["Named database record (MDB_db)"]["pad"]
        begin, end = int(pad["offset"]), int(pad["offset"]) + int(pad["bytes"])
        size = struct.unpack(FORMATS[pad["type"]], record[begin:end])[0]
        require(size == pages.constant("page size"), "another page size")
        rest = record[:begin] + bytes(end - begin) + record[end:]
        for _, value, _ in pages.database(rest, True):
            count, *numbers = struct.unpack(f"<{len(value) // 8}Q", value)
            require(count <= len(numbers), "a list of free pages is cut short")
            require(all(1 < number <= pages.newest["last page"] for number in numbers[:count]),
                    "no such page is free")

    def unsealed(self, database, key, value):
        """A value without its checksum, which must be right."""
        kind = self.its.tables["Databases"][database].get("kind")
        if not kind:
            return value
        value, checksum = value[:-4], struct.unpack("<I", value[-4:])[0]
        require(hash64(value, hash64(key, int(kind))) & 0xffffffff == checksum,
                f"a checksum in {database} is wrong")
        return value

    def name(self, kind, number):
        return self.names[kind.encode() + struct.pack(">Q", number)].decode() if number else ""

    def key(self, key):
        key = self.its.read("Node key", key)
        tick = key["tick"] ^ self.constant("sign")
        return key["branch"], struct.unpack("<q", struct.pack("<Q", tick))[0], key["ordinal"]

    def print(self, line, author=None):
        self.lines.append(line if author is None else f'{line} by "{self.name("A", author)}"')

    def list(self):
        self.print(f"store {self.header['uuid'].hex()} map {self.map_size}")
        for key, value in self.data["trees"]:
            self.tree(struct.unpack("<Q", key)[0], self.its.read("Tree record", value))
        for key, value in self.data["captures"]:
            capture = self.its.read("Capture record", value)
            require(len(key) == 16 and capture["consumed"] > 1000, "an odd capture record")
            self.print(f'capture of tree {capture["tree"]}')
        self.check_names()
        return self.lines

    def check_names(self):
        """Both ways, the letter in the other case."""
        for key, value in self.names.items():
            number = struct.unpack(">Q", key[1:9])[0]
            if key[:1].isupper():
                scope = number >> 32 if key[:1] == b"B" else 0
                back = self.names[key[:1].lower() + struct.pack(">Q", scope) + value]
                require(struct.unpack("<Q", back)[0] == number, "a name leads elsewhere")

    def tree(self, tree, record):
        branches = [(struct.unpack("<Q", key)[0], value) for key, value in self.data["branches"]]
        branches = [(branch, value) for branch, value in branches if branch >> 32 == tree]
        require(record["branches"] == len(branches) < record["next number"], "branches miscounted")
        require(record["author"] == 0 or self.name("A", record["author"]), "an unknown author")
        self.print(f'tree {tree} "{self.name("T", tree)}" root {tree << 32 | record["root"]} '
                   f'current {record["current"]} branches {record["branches"]} created {record["created"]}')
        for branch, value in branches:
            self.branch(branch, self.its.read("Branch record", value))
        entries = [(struct.unpack("<Q", key)[0], value) for key, value in self.data["journal"]]
        entries = [(key & 0xffffffff, self.its.read("Journal record", value))
                   for key, value in entries if key >> 32 == tree]
        require(record["journal entries"] == len(entries), "journal entries miscounted")
        require(record["author"] == entries[0][1]["author"], "another author made the tree")
        for sequence, entry in entries:
            self.journal(tree, sequence, entry)
        redo = dict(entries)[record["redo"]]["refers"] if record["redo"] else 0
        self.print(f'undo {record["undo"]} redo {redo}')

    def nodes(self):
        """Key and bytes of each node, as it has them by itself."""
        page, full = self.constant("page size"), self.constant("full node")
        for key, value in self.data["nodes"]:
            first = self.its.read("Node key", key)
            begin = len(key) - len(first["later"])
            later = [offset for (offset,) in struct.iter_unpack("<I", first["later"])]
            require(len(later) % 2 == 0, "an extent of an even number of nodes")
            require(not later or len(value) == len(later) * page + full, "an extent of another length")
            for index, offset in enumerate([0, *later]):
                node = value[index * page:index * page + full] if later else value
                require(index == len(later) or not any(value[index * page + full:(index + 1) * page]),
                        "something lies between nodes")
                yield struct.pack(">QQQ", first["branch"], first["tick"] + offset, first["ordinal"] + index) \
                    if index else key[:begin], node

    def branch(self, number, record):
        self.print(f'branch {number} "{self.name("B", number)}" parent {record["parent"]} '
                   f'jump {record["jump"]} fork {record["fork tick"]} head {record["head tick"]} '
                   f'events {record["events"]} nodes {record["nodes"]} depth {record["depth"]} '
                   f'state {record["state"]} created {record["created"]}', record["author"])
        nodes = [(key, value) for key, value in self.nodes() if self.key(key)[0] == number]
        require(len(nodes) == record["nodes"], "nodes miscounted")
        total = 0
        for ordinal, (key, value) in enumerate(nodes):
            node = self.its.read("Node header", value)
            require(self.key(key) == (number, node["base tick"], ordinal), "a node under another's key")
            total += self.node(key, node, value)
        require(total == record["events"], "events miscounted")

    def is_node(self, key, value):
        """Whether a node that belongs to another store is sound; its author is somebody there."""
        node = self.its.read("Node header", value)
        require(self.key(key)[1] == node["base tick"], "a node under another's key")
        return self.node(key, node, value) == node["events"]

    def node(self, key, node, value):
        require(node["magic"] == self.constant("node magic"), "no node")
        require(node["version"] == self.constant("node version"), "another version of nodes")
        require(len(node["words"]) == self.constant("word size") * node["count"], "words miscounted")
        row = self.its.tables["Node header"]["checksum"]
        begin, width = int(row["offset"]), int(row["bytes"])
        header = value[:begin] + bytes(width) + value[begin + width:-len(node["words"])]
        require(hash64(node["words"], hash64(header, hash64(key))) == node["checksum"], "a node's checksum is wrong")
        self.print(f'node {node["base tick"]} to {node["last tick"]} events {node["events"]} '
                   f'words {node["count"]} flags {node["flags"]} at {node["wall clock"]} '
                   f'tempo {node["tempo"]:.17g} meter {node["beats per bar"]}/{node["beat unit"]}', node["author"])
        counted, last, long = 0, node["base tick"], False
        for tick, kind, data in self.events(node):
            self.print(f"{kind} {tick} {data.hex()}")
            require(tick >= last, "events out of order")
            is_state = kind == "meta" and data[0] == 4
            counted, last, long = counted + (not is_state), tick, long or len(data) > 3 or kind == "meta"
        require(counted == node["events"] and last == node["last tick"], "events miscounted in a node")
        require(node["flags"] == (self.constant("has long") if long else 0), "flags are wrong")
        return counted

    def events(self, node):
        """Tick, kind and bytes of each."""
        size, at = self.constant("word size"), 0
        while at < len(node["words"]):
            word = self.its.read("Word", node["words"][at:at + size])
            tick, length, data = node["base tick"] + word["offset"], word["length"], word["data"]
            at += size
            if length <= len(data):
                require(length > 0 and not any(data[length:]), "rubbish behind a message")
                yield tick, "midi", data[:length]
                continue
            require(length in (self.constant("meta word"), self.constant("long word")), "an odd length")
            count = int.from_bytes(data, "little")
            end = at + -(-count // size) * size
            require(count > 0 and end <= len(node["words"]) and not any(node["words"][at + count:end]), "rubbish behind a message")
            yield tick, "meta" if length == self.constant("meta word") else "midi", node["words"][at:at + count]
            at = end

    def journal(self, tree, sequence, entry):
        texts, size = entry["texts"], entry["text size"]
        require(len(texts) == size + entry["before size"], "texts of another length")
        require(entry["flags"] in (0, self.constant("quiet")), "unknown flags")
        self.print(f'journal {sequence} at {entry["time"]} operation {entry["operation"]} '
                   f'branch {entry["branch"]} other {entry["other"]} left {entry["left"]} '
                   f'tick {entry["tick"]} refers {entry["refers"]} below {entry["below"]} '
                   f'quiet {entry["flags"]} "{texts[:size].decode()}" "{texts[size:].decode()}"', entry["author"])
        for key, value in self.data["notes"]:
            branch, tick, number = self.key(key)
            if number == sequence and branch >> 32 == tree:
                self.note(branch, tick, number, self.its.read("Note record", value))

    def note(self, branch, tick, number, note):
        texts, size = note["texts"], note["name size"]
        require(len(texts) == size + note["text size"] + 1 and texts[-1] == 0, "texts of another length")
        self.print(f'note {number} kind {note["kind"]} branch {branch} from {tick} to {note["end tick"]} '
                   f'at {note["time"]} hidden {note["hidden"]} rating {note["rating"]} emotion {note["known"]} '
                   f'{note["valence"]:.9g} {note["arousal"]:.9g} {note["agency"]:.9g} '
                   f'"{texts[:size].decode()}" "{texts[size:-1].decode()}"', note["author"])


# ---- Wrong descriptions ------------------------------------------------------------


def read(description, data):
    return Store(description, data).list()


def noticed(description, data, expected):
    """Whether the description does not lead to what is expected."""
    try:
        return read(description, data) != expected
    except (Wrong, struct.error, KeyError, IndexError, ValueError, OverflowError, MemoryError):
        return True


def wrong_rows(description):
    """Each row and constant made wrong in turn; the caller reads with it meanwhile."""
    for heading, rows in description.tables.items():
        for name, row in rows.items():
            column = {"Constants": "value", "Databases": "kind"}.get(heading, "offset")
            if row.get(column):
                right, width = row[column], row.get("bytes", "rest")
                by = int(right, 0) + 1 if column != "offset" else 1 if width == "rest" else int(width)
                row[column] = str(int(right, 0) + by)
                yield f"{heading}: {column} of {name}"
                row[column] = right


def check(name, passed):
    print(f"{'ok' if passed else 'not ok'} {name}")
    return passed


def compare(description, data, expected):
    """Print the first line that differs, if any."""
    try:
        found = read(description, data)
    except Wrong as wrong:
        return check(f"the description reads a store: {wrong}", False)
    for number, (ours, theirs) in enumerate(zip(found, expected), 1):
        if ours != theirs:
            print(f"line {number}: {ours}\nexpected: {theirs}")
            break
    return check(f"the description reads a store: {len(expected)} lines", found == expected)


def main(paper, *files):
    with open(paper, encoding="utf-8") as file:
        description = Description(file.read())
    stores = []
    for path in files[::2]:
        with open(path, "rb") as file:
            stores.append(file.read())
    if len(files) == 1:
        print("\n".join(read(description, stores[0])))
        return True
    lists = []
    for path in files[1::2]:
        with open(path, encoding="utf-8") as file:
            lists.append(file.read().splitlines())
    kinds = {kind: sum(line.startswith(kind + " ") for lines in lists for line in lines)
             for kind in ("tree", "branch", "node", "midi", "meta", "journal", "note", "capture")}
    print(", ".join(f"{count} {kind}" for kind, count in kinds.items()))
    passed = check("the stores hold something of every kind", all(kinds.values()))
    for data, expected in zip(stores, lists):
        passed &= compare(description, data, expected)
    key, node = description.example
    passed &= check("the example is a node", Store(description, stores[0]).is_node(key, node))
    wrong = list(wrong_rows(description))
    missed = [row for row in wrong_rows(description)
              if not any(noticed(description, data, expected) for data, expected in zip(stores, lists))]
    print("\n".join(missed))
    passed &= check(f"a description that is wrong is noticed, in each of {len(wrong)} places", not missed)
    return passed


if __name__ == "__main__":
    sys.exit(not main(*sys.argv[1:]))
