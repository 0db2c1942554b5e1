"""Sync against rsync, zsync, casync and whole files: same corpus, same line, same run (``make bench-sync``)."""
