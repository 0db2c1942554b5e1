"""What can be believed of the records of one store of an edge. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

SPANS_MAX_COUNT = 10_000


class Link(NamedTuple):
    """A record as far as the chain goes."""

    seq: int
    digest: str
    prev: str


@dataclass(frozen=True, slots=True)
class Chain:
    """What became of the numbers of one store."""

    spans: tuple[tuple[int, int], ...]
    """First and last numbers that are held without a gap."""
    broken: tuple[int, ...]
    """Numbers whose record names another one before it than the one that is held."""

    @property
    def gaps(self) -> tuple[tuple[int, int], ...]:
        """First and last numbers that are missing below the highest one that is held."""
        ends = [0, *(last for _, last in self.spans)]
        return tuple(
            (before + 1, first - 1) for before, (first, _) in zip(ends, self.spans, strict=False) if first > before + 1
        )

    @property
    def whole(self) -> bool:
        """Whether nothing is missing, and each record follows on the one before."""
        return not self.gaps and not self.broken


def chain(links: Iterable[Link]) -> Chain:
    """Look at the records of a store in the order of their numbers."""
    spans: list[list[int]] = []
    broken: list[int] = []
    before: Link | None = None
    for link in links:
        if before is not None and link.seq == before.seq + 1:
            spans[-1][1] = link.seq
            if link.prev != before.digest:
                broken.append(link.seq)
        else:
            spans.append([link.seq, link.seq])
            if link.seq == 1 and link.prev:
                broken.append(1)
        before = link
    return Chain(tuple((first, last) for first, last in spans[:SPANS_MAX_COUNT]), tuple(broken))


def doubts(found: Chain, *, rewritten: int, forged: int) -> Sequence[str]:
    """Say why the figures of an edge are unverified (SEC-09); nothing when they are good."""
    words: list[str] = []
    if found.gaps:
        missing = sum(last - first + 1 for first, last in found.gaps)
        words.append(f"缺 {missing} 条记录 / {missing} records are missing")
    if found.broken:
        words.append(f"{len(found.broken)} 处前后不符 / {len(found.broken)} broken links")
    if rewritten:
        words.append(f"{rewritten} 条被改写 / {rewritten} were written again with another content")
    if forged:
        words.append(f"{forged} 条签名不符 / {forged} with a signature that does not fit")
    return words
