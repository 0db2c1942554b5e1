"""Whatever a box sends, the portal answers: no exception, JSON or words, and never more than a page can hold."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.courseware import Catalogue, Column, Courseware, ItemClass, MediaFamily
from edge_server.catalog import CatalogView
from edge_server.linear import LinearChannel, Slot
from edge_server.portal import PortalRequest, PortalState
from edge_server.portal.stalker import DIALECT
from edge_server.sessions.box_logins import BoxLimits, BoxLogins, BoxRefused
from edge_server.sessions.logins import Logins
from tests.web_lab import ISSUED, rendition, view_of

REPLY_MAX_BYTES = 2 * 1024 * 1024
MAC = "00:1A:79:AA:BB:CC"
NOW = datetime(2026, 11, 24, 8, tzinfo=UTC)
LESSONS = tuple(
    Courseware(
        item_id=f"{10000000 + n}",
        title=f"第{n}课",
        item_class=ItemClass.EDUCATION,
        column_id=f"{n % 3}",
        family=MediaFamily.VIDEO,
        issued_at=ISSUED,
        renditions=(rendition("R12", b"x", (256, 144), ("avc1.4d400d", None)),),
    )
    for n in range(20)
)
CHANNEL = LinearChannel("900001", 1, "教育一套", NOW, (Slot("10000000", "第0课", 2.0),))
CATALOGUE = Catalogue(columns=(Column(column_id="1", title="安全", order=1),), courseware=LESSONS)

WORDS = st.text(max_size=40) | st.sampled_from(["", "*", "0", "1", "-1", "10", "99999999999", "٣", "1e9", "\x00", "🐂"])
NAMES = st.sampled_from(
    ["type", "action", "p", "genre", "category", "cmd", "period", "size", "ch_id", "search", "login", "password"]
)
TYPES = st.sampled_from(["stb", "itv", "vod", "epg", "watchdog", "tv_archive"]) | st.text(max_size=9)
ACTIONS = st.sampled_from(
    [
        *("handshake", "get_profile", "do_auth", "get_modules", "log"),
        *("get_genres", "get_all_channels", "get_ordered_list", "get_epg_info", "get_short_epg", "create_link"),
        *("get_categories", "get_events", "confirm_event"),
    ]
) | st.text(max_size=20)
PATHS = st.sampled_from(["/portal.php", "/stalker_portal/server/load.php", "/c/", "/server/"]) | st.text(max_size=60)
MACS = st.sampled_from([MAC, MAC.replace(":", "%3A"), "", "%", "00:1A:79:AA:BB"]) | st.text(max_size=60)
REMOTES = st.sampled_from(["192.0.2.1", "203.0.113.1", "", "fe80::1%eth0", "nonsense"])


@pytest.fixture(scope="module")
def view(tmp_path_factory: pytest.TempPathFactory) -> CatalogView:
    return view_of(tmp_path_factory.mktemp("edge"), CATALOGUE, {})


@given(
    path=PATHS,
    kind=TYPES,
    action=ACTIONS,
    query=st.dictionaries(NAMES | st.text(max_size=9), WORDS, max_size=8),
    mac=MACS,
    token=st.none() | WORDS | st.text(min_size=65, max_size=99),
    remote=REMOTES,
    host=st.sampled_from(["192.0.2.9:8800", "edge"]) | st.text(max_size=60),
    cookie=st.dictionaries(st.sampled_from(["token", "timezone"]), WORDS),
    channels=st.booleans(),
)
def test_any_request_gets_a_bounded_answer(
    view, path, kind, action, query, mac, token, remote, host, cookie, channels
) -> None:
    boxes = BoxLogins(unregistered=True)
    login = boxes.knock(MAC, "192.0.2.1", 0.0)
    boxes.let_in(login, 0.0)
    bearer = f"Bearer {login.token if token is None else token}"
    request = PortalRequest(
        *("GET", path, {**query, "type": kind, "action": action}, {}),
        *({"Authorization": bearer}, {**cookie, "mac": mac}, remote, host),
    )
    state = PortalState(
        view,
        Logins(lambda _: None),
        "",
        NOW,
        1.0,
        channels=(CHANNEL,) if channels else (),
        boxes=boxes,
    )
    reply = DIALECT.reply(request, state)
    assert len(reply.body) <= REPLY_MAX_BYTES
    assert reply.status in (200, 302, 400, 404)
    if reply.media_type.startswith("application/json"):
        assert set(msgspec.json.decode(reply.body)) <= {"js", "text"}


@given(
    steps=st.lists(
        st.tuples(
            st.integers(0, 40),
            st.sampled_from(["192.0.2.1", "192.0.2.2", "192.0.2.3", "203.0.113.1"]),
            st.sampled_from(["knock", "in", "find", "prove"]),
            st.integers(0, 400),
        ),
        max_size=120,
    )
)
def test_the_table_of_boxes_never_outgrows_its_bounds(steps) -> None:
    limits = BoxLimits(
        waiting_max=8, waiting_per_remote_max=4, logins_max=6, logins_per_box_max=2, logins_per_remote_max=4
    )
    boxes = BoxLogins(unregistered=True, limits=limits)
    now_s, held = 0.0, []
    for number, remote, step, passed in steps:
        now_s += passed
        if step == "knock" or not held:
            held.append(boxes.knock(f"02:00:00:00:00:{number:02X}", remote, now_s))
            continue
        login = held[number % len(held)]
        found = boxes.find(login.token, login.mac, login.remote, now_s)
        assert found in (None, login)
        if found is None:
            held.remove(login)
            continue
        try:
            if step == "prove":
                boxes.prove(login, "nobody", "x", now_s)
            elif step == "in":
                boxes.let_in(login, now_s)
                assert login.is_in
        except BoxRefused:
            pass
        everyone = list(boxes)
        assert len(everyone) == len(boxes) <= 6
        for each in everyone:
            assert sum(other.mac == each.mac for other in everyone) <= 2
            assert sum(other.remote == each.remote for other in everyone) <= 4
            assert {other.remote for other in everyone if other.mac == each.mac} == {each.remote}
