"""What boxes are let in by, and by which rules RTSP is spoken with them, as the settings say."""

from __future__ import annotations

from edge_server.bootstrap.intolerance import make_intolerance
from edge_server.bootstrap.segment import make_segment
from edge_server.config import EdgeConfig
from edge_server.egress.ntp import NtpService
from edge_server.egress.rtsp import Rules
from edge_server.egress.rtsp.rules import IDLE_S
from edge_server.sessions.accounts import AccountBook
from edge_server.sessions.box_logins import BoxLimits, BoxLogins
from edge_server.sessions.boxes import BoxBook
from edge_server.sessions.failures import Throttle
from edge_server.sessions.login_limits import LoginLimits
from edge_server.sessions.logins import Logins
from edge_server.sessions.zones import make_zones
from edge_server.store.judged import JudgedTime
from runtime.clock import Clock

NTP_PORT = 123


def make_rules(config: EdgeConfig) -> Rules:
    """Make what the RTSP service is told of its conversations."""
    return Rules(
        config.rtsp_banner,
        continuous=config.rtsp_continuous,
        vendor_banners=config.rtsp_vendor_banners,
        neighbour=config.rtsp_neighbour,
        address_max_count=config.rtsp_max_sessions_per_address,
        idle_s=min(IDLE_S, config.session_timeout_s),
        intolerant=make_intolerance(config),
    )


def make_ntp(config: EdgeConfig, judged: JudgedTime, clock: Clock) -> NtpService:
    """Make the time server of boxes without a clock."""
    segment, mute = make_segment(config.legacy_networks), "D21" in make_intolerance(config)

    def is_local(address: str) -> bool:
        return segment.holds(address, {})

    return NtpService(config.host, config.ntp_port, clock, judged.moments, is_local=is_local, mute=mute)


def time_server(config: EdgeConfig, host: str) -> str:
    """Return what boxes that reach us under this name are told to ask for the time; empty: nothing."""
    if not config.ntp_port:
        return ""
    return host if config.ntp_port == NTP_PORT else f"{host}:{config.ntp_port}"


def make_all_logins(config: EdgeConfig, boxes: BoxBook, accounts: AccountBook) -> tuple[Logins, BoxLogins]:
    """Make the tables of boxes that log in with an account, and of those that are known by their MAC."""
    throttle = Throttle()  # one password, one bound, whichever portal is tried
    logins = Logins(
        accounts.find,
        limits=LoginLimits(logins_max=config.login_max_sessions),
        intolerant=make_intolerance(config),
        zones=make_zones(config.local_time_models, config.utc_offset_h),
        throttle=throttle,
    )
    by_mac = BoxLogins(
        boxes.find,
        accounts.find,
        unregistered=config.boxes_unregistered,
        limits=BoxLimits(logins_max=config.login_max_sessions),
        throttle=throttle,
    )
    return logins, by_mac
