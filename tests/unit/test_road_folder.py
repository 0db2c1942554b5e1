"""Folders that somebody hostile filled."""

from __future__ import annotations

import asyncio
import os
import socket
from datetime import UTC, datetime
from pathlib import Path

import pytest

from runtime.clock import FakeClock
from sync import Corrupt, Missing, SyncError, Unreachable
from sync.road.folder import PIECE_BYTES, FolderSource
from sync.road.throttle import Throttle

SECRET = b"not part of the stick"


@pytest.fixture
def stick(tmp_path: Path) -> Path:
    (tmp_path / "secret").write_bytes(SECRET)
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_bytes(SECRET)
    folder = tmp_path / "stick"
    (folder / "packs").mkdir(parents=True)
    (folder / "plain").write_bytes(b"plain")
    return folder


async def refuses(stick: Path, name: str, kind: type[Exception]) -> None:
    source = FolderSource(stick)
    async with asyncio.timeout(5):
        with pytest.raises(kind):
            await source.fetch(name, limit_bytes=1000, received=lambda n: None)
        with pytest.raises(kind):
            await source.read(name, 0, 3, lambda piece: None)


@pytest.mark.parametrize("target", ["../secret", "plain", "/dev/zero", "nowhere", "link", "../outside"])
async def test_links_are_not_followed(stick: Path, target: str) -> None:
    (stick / "link").symlink_to(target)
    await refuses(stick, "link", Corrupt)


@pytest.mark.parametrize("target", ["../outside", ".", "/", "packs"])
async def test_links_to_folders_are_not_followed_either(stick: Path, target: str) -> None:
    (stick / "away").symlink_to(target)
    for name in ("away/secret", "away/plain", "away/packs/x"):
        await refuses(stick, name, Corrupt)


async def test_a_pipe_does_not_hang(stick: Path) -> None:
    os.mkfifo(stick / "pipe")
    await refuses(stick, "pipe", Corrupt)
    await refuses(stick, "pipe/x", Corrupt)


async def test_a_socket_and_a_device(stick: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(stick / "socket"))
        await refuses(stick, "socket", Corrupt)
    try:
        os.mknod(stick / "zero", 0o600 | 0o020000, os.makedev(1, 5))
    except PermissionError:
        return
    await refuses(stick, "zero", Corrupt)


async def test_what_is_swapped_between_looking_and_opening_is_not_followed_and_does_not_hang(stick: Path) -> None:
    class Late(FolderSource):
        def _check(self, *_: object) -> None:
            """Saw a plain file, a moment ago."""

    os.mkfifo(stick / "pipe")
    (stick / "link").symlink_to("../secret")
    (stick / "away").symlink_to("../outside")
    source = Late(stick)
    async with asyncio.timeout(5):
        for name in ("pipe", "link", "away/secret"):
            with pytest.raises(SyncError):
                await source.fetch(name, limit_bytes=1000, received=lambda n: None)
            with pytest.raises(SyncError):
                await source.read(name, 0, 3, lambda piece: None)


async def test_folders_and_files_in_the_wrong_place_are_missing(stick: Path) -> None:
    for name in ("packs", "plain/x", "none", "none/x", "a" * 300):
        await refuses(stick, name, Missing)


async def test_a_stick_that_is_not_there_or_is_a_file(stick: Path) -> None:
    await refuses(stick / "usb", "plain", Unreachable)
    await refuses(stick / "plain", "plain", Unreachable)


async def test_the_folder_itself_may_be_a_link(stick: Path, tmp_path: Path) -> None:
    (tmp_path / "media").symlink_to(stick)
    source = FolderSource(tmp_path / "media")
    assert await source.fetch("plain", limit_bytes=5, received=lambda n: None) == b"plain"
    assert str(source) == str(tmp_path / "media")


async def test_a_stick_that_is_pulled_out_while_it_is_read(stick: Path) -> None:
    (stick / "pack").write_bytes(b"x" * (3 * PIECE_BYTES))
    body = bytearray()

    def pull_out(piece: bytes) -> None:
        body.extend(piece)
        stick.rename(stick.parent / "gone")

    with pytest.raises(Unreachable, match="no folder"):
        await FolderSource(stick).read("pack", 0, 3 * PIECE_BYTES, pull_out)
    assert len(body) == PIECE_BYTES


async def test_a_file_that_shrinks_or_grows_while_it_is_read(stick: Path) -> None:
    pack = stick / "pack"
    for length, kind in ((10, Unreachable), (9 * PIECE_BYTES, Corrupt)):
        pack.write_bytes(b"x" * (3 * PIECE_BYTES))
        body = bytearray()

        def change(piece: bytes, body: bytearray = body, length: int = length) -> None:
            body.extend(piece)
            os.truncate(pack, length)

        if kind is Unreachable:
            with pytest.raises(Unreachable, match="shorter"):
                await FolderSource(stick).read("pack", 0, 3 * PIECE_BYTES, change)
            assert len(body) == PIECE_BYTES
        else:
            await FolderSource(stick).read("pack", 0, 3 * PIECE_BYTES, change)
            assert len(body) == 3 * PIECE_BYTES
        pack.write_bytes(b"x" * (3 * PIECE_BYTES))
        moved: list[int] = []

        def change_too(n: int, moved: list[int] = moved, length: int = length) -> None:
            moved.append(n)
            os.truncate(pack, length)

        job = FolderSource(stick).fetch("pack", limit_bytes=3 * PIECE_BYTES, received=change_too)
        if kind is Corrupt:
            with pytest.raises(Corrupt, match="longer"):
                await job
            assert sum(moved) == 3 * PIECE_BYTES + 1
        else:
            assert len(await job) == PIECE_BYTES  # its hash will not fit


async def test_a_share_at_the_other_end_of_a_line_keeps_to_the_cap(stick: Path) -> None:
    (stick / "pack").write_bytes(b"x" * 100_000)
    clock = FakeClock(datetime(2026, 3, 1, 12, 0, tzinfo=UTC))
    source = FolderSource(stick, gate=Throttle(clock, lambda: 80_000))
    body = bytearray()
    job = asyncio.ensure_future(source.read("pack", 0, 100_000, body.extend))
    while not job.done():
        await asyncio.sleep(0.001)
        await clock.advance(0.1)
        assert len(body) <= 10_000 * clock.monotonic() + 4096 + 16 * 1024
    await job
    assert 6 < clock.monotonic() <= 10
