"""What old boxes' lists say about the groups of channels."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from edge_server.catalog import EMPTY, CatalogView
from edge_server.linear import LinearChannel, Slot
from edge_server.portal import PortalState
from edge_server.portal._ctc.channels import channel_list
from edge_server.sessions.logins import Logins

WHEN = datetime(2026, 11, 24, tzinfo=UTC)
PLAIN = LinearChannel("900001", 1, "教育频道", WHEN, (Slot("1001", "课", 60.0),), "239.1.1.1:5000", rtp=True)


def listed(channel: LinearChannel, host: str = "10.0.0.1:8800", **more: str) -> dict[str, str]:
    state = PortalState(CatalogView(EMPTY), Logins(lambda _: None), "10.0.0.1:554", WHEN, 0.0, channels=(channel,))
    (found,) = channel_list(state, host, **more)  # type: ignore[arg-type]
    return dict(found.others)


def test_a_group_alone_has_no_helpers() -> None:
    assert not {"FCCEnable", "ChannelFCCIP", "ChannelFCCPort", "ChannelFECPort"} & set(listed(PLAIN))


@pytest.mark.parametrize(("more", "number"), [({}, "1"), ({"fcc": "2"}, "2")])
def test_helpers_are_told_in_the_numbering_of_the_family(more: dict[str, str], number: str) -> None:
    told = listed(replace(PLAIN, fcc_port=15970, fec_port=4999), **more)
    assert told["FCCEnable"] == number
    assert (told["ChannelFCCIP"], told["ChannelFCCPort"], told["ChannelFECPort"]) == ("10.0.0.1", "15970", "4999")


def test_repair_needs_no_fast_change_and_a_host_no_port() -> None:
    assert listed(replace(PLAIN, fec_port=4999))["ChannelFECPort"] == "4999"
    assert "FCCEnable" not in listed(replace(PLAIN, fec_port=4999))
    assert listed(replace(PLAIN, fcc_port=9), host="edge")["ChannelFCCIP"] == "edge"
