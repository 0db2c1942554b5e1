"""Subtitles over HTTP, read by a stranger."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.web_lab import VIDEO, VTT, Lab, ask, build, serving, stranger


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    return build(tmp_path_factory.mktemp("subtitles"))


async def test_ffmpeg_reads_the_words_and_unknown_languages_are_not_there(lab: Lab, tmp_path: Path) -> None:
    async with serving(lab) as port:
        url = f"http://127.0.0.1:{port}/subtitles/{VIDEO}/zh.vtt"
        read = await stranger("ffmpeg", "-loglevel", "error", "-i", url, "-f", "srt", "-")
        reply = await ask(port, f"/subtitles/{VIDEO}/zh.vtt")
        missing = [await ask(port, f"/subtitles/{VIDEO}/{name}") for name in ("en.vtt", "zh", "../zh.vtt", "")]
    assert "00:00:01,000 --> 00:00:02,500" in read.stdout
    assert "先断电" in read.stdout
    assert reply.body == VTT
    assert reply.fields["content-type"] == "text/vtt; charset=utf-8"
    assert [each.status for each in missing] == [404] * 4
