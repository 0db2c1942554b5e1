"""Forms that no page of ours has."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

from tests.web_lab import ask_on, build, serving


async def test_a_form_with_too_many_fields_is_refused_in_words_and_the_edge_goes_on(tmp_path: Path) -> None:
    def post(port: int, fields: int) -> tuple[bytes, int]:
        body = "&".join(f"a{number}=1" for number in range(fields)).encode()
        kind = b"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n\r\n" % len(body)
        with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            connection.sendall(b"POST /nowhere HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + kind + body)
            said = b"".join(iter(lambda: connection.recv(65536), b""))
        with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            return said, ask_on(connection, "/healthz").status

    async with serving(build(tmp_path)) as port:
        refused, alive = await asyncio.to_thread(post, port, 201)
        taken, _ = await asyncio.to_thread(post, port, 200)
    assert refused.startswith(b"HTTP/1.1 400 ") and "表单项太多".encode() in refused
    assert alive == 200
    assert not taken.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 500 "))
