"""Bundles: releases on USB sticks, with the same files as on the line and through the same client.

A bundle is a folder with ``bundle.json`` (its label, for people and early checks) and published files as in
``docs/formats/sync.md`` §1; only ``metadata/timestamp.json`` is another one, which lasts longer and is good for this
road only. A set of several sticks has the small files on each and the packs spread over them.

The publisher: ``plan_bundle`` and ``write_part`` (``export``), ``read_receipts`` and ``since_of`` (``receipt``). The
edge: ``inspect`` (``inspect``), then ``sync.pull.Puller`` with ``road="bundle"``, then ``write_receipt``;
``words_for`` turns whatever went wrong into a sentence for the person who holds the stick (``words``).

Nothing is imported here, so that an edge does not load what only a publisher needs.
"""
