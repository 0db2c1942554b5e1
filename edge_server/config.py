"""The edge server's settings; the only place that reads the environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from runtime.settings import Origin, read, setting

PREFIX = "EDGE_SERVER_"
FILE_NAME = "edge.toml"


@dataclass(frozen=True, slots=True)
class EdgeConfig:
    """Settings of one edge server folder."""

    central: str = setting("", "Where to sync from: base URL of the central platform (http…), or a folder.")
    mirrors: str = setting("", "More places with the same files, tried in this order after `central`; comma-separated.")
    area: str = setting("", "Code of the area this edge serves; what is published for another area is refused.")
    columns: str = setting("", "Ids of the columns to hold, comma-separated; empty for all.")
    lab: bool = setting(False, "Offer lessons on trial too (`publish --gate`); for an edge on which boxes are tried.")
    intolerant: str = setting(
        "", "Lab edges only: disagreements of boxes not to live with, e.g. `D1, D9`, to see what they break."
    )
    lan_share: bool = setting(True, "Hand on what is held to other edges with private addresses, below /sync/.")
    lan_share_bps: int = setting(50_000_000, "Most bits per second to hand on, so that boxes come first; 0: no limit.")
    lan_find: bool = setting(False, "Find other edges on the LAN by multicast DNS, be found, and fetch together.")
    lan_edges: str = setting("", "Edges on the LAN to fetch together with: http://host:port, comma-separated.")
    windows: str = setting("", "When and how fast to fetch, e.g. `22:00-06:00 full, else 256k`; empty: always.")
    utc_offset_h: float = setting(8.0, "Hours that local time is ahead of UTC, for `windows` and old boxes.")
    local_time_models: str = setting(
        "", "Old boxes that write local time into time-shift addresses: parts of STBType or User-Agent; others: UTC."
    )
    quota_bytes: int = setting(0, "Most bytes of objects to hold; evictable lessons beyond are left out; 0: no limit.")
    verify_days: float = setting(7.0, "While serving, each object is hashed again once in so many days; 0: never.")
    host: str = setting("127.0.0.1", "Address that the HTTP and RTSP ports listen on; 0.0.0.0 for the village network.")
    http_port: int = setting(8800, "TCP port of portal, catalogue and HTTP media; 0 takes a free one.")
    http_max_connections: int = setting(4096, "HTTP connections at the same time; more are told to come again.")
    workers: int = setting(1, "Processes that serve HTTP media, about one a core; 1: the main process does.")
    access_log: str = setting("", "File that gets one line for each HTTP media answer; empty: none.")
    accel_prefix: str = setting("", "Internal URL path of an nginx in front that sends stored files (deploy/).")
    log_level: str = setting("info", "What stderr hears: debug, info, warning or error, and what is more urgent.")
    metrics_from: str = setting(
        "127.0.0.0/8, ::1", "Addresses and networks that may read /metrics, comma-separated; empty: nobody."
    )
    legacy_networks: str = setting(
        "127.0.0.0/8, ::1, 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, 169.254.0.0/16, fc00::/7, fe80::/10",
        "Addresses and networks of the local segment; old boxes' portals answer nobody else; comma-separated.",
    )
    tls_cert: str = setting("", "File of the certificate in PEM, with `tls_key`: HTTPS instead of HTTP; costs CPU.")
    tls_key: str = setting("", "File of its key.")
    rtsp_port: int = setting(8554, "TCP port of RTSP; 0 takes a free one.")
    ntp_port: int = setting(0, "UDP port at which old boxes may ask for the time, 123 for real ones; 0: none.")
    poll_s: float = setting(0.0, "Seconds between two syncs while serving; 0 means only `edge-server sync` syncs.")
    edge_id: str = setting("edge", "Name of this edge server; spreads its polls in time.")
    viewing_max_sessions: int = setting(700, "RTSP sessions at the same time; more are refused with 453.")
    media_access: str = setting("open", "`open`: HTTP media for all; `ticket`: only by links that pages give out.")
    ticket_life_s: float = setting(43200.0, "Seconds that such a link is good for, measured without the wall clock.")
    http_max_viewings: int = setting(1000, "Viewings over HTTP at the same time; counted with `media_access` `ticket`.")
    whep_max_viewers: int = setting(
        100, "Viewers by WebRTC (WHEP) at the same time; more are refused with 503; 0: none."
    )
    session_timeout_s: float = setting(
        180.0, "Seconds without a sign of life after which an RTSP session ends (without a session: at most 60)."
    )
    login_max_sessions: int = setting(10000, "Portal logins remembered at the same time.")
    boxes_unregistered: bool = setting(
        True, "Boxes whose MAC is not registered (`edge-server box add`) may watch on the local segment, too."
    )
    rtsp_continuous: bool = setting(
        True, "RTP numbers go on over a seek; false only where all boxes read RTP-Info: then who seeks costs no more."
    )
    multicast: str = setting(
        "", "Lessons in a loop to multicast groups, e.g. `1001@239.1.1.1:5000, rtp:1002/R40@239.1.1.2:5000`."
    )
    channels: str = setting(
        "",
        "Linear channels: lessons one after the other for ever, e.g. "
        "`教育频道=1001,1002@239.1.1.1:5000; 900007 农技=column:12@rtp:239.1.1.2:5000`.",
    )
    live: str = setting(
        "",
        "Lessons given live and where they come from, e.g. `开学典礼=whip; 村官讲座=rtsp://10.0.0.9/main; "
        "早会=srt://0.0.0.0:9000?mode=listener@@239.1.1.9:5000`; rtsp:, rtmp:, srt:, file: or whip.",
    )
    whip_token: str = setting(
        "", "What a publisher by WHIP sends as its Bearer token; at least 16 characters.", secret=True
    )
    api_origin: str = setting(
        "", "Origin whose pages may read the JSON API in a browser, e.g. `http://school.lan`, `*` for all; empty: none."
    )
    multicast_ttl: int = setting(1, "Routers that multicast packets may pass, and one; 1 stays in the LAN.")
    multicast_interface: str = setting(
        "", "IPv4 address of the interface that multicast leaves by; empty: by the routes."
    )
    multicast_fec: str = setting(
        "", "Reed-Solomon packets beside each RTP group, on the port below it: `100+5` protects 100 by 5; empty: none."
    )
    fcc_port: int = setting(
        0, "UDP port of fast channel change for RTP groups; 15970 as Telecom's boxes know it, 8027 Huawei's; 0: none."
    )
    fcc_rate: float = setting(1.3, "Rate of such a burst, times the rate of the channel; 1.1 to 2.")
    fcc_max_bursts: int = setting(50, "Such bursts at the same time; more boxes are told to join the group at once.")
    pacing_chunks_max_bytes: int = setting(134217728, "Bytes of ready packets kept in memory for RTSP and multicast.")
    pacing_late_max_ms: float = setting(
        120.0, "Milliseconds of lateness of RTSP media (p99 of 5 s) above which new sessions are refused with 453."
    )
    pacing_priority: str = setting(
        "normal", "Priority of the thread that sends media: normal, nice (-10) or fifo (real time), where permitted."
    )
    rtsp_banner: str = setting("EdgeServer", "Text of the RTSP Server header; boxes choose their dialect by it.")
    rtsp_vendor_banners: bool = setting(
        False, "Boxes of Huawei's and ZTE's kind get a Server header that they know; then they ask for more."
    )
    rtsp_neighbour: str = setting(
        "", "Edge that takes RTSP viewers when all places here are taken, e.g. `rtsp://10.0.0.3:8554`; empty: none."
    )
    rtsp_max_sessions_per_address: int = setting(
        0, "RTSP sessions of one address at the same time; more are refused with 453; 0: no such limit."
    )
    usb_places: str = setting("/media, /run/media, /mnt", "Folders below which USB sticks are mounted.")
    records_to: str = setting("", "Base URL of the central platform that takes records; empty: `central`, if http.")
    records_every_s: float = setting(300.0, "Seconds between two deliveries of records over the line; 0: by USB only.")
    heartbeat_s: float = setting(900.0, "Seconds between two heartbeats that this edge records of itself; 0: none.")
    grace_s: float = setting(5.0, "Seconds that running downloads get to finish when the server stops.")


def default_root() -> Path:
    """Folder named by the environment, else the current one."""
    return Path(os.environ.get(PREFIX + "DIR", "."))


def load(root: Path, flags: Mapping[str, object]) -> tuple[EdgeConfig, dict[str, Origin]]:
    """Read the settings of the edge server in ``root``.

    Raises:
        runtime.settings.ConfigError: a setting is unknown or of the wrong type.
    """
    return read(EdgeConfig, prefix=PREFIX, file=root / FILE_NAME, environ=os.environ, flags=flags)
