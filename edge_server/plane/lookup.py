"""Finds what a target names, and remembers it while the same snapshot is active."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from edge_server.egress import FileRange, Find, Resource
from edge_server.plane.answers import Piece, cut, field_lines, length_of, plan, range_fields, simple_range, status_line
from edge_server.plane.connection import FileStep
from edge_server.plane.leases import Leases, OpenFile
from edge_server.plane.limits import REPEATED_MAX_COUNT, Limits
from edge_server.plane.repeated import Range, Repeated
from edge_server.sessions.tickets import PREFIX, Allowed, Refused
from wire.http_request import RequestFields, path_of

Door = Callable[[str, float], Allowed | Refused]
"""Judges a decoded path at a monotonic time; what it allows names the path without its ticket. Of a path that has none
it always says the same."""
TICKETS_KNOWN_MAX_COUNT = 4096
"""Tickets, as they stand in targets, that were found to be plain text."""
CHECK_S = 1.0
"""A file that is open is looked at again so often: its name may be gone."""
Answer = tuple[int, bytes, bytes, tuple[bytes | FileStep, ...], int]
"""Status; the head before the date, and behind it, the empty line included; the body; length of what was asked for."""
_OK, _PARTIAL = status_line(200), status_line(206)
_TICKET = PREFIX.encode()
_OVERHEAD_BYTES = 3 * 1024
"""Of memory for a resource, with two copies of the head of its answer."""
_COPIES_COUNT = 3
"""Of the bytes of a resource that were made: its own, and those in an answer as it was written, twice."""
_PART_BYTES = 256
"""Of memory for naming one part twice; a DASH segment has hundreds."""


def open_door(path: str, now_s: float) -> Allowed | Refused:
    """Let everybody in."""
    return Allowed(path)


@dataclass(frozen=True, slots=True)
class Media:
    """What the plane serves."""

    find: Find
    view: Callable[[], object]
    """Another object when what `find` says may be another."""
    door: Door = open_door
    item_of: Callable[[str], str] = lambda path: ""
    """Names the item whose ticket a path needs; where it does, `admits` decides like the door, with less to read."""
    admits: Callable[[str, str, float], int | None] = lambda ticket, item_id, now_s: None
    """Judges a ticket for an item at a monotonic time; the viewing that it was given to, None when it is not good."""
    seen: Callable[[int, int, float], None] = lambda viewing, length_bytes, now_s: None
    """Hears of (viewing, bytes of files handed to the kernel, monotonic seconds)."""
    prefixes: tuple[str, ...] = ()
    """Paths that no portal answers: what is not found there is a medium that is not here."""


@dataclass(frozen=True, slots=True)
class Accel:
    """A server in front sends whole stored files by itself (``X-Accel-Redirect``)."""

    prefix: str
    """URL path below which it has the folder, for internal use only."""
    root: Path

    def path(self, file: Path) -> str | None:
        """Return what to redirect to; None for a file that it does not have."""
        try:
            return f"{self.prefix.rstrip('/')}/{file.relative_to(self.root).as_posix()}"
        except ValueError:
            return None


class Found:
    """A resource ready to be sent."""

    __slots__ = (
        "check_s",
        "files",
        "given_up",
        "held_bytes",
        "item_id",
        "length_bytes",
        "open",
        "path",
        "pieces",
        "range_fields",
        "repeated",
        "resource",
        "whole",
    )

    def __init__(self, path: str, resource: Resource, files: dict[Path, OpenFile]) -> None:
        """Write what every answer has in common; ``files`` are open.

        Raises:
            ValueError: a field of it cannot be written.
        """
        self.path, self.resource, self.files = path, resource, files
        self.length_bytes = resource.length_bytes
        fields = plan("GET", resource, {}).fields
        self.whole = field_lines(fields)
        """Field lines of 200."""
        self.range_fields = field_lines((name, value) for name, value in fields if name != "Content-Length")
        """Field lines of 206, without those that tell the range."""
        self.pieces = self.steps(resource.parts)
        self.check_s = 0.0
        self.given_up = 0
        self.item_id = ""
        """Whose ticket it needs; empty: the door must be asked."""
        self.open = False
        """It was asked for without a ticket, and allowed."""
        self.repeated: Repeated | None = None
        """The answer to who asks for the whole, as it was written."""
        made = sum(len(part) for part in resource.parts if isinstance(part, bytes))
        self.held_bytes = _OVERHEAD_BYTES + _PART_BYTES * len(resource.parts) + _COPIES_COUNT * made

    def steps(self, pieces: Iterable[Piece]) -> tuple[bytes | FileStep, ...]:
        """Name the open files of pieces."""
        return tuple(
            piece
            if isinstance(piece, bytes)
            else (self.files[piece.file], piece.offset_bytes, piece.offset_bytes + piece.length_bytes)
            for piece in pieces
            if length_of(piece)
        )

    def cut(self, start: int, stop: int) -> tuple[bytes | FileStep, ...]:
        """Name what bytes [start, stop) are."""
        if len(self.pieces) == 1 and not isinstance(self.pieces[0], bytes):
            opened, offset, _ = self.pieces[0]
            return ((opened, offset + start, offset + stop),)
        return self.steps(cut(self.resource.parts, start, stop))

    def answer(self, method: str, fields: RequestFields, ending: bytes, accel: Accel | None) -> Answer:
        """Decide what is sent for a GET or HEAD; ``ending`` ends the head."""
        whole = self.length_bytes
        if accel is not None and (sent := by_accel(self, accel)) is not None:
            return 200, _OK, sent + ending, (), whole
        if method == "GET":
            if not fields.conditions:
                return 200, _OK, self.whole + ending, self.pieces, whole
            if fields.first_last is not None and (part := simple_range(fields.first_last, whole)) is not None:
                start, stop = part
                after = self.range_fields + range_fields(start, stop, whole) + ending
                return 206, _PARTIAL, after, self.cut(start, stop), stop - start
        made = plan(method, self.resource, fields.conditions)
        asked_bytes = sum(map(length_of, made.body))
        after = field_lines(made.fields) + ending
        return made.status, status_line(made.status), after, self.steps(made.body), asked_bytes

    def usable(self) -> bool:
        """Tell whether the files are still open and what they were."""
        return all(opened.users and not opened.gone() for opened in self.files.values())


class Lookup:
    """The memory of what was found. Bounded by count and by bytes; the longest unused is forgotten first."""

    def __init__(self, media: Media, leases: Leases, limits: Limits) -> None:
        """Begin with nothing."""
        self._media, self._leases, self._limits = media, leases, limits
        self._known: OrderedDict[bytes, Found] = OrderedDict()
        self._held_bytes = 0
        self._view: object = None
        self._looked = False
        self._tickets: dict[bytes, str] = {}
        self._ranges: dict[tuple[Found, Range], Repeated] = {}

    def repeated(self, found: Found, part: Range | None) -> Repeated | None:
        """Return an answer as it was written: of one range, or of the whole (None)."""
        return found.repeated if part is None else self._ranges.get((found, part))

    def repeat(self, found: Found, part: Range | None, answer: Repeated) -> None:
        """Keep an answer as it was written; of ranges, not more than REPEATED_MAX_COUNT of all resources together."""
        if part is None:
            found.repeated = answer
            return
        if len(self._ranges) >= REPEATED_MAX_COUNT:
            self._ranges.clear()
        self._ranges[found, part] = answer

    def __len__(self) -> int:
        """Count what is remembered."""
        return len(self._known)

    def new_turn(self) -> None:
        """Look at the snapshot again at the next request: requests of one turn came before whatever happens next."""
        self._looked = False

    def find(self, target: bytes, now_s: float) -> tuple[Found, int] | None:
        """Return what to send and to which viewing; None when somebody else must answer (and knows the words).

        What was found is remembered without the ticket: whoever has one asks for the same things.
        """
        if not self._looked:
            self._look()
        ticket = ""
        if target.startswith(_TICKET):
            end = target.find(b"/", len(_TICKET))
            known = self._tickets.get(target[:end]) if end >= 0 else None
            if known is None and (end < 0 or (known := self._plain(target[:end])) is None):
                return None
            ticket, target = known, target[end:]
        found = self._known.get(target)
        viewing: int | None = 0
        if found is None:
            path = path_of(target)
            viewing = self._through_door(ticket, path, now_s) if path is not None else None
            if path is None or viewing is None or (found := self._remember(target, path)) is None:
                return None
            found.open = not ticket
            self._renew(found, target, now_s)
            return found, viewing
        if ticket and found.item_id:
            viewing = self._media.admits(ticket, found.item_id, now_s)
        elif ticket or not found.open:
            viewing = self._through_door(ticket, found.path, now_s)
            found.open = found.open or (viewing is not None and not ticket)
        if viewing is None:
            return None
        if now_s >= found.check_s or found.given_up != self._leases.given_up:
            if not found.usable():
                is_open = found.open
                if (found := self._remember(target, found.path)) is None:
                    return None
                found.open = is_open
            self._renew(found, target, now_s)
        return found, viewing

    def _through_door(self, ticket: str, path: str, now_s: float) -> int | None:
        allowed = self._media.door(f"{PREFIX}{ticket}{path}" if ticket else path, now_s)
        return None if isinstance(allowed, Refused) or allowed.path != path else allowed.viewing

    def _renew(self, found: Found, target: bytes, now_s: float) -> None:
        for file in found.files:
            self._leases.touch(file)
        found.check_s = now_s + CHECK_S
        found.given_up = self._leases.given_up
        self._known.move_to_end(target)

    def _look(self) -> None:
        view = self._media.view()
        if view is not self._view:
            self.clear()
            self._view = view
        self._looked = True

    def _plain(self, ticket: bytes) -> str | None:
        """Return a ticket as it stands in a decoded path; None when it is written in another way, or is empty."""
        whole = path_of(ticket)
        text = whole[len(PREFIX) :] if whole is not None and whole.encode() == ticket else ""
        if not text:
            return None
        if len(self._tickets) >= TICKETS_KNOWN_MAX_COUNT:
            self._tickets.clear()
        self._tickets[ticket] = text
        return text

    def clear(self) -> None:
        """Forget everything; what is being sent stays open until it is sent."""
        self._known.clear()
        self._ranges.clear()
        self._held_bytes = 0
        self._leases.clear()

    def _remember(self, target: bytes, path: str) -> Found | None:
        before = self._known.pop(target, None)
        if before is not None:
            self._held_bytes -= before.held_bytes
        resource = self._media.find(path)
        files = self._opened(resource) if resource is not None else None
        if resource is None or files is None:
            return None
        found = Found(path, resource, files)
        found.item_id = self._media.item_of(path)
        self._known[target] = found
        self._held_bytes += found.held_bytes
        while len(self._known) > self._limits.found_max_count or (
            self._held_bytes > self._limits.found_max_bytes and len(self._known) > 1
        ):
            _, gone = self._known.popitem(last=False)
            self._held_bytes -= gone.held_bytes
        return found

    def _opened(self, resource: Resource) -> dict[Path, OpenFile] | None:
        """Return the files of a resource; None unless every one is there with all the bytes that are promised."""
        files: dict[Path, OpenFile] = {}
        for part in resource.parts:
            if isinstance(part, FileRange):
                opened = files.get(part.file)
                if opened is None:
                    try:
                        opened = files[part.file] = self._leases.lease(part.file)
                    except OSError:
                        return None
                    opened.release()  # the leases keep it open for the next to come
                if not opened.users or opened.size_bytes < part.offset_bytes + part.length_bytes:
                    return None
        return files


def by_accel(found: Found, accel: Accel) -> bytes | None:
    """Write the field lines that let the server in front send a file that is stored as it is; None for other things."""
    resource = found.resource
    if len(resource.parts) != 1 or isinstance(resource.parts[0], bytes) or resource.headers:
        return None  # nginx would keep none of the other fields, and a policy must not be lost
    part = resource.parts[0]
    path = accel.path(part.file)
    if path is None or part.offset_bytes or part.length_bytes != found.files[part.file].size_bytes:
        return None
    fields = (
        ("X-Accel-Redirect", path),
        ("Content-Type", resource.media_type),
        ("Cache-Control", resource.cache_control),
        ("Content-Length", "0"),
    )
    return field_lines(fields)
