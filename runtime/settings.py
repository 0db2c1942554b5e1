"""Settings of a program: TOML file < environment < flags, read once into a frozen dataclass.

A setting is a dataclass field made by ``setting``; it always has a documentation line, and a unit where it is a
quantity (the unit is also the end of its name). Unknown keys are errors. Reading has no side effects.
"""

from __future__ import annotations

import dataclasses
import tomllib
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")


class ConfigError(ValueError):
    """The configuration cannot be used; the message says which key, where, and what to do."""


@dataclasses.dataclass(frozen=True, slots=True)
class Origin:
    """Where the value of one setting came from."""

    value: object
    source: str
    """``default``, ``file PATH``, ``environment NAME`` or ``flag --name``."""


def setting(default: Any, doc: str, *, secret: bool = False) -> Any:
    """Declare one setting; ``doc`` is its line in ``config show`` and in the docs. A ``secret`` one is not shown."""
    return dataclasses.field(default=default, metadata={"doc": doc, "secret": secret})


def described(kind: type[Any]) -> list[tuple[str, object, str]]:
    """List (name, default, documentation line) of every setting."""
    return [(f.name, f.default, str(f.metadata["doc"])) for f in dataclasses.fields(kind)]


def read(
    kind: type[T],
    *,
    prefix: str,
    file: Path | None,
    environ: Mapping[str, str],
    flags: Mapping[str, object],
) -> tuple[T, dict[str, Origin]]:
    """Read the settings of ``kind``; return them and where each came from.

    Args:
        kind: a frozen dataclass whose fields were made by ``setting``.
        prefix: start of the environment names, e.g. ``EDGE_SERVER_``.
        file: a TOML file of top-level keys; None or a missing file means no file.
        environ: the environment.
        flags: values from the command line; None means not given.

    Raises:
        ConfigError: unreadable file, unknown key, or a value of the wrong type.
    """
    hints = typing.get_type_hints(kind)
    fields = {f.name: f for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
    found: dict[str, Origin] = {name: Origin(f.default, "default") for name, f in fields.items()}
    for name, value in _from_file(file).items():
        if name not in fields:
            raise ConfigError(f"{file}: unknown setting {name!r}; known: {', '.join(sorted(fields))}")
        found[name] = Origin(_checked(value, hints[name], f"{file}: {name}"), f"file {file}")
    for key, text in environ.items():
        name = key.removeprefix(prefix).lower()
        if key.startswith(prefix) and name in fields:
            found[name] = Origin(_parsed(text, hints[name], f"environment {key}"), f"environment {key}")
        elif key.startswith(prefix) and name not in ("dir",):
            raise ConfigError(f"environment {key}: unknown setting; known: {', '.join(sorted(fields))}")
    for name, value in flags.items():
        if value is not None:
            where = f"flag --{name.replace('_', '-')}"
            found[name] = Origin(_checked(value, hints[name], where), where)
    shown = {
        name: Origin("***", origin.source) if fields[name].metadata.get("secret") and origin.value else origin
        for name, origin in found.items()
    }
    return kind(**{name: origin.value for name, origin in found.items()}), shown


def _from_file(file: Path | None) -> dict[str, object]:
    if file is None or not file.exists():
        return {}
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{file}: cannot be read as TOML: {error}") from error


def _checked(value: object, wanted: Any, where: str) -> object:
    """Take a typed value; a whole number is a fine float, a text a fine path."""
    plain = _plain(wanted)
    if plain is Path and isinstance(value, str | Path):
        return Path(value)
    if plain is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if value is None and plain is not wanted:
        return None
    if not isinstance(value, plain) or (isinstance(value, bool) and plain is not bool):
        raise ConfigError(f"{where}: expected {plain.__name__}, got {value!r}")
    return value


def _parsed(text: str, wanted: Any, where: str) -> object:
    plain = _plain(wanted)
    if plain is bool:
        if text.lower() not in ("1", "0", "true", "false", "yes", "no"):
            raise ConfigError(f"{where}: expected true or false, got {text!r}")
        return text.lower() in ("1", "true", "yes")
    try:
        return plain(text)
    except ValueError as error:
        raise ConfigError(f"{where}: expected {plain.__name__}, got {text!r}") from error


def _plain(wanted: Any) -> type[Any]:
    """Take the ``X`` of ``X | None``."""
    if isinstance(wanted, types.UnionType):
        wanted = next(a for a in typing.get_args(wanted) if a is not type(None))
    return typing.cast("type[Any]", wanted)
