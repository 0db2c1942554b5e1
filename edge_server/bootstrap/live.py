"""The live channels, as the settings say."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from edge_server.bootstrap.admission import Admission
from edge_server.config import EdgeConfig
from edge_server.egress import EgressContext
from edge_server.egress.multicast import open_out
from edge_server.egress.on_air import LiveGroups
from edge_server.egress.whep import WhepOnDemand
from edge_server.linear import LinearChannel, Slot
from edge_server.linear.plan import EPOCH, ChannelPlan
from edge_server.live.plan import WHIP, LivePlan, parse_lives
from edge_server.live.service import Lives
from runtime.clock import Clock
from runtime.settings import ConfigError

DAY_S = 86_400.0
TOKEN_MIN_CHARS = 16
_TITLE = "直播 / live"


def lives_of(live: str, whip_token: str, channels: Sequence[ChannelPlan]) -> tuple[LivePlan, ...]:
    """Read the settings of these names, beside the linear channels.

    Raises:
        runtime.settings.ConfigError: they make no sense; the message says what to write.
    """
    try:
        plans = parse_lives(live)
    except ValueError as error:
        raise ConfigError(f"live: {error}") from error
    taken = {each.channel_id for each in channels} | {each.multicast for each in channels if each.multicast}
    for each in plans:
        if each.channel_id in taken or each.multicast in taken:
            raise ConfigError(f"live: {each.name!r} has the id or the group of a channel in `channels`")
    if any(each.source == WHIP for each in plans) and len(whip_token) < TOKEN_MIN_CHARS:
        raise ConfigError(
            f"whip_token: 用 WHIP 推流要有口令，至少 {TOKEN_MIN_CHARS} 个字符 / "
            f"publishing by WHIP needs a token of at least {TOKEN_MIN_CHARS} characters; there is none by default"
        )
    return plans


def make_lives(plans: Sequence[LivePlan], clock: Clock) -> Lives:
    """Make what fetches and sends."""
    return Lives(plans, clock)


def listed(plans: Sequence[LivePlan], after: int) -> tuple[LinearChannel, ...]:
    """Describe the live channels as portals list channels: one programme a day, and nothing to go back to.

    Args:
        plans: the channels.
        after: the last number on the remote control that is taken.
    """
    return tuple(
        LinearChannel(
            each.channel_id,
            after + place,
            each.name,
            EPOCH,
            (Slot("", f"{each.name} {_TITLE}", DAY_S),),
            each.multicast,
            each.rtp,
            time_shift_s=0.0,
            by_rtsp=False,
        )
        for place, each in enumerate(plans, 1)
    )


def make_groups(lives: Lives, config: EdgeConfig) -> LiveGroups:
    """Make what sends to the channels' multicast groups."""
    way = partial(open_out, ttl=config.multicast_ttl, interface=config.multicast_interface)
    return LiveGroups(tuple(lives.channels.values()), way)


def make_whep(config: EdgeConfig, ctx: EgressContext, admission: Admission, lives: Lives) -> WhepOnDemand:
    """Make what shows lessons and live channels by WebRTC, and takes those who publish."""
    return WhepOnDemand(
        ctx, max_viewers=config.whep_max_viewers, door=admission.door, lives=lives.find, token=config.whip_token
    )
