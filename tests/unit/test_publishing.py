"""What the publisher writes, read by somebody who knows only the description of the format.

``Edge`` below follows ``docs/formats/sync.md`` step by step and uses nothing of ``sync``.
"""

from __future__ import annotations

import copy
import hashlib
import json
import os
import shutil
import sqlite3
import stat
import struct
import subprocess
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from backports.zstd import DecompressionParameter, ZstdDecompressor, ZstdDict

from fixtures.lessons import make_counted_lesson
from sync import Busy, Corrupt, NoSpace
from sync.publishing import AlreadyThere, Change, Publisher, PublishError, history, intake, packs, releases
from sync.store.files import locked
from sync.trust.clock import ClockDoubtful
from sync.trust.keys import KeyUnavailable

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def unzstd(stored: bytes, raw_length: int, base: bytes = b"") -> bytes:
    prefix = ZstdDict(base, is_raw=True).as_prefix if base else None
    options = {DecompressionParameter.window_log_max: 27}
    raw = ZstdDecompressor(zstd_dict=prefix, options=options).decompress(stored, raw_length)
    assert len(raw) == raw_length
    return raw


class Base:
    """The published files, seen as a stranger sees them; counts what is asked for."""

    def __init__(self, folder: Path, timestamp: bytes | None = None) -> None:
        self.folder, self.timestamp = folder, timestamp
        self.asked: list[str] = []

    def get(self, name: str, sha256: str | None = None) -> bytes:
        self.asked.append(name)
        data = (self.folder / name).read_bytes()
        assert sha256 is None or sha(data) == sha256, f"{name} is not what its name says"
        return data

    def head(self, channel: str) -> dict[str, Any]:
        """§3 without signatures, which ``tests`` of trust look at: timestamp, snapshot, bins, head."""
        timestamp = json.loads(self.timestamp or self.get("metadata/timestamp.json"))
        version = timestamp["signed"]["meta"]["snapshot.json"]["version"]
        meta = json.loads(self.get(f"metadata/{version}.snapshot.json"))["signed"]["meta"]
        named: dict[str, Any] = {}
        for name, each in meta.items():
            if name.startswith("ch-"):
                named |= json.loads(self.get(f"metadata/{each['version']}.{name}"))["signed"]["targets"]
        sha256 = named[f"ch/{channel}/head.json"]["hashes"]["sha256"]
        head: dict[str, Any] = json.loads(self.get(f"targets/ch/{channel}/{sha256}.head.json", sha256))
        assert head["channel"] == channel and head["format"] == 2
        return head

    def release(self, sha256: str, length: int) -> tuple[dict[str, Any], list[bytes]]:
        raw = self.get(f"releases/{sha256}", sha256)
        assert len(raw) == length
        magic, stored, raw_length = struct.unpack_from(">4sII", raw)
        assert magic == b"RML2"
        header = json.loads(unzstd(raw[12 : 12 + stored], raw_length))
        recipes, at = [], 12 + stored
        for each in header["recipes"]:
            recipes.append(raw[at : at + each[3]])
            at += each[3]
        assert at == len(raw)
        names = [each[0] for each in header["add"]]
        assert names == sorted(names, key=str.encode) and header["remove"] == sorted(header["remove"], key=str.encode)
        return header, recipes


class Stale(Exception):
    """A unit is not where the places say."""


class Edge:
    """Holds listings, recipes and whole objects."""

    def __init__(self, channel: str = "main") -> None:
        self.channel, self.seq = channel, 0
        self.files: dict[str, list[Any]] = {}
        self.recipes: dict[str, bytes] = {}
        self.objects: dict[str, bytes] = {}
        self.units: dict[str, bytes] = {}

    def twin(self) -> Edge:
        twin = copy.copy(self)
        twin.files, twin.recipes = dict(self.files), dict(self.recipes)
        twin.objects, twin.units = dict(self.objects), dict(self.units)
        return twin

    @property
    def content(self) -> dict[str, bytes]:
        return {name: self.objects[each[1]] for name, each in self.files.items()}

    def pull(self, base: Base) -> Edge:
        head = base.head(self.channel)
        told: dict[str, tuple[list[Any], bytes, list[str]]] = {}
        for sha256, length in self._way(base, head):
            header, recipes = base.release(sha256, length)
            assert header["channel"] == self.channel and header["base"] <= self.seq <= header["seq"] <= head["seq"]
            if header["base"] == 0:
                self.files = {}
            for name in header["remove"]:
                self.files.pop(name, None)
            self.files.update({each[0]: each for each in header["add"]})
            self.seq = header["seq"]
            for each, stored in zip(header["recipes"], recipes, strict=True):
                told[each[0]] = (each, stored, header["packs"])
        lines = b"".join(
            b"%s\0%s\0%d\0%s\0%d\n" % (name.encode(), each[1].encode(), each[2], each[3].encode(), each[4])
            for name, each in sorted(self.files.items(), key=lambda item: item[0].encode())
        )
        assert sha(lines) == head["root"] and len(self.files) == head["files"] and self.seq == head["seq"]
        for _, sha256, length, recipe_sha256, _ in self.files.values():
            if sha256 not in self.objects:
                self._fetch(base, sha256, length, recipe_sha256, told.get(sha256))
        kept = {each[1] for each in self.files.values()}
        self.objects = {sha256: data for sha256, data in self.objects.items() if sha256 in kept}
        kept = {each[3] for each in self.files.values()}
        self.recipes = {sha256: raw for sha256, raw in self.recipes.items() if sha256 in kept}
        return self

    def _way(self, base: Base, head: dict[str, Any]) -> list[list[Any]]:
        """§5."""
        seq = head["seq"]
        if self.seq == seq:
            return []
        if self.seq == seq - 1:
            return [head["release"]]
        skips = json.loads(base.get(f"skips/{head['skips'][0]}", head["skips"][0]))
        bases = [step[0] for step in skips["steps"]]
        assert bases == sorted(set(bases), reverse=True) and all(1 <= each <= seq - 2 for each in bases)
        for step in skips["steps"]:
            if step[0] <= self.seq:
                return [step[1:]]
        full = skips["full"]
        if full[0] == seq:
            return [full[1:]]
        if full[0] == seq - 1:
            return [full[1:], head["release"]]
        return [full[1:], next(step[1:] for step in skips["steps"] if step[0] <= full[0])]

    def _fetch(
        self, base: Base, sha256: str, length: int, recipe_sha256: str, told: tuple[list[Any], bytes, list[str]] | None
    ) -> None:
        places: dict[str, Any] = {"spans": [], "packed": []}
        packs: list[str] = []
        raw = self.recipes.get(recipe_sha256)
        if told is not None:
            entry, stored, packs = told
            assert entry[:2] == [sha256, recipe_sha256]
            places = entry[5]
            if not entry[4]:
                raw = unzstd(stored, entry[2])
            elif entry[4] in self.recipes:
                raw = unzstd(stored, entry[2], self.recipes[entry[4]])
        if raw is not None:
            assert sha(raw) == recipe_sha256
            try:
                data = self._rebuild(base, raw, places, packs)
            except Stale:
                raw = None  # places are hints (§6): the card has the newest
        if raw is None:
            card = base.get(f"cards/{sha256[:2]}/{sha256}")
            magic, size, raw_size = struct.unpack_from(">4sII", card)
            header = json.loads(unzstd(card[12 : 12 + size], raw_size))
            assert magic == b"RMC2" and header["object"] == sha256 and header["recipe"] == recipe_sha256
            assert len(card) == 12 + size + header["recipe_stored"]
            raw = unzstd(card[12 + size :], header["recipe_raw"])
            assert sha(raw) == recipe_sha256
            data = self._rebuild(base, raw, header["places"], header["packs"])
        assert sha(data) == sha256 and len(data) == length
        self.recipes[recipe_sha256], self.objects[sha256] = raw, data

    def _rebuild(self, base: Base, raw: bytes, places: dict[str, Any], packs: list[str]) -> bytes:
        """§7: the recipe read with nothing but ``struct`` and lists."""
        magic, _, _ = struct.unpack_from(">4sQ32s", raw)
        assert magic == b"RMR2"
        counts = struct.unpack_from(">5I", raw, 44)
        at = 64

        def numbers(kind: str, count: int) -> list[int]:
            nonlocal at
            found = struct.unpack_from(f">{count}{kind}", raw, at)
            at += struct.calcsize(f">{count}{kind}")
            return list(found)

        streams, runs, units, tables, skeleton_bytes = counts
        units_of = numbers("I", streams)
        skips, stream_of, lengths_by_stream = numbers("I", runs), numbers("B", runs), numbers("I", runs)
        unit_lengths = numbers("I", units)
        hashes = [raw[at + 32 * n : at + 32 * n + 32].hex() for n in range(units)]
        at += 32 * units
        places_of_tables = [struct.unpack_from(">IIB", raw, at + 9 * n) for n in range(tables)]
        skeleton = bytearray(raw[at + 9 * tables :])
        assert len(skeleton) == skeleton_bytes
        for position, count, width in places_of_tables:
            total = 0
            for n in range(count):
                spot = slice(position + n * width, position + (n + 1) * width)
                total = (total + int.from_bytes(skeleton[spot], "big")) % (1 << 8 * width)
                skeleton[spot] = total.to_bytes(width, "big")
        run_lengths = [0] * runs
        for length, number in zip(lengths_by_stream, sorted(range(runs), key=stream_of.__getitem__), strict=True):
            run_lengths[number] = length
        # Where each unit begins in the file: its place in its stream, laid over the runs of that stream.
        starts: list[int] = []
        unit = 0
        for stream in range(streams):
            spans, offset = [], 0
            for number in range(runs):
                offset += skips[number]
                if stream_of[number] == stream:
                    spans.append((offset, run_lengths[number]))
                offset += run_lengths[number]
            within = 0
            for _ in range(units_of[stream]):
                left = within
                for begin, length in spans:
                    if left < length:
                        starts.append(begin + left)
                        break
                    left -= length
                within += unit_lengths[unit]
                unit += 1
        play = sorted(range(units), key=starts.__getitem__)
        self._get_units(base, [hashes[n] for n in play], [unit_lengths[n] for n in play], places, packs)
        data, unit = [], 0
        for count in units_of:
            data.append(b"".join(self.units[each] for each in hashes[unit : unit + count]))
            unit += count
        out, used, taken = [], 0, [0] * streams
        for skip, stream, length in zip(skips, stream_of, run_lengths, strict=True):
            out += [skeleton[used : used + skip], data[stream][taken[stream] : taken[stream] + length]]
            used, taken[stream] = used + skip, taken[stream] + length
        return b"".join([*out, skeleton[used:]])

    def _get_units(
        self, base: Base, hashes: list[str], lengths: list[int], places: dict[str, Any], packs: list[str]
    ) -> None:
        packed = dict(places["packed"])
        told = set()
        for pack, offset, first, count in places["spans"]:
            for ordinal in range(first, first + count):
                size = packed.get(ordinal, lengths[ordinal])
                told.add(ordinal)
                if hashes[ordinal] not in self.units:
                    try:
                        stored = base.get(f"packs/{packs[pack][:2]}/{packs[pack]}")[offset : offset + size]
                    except FileNotFoundError as error:
                        raise Stale from error
                    unit = unzstd(stored, lengths[ordinal]) if ordinal in packed else stored
                    if sha(unit) != hashes[ordinal]:
                        raise Stale
                    self.units[hashes[ordinal]] = unit
                offset += size
        assert told == set(range(len(hashes))), "places of every unit"


def pulled(publisher: Publisher, channel: str = "main") -> dict[str, bytes]:
    """What a new edge gets."""
    return Edge(channel).pull(Base(publisher.published)).content


def tree(root: Path) -> dict[str, bytes]:
    return {str(f.relative_to(root)): f.read_bytes() for f in sorted(root.rglob("*")) if f.is_file()}


def check_names(published: Path) -> None:
    """Everything that is named after its hash has it."""
    for kind in ("packs/*/*", "releases/*", "skips/*", "targets/ch/*/*"):
        for file in published.glob(kind):
            assert sha(file.read_bytes()) == file.name.removesuffix(".head.json")


def kinds(names: set[str]) -> list[str]:
    return sorted(name.split("/")[0] for name in names)


def noise(seed: int, length: int) -> bytes:
    return np.random.default_rng(seed).bytes(length)


def retitled(source: Path, target: Path, title: str) -> Path:
    """The same coded frames in another file: another title, the index in front, so that everything moves."""
    with (
        av.open(str(source)) as old,
        av.open(str(target), "w", format="mp4", options={"movflags": "+faststart"}) as new,
    ):
        new.metadata["title"] = title
        streams = {each.index: new.add_stream_from_template(each) for each in old.streams}
        for packet in old.demux():
            if packet.dts is not None:
                packet.stream = streams[packet.stream.index]
                new.mux(packet)
    return target


@pytest.fixture
def tmp_path(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory where there is one: a publisher waits for the disk dozens of times in each release."""
    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK):
        yield tmp_path
        return
    folder = Path(tempfile.mkdtemp(dir=memory))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def publisher(tmp_path: Path) -> Publisher:
    return Publisher.init(tmp_path / "central", NOW)


@pytest.fixture(scope="module")
def lessons(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("lessons")
    first = make_counted_lesson(folder / "first.mp4", frames=300, title="选种", seed=1, size=(320, 180)).path
    other = make_counted_lesson(folder / "other.mp4", frames=100, title="灌溉", seed=2, size=(320, 180)).path
    return {
        "first": first,
        "other": other,
        "retitled": retitled(first, folder / "retitled.mp4", "A much longer title than before " * 3),
        "again": retitled(first, folder / "again.mp4", "Third title"),
    }


# The folder


def test_keys_are_for_the_owner_only_and_not_published(publisher: Publisher, tmp_path: Path) -> None:
    for file in (tmp_path / "central" / "keys").rglob("*"):
        assert stat.S_IMODE(file.stat().st_mode) == (0o700 if file.is_dir() else 0o600)
    assert not any(b"PRIVATE" in data for data in tree(publisher.published).values())


def test_init_refuses_to_touch_what_is_there(publisher: Publisher, tmp_path: Path) -> None:
    before = tree(tmp_path)
    with pytest.raises(AlreadyThere):
        Publisher.init(tmp_path / "central", NOW)
    assert tree(tmp_path) == before


def test_init_that_was_cut_off_can_be_repeated(publisher: Publisher, tmp_path: Path) -> None:
    (publisher.published / "metadata" / "timestamp.json").unlink()  # the last file that init writes
    with pytest.raises(PublishError):
        Publisher.open(tmp_path / "central")
    again = Publisher.init(tmp_path / "central", NOW)
    assert again.publish("main", add={"a": b"1"}, remove=(), now=NOW).seq == 1
    assert pulled(again) == {"a": b"1"}


def test_the_area_stands_in_every_head(tmp_path: Path) -> None:
    Publisher.init(tmp_path / "central", NOW, area="qinghe")
    publisher = Publisher.open(tmp_path / "central")
    publisher.publish("main", add={"a": b"1"}, remove=(), now=NOW)
    assert publisher.area == "qinghe" and Base(publisher.published).head("main")["area"] == "qinghe"
    with pytest.raises(Corrupt):
        Publisher.init(tmp_path / "other", NOW, area="Qing He")


# Publishing


def test_publish_is_relative_to_the_previous_release(
    publisher: Publisher, lessons: dict[str, Path], tmp_path: Path
) -> None:
    video = lessons["first"].read_bytes()
    first = publisher.publish("main", add={"a": b"one", "lesson.mp4": lessons["first"]}, remove=(), now=NOW)
    second = publisher.publish("main", add={"b/c": b"two"}, remove=("a",), now=NOW + timedelta(seconds=1))
    assert (first.seq, second.seq) == (1, 2)
    assert list(second.files) == ["b/c", "lesson.mp4"]
    assert second.files["lesson.mp4"].sha256 == sha(video)
    again = Publisher.open(tmp_path / "central")
    assert again.files("main") == second.files and again.listing("main") == second
    assert again.read("main", "lesson.mp4") == video
    assert publisher.files("other") == {} and publisher.listing("other") is None
    assert pulled(publisher) == {"b/c": b"two", "lesson.mp4": video}


def test_every_kind_of_content_arrives(publisher: Publisher) -> None:
    content = {
        "empty": b"",
        "one": b"1",
        "text.json": json.dumps([{"id": n, "title": f"课 {n}"} for n in range(2000)]).encode(),
        "zeros.bin": bytes(300_000),
        "noise.bin": noise(1, 300_000),
        "words.dat": b"".join(b"%d bottles of beer\n" % n for n in range(20_000)),
        "twice/a": noise(2, 50_000),
        "twice/b": noise(2, 50_000),
        "名/字.txt": "水稻".encode(),
    }
    listing = publisher.publish("main", add=content, remove=(), now=NOW)
    assert pulled(publisher) == content
    assert {name: publisher.read("main", name) for name in content} == content
    assert listing.files["twice/a"].sha256 == listing.files["twice/b"].sha256
    (pack,) = (publisher.published / "packs").rglob("*/*")
    assert 350_000 < pack.stat().st_size < 450_000  # noise as it is, the rest squeezed
    check_names(publisher.published)


def test_channels_do_not_disturb_each_other_and_can_be_published_together(publisher: Publisher) -> None:
    publisher.publish("main", add={"a": b"1"}, remove=(), now=NOW)
    big = noise(3, 40_000)
    before = tree(publisher.published)
    made = publisher.publish_many(
        {
            "main": Change(add={"b": b"2"}, remove=("a",)),
            "other": Change(add={"z": b"1", "big": big}),
            "still": Change(),
        },
        NOW,
    )
    assert {channel: listing.seq for channel, listing in made.items()} == {"main": 2, "other": 1, "still": 1}
    assert publisher.channels() == ("main", "other", "still")
    assert [pulled(publisher, each) for each in publisher.channels()] == [{"b": b"2"}, {"z": b"1", "big": big}, {}]
    new = tree(publisher.published).keys() - before.keys()
    assert len([name for name in new if name.endswith("snapshot.json")]) == 1, "one signature for all"


def test_the_same_object_in_two_channels_is_stored_once(publisher: Publisher, lessons: dict[str, Path]) -> None:
    publisher.publish("main", add={"a.mp4": lessons["first"]}, remove=(), now=NOW)
    before = tree(publisher.published)
    publisher.publish("other", add={"b.mp4": lessons["first"]}, remove=(), now=NOW)
    assert not {"packs", "cards"} & set(kinds(tree(publisher.published).keys() - before.keys()))
    assert pulled(publisher, "other") == {"b.mp4": lessons["first"].read_bytes()}


def test_a_new_title_costs_a_patch_and_no_media(publisher: Publisher, lessons: dict[str, Path]) -> None:
    publisher.publish("main", add={"l.mp4": lessons["first"], "o.mp4": lessons["other"]}, remove=(), now=NOW)
    edge = Edge().pull(Base(publisher.published))
    publisher.publish("main", add={"l.mp4": lessons["retitled"]}, remove=(), now=NOW)
    base = Base(publisher.published)
    assert edge.pull(base).content["l.mp4"] == lessons["retitled"].read_bytes()
    assert kinds(set(base.asked)) == ["metadata"] * 3 + ["releases", "targets"], "neither packs nor cards are needed"
    assert base.head("main")["release"][1] < 1000


def test_a_new_name_costs_nothing_and_a_new_name_with_a_new_title_a_patch(
    publisher: Publisher, lessons: dict[str, Path]
) -> None:
    publisher.publish("main", add={"l.mp4": lessons["first"], "o.mp4": lessons["other"]}, remove=(), now=NOW)
    publisher.publish("main", add={"l.mp4": lessons["retitled"]}, remove=(), now=NOW)
    edge = Edge().pull(Base(publisher.published))
    publisher.publish("main", add={"moved/l.mp4": lessons["retitled"]}, remove=("l.mp4",), now=NOW)
    base = Base(publisher.published)
    assert edge.pull(base).content["moved/l.mp4"] == lessons["retitled"].read_bytes()
    assert base.head("main")["release"][1] < 400 and "cards" not in kinds(set(base.asked))
    publisher.publish("main", add={"again/l.mp4": lessons["again"]}, remove=("moved/l.mp4",), now=NOW)
    base = Base(publisher.published)
    assert edge.pull(base).content["again/l.mp4"] == lessons["again"].read_bytes()
    assert base.head("main")["release"][1] < 1000 and not {"cards", "packs"} & set(kinds(set(base.asked)))


def test_a_text_that_moved_and_changed_is_a_patch(publisher: Publisher) -> None:
    page = "".join(f"<p>{sha(b'%d' % n)}</p>" for n in range(500)).encode()
    publisher.publish("main", add={"old.html": page}, remove=(), now=NOW)
    edge = Edge().pull(Base(publisher.published))
    publisher.publish("main", add={"new.html": page + b"<p>more</p>"}, remove=("old.html",), now=NOW)
    base = Base(publisher.published)
    assert edge.pull(base).content == {"new.html": page + b"<p>more</p>"}
    assert base.head("main")["release"][1] < 600 and "cards" not in kinds(set(base.asked))


def test_publishing_writes_only_what_is_new_and_replaces_only_the_timestamp(publisher: Publisher) -> None:
    publisher.publish("main", add={f"lesson/{n}": bytes([n]) for n in range(50)}, remove=(), now=NOW)
    publisher.publish("main", add={"x": b"x"}, remove=(), now=NOW)
    publisher.publish("main", add={"y": b"y"}, remove=(), now=NOW)
    before = tree(publisher.published)
    publisher.publish("main", add={"lesson/new": b"new"}, remove=("lesson/7",), now=NOW)
    after = tree(publisher.published)
    assert {name for name in before if name in after and after[name] != before[name]} == {"metadata/timestamp.json"}
    assert kinds(after.keys() - before.keys()) == [
        "cards", "metadata", "metadata", "releases", "releases", "releases", "skips", "targets",
    ]  # fmt: skip
    assert kinds(before.keys() - after.keys()) == ["releases", "skips", "targets"], "of two releases ago"


def test_no_change_is_no_release(publisher: Publisher) -> None:
    first = publisher.publish("main", add={"a": b"1"}, remove=(), now=NOW)
    before = tree(publisher.published)
    assert publisher.publish("main", add={"a": b"1"}, remove=(), now=NOW + timedelta(days=1)) == first
    assert {name for name, data in tree(publisher.published).items() if before.get(name) != data} == {
        "metadata/timestamp.json"
    }


@pytest.mark.parametrize(
    ("add", "remove", "priority", "error"),
    [
        ({}, ("nowhere",), {}, PublishError),
        ({"a": b"2"}, ("a",), {}, PublishError),
        ({"../a": b"2"}, (), {}, Corrupt),
        ({"b": Path("/nonexistent/file")}, (), {}, PublishError),
        ({"b": b"2", "c": Path("/")}, (), {}, PublishError),
        ({}, (), {"nowhere": 1}, PublishError),
        ({}, ("a",), {"a": 1}, PublishError),
        ({}, (), {"a": 4}, PublishError),
        ({"a": b"2"}, (), lambda name: 9, Corrupt),
    ],
)
def test_nonsense_is_refused_and_changes_nothing_visible(
    publisher: Publisher, add: dict[str, bytes | Path], remove: tuple[str, ...], priority: Any, error: type[Exception]
) -> None:
    publisher.publish("main", add={"a": b"1"}, remove=(), now=NOW)
    before = tree(publisher.published)
    with pytest.raises(error):
        publisher.publish("main", add=add, remove=remove, now=NOW, priority=priority)
    changed = {name for name, data in tree(publisher.published).items() if before.get(name) != data}
    assert all(name.startswith("cards/") for name in changed)
    assert pulled(publisher) == {"a": b"1"}


def test_priorities_go_by_the_ending_unless_told(publisher: Publisher) -> None:
    names = ("c.json", "p.JPG", "s.vtt", "l.mp4", "noending")
    first = publisher.publish("main", add=dict.fromkeys(names, b"1"), remove=(), now=NOW)
    assert [first.files[name].priority for name in names] == [0, 1, 1, 2, 2]
    second = publisher.publish("main", add={"p.JPG": b"2"}, remove=(), now=NOW, priority={"l.mp4": 3, "p.JPG": 2})
    assert second.files["l.mp4"].priority == 3 and second.files["l.mp4"].sha256 == first.files["l.mp4"].sha256
    third = publisher.publish("main", add={"l.mp4": b"3", "p.JPG": b"3"}, remove=(), now=NOW)
    assert [third.files[name].priority for name in ("l.mp4", "p.JPG")] == [3, 2], "kept"
    fourth = publisher.publish("main", add={"l.mp4": b"4"}, remove=(), now=NOW, priority=lambda name: 0)
    assert fourth.files["l.mp4"].priority == 0
    assert pulled(publisher)["l.mp4"] == b"4"


def test_two_publishers_at_once_are_one_too_many(publisher: Publisher, tmp_path: Path) -> None:
    with locked(tmp_path / "central" / "publish.lock", "this test"):
        for act in (
            lambda: publisher.publish("main", add={"a": b"1"}, remove=(), now=NOW),
            lambda: publisher.refresh(NOW),
            lambda: publisher.prune(),
            lambda: publisher.reindex(),
        ):
            with pytest.raises(Busy, match="in use by process"):
                act()
    assert publisher.publish("main", add={"a": b"1"}, remove=(), now=NOW).seq == 1


def test_a_file_that_changes_while_it_is_read_is_refused(
    publisher: Publisher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "growing.bin"
    source.write_bytes(noise(5, 100_000))
    real = intake.make_recipe

    def meanwhile(view: memoryview, *, name: str) -> Any:
        os.utime(source, ns=(1, 1))
        with source.open("r+b") as file:
            file.write(b"other")
        return real(view, name=name)

    monkeypatch.setattr(intake, "make_recipe", meanwhile)
    with pytest.raises(PublishError, match="changed while"):
        publisher.publish("main", add={"a": source}, remove=(), now=NOW)
    monkeypatch.undo()
    publisher.publish("main", add={"a": source}, remove=(), now=NOW)
    assert pulled(publisher) == {"a": source.read_bytes()}


def test_a_doubtful_clock_is_noticed_before_anything_is_written(publisher: Publisher) -> None:
    before = tree(publisher.published)
    with pytest.raises(ClockDoubtful):
        publisher.publish("main", add={"a": b"1"}, remove=(), now=NOW + timedelta(days=300))
    assert tree(publisher.published) == before
    assert publisher.publish("main", add={"a": b"1"}, remove=(), now=NOW + timedelta(days=300), sure=True).seq == 1


def test_packs_are_closed_when_they_are_full(publisher: Publisher, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packs, "PACK_MAX_BYTES", 100_000)
    content = {f"{n}.bin": noise(n, 90_000) for n in range(8)}
    publisher.publish("main", add=content, remove=(), now=NOW)
    sizes = [f.stat().st_size for f in (publisher.published / "packs").rglob("*/*")]
    assert max(sizes) <= 100_000 and sum(sizes) >= 720_000
    assert pulled(publisher) == content


# Releases that lead from further back


def test_there_is_a_way_from_every_release(publisher: Publisher) -> None:
    content: dict[str, bytes] = {f"old/{n}.json": noise(n, 300) for n in range(20)}
    publisher.publish("main", add=content, remove=(), now=NOW)
    edges = [Edge(), Edge().pull(Base(publisher.published))]
    for seq in range(2, 72):
        gone = [f"old/{seq % 20}.json"] if f"old/{seq % 20}.json" in content else []
        add = {f"new/{seq}.txt": b"%d" % seq, "catalogue.json": b"x" * 9000 + b"%d" % seq}
        content = {name: data for name, data in {**content, **add}.items() if name not in gone}
        assert publisher.publish("main", add=add, remove=gone, now=NOW).seq == seq
        edges.append(edges[-1].twin().pull(Base(publisher.published)))
        assert edges[-1].content == content
        for edge in {0, 1, seq - 3, seq // 2, *([] if seq % 10 else range(seq))}:
            assert edges[edge].twin().pull(Base(publisher.published)).content == content
    head = Base(publisher.published).head("main")
    skips = json.loads((publisher.published / "skips" / head["skips"][0]).read_bytes())
    assert skips["full"][0] == 65 and [71 - step[0] for step in skips["steps"]] == [2, 3, 4, 5, 6, 7, 8, 16, 32, 64]
    names = {str(path.relative_to(publisher.published)) for path in publisher.published.rglob("*") if path.is_file()}
    assert kinds(names).count("releases") <= 2 * 12 and kinds(names).count("skips") == 2, "litter is bounded"


def test_a_release_that_touches_most_names_makes_a_new_full_listing(
    publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "HISTORY_NAMES_MAX", 10)
    edges = [Edge()]
    content: dict[str, bytes] = {}
    for seq in range(1, 12):
        add = {f"{n}": b"%d %d" % (n, seq) for n in range(20 if seq == 5 else 2)}
        content |= add
        publisher.publish("main", add=add, remove=(), now=NOW)
        for edge in edges:
            assert edge.twin().pull(Base(publisher.published)).content == content
        edges.append(edges[-1].twin().pull(Base(publisher.published)))
        if seq == 5:
            skips = json.loads(
                Base(publisher.published).get(f"skips/{Base(publisher.published).head('main')['skips'][0]}")
            )
            assert skips["full"][0] == 5 and skips["steps"] == []


def test_the_history_is_bounded_by_names_the_newest_stay(publisher: Publisher, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "HISTORY_NAMES_MAX", 10)
    kept = []
    for seq, names in enumerate((1, 3, 1, 3, 5, 11, 1), start=1):
        publisher.publish("main", add={f"{n}": b"%d" % seq for n in range(names)}, remove=(), now=NOW)
        index = sqlite3.connect(publisher.published.parent / "index.sqlite")
        kept.append(index.execute("select seq, count(*) from touched group by seq").fetchall())
        index.close()
    assert kept[3:] == [[(2, 3), (3, 1), (4, 3)], [(3, 1), (4, 3), (5, 5)], [], [(7, 1)]]


def test_merged_releases_carry_short_recipes_first_and_leave_long_ones_to_cards(
    publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(releases, "MERGED_RECIPES_MAX_BYTES", 3000)
    publisher.publish("main", add={"a": b"1"}, remove=(), now=NOW)
    edge = Edge().pull(Base(publisher.published))
    content = {"long.json": noise(1, 4000).hex().encode(), **{f"{n}.txt": noise(n, 100) for n in range(5)}}
    publisher.publish("main", add=content, remove=("a",), now=NOW)
    publisher.publish("main", add={"b": b"1"}, remove=(), now=NOW)
    base = Base(publisher.published)
    assert edge.pull(base).content == {**content, "b": b"1"}
    assert [name for name in base.asked if name.startswith("cards")] == [
        f"cards/{sha(content['long.json'])[:2]}/{sha(content['long.json'])}"
    ]


def test_merged_releases_at_every_span_spare_a_whole_catalogue(
    publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(releases, "EVERY_SPAN_MAX", 4)
    edges = []
    for n in range(12):
        catalogue = noise(1, 50_000).hex().encode() + b"%d" % n
        publisher.publish("main", add={"catalogue.json": catalogue}, remove=(), now=NOW)
        edges.append(Edge().pull(Base(publisher.published)))
    for behind, cards in ((1, 0), (2, 0), (3, 0), (4, 0), (5, 1), (8, 0)):
        base = Base(publisher.published)
        assert edges[11 - behind].twin().pull(base).content == {"catalogue.json": catalogue}
        assert len([name for name in base.asked if name.startswith("cards")]) == cards, behind


# Damage and loss


def test_damaged_publishing_folder_is_noticed_before_signing_over_it(publisher: Publisher) -> None:
    for n in range(4):
        publisher.publish("main", add={"a": b"%d" % n}, remove=(), now=NOW)
    base = Base(publisher.published)
    Edge().pull(base)
    for name in dict.fromkeys(base.asked):
        if name.startswith("cards"):
            continue  # mended when the object is published again
        file = publisher.published / name
        good = file.read_bytes()
        file.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
        with pytest.raises(Corrupt):
            publisher.publish("main", add={"b": b"2"}, remove=(), now=NOW)
        with pytest.raises(Corrupt):
            Publisher.open(publisher.published.parent).files("main")
        file.write_bytes(good)
    assert publisher.publish("main", add={"b": b"2"}, remove=(), now=NOW).seq == 5


def test_publishing_again_mends_damaged_packs_and_cards(publisher: Publisher) -> None:
    data = {"a": noise(1, 50_000), "b.txt": b"text"}
    publisher.publish("main", add=data, remove=(), now=NOW)
    for kind in ("packs", "cards"):
        for file in [f for f in (publisher.published / kind).rglob("*") if f.is_file()]:
            good = file.read_bytes()
            file.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
            with pytest.raises(Corrupt):
                for name in data:
                    publisher.read("main", name)
            publisher.publish("main", add=data, remove=(), now=NOW)
            assert {name: publisher.read("main", name) for name in data} == data
            assert pulled(publisher) == data
            file.unlink()
            publisher.publish("main", add=data, remove=(), now=NOW)
            assert pulled(publisher) == data


def test_a_card_is_mended_with_the_recipe_that_the_listings_name(publisher: Publisher) -> None:
    data = {"a.json": noise(1, 50_000).hex().encode(), "b.bin": noise(2, 50_000).hex().encode()}
    publisher.publish("main", add=data, remove=(), now=NOW)
    for file in publisher.published.glob("cards/*/*"):
        file.unlink()
    data |= {"a.bin": data["a.json"], "b.json": data["b.bin"]}
    publisher.publish("other", add={"a.bin": data["a.bin"], "b.json": data["b.json"]}, remove=(), now=NOW)
    publisher.publish("main", add={"a.bin": data["a.bin"], "b.json": data["b.json"]}, remove=(), now=NOW)
    assert pulled(publisher) == data
    assert pulled(publisher, "other") == {"a.bin": data["a.bin"], "b.json": data["b.json"]}


@pytest.mark.parametrize("loss", ["removed", "damaged", "overwritten", "other version", "reindexed"])
def test_the_index_is_made_anew(publisher: Publisher, lessons: dict[str, Path], loss: str) -> None:
    publisher.publish("main", add={"l.mp4": lessons["first"], "b.bin": noise(1, 50_000)}, remove=(), now=NOW)
    edges = [Edge(), Edge().pull(Base(publisher.published))]
    for n in range(9):
        publisher.publish("main", add={f"{n % 5}.txt": b"%d" % n}, remove=(), now=NOW)
        edges.append(edges[-1].twin().pull(Base(publisher.published)))
    root = publisher.published.parent
    index = root / "index.sqlite"
    if loss == "removed":
        index.unlink()
    elif loss == "damaged":
        index.write_bytes(index.read_bytes()[:5000] + noise(1, index.stat().st_size - 5000))
    elif loss == "overwritten":
        index.write_bytes(b"no database at all" * 1000)
    elif loss == "other version":
        with sqlite3.connect(index) as database:
            database.execute("pragma user_version = 1")
        database.close()
    publisher = Publisher.open(root)
    if loss == "reindexed":
        publisher.reindex()
    before = tree(publisher.published)
    publisher.publish("main", add={"l.mp4": lessons["retitled"]}, remove=(), now=NOW)
    assert "packs" not in kinds(tree(publisher.published).keys() - before.keys()), "units are known again"
    publisher.publish("main", add={"more": b"1"}, remove=("3.txt",), now=NOW)
    content = pulled(publisher)
    assert content["l.mp4"] == lessons["retitled"].read_bytes() and "3.txt" not in content
    for edge in edges:
        assert edge.pull(Base(publisher.published)).content == content


def test_damage_of_the_index_that_shows_only_in_use_is_mended_on_the_way(publisher: Publisher) -> None:
    content = {f"{n}.bin": noise(n, 30_000) for n in range(40)}
    publisher.publish("main", add=content, remove=(), now=NOW)
    publisher.publish("main", add={"a": b"1"}, remove=(), now=NOW)  # it was looked at as a whole; not again
    index = publisher.published.parent / "index.sqlite"
    raw = index.read_bytes()
    index.write_bytes(raw[:4096] + noise(1, len(raw) - 4096))
    publisher.publish("main", add={"39.bin": content["1.bin"] + b"more"}, remove=("0.bin",), now=NOW)
    del content["0.bin"]
    assert pulled(publisher) == {**content, "a": b"1", "39.bin": content["1.bin"] + b"more"}
    with sqlite3.connect(index) as database:
        assert database.execute("pragma integrity_check").fetchone() == ("ok",)
    database.close()


def test_what_a_crash_wrote_down_about_a_release_that_never_was_is_forgotten(
    publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    publisher.publish("main", add={"a": b"1", "b": b"1"}, remove=(), now=NOW)
    edge = Edge().pull(Base(publisher.published))
    key = publisher.published.parent / "keys" / "online" / "timestamp.pem"
    good = key.read_bytes()
    key.unlink()
    with pytest.raises(KeyUnavailable):  # everything but the signature is made
        publisher.publish("main", add={"ghost": b"2"}, remove=("a",), now=NOW)
    key.write_bytes(good)
    assert pulled(publisher) == {"a": b"1", "b": b"1"}
    publisher.publish("main", add={"b": b"2"}, remove=(), now=NOW)
    publisher.publish("main", add={"c": b"3"}, remove=(), now=NOW)
    base = Base(publisher.published)
    assert edge.pull(base).content == {"a": b"1", "b": b"2", "c": b"3"}
    (merged,) = [name.removeprefix("releases/") for name in base.asked if name.startswith("releases/")]
    header, _ = base.release(merged, (publisher.published / "releases" / merged).stat().st_size)
    assert header["base"] == 1 and [each[0] for each in header["add"]] == ["b", "c"] and header["remove"] == []
    publisher.publish("main", add={"c": b"4"}, remove=(), now=NOW)
    header, _ = Base(publisher.published).release(*Base(publisher.published).head("main")["release"])
    assert [each[0] for each in header["add"]] == ["c"] and header["remove"] == []


def test_leftovers_of_a_crash_are_not_overwritten(publisher: Publisher) -> None:
    publisher.publish("main", add={"a": b"1"}, remove=(), now=NOW)
    left = publisher.published / "metadata" / "3.snapshot.json"
    left.write_bytes(b"of a publish that was killed")
    publisher.publish("main", add={"a": b"2"}, remove=(), now=NOW)
    assert left.read_bytes() == b"of a publish that was killed"
    assert (publisher.published / "metadata" / "4.snapshot.json").is_file()


def test_offline_keys_may_be_locked_away_but_not_the_others(publisher: Publisher) -> None:
    keys = publisher.published.parent / "keys"
    shutil.rmtree(keys / "offline")
    publisher.publish("main", add={"a": b"1"}, remove=(), now=NOW)
    publisher.refresh(NOW + timedelta(days=10))
    (keys / "online" / "timestamp.pem").write_bytes(b"not a key")
    with pytest.raises(KeyUnavailable, match="timestamp"):
        publisher.refresh(NOW + timedelta(days=20))


def test_keys_are_rotated_and_the_chain_of_roots_is_on_every_stick(publisher: Publisher) -> None:
    publisher.publish("main", add={"a": b"1"}, remove=(), now=NOW)
    old = tree(publisher.published.parent / "keys" / "online")
    publisher.rotate_keys(["timestamp", "snapshot"], NOW)
    assert not set(old) & {"timestamp.pem", "snapshot.pem"} & set(tree(publisher.published.parent / "keys" / "online"))
    publisher.publish("main", add={"a": b"2"}, remove=(), now=NOW)
    assert pulled(publisher) == {"a": b"2"}
    assert {"metadata/1.root.json", "metadata/2.root.json"} < set(publisher.export_set("main", 1).files)


# Making room, sticks


def test_prune_frees_what_no_release_that_is_kept_needs(publisher: Publisher, lessons: dict[str, Path]) -> None:
    publisher.publish("main", add={"l.mp4": lessons["first"], "o.mp4": lessons["other"]}, remove=(), now=NOW)
    publisher.publish("other", add={"o.mp4": lessons["other"]}, remove=(), now=NOW)
    publisher.publish("main", add={"big.bin": noise(1, 100_000)}, remove=(), now=NOW)
    publisher.publish("main", add={}, remove=("big.bin",), now=NOW)
    assert publisher.prune().packs == 0, "the release before still has it"
    publisher.publish("main", add={"a": b"1"}, remove=("l.mp4",), now=NOW)
    assert publisher.prune(keep_releases=2).packs == 0
    pruned = publisher.prune()
    assert (pruned.cards, pruned.packs) == (1, 1) and 100_000 < pruned.freed_bytes < 110_000
    assert publisher.prune().freed_bytes == 0
    index = sqlite3.connect(publisher.published.parent / "index.sqlite")
    spoken_of = {row[0].hex() for row in index.execute("select sha256 from pack where id in (select pack from unit)")}
    index.close()
    assert spoken_of == {file.name for file in publisher.published.glob("packs/*/*")}
    for channel in ("main", "other"):
        assert pulled(publisher, channel)["o.mp4"] == lessons["other"].read_bytes()
    content = {"big.bin": noise(1, 100_000), "l.mp4": lessons["first"].read_bytes()}
    publisher.publish("main", add={"big.bin": content["big.bin"], "l.mp4": lessons["first"]}, remove=(), now=NOW)
    assert pulled(publisher).items() >= content.items()


def test_prune_takes_litter_that_nobody_wrote_down_and_old_metadata(publisher: Publisher) -> None:
    for n in range(20):
        publisher.publish("main", add={"a": b"%d" % n}, remove=(), now=NOW)
    orphan = publisher.published / "packs" / "ab" / ("ab" * 32)
    orphan.parent.mkdir(parents=True)
    orphan.write_bytes(b"of a crash")
    (publisher.published / "releases" / ("cd" * 32)).write_bytes(b"of a crash")
    (publisher.published / "README").write_bytes(b"somebody's own")
    pruned = publisher.prune()
    assert pruned.packs == 1 and pruned.cards == 18 and not orphan.exists()
    assert not (publisher.published / "metadata" / "2.snapshot.json").exists()
    assert (publisher.published / "metadata" / "1.root.json").exists() and (publisher.published / "README").exists()
    assert pulled(publisher) == {"a": b"19"}
    publisher.refresh(NOW)


def test_prune_removes_nothing_when_the_release_before_is_not_known(
    publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n in range(3):
        publisher.publish("main", add={"a": b"%d" % n}, remove=(), now=NOW)
    publisher.reindex()
    assert publisher.prune().cards == 0
    for n in range(3, 5):
        publisher.publish("main", add={"a": b"%d" % n}, remove=(), now=NOW)
    assert publisher.prune(keep_releases=3).cards == 0
    assert publisher.prune().cards == 3
    monkeypatch.setattr(history, "HISTORY_RELEASES_MAX", 2)
    for n in range(5, 10):
        publisher.publish("main", add={"a": b"%d" % n}, remove=(), now=NOW)
    assert publisher.prune(keep_releases=4).cards == 0, "so much history is not kept"
    assert publisher.prune(keep_releases=2).cards == 4


def test_a_closed_channel_is_not_named_any_more(publisher: Publisher) -> None:
    publisher.publish_many({"main": Change(add={"a": b"1"}), "other": Change(add={"b": noise(1, 50_000)})}, NOW)
    publisher.close_channel("other", NOW)
    assert publisher.channels() == ("main",) and publisher.files("other") == {}
    with pytest.raises(PublishError):
        publisher.close_channel("other", NOW)
    assert publisher.prune().packs == 1
    assert pulled(publisher) == {"a": b"1"}


@pytest.mark.parametrize("since", [0, 1, 2, 5, 8, 9, 12])
def test_a_stick_has_all_that_an_edge_needs(
    publisher: Publisher, lessons: dict[str, Path], tmp_path: Path, since: int
) -> None:
    edges = [Edge()]
    for n in range(9):
        add: dict[str, Path | bytes] = {f"{n}.bin": noise(n, 20_000), "c.json": b"%d" % n}
        if n in (1, 7):
            add["l.mp4"] = lessons["first" if n == 1 else "retitled"]
        publisher.publish("main", add=add, remove=(), now=NOW)
        edges.append(edges[-1].twin().pull(Base(publisher.published)))
    publisher.publish("other", add={"x": noise(99, 9000)}, remove=(), now=NOW)
    export = publisher.export_set("main", since)
    stick = tmp_path / "stick"
    for name in [*export.files, *(name for name, _ in export.packs)]:
        (stick / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(publisher.published / name, stick / name)
    assert export.files[-1] == "metadata/timestamp.json" and len(set(export.files)) == len(export.files)
    assert all((stick / name).stat().st_size == length for name, length in export.packs)
    assert sha(noise(99, 9000)) not in {Path(name).name for name in export.files}, "of another channel"
    timestamp = publisher.bundle_timestamp(NOW)
    for edge in edges[since:]:
        assert edge.twin().pull(Base(stick, timestamp)).content == edges[9].content
    if since >= 8:
        assert len(export.packs) <= 1
    with pytest.raises(PublishError):
        publisher.export_set("nowhere", 0)


# A full disk


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(disk)], capture_output=True, text=True, check=False
    )
    if made.returncode:
        pytest.skip(f"cannot mount a small disk (not root?): {made.stderr.strip()}")
    try:
        yield disk
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def test_on_a_full_disk_the_old_release_stays(small_disk: Path) -> None:
    publisher = Publisher.init(small_disk / "central", NOW)
    old = {"a": b"1", "b.bin": noise(1, 100_000)}
    publisher.publish("main", add=old, remove=(), now=NOW)
    new = {f"{n}.bin": noise(n + 10, 60_000) for n in range(5)} | {f"{n}.txt": b"%d" % n for n in range(30)}
    filler = small_disk / "filler"
    refused = 0
    for left_kib in [0, 4, 8, 16, 24, 40, 64, 100, 200, 300, 400, 450, 500, 550, 600, 1000]:
        room = os.statvfs(small_disk)
        filler.write_bytes(bytes(max(0, room.f_bavail * room.f_frsize - left_kib * 1024)))
        try:
            publisher.publish("main", add=new, remove=("a",), now=NOW)
        except NoSpace:
            refused += 1
            assert pulled(publisher) == old
            assert not list((small_disk / "central" / "incoming").iterdir())
            filler.unlink()
            Publisher.open(small_disk / "central").refresh(NOW)
            continue
        break
    assert refused >= 8
    del old["a"]
    assert pulled(publisher) == {**old, **new}
    filler.unlink()
    publisher.publish("main", add={"z": b"1"}, remove=(), now=NOW)
    assert pulled(publisher) == {**old, **new, "z": b"1"}
