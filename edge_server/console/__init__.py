"""What a township operator sees and does: state of the edge, USB import, sync now, the last faults. Behind a password."""
