"""What is served over HTTP as files, the same in every process of an edge."""

from __future__ import annotations

from edge_server.bootstrap.admission import Admission
from edge_server.egress import EgressContext, dash, files, first_of, hls
from edge_server.plane.lookup import Media


def make_media(ctx: EgressContext, admission: Admission) -> Media:
    """Join what all HTTP egresses find."""
    return Media(
        find=first_of(hls.find(ctx), dash.find(ctx), files.find(ctx)),
        view=ctx.view,
        door=admission.tickets.door,
        item_of=admission.tickets.item_of,
        admits=admission.tickets.viewing,
        seen=admission.watching.seen,
        prefixes=(*files.PREFIXES, hls.PREFIX, dash.PREFIX),
    )
