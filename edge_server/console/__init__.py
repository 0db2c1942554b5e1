"""What a township operator sees and does: state, USB import, sync now, the last faults. Behind a password."""
