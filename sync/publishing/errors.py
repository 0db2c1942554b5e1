"""What can go wrong while publishing, besides what all of sync shares (``sync/__init__.py``)."""

from __future__ import annotations

from sync import SyncError


class PublishError(SyncError):
    """The publisher was asked for something that makes no sense."""


class AlreadyThere(PublishError, FileExistsError):
    """There is a publishing folder already."""
