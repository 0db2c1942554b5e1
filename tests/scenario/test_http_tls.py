"""HTTPS: the same resources through aiohttp, as another library's TLS sees them."""

from __future__ import annotations

import asyncio
import socket
import ssl
import subprocess
from pathlib import Path

import pytest

from edge_server.bootstrap.http_settings import HttpSettings, Tls
from edge_server.plane.counts import Count
from tests.plane_lab import Shop, count, get, open_port, until
from tests.web_lab import ask_on, read_reply


@pytest.fixture
def tls(tmp_path: Path) -> Tls:
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "1"]
    subprocess.run([*command, "-out", certificate, "-keyout", key], check=True, capture_output=True)
    return Tls(certificate, key)


@pytest.mark.stranger("openssl")
async def test_media_and_pages_over_tls(tmp_path: Path, tls: Tls) -> None:
    shop = Shop(tmp_path)
    big = shop.put("/media/big", b"head", (b"x", bytes(range(256)) * 8192, b"y"))

    def run() -> None:
        context = ssl.create_default_context(cafile=str(tls.certificate))
        with (
            socket.create_connection(("127.0.0.1", port.port), timeout=10) as plain,
            context.wrap_socket(plain, server_hostname="127.0.0.1") as connection,
        ):
            assert ask_on(connection, "/media/big").body == big
            part = ask_on(connection, "/media/big", "Range: bytes=2-9")
            assert (part.status, part.body) == (206, big[2:10])
            assert len(ask_on(connection, "/media/big", "Range: bytes=0-0,5-6").body) > 200
            assert ask_on(connection, "/media/big", f"If-None-Match: {part.fields['etag']}").status == 304
            assert ask_on(connection, "/media/none").status == 404
            assert b"<html" in ask_on(connection, "/").body
            connection.sendall(get("/media/big", method="HEAD"))
            head = read_reply(connection, head_only=True)
            assert head.fields["content-length"] == str(len(big)) and head.fields["server"] == "EdgeServer"

    async with open_port(shop, settings=HttpSettings(tls=tls)) as port:
        assert port.address.startswith("https://")
        await asyncio.to_thread(run)


@pytest.mark.stranger("openssl")
async def test_no_answer_to_head_has_a_body_whatever_it_says(tmp_path: Path, tls: Tls) -> None:
    """Not even where aiohttp cannot read the request, and does not know that it was a HEAD (RFC 9110 §9.3.2)."""
    shop = Shop(tmp_path)
    shop.put("/media/big", b"x" * 1000)

    def run(*requests: bytes) -> bytes:
        context = ssl.create_default_context(cafile=str(tls.certificate))
        with (
            socket.create_connection(("127.0.0.1", port.port), timeout=10) as plain,
            context.wrap_socket(plain, server_hostname="127.0.0.1") as connection,
        ):
            for each in requests:
                connection.sendall(each)
            return b"".join(iter(lambda: connection.recv(65536), b""))

    unreadable = b"HEAD /media/big HTTP/1.1\r\nHost: x\r\nBad field\r\n\r\n"
    async with open_port(shop, settings=HttpSettings(tls=tls)) as port:
        for path, status in (("/media/none", b"404"), ("/none", b"404"), ("/media/big", b"200")):
            said = await asyncio.to_thread(run, get(path, "Connection: close", method="HEAD"))
            assert said.split()[1] == status and said.endswith(b"\r\n\r\n") and said.count(b"\r\n\r\n") == 1
        said = await asyncio.to_thread(run, unreadable)
        assert said.split()[1] == b"400" and said.endswith(b"\r\n\r\n") and said.count(b"\r\n\r\n") == 1
        said = await asyncio.to_thread(run, get("/media/big"), unreadable[:9], unreadable[9:])
        taken, refusal = said.split(b"x" * 1000)
        assert taken.split()[1] == b"200"
        assert refusal.split()[1] == b"400" and refusal.endswith(b"\r\n\r\n")
        said = await asyncio.to_thread(run, unreadable.replace(b"HEAD", b"GET"))
        assert said.split()[1] == b"400" and not said.endswith(b"\r\n\r\n")
        assert {status: times for status, times in port.counts.statuses() if times} == {200: 2, 400: 3, 404: 2}
        await until(lambda: count(port, Count.OPEN) == 0)
        assert count(port, Count.ACCEPTED) == 6


async def test_a_certificate_that_is_not_there_is_an_error_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(BaseExceptionGroup) as raised:
        async with open_port(Shop(tmp_path), settings=HttpSettings(tls=Tls(tmp_path / "no", tmp_path / "no"))):
            pass
    assert raised.group_contains(FileNotFoundError)
