"""The publishing side: upload, renditions, signed snapshots."""
