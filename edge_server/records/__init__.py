"""What this edge has to tell of its stations, kept until the central platform has it, and long enough to be shown."""
