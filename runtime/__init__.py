"""What every program needs from its surroundings: time, service lifetimes, plug-ins found by folder."""
