"""Files that are wholly there or not there, also after a power cut, and blocking work beside the event loop."""
