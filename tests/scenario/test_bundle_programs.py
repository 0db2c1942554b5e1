"""USB sticks with the programs themselves: an edge without a line learns of lessons, and the centre of the edge."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fixtures.lessons import make_counted_lesson, make_picture_text
from tests.served import run


@pytest.fixture(scope="module")
def village(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A platform with two columns, and an edge that has never seen a line."""
    root = tmp_path_factory.mktemp("village")
    central = str(root / "central")
    run("central-platform", "init", central, "--area", "county-7", "--json")
    make_counted_lesson(root / "first.mp4", frames=60, title="安全用电", seed=3)
    make_picture_text(root / "notice", "春耕备耕")
    publish(root, "first.mp4", "安全用电", "安全")
    publish(root, "notice", "春耕备耕", "农业")
    anchor = root / "central" / "published" / "metadata" / "1.root.json"
    run("edge-server", "init", str(root / "edge"), "--central", "http://127.0.0.1:9/", "--trust", str(anchor), "--json")
    return root


def publish(root: Path, source: str, title: str, column: str) -> str:
    words = ("--title", title, "--column", column, "--class", "education", "--dir", str(root / "central"), "--json")
    return str(run("central-platform", "publish", str(root / source), *words)[-1]["item_id"])


def export(root: Path, stick: Path, *words: str) -> dict[str, object]:
    done = run("central-platform", "bundle", "export", str(stick), *words, "--dir", str(root / "central"), "--json")
    return done[-1]


def take_in(root: Path, stick: Path, *, fine: tuple[int, ...] = (0,)) -> dict[str, object]:
    return run("edge-server", "bundle", "import", str(stick), "--dir", str(root / "edge"), "--json", fine=fine)[-1]


def titles(root: Path) -> list[str]:
    shown = run("edge-server", "status", "--dir", str(root / "edge"), "--json")
    return sorted(str(each["title"]) for each in shown if each["type"] == "item")


def test_a_stick_there_a_receipt_back_and_only_what_is_new(village: Path) -> None:
    stick = village / "stick"
    first = export(village, stick)
    assert (first["parts"], first["publication"]) == (1, 2)
    assert take_in(village, stick)["changed"] is True
    assert titles(village) == ["安全用电", "春耕备耕"]
    again = take_in(village, stick, fine=(1,))
    assert again["reason"] == "older" and "不用再导入" in str(again["message"])

    make_counted_lesson(village / "third.mp4", frames=40, title="滴灌", seed=4)
    publish(village, "third.mp4", "滴灌技术", "农业")
    before = {file.name for file in stick.glob("packs/*/*")}
    export(village, stick, "--receipts", str(stick))
    packs = {file.name for file in stick.glob("packs/*/*")}
    assert packs - before and before - packs, "packs of which the edge has everything are not taken along"
    assert take_in(village, stick)["changed"] is True
    assert titles(village) == ["安全用电", "春耕备耕", "滴灌技术"]
    (file,) = (stick / "receipts").iterdir()
    receipt = json.loads(file.read_text())
    assert receipt["edge"].startswith("edge-") and file.stem == receipt["edge"]
    assert receipt["missing_bytes"] == 0 and set(receipt["channels"]) == {"index", "col-101", "col-102"}


def test_a_damaged_stick_is_refused_whole(village: Path) -> None:
    stick = village / "damaged"
    make_picture_text(village / "more", "防火须知")
    item = publish(village, "more", "防火须知", "安全")
    export(village, stick, "--since", "3")
    pack = max(stick.glob("packs/*/*"), key=lambda file: file.stat().st_size)
    good = pack.read_bytes()
    pack.write_bytes(good[:50] + bytes([good[50] ^ 1]) + good[51:])
    before = titles(village)
    told = take_in(village, stick, fine=(1,))
    assert told["reason"] == "damaged" and "损坏" in str(told["message"])
    assert titles(village) == before and "防火须知" not in before
    pack.write_bytes(good)
    take_in(village, stick)
    assert "防火须知" in titles(village)
    run("central-platform", "withdraw", item, "--dir", str(village / "central"), "--json")
    export(village, village / "last", "--since", "4")
    take_in(village, village / "last")
    assert titles(village) == before


def test_a_stick_of_another_area_is_refused(village: Path, tmp_path: Path) -> None:
    edge = tmp_path / "edge"
    anchor = village / "central" / "published" / "metadata" / "1.root.json"
    run("edge-server", "init", str(edge), "--central", "http://127.0.0.1:9/", "--trust", str(anchor), "--json")
    with (edge / "edge.toml").open("a") as settings:
        settings.write('area = "county-8"\n')
    export(village, tmp_path / "stick")
    told = take_in(tmp_path, tmp_path / "stick", fine=(1,))
    assert told["reason"] == "other_area" and titles(tmp_path) == []


def test_words_for_a_folder_that_is_no_bundle_and_a_stick_that_is_too_small(village: Path, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    assert take_in(village, tmp_path / "photos", fine=(1,))["reason"] == "not_a_bundle"
    words = ("--max-bytes", "1K", "--dir", str(village / "central"), "--json")
    told = run("central-platform", "bundle", "export", str(tmp_path / "s"), *words, fine=(2,))[-1]
    assert told["reason"] == "stick_too_small"


def test_keys_are_replaced_and_the_stick_brings_the_news(village: Path, tmp_path: Path) -> None:
    """After a theft: two offline root keys, new online keys; an edge without a line learns of it by the next stick."""
    central, offline = village / "central", tmp_path / "safe"
    (central / "keys" / "offline").rename(offline)
    told = run("central-platform", "keys", "rotate", "timestamp", "--dir", str(central), "--json", fine=(1,))[-1]
    assert told["reason"] == "not_rotated" and "root" in str(told["message"])
    words = ("--offline", str(offline), "--dir", str(central), "--json")
    run("central-platform", "keys", "rotate", "timestamp", "snapshot", "channels", *words)
    make_picture_text(village / "after", "换钥匙之后")
    publish(village, "after", "换钥匙之后", "安全")
    export(village, tmp_path / "stick", "--since", "5")
    take_in(village, tmp_path / "stick")
    assert "换钥匙之后" in titles(village)
    due = run("central-platform", "keys", "renew", *words)[-1]["offline_due"]
    assert str(due) > "2026"
