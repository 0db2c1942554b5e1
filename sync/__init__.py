"""Moves named bytes from A to B, verified and signed; knows no courseware."""
