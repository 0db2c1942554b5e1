"""Pulling: what is fetched and what is not, what is refused, what a break costs; a real publisher, real folders."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.clock import SystemClock
from sync import Corrupt, Missing, NoChannel, NoSpace, Unreachable, Untrusted
from sync.card import Card, card_path, decode_card
from sync.holding import Holding
from sync.ids import sha256_hex
from sync.listing import NamedFile
from sync.patch import expand
from sync.places import locate
from sync.publishing import Publisher
from sync.pull import Progress, Pulled, Puller, catch, intake, seeking, state
from sync.pull.aside import OnOtherSticks
from sync.pull.begun import Begun
from sync.pull.board import Job
from sync.pull.catch import SPILL_BYTES, Catch
from sync.pull.ways import Way
from sync.recipe import Recipe, decode_recipe
from sync.road import Received, Sink, Source
from sync.road.folder import FolderSource
from sync.road.mirrors import Mirrors
from sync.road.retrying import RetryPolicy
from sync.want import PackRange, WantedUnit

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
ONCE = RetryPolicy(attempts=1, scale=0.0)
QUICK = RetryPolicy(attempts=3, scale=0.0)


def noise(seed: int, length: int) -> bytes:
    return random.Random(seed).randbytes(length)


class Tap:
    """A source that writes down what was asked, and misbehaves where told."""

    def __init__(self, inner: Source) -> None:
        self.inner = inner
        self.fetched: list[str] = []
        self.ranges: list[tuple[str, int, int]] = []
        self.moved = 0
        self.before_fetch: Callable[[str], None] = lambda name: None
        self.change: Callable[[str, int, bytes], bytes] = lambda name, position, piece: piece
        """Gets the name, the position of a piece, and the piece."""
        self.break_after: int | None = None
        """Of bytes of packs."""
        self.piece = 10_000
        self.closed = 0

    async def fetch(self, name: str, *, limit_bytes: int, received: Received) -> bytes:
        self.fetched.append(name)
        self.before_fetch(name)
        data = await self.inner.fetch(name, limit_bytes=limit_bytes, received=received)
        return self.change(name, 0, data)

    async def read(self, name: str, start: int, stop: int, sink: Sink, *, received: Received | None = None) -> None:
        self.ranges.append((name, start, stop))
        self.before_fetch(name)
        got = bytearray()
        await self.inner.read(name, start, stop, got.extend, received=None)
        for at in range(0, len(got), self.piece):
            await asyncio.sleep(0)
            piece = self.change(name, start + at, bytes(got[at : at + self.piece]))
            if self.break_after is not None:
                piece = piece[: self.break_after]
                self.break_after -= len(piece)
            self.moved += len(piece)
            if received:
                received(len(piece))
            if piece:
                sink(piece)
            if self.break_after == 0:
                raise Unreachable("the line broke")

    async def close(self) -> None:
        self.closed += 1

    @property
    def kinds(self) -> Counter[str]:
        return Counter([name.split("/")[0] for name in self.fetched] + ["packs"] * len(self.ranges))

    def clear(self) -> None:
        self.fetched.clear()
        self.ranges.clear()
        self.moved = 0


class Lab:
    def __init__(self, root: Path, *, area: str = "") -> None:
        self.root = root
        self.publisher = Publisher.init(root / "central", NOW, area=area)
        self.anchor = self.publisher.trust_anchor.read_bytes()
        self.holding = Holding(root / "edge")
        self.tap = Tap(FolderSource(self.publisher.published))

    def puller(self, source: Source | None = None, **options: Any) -> Puller:
        settings: dict[str, Any] = {"retry": ONCE, "anchor": self.anchor, **options}
        return Puller(
            trust_dir=self.root / "edge" / "trust", source=source or self.tap, holding=self.holding, **settings
        )

    async def pull(self, source: Source | None = None, *, now: datetime = NOW, **options: Any) -> Pulled:
        calls = {key: options.pop(key) for key in ("on_progress", "on_removed", "make_room") if key in options}
        pulled = await self.puller(source, **options).pull("main", now=now, **calls)
        self.holding.prune_meta()
        return pulled

    def publish(self, add: Mapping[str, bytes], remove: Sequence[str] = (), **options: Any) -> int:
        return self.publisher.publish("main", add=add, remove=remove, now=NOW, **options).seq

    def card(self, name: str) -> tuple[Card, Recipe]:
        file = self.publisher.files("main")[name]
        raw = (self.publisher.published / card_path(file.sha256)).read_bytes()
        card = decode_card(raw, sha256=file.sha256, recipe_sha256=file.recipe_sha256)
        recipe = expand(card.stored, card.raw_length, most=1 << 20)
        return card, decode_recipe(recipe, sha256=file.sha256, length_bytes=file.length_bytes)

    def files(self, pulled: Pulled) -> dict[str, bytes]:
        return {name: self.holding.path(file.sha256).read_bytes() for name, file in pulled.listing.files.items()}

    def staged(self) -> list[str]:
        return [path.name for path in (self.root / "edge" / "staging").rglob("*") if path.is_file()]


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    lab = Lab(tmp_path)
    yield lab
    lab.holding.close()


OLD = {"catalogue.json": b'{"lessons": 1}', "a.bin": noise(1, 1_500_000), "page.html": b"<p>" + b"text " * 200}


async def test_first_pull_brings_everything_and_the_second_nothing(lab: Lab) -> None:
    lab.publish(OLD)
    pulled = await lab.pull()
    assert lab.files(pulled) == OLD
    assert pulled.changed and pulled.left_out == () and pulled.damaged == ()
    assert pulled.listing.seq == 1 and pulled.requests == len(lab.tap.fetched) + len(lab.tap.ranges)
    assert lab.staged() == [] and lab.tap.closed == 1
    lab.tap.clear()
    again = await lab.pull()
    assert not again.changed and again.listing == pulled.listing
    assert lab.tap.kinds == {"metadata": 2} and again.requests == 2


async def test_an_edit_moves_only_what_is_new(lab: Lab) -> None:
    lab.publish(OLD)
    await lab.pull()
    lab.tap.clear()
    new = dict(OLD)
    new["a.bin"] = OLD["a.bin"][:700_000] + noise(2, 30_000) + OLD["a.bin"][700_000:]
    new["copy.bin"] = OLD["a.bin"]
    new["catalogue.json"] = b'{"lessons": 2}'
    lab.publish({name: data for name, data in new.items() if OLD.get(name) != data})
    pulled = await lab.pull()
    assert lab.files(pulled) == new
    assert 30_000 <= lab.tap.moved < 150_000
    assert lab.tap.kinds == {"metadata": 4, "targets": 1, "releases": 1, "packs": 1}


async def test_a_rename_moves_nothing(lab: Lab) -> None:
    lab.publish(OLD)
    await lab.pull()
    lab.tap.clear()
    lab.publish({"b.bin": OLD["a.bin"]}, ["a.bin"])
    pulled = await lab.pull()
    assert set(pulled.listing.files) == {"catalogue.json", "b.bin", "page.html"}
    assert lab.tap.ranges == [] and lab.tap.kinds["cards"] == 0


async def test_a_unit_that_two_new_objects_have_comes_once(lab: Lab) -> None:
    common = noise(7, 800_000)
    files = {f"{n}.bin": noise(n, 50_000) + common + noise(100 + n, 50_000) for n in range(4)}
    lab.publish(files)
    pulled = await lab.pull()
    assert lab.files(pulled) == files
    assert lab.tap.moved < 800_000 + 4 * 100_000 + 200_000


async def test_away_for_many_releases(lab: Lab) -> None:
    lab.publish(OLD)
    await lab.pull()
    files = dict(OLD)
    for number in range(9):
        files[f"n{number}"] = noise(50 + number, 20_000)
        files["catalogue.json"] = b'{"lessons": %d}' % number
        lab.publish({name: files[name] for name in (f"n{number}", "catalogue.json")})
    lab.tap.clear()
    pulled = await lab.pull()
    assert lab.files(pulled) == files and pulled.listing.seq == 10
    assert lab.tap.kinds["skips"] == 1 and lab.tap.kinds["releases"] == 1


async def test_withdrawals_act_before_anything_is_fetched(lab: Lab) -> None:
    lab.publish(OLD)
    await lab.pull()
    lab.publish({"b.bin": noise(3, 400_000)}, ["a.bin", "page.html"])
    lab.tap.clear()
    told: list[list[str]] = []

    def removed(names: Sequence[str]) -> None:
        assert lab.tap.ranges == []
        told.append(list(names))

    lab.tap.break_after = 100_000
    with pytest.raises(Unreachable):
        await lab.pull(on_removed=removed)
    assert told == [["a.bin", "page.html"]]
    lab.tap.break_after = None
    await lab.pull()


async def test_progress_is_told_and_adds_up(lab: Lab) -> None:
    lab.publish(OLD)
    steps: list[Progress] = []
    await lab.pull(on_progress=steps.append)
    total = sum(map(len, OLD.values()))
    assert steps[0] == Progress(0, 3, 0, total)
    assert steps[-1] == Progress(3, 3, total, total)
    assert all(a.bytes_done <= b.bytes_done and a.objects_done <= b.objects_done for a, b in itertools.pairwise(steps))


@pytest.mark.parametrize("same_process", [True, False])
async def test_a_break_costs_nothing_that_came(lab: Lab, same_process: bool) -> None:
    lab.publish({"a.bin": noise(1, 3_000_000)})
    puller = lab.puller()
    total = 0
    breaks = 0
    while True:
        lab.tap.break_after = 333_333
        try:
            pulled = await (puller if same_process else lab.puller()).pull("main", now=NOW)
            break
        except Unreachable:
            breaks += 1
            assert breaks < 20
    assert lab.files(pulled) == {"a.bin": noise(1, 3_000_000)}
    total = lab.tap.moved
    longest = max(stop - start for _, start, stop in lab.tap.ranges)
    assert longest <= 4 << 20 and breaks >= 8
    if same_process:
        assert total == 3_000_000
    else:
        assert total <= 3_000_000 + breaks * 2 * 65_536
    assert lab.tap.kinds["cards"] == 0 and lab.tap.kinds["releases"] == 1, "a first listing brings short recipes"


async def test_breaks_that_the_source_mends_cost_nothing(lab: Lab) -> None:
    lab.publish({"a.bin": noise(1, 1_000_000)})
    seen: set[int] = set()

    def breaking(name: str, position: int, piece: bytes) -> bytes:
        if name.startswith("packs") and position // 200_000 not in seen:
            seen.add(position // 200_000)
            lab.tap.break_after = 5_000
        else:
            lab.tap.break_after = None
        return piece

    lab.tap.change = breaking
    await lab.pull(retry=QUICK)
    assert len(seen) >= 5 and lab.tap.moved == 1_000_000


@pytest.mark.parametrize("kind", ["releases", "targets", "packs", "cards", "metadata/timestamp"])
async def test_wrong_bytes_from_the_only_source_are_refused(lab: Lab, kind: str) -> None:
    lab.publish(OLD)
    first = await lab.pull()
    new = {"b.bin": noise(9, 600_000)}
    lab.publish(new)
    if kind == "cards":
        lab.holding.remove(first.listing.files["a.bin"].sha256)

    def flip(name: str, position: int, piece: bytes) -> bytes:
        if name.startswith(kind) and position == 0:
            middle = len(piece) // 2
            return piece[:middle] + bytes([piece[middle] ^ 1]) + piece[middle + 1 :]
        return piece

    lab.tap.change = flip
    with pytest.raises((Corrupt, Untrusted)):
        await lab.pull()
    assert not lab.holding.has(sha256_hex(new["b.bin"]))
    lab.tap.change = lambda name, position, piece: piece
    pulled = await lab.pull()
    assert lab.files(pulled) == {**OLD, **new}


@pytest.mark.parametrize("kind", ["targets", "releases", "packs", "cards"])
async def test_a_lying_mirror_is_dropped_and_the_other_one_serves(
    lab: Lab, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sync.publishing.releases.FULL_RECIPES_MAX_BYTES", 0)  # so that cards are needed
    lab.publish(OLD)
    liar = Tap(FolderSource(lab.publisher.published))

    def lie(name: str, position: int, piece: bytes) -> bytes:
        return bytes(len(piece)) if name.startswith(kind) else piece

    liar.change = lie
    mirrors = Mirrors([liar, lab.tap], SystemClock())
    pulled = await lab.pull(mirrors)
    assert lab.files(pulled) == OLD
    assert mirrors.standing[0].dropped and not mirrors.standing[1].dropped


async def test_a_pack_that_is_gone_is_looked_for_in_the_card(lab: Lab) -> None:
    """Places in a release may be out of date; the card is replaced when units move."""
    lab.publish(OLD)
    await lab.pull()
    new = {"b.bin": noise(9, 600_000)}
    lab.publish(new)
    lab.tap.clear()
    hidden: set[str] = set()

    def hide(name: str) -> None:
        if name.startswith("packs") and not lab.tap.kinds["cards"]:
            hidden.add(name)
        if name in hidden:
            raise Missing(f"no {name}")

    lab.tap.before_fetch = hide
    with pytest.raises(Missing):
        await lab.pull()
    assert lab.tap.kinds["cards"] == 1  # asked, and it named the same pack


async def test_damage_found_while_copying_is_fetched_and_told(lab: Lab) -> None:
    lab.publish(OLD)
    first = await lab.pull()
    sha256 = first.listing.files["a.bin"].sha256
    path = lab.holding.path(sha256)
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.seek(500_000)
        file.write(b"rot")
    new = {"b.bin": OLD["a.bin"] + b"more"}
    lab.publish(new)
    lab.tap.clear()
    pulled = await lab.pull()
    assert lab.files(pulled)["b.bin"] == new["b.bin"]
    assert pulled.damaged == (sha256,)
    assert lab.tap.moved < 250_000


async def test_healing_fetches_only_the_bad_units(lab: Lab) -> None:
    lab.publish(OLD)
    first = await lab.pull()
    sha256 = first.listing.files["a.bin"].sha256
    path = lab.holding.path(sha256)
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.seek(500_000)
        file.write(b"rot")
    assert [each.sha256 for each in lab.holding.verify()] == [sha256]
    recipe = lab.holding.recipe_of(sha256)
    assert recipe is not None
    lab.holding.reopen_damaged(recipe).close()
    lab.tap.clear()
    pulled = await lab.pull()
    assert lab.files(pulled) == OLD and pulled.damaged == () and pulled.changed
    assert 0 < lab.tap.moved <= 65_536 and lab.tap.kinds["cards"] == 1


async def test_quota_keeps_what_is_pinned_and_leaves_out_the_rest(lab: Lab) -> None:
    files = {"pinned.bin": noise(1, 300_000), "e1.bin": noise(2, 200_000), "e2.bin": noise(3, 100_000)}
    lab.publish(files, priority={"pinned.bin": 2, "e1.bin": 3, "e2.bin": 3})
    pulled = await lab.pull(quota_bytes=450_000)
    assert [file.path for file in pulled.left_out] == ["e1.bin"]
    assert lab.holding.has(sha256_hex(files["e2.bin"])) and not lab.holding.has(sha256_hex(files["e1.bin"]))
    with pytest.raises(NoSpace):
        await lab.pull(quota_bytes=200_000)
    again = await lab.pull()
    assert again.left_out == () and again.changed and lab.files(again) == files


async def test_too_little_space_is_told_before_anything_is_fetched(lab: Lab) -> None:
    lab.publish(OLD)
    spare = 1 << 50
    asked: list[tuple[int, Sequence[NamedFile]]] = []
    with pytest.raises(NoSpace) as error:
        await lab.pull(spare_bytes=spare, make_room=lambda listing, out: asked.append((listing.seq, out)))
    assert error.value.needed_bytes == sum(map(len, OLD.values())) + spare
    assert asked == [(1, ())] and lab.tap.ranges == []
    await lab.pull()


async def test_another_area_is_refused(tmp_path: Path) -> None:
    lab = Lab(tmp_path, area="north")
    lab.publish(OLD)
    with pytest.raises(Untrusted, match="north"):
        await lab.pull(area="south")
    assert not (tmp_path / "edge" / "trust" / "channels").exists()
    await lab.pull(area="north")
    await lab.pull(area="")
    lab.holding.close()


async def test_unknown_channel_and_unreachable_source(lab: Lab, tmp_path: Path) -> None:
    lab.publish(OLD)
    with pytest.raises(NoChannel):
        await lab.puller().pull("other", now=NOW)
    with pytest.raises(Unreachable):
        await lab.pull(FolderSource(tmp_path / "nowhere"))
    with pytest.raises(Untrusted):
        await lab.pull(now=NOW + timedelta(days=30))


async def test_an_older_release_is_refused_after_a_newer_one(lab: Lab, tmp_path: Path) -> None:
    import shutil

    lab.publish(OLD)
    shutil.copytree(lab.publisher.published, tmp_path / "old")
    lab.publish({"more": b"more"})
    await lab.pull()
    with pytest.raises(Untrusted) as error:
        await lab.pull(FolderSource(tmp_path / "old"))
    assert error.value.reason == "rollback"


async def test_cancelling_keeps_what_came(lab: Lab) -> None:
    lab.publish({"a.bin": noise(1, 2_000_000)})
    reached = asyncio.Event()

    def watch(name: str, position: int, piece: bytes) -> bytes:
        if name.startswith("packs") and position > 1_000_000:
            reached.set()
        return piece

    lab.tap.change = watch
    pulling = asyncio.ensure_future(lab.pull())
    await reached.wait()
    pulling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await pulling
    first = lab.tap.moved
    assert first < 2_000_000
    pulled = await lab.pull()
    assert lab.files(pulled) == {"a.bin": noise(1, 2_000_000)}
    assert lab.tap.moved <= 2_000_000 + 2 * 65_536


async def test_a_journal_that_lies_is_found_out_at_the_end(lab: Lab) -> None:
    data = noise(1, 2_000_000)
    lab.publish({"a.bin": data})
    lab.tap.break_after = 1_000_000
    with pytest.raises(Unreachable):
        await lab.puller().pull("main", now=NOW)
    lab.tap.break_after = None
    part = lab.root / "edge" / "staging" / f"{sha256_hex(data)}.part"
    with part.open("r+b") as file:
        file.write(bytes(200_000))
    pulled = await lab.pull()
    assert lab.files(pulled) == {"a.bin": data}
    assert lab.tap.moved <= 2_000_000 + 200_000 + 4 * 65_536


async def test_many_small_objects(lab: Lab) -> None:
    files = {f"p/{n}.html": b"<p>%d" % n * 50 for n in range(300)} | {f"i/{n}": noise(n, 3_000) for n in range(200)}
    lab.publish(OLD)
    await lab.pull()
    lab.publish(files)
    lab.tap.clear()
    pulled = await lab.pull()
    assert lab.files(pulled) == {**OLD, **files}
    assert lab.tap.kinds["packs"] <= 4 and lab.tap.kinds["cards"] == 0


async def test_two_channels_share_one_holding(lab: Lab) -> None:
    lab.publish(OLD)
    lab.publisher.publish("other", add={"x.bin": OLD["a.bin"] + b"!"}, remove=(), now=NOW)
    await lab.pull()
    lab.tap.clear()
    pulled = await lab.puller().pull("other", now=NOW)
    assert lab.files(pulled) == {"x.bin": OLD["a.bin"] + b"!"}
    assert lab.tap.moved <= 65_536


async def test_a_bundle_comes_by_its_own_road(lab: Lab, tmp_path: Path) -> None:
    import shutil

    lab.publish(OLD)
    stick = tmp_path / "stick"
    shutil.copytree(lab.publisher.published, stick)
    (stick / "metadata" / "timestamp.json").write_bytes(lab.publisher.bundle_timestamp(NOW))
    later = NOW + timedelta(days=60)
    with pytest.raises(Untrusted):
        await lab.pull(FolderSource(stick), now=later)
    pulled = await lab.pull(FolderSource(stick), now=later, road="bundle")
    assert lab.files(pulled) == OLD


async def test_a_lost_listing_costs_the_full_one(lab: Lab) -> None:
    lab.publish(OLD)
    await lab.pull()
    lab.publish({"more": b"more"})
    (lab.root / "edge" / "trust" / "channels" / "main.listing.json").write_bytes(b"{}")
    lab.tap.clear()
    pulled = await lab.pull()
    assert lab.files(pulled) == {**OLD, "more": b"more"}
    assert lab.tap.kinds["skips"] == 1 and lab.tap.ranges == []


# A long unit under way


def unit(offset: int, stored: int, number: int = 0) -> WantedUnit:
    return WantedUnit(bytes([number]) * 32, stored, "ab" * 32, offset, stored, 0, number)


@given(
    st.lists(st.tuples(st.integers(0, 40), st.integers(1, 60)), min_size=1, max_size=12),
    st.lists(st.integers(1, 50), min_size=1, max_size=80),
    st.integers(0, 700),
)
def test_units_are_cut_out_however_the_bytes_come(
    gaps: list[tuple[int, int]], pieces: list[int], stop_after: int
) -> None:
    units, at = [], 100
    for number, (gap, stored) in enumerate(gaps):
        at += gap if units else 0
        units.append(unit(at, stored, number))
        at += stored
    pack = noise(1, 3_000)
    request = PackRange("ab" * 32, 100, at, tuple(units))
    got: dict[int, bytes] = {}

    def deliver(each: WantedUnit, data: bytes) -> None:
        got[each.order] = data

    begun, asked = Begun(Path("/nonexistent")), 0
    first = Catch(request, b"", begun, deliver, lambda *_: None)
    for piece in pieces:
        if asked >= stop_after or first.position >= at:
            break
        piece = min(piece, at - first.position)
        first(pack[first.position : first.position + piece])
        asked += piece
    first.put_down()
    rest = first.rest
    if rest:
        again = PackRange(request.pack, rest[0].offset, at, rest)
        second = Catch(again, begun.take(rest[0]) if begun.knows(rest[0]) else b"", begun, deliver, lambda *_: None)
        start = second.position
        second(pack[start:at])
        assert second.rest == () and start >= min(first.position, rest[0].offset)
        assert start == max(first.position, rest[0].offset)
    assert got == {each.order: pack[each.offset : each.stop] for each in units}


def test_a_long_unit_is_kept_on_disk_as_it_grows(tmp_path: Path) -> None:
    data = noise(1, 3 * SPILL_BYTES + 1000)
    long = unit(0, len(data))
    begun = Begun(tmp_path)
    request = PackRange(long.pack, 0, len(data), (long,))
    catch = Catch(request, b"", begun, lambda *_: None, begun.write)
    catch(data[: SPILL_BYTES // 2])
    assert not any(tmp_path.iterdir())
    catch(data[SPILL_BYTES // 2 : SPILL_BYTES + 500])
    catch(data[SPILL_BYTES + 500 : SPILL_BYTES + 900])
    # Killed here: another process looks at the folder.
    begun = Begun(tmp_path)
    begun.look()
    assert begun.knows(long) and begun.take(long) == data[: SPILL_BYTES + 500]
    whole: list[bytes] = []
    catch = Catch(request, begun.take(long), begun, lambda _, got: whole.append(got), begun.write)
    assert catch.position == SPILL_BYTES + 500
    catch(data[catch.position : 2 * SPILL_BYTES + 800])
    catch.put_down()
    assert begun.take(long) == data[: 2 * SPILL_BYTES + 800]
    catch(data[catch.position :])
    assert whole == [data]
    begun.drop([long])
    assert not any(tmp_path.iterdir()) and not begun.knows(long)


async def test_a_beginning_that_was_spoilt_blames_nobody(lab: Lab) -> None:
    lab.publish({"a.bin": noise(1, 300_000)})
    first = lab.puller()
    lab.tap.break_after = 140_000
    with pytest.raises(Unreachable):
        await first.pull("main", now=NOW)
    lab.tap.break_after = None
    name = lab.tap.ranges[-1][0]
    card, recipe = lab.card("a.bin")
    pack, offset, stored = locate(card.places, card.packs, recipe.unit_length)
    cut = next(i for i in range(recipe.units) if offset[i] + stored[i] > 140_000)
    spoilt = lab.holding.meta / f"{card.packs[pack[cut]]}.{offset[cut]}.{stored[cut]}.begun"
    spoilt.write_bytes(bytes(1000))
    assert name.endswith(card.packs[pack[cut]])
    pulled = await lab.pull()
    assert lab.files(pulled) == {"a.bin": noise(1, 300_000)}
    assert (name, int(offset[cut]) + 1000, 300_000) in lab.tap.ranges


async def test_what_is_on_another_stick_is_set_aside_until_that_one_is_here(lab: Lab) -> None:
    lab.publish(OLD)
    await lab.pull()
    first, second = noise(21, 500_000), noise(22, 700_000)
    lab.publish({"first.bin": first})
    lab.publish({"second.bin": second, "both.bin": first[:250_000] + second, "text.html": b"<p>text"})
    (pack,) = lab.card("second.bin")[0].packs
    absent = f"packs/{pack[:2]}/{pack}"
    lab.tap.clear()
    with pytest.raises(OnOtherSticks) as error:
        await lab.pull(lacking=absent.__eq__)
    assert error.value.packs == {absent} and 700_000 <= error.value.missing_bytes <= 2 * 800_000
    assert lab.tap.ranges and absent not in {name for name, _, _ in lab.tap.ranges}
    assert lab.holding.has(sha256_hex(first)) and lab.holding.has(sha256_hex(b"<p>text"))
    assert not lab.holding.has(sha256_hex(second))
    lab.tap.clear()
    pulled = await lab.pull()
    assert lab.files(pulled)["both.bin"] == first[:250_000] + second
    assert {name for name, _, _ in lab.tap.ranges} == {absent} and lab.tap.moved <= 800_000


class Walk:
    """Releases, breaks, wrong bytes, cancellations, rot and lying journals in any order."""

    def __init__(self, lab: Lab, seed: int) -> None:
        self.lab, self.source, self.seed = lab, random.Random(seed), seed
        self.blocks = [noise(seed * 100 + number, self.source.randint(1_000, 150_000)) for number in range(6)]
        self.files: dict[str, bytes] = {}

    def publish(self) -> None:
        add = {}
        for _ in range(self.source.randint(1, 5)):
            parts = [self.source.choice(self.blocks) for _ in range(self.source.randint(0, 5))]
            is_text = self.source.random() < 0.2
            add[self.source.choice("abcdefgh")] = b"<p>text" * len(parts) if is_text else b"".join(parts)
        remove = [name for name in self.files if name not in add and self.source.random() < 0.2]
        self.lab.publish(add, remove)
        self.files = {name: data for name, data in self.files.items() if name not in remove} | add

    def harm(self) -> None:
        """What may happen between two attempts, and during the next."""
        tap, chance = self.lab.tap, self.source.random
        tap.break_after = self.source.randint(1, 300_000) if chance() < 0.4 else None
        lies = chance() < 0.2
        tap.change = lambda _, __, piece: (
            piece[:-1] + bytes([piece[-1] ^ 1]) if lies and piece and chance() < 0.1 else piece
        )
        edge = self.lab.root / "edge"
        for path in (*edge.glob("staging/*.part"), *(edge / "objects").glob("*/*")):
            size = path.stat().st_size
            if size and chance() < 0.1:
                path.chmod(0o644)
                with path.open("r+b") as file:
                    file.seek(self.source.randrange(size))
                    file.write(b"Z")
        for path in edge.glob("staging/*.units"):
            if chance() < 0.1:
                path.write_bytes(path.read_bytes()[: self.source.randrange(200)])
        if chance() < 0.1:
            self.lab.holding.close()
            (edge / "units.sqlite").write_bytes(b"junk" * self.source.randrange(2_000))

    async def attempt(self) -> None:
        """Pull once, perhaps not to the end."""
        pulling = asyncio.ensure_future(self.lab.pull(retry=QUICK if self.source.random() < 0.5 else ONCE))
        if self.source.random() < 0.2:
            for _ in range(self.source.randrange(400)):
                await asyncio.sleep(0)
            pulling.cancel()
        with suppress(Corrupt, Unreachable, Untrusted, asyncio.CancelledError):
            await pulling

    async def arrive(self) -> None:
        """Nothing goes wrong any more: heal, pull, compare, collect."""
        lab, holding = self.lab, self.lab.holding
        lab.tap.break_after, lab.tap.change = None, lambda _, __, piece: piece
        for damage in holding.verify():
            recipe = holding.recipe_of(damage.sha256)
            if recipe is None:
                holding.remove(damage.sha256)
            else:
                holding.reopen_damaged(recipe).close()
        pulled = await lab.pull()
        assert lab.files(pulled) == self.files
        for sha256 in set(holding.ids()) - {file.sha256 for file in pulled.listing.files.values()}:
            holding.remove(sha256)
        holding.prune_staged(lambda _: False)
        holding.prune_recipes()
        assert lab.staged() == [] and holding.verify() == ()


@pytest.mark.parametrize("seed", range(8))
async def test_whatever_happens_it_arrives_in_the_end(lab: Lab, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    walk = Walk(lab, seed)
    for module, name, values in (
        (seeking, "FIRST_BATCH_BYTES", [1_000, 100_000]),
        (seeking, "BATCH_BYTES", [10_000, 300_000]),
        (seeking, "LOW_WATER_BYTES", [1, 100_000]),
        (intake, "LANDING_MAX_BYTES", [1, 100_000]),
        (intake, "DURABLE_BYTES", [1, 100_000]),
        (catch, "SPILL_BYTES", [2_000, 50_000]),
        (state, "OBJECTS_AT_ONCE", [1, 3]),
    ):
        monkeypatch.setattr(module, name, walk.source.choice(values))
    for _ in range(4):
        walk.publish()
        for _ in range(walk.source.randrange(4)):
            walk.harm()
            await walk.attempt()
        await walk.arrive()


def test_an_object_that_is_full_is_handed_on_once(lab: Lab) -> None:
    lab.publish({"page.html": b"<p>page"})
    file = lab.publisher.files("main")["page.html"]
    shared = state.State(lab.holding, [file], lambda *_: None)
    card, recipe = lab.card("page.html")
    way = Way(recipe, card.packs, *locate(card.places, card.packs, recipe.unit_length), True)
    part = lab.holding.begin(recipe)
    job = Job(file, way, part, shared.next_number())
    shared.parts.append(part)
    shared.begin(job)
    shared.settle(job)
    assert shared.take_full() is job
    shared.settle(job)  # another task comes to the same conclusion while it is committed
    assert not shared.has_full and not shared.is_done
    part.commit()
    shared.finish(job)
    assert shared.is_done
