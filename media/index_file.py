"""Reading an index file: bounded, versioned, and refused when it is anything else. One piece for all kinds of index."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol, TypeVar

import msgspec

from media import DamagedIndex


class _Versioned(Protocol):
    @property
    def format(self) -> str: ...

    @property
    def version(self) -> int: ...


T = TypeVar("T", bound=_Versioned)


def read_index(path: Path, kind: type[T], *, form: str, version: int, max_bytes: int) -> T:
    """Read an index whose values are not judged yet.

    Raises:
        DamagedIndex: the file is no index, too large, cut, changed, or of another version.
        OSError: the file cannot be read at all.
    """
    if path.stat().st_size > max_bytes:
        raise DamagedIndex(f"{path.name}: larger than any index; make it again")
    try:
        index = msgspec.msgpack.decode(path.read_bytes(), type=kind)
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError, RecursionError) as error:
        raise DamagedIndex(f"{path.name}: not a readable index ({error}); make it again") from error
    if index.format != form or index.version != version:
        raise DamagedIndex(
            f"{path.name}: {index.format} version {index.version}, wanted {form} {version}; make it again"
        )
    return index
