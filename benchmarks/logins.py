"""What logging in costs: ``python -m benchmarks.logins [boxes]``. CPU seconds, tables alone, nobody else involved.

Old boxes (Huawei and ZTE style): a token, an Authenticator, a login. Boxes known by their MAC: a knock and a door. And
what a knock, a token and a heartbeat without a cookie cost when the tables are full.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

from edge_server.sessions.accounts import Account
from edge_server.sessions.box_logins import BoxLogins
from edge_server.sessions.logins import Attempt, LoginRefused, Logins
from wire import ctc

ACCOUNT = Account(user_id="edu001@itv", password="123456")
MORE = {f"edu{n}@itv": Account(user_id=f"edu{n}@itv", password="123456") for n in range(20_000)}


def seconds(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def remote(number: int) -> str:
    return f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"


def old_boxes(count: int) -> Logins:
    """Each with an account and an address of its own."""
    logins = Logins(MORE.get)
    for number in range(count):
        user_id = f"edu{number}@itv"
        token = logins.issue(user_id, remote(number), float(number) / 100).encrypt_token
        stbid = f"{number:032d}"
        made = ctc.Authenticator("12345678", token, user_id, stbid, "10.0.0.9", "1A:2B:3C:4D:5E:6F").build()
        attempt = Attempt(user_id, ctc.encrypt(made, "123456"), stbid, ctc.Face.CTC, remote(number))
        logins.log_in(attempt, float(number) / 100)
    return logins


def macs(count: int) -> BoxLogins:
    boxes = BoxLogins(unregistered=True)
    for number in range(count):
        mac = ":".join(f"{number:012X}"[at : at + 2] for at in range(0, 12, 2))
        boxes.let_in(boxes.knock(mac, remote(number), float(number) / 100), float(number) / 100)
    return boxes


def main() -> int:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 3000
    holder: list[Logins] = []
    taken = seconds(lambda: holder.append(old_boxes(count)))
    print(f"{count} old boxes log in        {taken:8.3f} s")
    logins, now_s = holder[0], count / 100
    taken = seconds(lambda: [logins.find_box(f"{n:032d}", remote(n), now_s) for n in range(0, count, 3)])
    print(f"{count // 3} heartbeats, no cookie   {taken:8.3f} s")

    def ask() -> None:
        for _ in range(1000):
            logins.issue("edu1@itv", "192.0.2.1", now_s)
        for number in range(1000):
            logins.issue(f"edu{number}@itv", remote(number), now_s)

    print(f"2000 tokens, table filling    {seconds(ask):8.3f} s")

    def guess() -> None:
        for number in range(1000):
            try:
                logins.log_in(Attempt(f"edu{number}@itv", "00" * 64, "", ctc.Face.CTC, "192.0.2.9"), now_s)
            except LoginRefused:
                continue

    print(f"1000 wrong answers            {seconds(guess):8.3f} s")
    print(f"{count} MACs are let in         {seconds(lambda: macs(count)):8.3f} s")
    boxes = BoxLogins(unregistered=True)

    def knock() -> None:
        for number in range(8000):
            boxes.knock(f"{number:012X}", remote(number % 4096), 0.0)

    print(f"8000 knocks, table full       {seconds(knock):8.3f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
