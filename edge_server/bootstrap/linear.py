"""The linear channels, as the setting says."""

from __future__ import annotations

from functools import partial

from edge_server.config import EdgeConfig
from edge_server.egress import EgressContext
from edge_server.linear.following import RENDITION, FollowingChannels
from edge_server.linear.plan import ChannelPlan, parse_channels
from edge_server.pacing.joined import Windows
from edge_server.pacing.service import Pacing
from edge_server.packager import Offered, Packaged, load, offered_version
from edge_server.store import Store, StoredFile
from runtime.settings import ConfigError


def plans_of(config: EdgeConfig) -> tuple[ChannelPlan, ...]:
    """Read the setting.

    Raises:
        runtime.settings.ConfigError: it makes no sense; the message says what to write.
    """
    try:
        return parse_channels(config.channels)
    except ValueError as error:
        raise ConfigError(f"channels: {error}") from error


def make_channels(config: EdgeConfig, ctx: EgressContext, store: Store) -> FollowingChannels:
    """Make what knows the channels of the active snapshot."""
    return FollowingChannels(plans_of(config), ctx.view, partial(_load, store), ctx.clock)


def make_windows(ctx: EgressContext, channels: FollowingChannels, pacing: Pacing) -> Windows:
    """Make what joins the channels' lessons for all that send by the clock."""

    def look(item_id: str, version: str) -> Offered | None:
        return offered_version(ctx.view(), ctx.shelf, item_id, RENDITION, version)

    return Windows(channels.round, look, pacing.chunks)


def _load(store: Store, stored: StoredFile) -> Packaged:
    # Not by the shelf: it belongs to the event loop, and a whole round would drive out what is being played.
    return load(stored.file, stored.sha256, store.derived_root)
