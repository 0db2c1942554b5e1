"""The township side: keeps a copy, speaks every box's dialect, streams."""
