"""Measurements against peers in the same run; each checks the bytes it moves."""
