"""``edge-server records``: what this edge has to tell the central platform, and whether it has arrived."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edge_server.cli.common import ROOT, open_edge
from runtime.output import JSON, Exit, Output

if TYPE_CHECKING:
    from edge_server.records.recorder import Recorder


@click.group()
def records() -> None:
    """学习、故障、问卷等记录。 / Records of study, faults and answers on their way home."""


@records.command()
@ROOT
@JSON
def key(root: Path, as_json: bool) -> None:
    """本机记录的公钥，须在中心平台登记。 / The public key that the central platform must know."""
    from edge_server.records.key import KeyDamaged, load_key, public_hex

    out = Output(json=as_json)
    edge = open_edge(out, root)
    try:
        text = public_hex(load_key(root))
    except (KeyDamaged, OSError) as error:
        raise out.fail(Exit.FAILED, "no_key", str(error)) from error
    out.emit("summary", edge_id=edge.config.edge_id, key=text)
    if not as_json:
        out.say(f"central-platform edge add {edge.config.edge_id} --key {text}")


@records.command()
@ROOT
@JSON
def status(root: Path, as_json: bool) -> None:
    """多少条还没送到。 / How many have not arrived."""
    out = Output(json=as_json)
    with _recorder(out, root) as recorder:
        state = recorder.spool.state()
    out.emit("summary", **asdict(state))
    if not as_json:
        out.say(f"共 {state.last_seq} 条，{state.waiting} 条未送到 / {state.last_seq} records, {state.waiting} waiting")
        if state.waiting:
            out.say(f"最早 / oldest: {state.oldest_waiting_at}")
        if state.home_at:
            out.say(f"上次送达 / last delivery: {state.home_at}")
        if state.failure:
            out.say(f"上次未成 / the last one failed: {state.failure}")
        if state.dropped:
            out.say(f"因磁盘满少记 {state.dropped} 条心跳或探测 / heartbeats and probes without room: {state.dropped}")


@records.command()
@ROOT
@JSON
def resend(root: Path, as_json: bool) -> None:
    """全部重新送一次（不会重复计数）。 / Deliver all that is kept once more; nothing is counted twice."""
    out = Output(json=as_json)
    with _recorder(out, root) as recorder:
        again = recorder.spool.send_again()
    out.emit("summary", records=again)
    if not as_json:
        out.say(f"将重新送 {again} 条 / will be delivered again: {again}")


@records.command("to-usb")
@click.argument("stick", metavar="PATH", type=click.Path(path_type=Path, exists=True, file_okay=False))
@ROOT
@JSON
def to_usb(stick: Path, root: Path, as_json: bool) -> None:
    """把未送到的记录写到 U 盘。 / Write what has not arrived onto a USB stick (`bundle import` does so, too)."""
    from edge_server.bootstrap.records import carry
    from sync import SyncError

    out = Output(json=as_json)
    edge = open_edge(out, root)
    with _recorder(out, root) as recorder:
        try:
            carried = carry(recorder, edge.config.edge_id, stick)
        except (OSError, SyncError) as error:
            raise out.fail(Exit.FAILED, "not_written", f"没有写到 U 盘上 / not written: {error}") from error
    out.emit("summary", **asdict(carried))
    if not as_json:
        out.say(f"已写 {carried.taken} 条，请带回中心 / {carried.taken} written; take the stick to the centre")
        if carried.left:
            out.say(f"还有 {carried.left} 条，下次再带 / {carried.left} wait for the next time")


@contextmanager
def _recorder(out: Output, root: Path) -> Iterator[Recorder]:
    from edge_server.bootstrap.records import open_recorder
    from edge_server.records.key import KeyDamaged

    edge = open_edge(out, root)
    try:
        recorder = open_recorder(edge.config, root, edge.judged, edge.clock)
        try:
            yield recorder
        finally:
            recorder.spool.close()
    except KeyDamaged as error:
        raise out.fail(Exit.FAILED, "no_key", str(error)) from error
    except OSError as error:
        raise out.fail(Exit.FAILED, "io_error", f"读写失败 / input or output failed: {error}") from error
