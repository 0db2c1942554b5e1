"""Draft courseware in, signed snapshot out; withdraw."""
