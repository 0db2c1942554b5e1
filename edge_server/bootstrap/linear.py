"""The linear channels, as the setting says."""

from __future__ import annotations

import secrets
from collections import Counter
from dataclasses import dataclass
from functools import partial

from edge_server.bootstrap.intolerance import make_intolerance
from edge_server.bootstrap.pacing import make_multicast, make_wire
from edge_server.bootstrap.segment import make_segment
from edge_server.config import EdgeConfig
from edge_server.egress import EgressContext
from edge_server.egress.fcc.conversation import Conversation, Rules
from edge_server.egress.fcc.service import FccService
from edge_server.egress.multicast import LinearMulticast, Wire
from edge_server.linear.following import RENDITION, FollowingChannels
from edge_server.linear.plan import ChannelPlan, parse_channels
from edge_server.pacing.joined import Windows
from edge_server.pacing.service import Pacing
from edge_server.packager import Offered, Packaged, load, offered_version
from edge_server.store import Store, StoredFile
from runtime.clock import Clock
from runtime.service import Service
from runtime.settings import ConfigError


def plans_of(config: EdgeConfig) -> tuple[ChannelPlan, ...]:
    """Read the setting.

    Raises:
        runtime.settings.ConfigError: it makes no sense; the message says what to write.
    """
    try:
        plans = parse_channels(config.channels)
    except ValueError as error:
        raise ConfigError(f"channels: {error}") from error
    return tuple(each.aided(fcc_port=config.fcc_port, fec=bool(config.multicast_fec)) for each in plans)


def make_channels(config: EdgeConfig, ctx: EgressContext, store: Store) -> FollowingChannels:
    """Make what knows the channels of the active snapshot."""
    return FollowingChannels(plans_of(config), ctx.view, partial(_load, store), ctx.clock)


def make_windows(ctx: EgressContext, channels: FollowingChannels, pacing: Pacing) -> Windows:
    """Make what joins the channels' lessons for all that send by the clock."""

    def look(item_id: str, version: str) -> Offered | None:
        return offered_version(ctx.view(), ctx.shelf, item_id, RENDITION, version)

    return Windows(channels.round, look, pacing.chunks)


@dataclass(frozen=True, slots=True)
class Groups:
    """All that goes to multicast groups by the clock, and the port of fast channel change."""

    services: tuple[Service, ...]
    sent: Counter[str]
    """What the groups count."""
    fcc: FccService | None


def linear_groups(
    config: EdgeConfig, ctx: EgressContext, channels: FollowingChannels, windows: Windows, pacing: Pacing
) -> Groups:
    """Make the services that the settings name.

    Raises:
        runtime.settings.ConfigError: a setting makes no sense.
    """
    wire, services, fcc = make_wire(config), list[Service](), None
    if config.multicast:
        services.append(make_multicast(config, ctx, pacing, wire))
    if any(each.multicast for each in plans_of(config)):
        services.append(LinearMulticast(channels.current, windows, ctx.clock, pacing, wire))
    if config.fcc_port:
        fcc = _make_fcc(config, wire, pacing, ctx.clock)
        services.append(fcc)
    return Groups(tuple(services), wire.counters, fcc)


def _make_fcc(config: EdgeConfig, wire: Wire, pacing: Pacing, clock: Clock) -> FccService:
    segment, counters, recents = make_segment(config.legacy_networks), Counter[str](), wire.recents
    conversation = Conversation(
        lambda: {} if recents is None else recents,
        Rules(config.fcc_rate, config.fcc_max_bursts, make_intolerance(config)),
        local=lambda address: segment.holds(address, {}),
        draw=secrets.randbits,
        counters=counters,
    )
    return FccService(config.host, config.fcc_port, conversation, pacing.pacer, clock, counters)


def _load(store: Store, stored: StoredFile) -> Packaged:
    # Not by the shelf: it belongs to the event loop, and a whole round would drive out what is being played.
    return load(stored.file, stored.sha256, store.derived_root)
