"""Which request gets which reply (stb_protocols §5.2 to §5.4)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from edge_server.portal import PortalReply, PortalRequest, PortalState
from edge_server.portal.stalker import guide, links, lists
from edge_server.portal.stalker.answers import (
    PAGE_ITEMS_COUNT,
    base_of,
    failed,
    js,
    mac_of,
    number,
    page,
    parameter,
    token_of,
    words,
)
from edge_server.sessions.box_logins import BoxLogin, BoxRefused, Refusal

WATCHDOG_S = 90
"""How often boxes ask for events; that also is their sign of life."""
EPG_PERIOD_H = 24
_PATH = re.compile(r"(?:/stalker_portal)?(?:/c)?/(?:portal|server/load)\.php")
_PAGES = re.compile(r"(?:/stalker_portal)?(?:/c)?/(?:index\.html)?")
_TAKEN = frozenset(
    f"{kind} {action}"
    for kind, actions in {
        "stb": "log set_volume set_aspect set_lang set_timezone set_locale set_stream_error set_parent_password",
        "itv": "set_last_id set_played set_fav set_fav_status set_ch_status",
        "vod": "set_played set_not_ended set_ended set_fav del_fav stop",
        "watchdog": "confirm_event",
    }.items()
    for action in actions.split()
)
"""What a box tells, and nobody here needs: taken and answered."""
_EMPTY: Mapping[str, object] = {
    "stb get_modules": {"all_modules": ["tv", "vclub"], "disabled_modules": [], "restricted_modules": []},
    "stb get_localization": {},
    "stb get_storages": [],
    "stb get_tv_aspects": {},
    "itv get_fav_ids": [],
    "vod get_genres_by_category_alias": [],
    "vod get_years": [],
    "vod get_abc": [],
}
"""What we have none of."""


@dataclass(frozen=True, slots=True)
class Known:
    """A request of a box that is in."""

    request: PortalRequest
    state: PortalState
    base: str
    """What URLs begin with that the box will open."""


class StalkerDialect:
    """See the package."""

    name = "stalker"
    prefixes = ("/stalker_portal/", "/portal.php", "/server/", "/c/")

    def __init__(self) -> None:
        """Name the actions of boxes that are in."""
        self._listed: tuple[object, Sequence[lists.Line]] = None, ()
        self._written: tuple[Sequence[lists.Line], str, msgspec.Raw] = (), "", msgspec.Raw(b"null")
        self._actions: Mapping[str, Callable[[Known], object]] = {
            "itv get_genres": lambda known: lists.genres(known.state),
            "itv get_all_channels": self._all_channels,
            "itv get_ordered_list": self._channels,
            "itv get_epg_info": lambda known: {
                "data": guide.all_programmes(known.state, number(known.request, "period", EPG_PERIOD_H))
            },
            "itv get_short_epg": lambda known: guide.next_programmes(
                known.state, parameter(known.request, "ch_id"), number(known.request, "size", 4)
            ),
            "itv create_link": _link,
            "vod get_categories": lambda known: lists.categories(known.state),
            "vod get_ordered_list": _lessons,
            "vod create_link": _link,
            "watchdog get_events": lambda known: {"data": {"msgs": 0, "additional_services_on": "1"}},
        }

    def reply(self, request: PortalRequest, state: PortalState) -> PortalReply:
        """See Dialect."""
        if not _PATH.fullmatch(request.path):
            if _PAGES.fullmatch(request.path):  # the pages of a box's own portal are not ours; people see the lessons
                return PortalReply(302, headers=(("Location", "/"), ("Cache-Control", "no-store")))
            return PortalReply(404, "没有这个页面 / no such page\n".encode(), "text/plain; charset=utf-8")
        base = base_of(request, intolerant=state.intolerant)
        if base is None:
            return PortalReply(400, "Host 头不对 / bad Host header\n".encode(), "text/plain; charset=utf-8")
        mac = mac_of(request)
        if mac is None:
            return failed()
        what = f"{parameter(request, 'type')} {parameter(request, 'action')}"
        login = state.boxes.find(token_of(request), mac, request.remote, state.monotonic_s)
        if what == "stb handshake":
            login = login or state.boxes.knock(mac, request.remote, state.monotonic_s)
            return js({"token": login.token, "not_valid": 0})
        if login is None:
            return failed()
        if what == "stb do_auth":
            return _prove(login, request, state)
        if what == "stb get_profile":
            return _profile(login, state)
        if not (login.is_in and state.is_local):
            return failed()
        if action := self._actions.get(what):
            return js(action(Known(request, state, base)))
        if what in _TAKEN:
            return js(True)
        if what in _EMPTY:
            return js(_EMPTY[what])
        return js([], "不支持的操作 / unknown type or action")

    def _lines(self, state: PortalState) -> Sequence[lists.Line]:
        """The TV list, made once for each state of the catalogue: a box asks for it page by page."""
        made_of = (state.view.mark, tuple((each.channel_id, each.number, each.name) for each in state.channels))
        if self._listed[0] != made_of:
            self._listed = made_of, lists.lines(state)
        return self._listed[1]

    def _all_channels(self, known: Known) -> object:
        found = self._lines(known.state)
        if self._written[0] is not found or self._written[1] != known.base:
            rows = [lists.channel(each, known.base) for each in found]
            told = {"total_items": len(rows), "max_page_items": len(rows), "data": rows}
            self._written = found, known.base, msgspec.Raw(msgspec.json.encode(told))
        return self._written[2]

    def _channels(self, known: Known) -> object:
        genre = parameter(known.request, "genre") or lists.ALL
        found = [each for each in self._lines(known.state) if genre in (lists.ALL, each.genre)]
        # One kind of client counts the pages of this list alone from 0; it also sends its token as a cookie (§5.3).
        from_zero = "token" in known.request.cookies and "D20" not in known.state.intolerant
        at = max(0, number(known.request, "p", 1) - (0 if from_zero else 1))
        rows = found[at * PAGE_ITEMS_COUNT : (at + 1) * PAGE_ITEMS_COUNT]
        return page([lists.channel(each, known.base) for each in rows], len(found), at)


def _prove(login: BoxLogin, request: PortalRequest, state: PortalState) -> PortalReply:
    if not state.is_local:  # nobody tries passwords from outside
        return js(False, words(BoxRefused(Refusal.OUTSIDE), login.mac))
    try:
        state.boxes.prove(login, parameter(request, "login"), parameter(request, "password"), state.monotonic_s)
    except BoxRefused as refused:
        return js(False, words(refused, login.mac))
    return js(True)


def _profile(login: BoxLogin, state: PortalState) -> PortalReply:
    """Let the box in; status 2 asks it for account and password, 1 refuses it in words."""
    told: dict[str, object] = {
        "status": 0,
        "id": login.mac.replace(":", ""),
        "name": "",
        "mac": login.mac,
        "ip": login.remote,
        "msg": "",
        "block_msg": "",
        "timeslot": WATCHDOG_S,
        "watchdog_timeout": WATCHDOG_S,
        "locale": "zh_CN.utf8",
        "stb_lang": "zh",
        "default_timezone": "Asia/Shanghai",
        "storages": [],
        "blocked": "0",
    }
    try:
        state.boxes.let_in(login, state.monotonic_s, is_local=state.is_local)
    except BoxRefused as refused:
        said = words(refused, login.mac)
        status = 2 if refused.reason is Refusal.NEEDS_ACCOUNT else 1
        told |= {"status": status, "msg": said, "block_msg": said, "blocked": "0" if status == 2 else "1"}
    else:
        told["name"] = login.station
    return js(told)


def _lessons(known: Known) -> object:
    view, category = known.state.view, parameter(known.request, "category") or lists.ALL
    found = view.catalogue.courseware if category == lists.ALL else view.items_in(category)
    if words_ := parameter(known.request, "search").casefold():
        found = tuple(each for each in found if words_ in each.title.casefold())
    if parameter(known.request, "movie_id"):  # seasons of a series: lessons have none
        found = ()
    at = max(0, number(known.request, "p", 1) - 1)
    rows = found[at * PAGE_ITEMS_COUNT : (at + 1) * PAGE_ITEMS_COUNT]
    return page([lists.video(each, known.base) for each in rows], len(found), at)


def _link(known: Known) -> object:
    return links.link(parameter(known.request, "cmd"), known.base, known.state)
