"""Everything that talks to the central platform."""
