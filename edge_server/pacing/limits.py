"""What the process may ask of the system for the sake of its streams."""

from __future__ import annotations

import os
import resource

NICE = -10
PRIORITIES = ("normal", "nice", "fifo")


def raise_descriptors() -> int:
    """Raise the number of descriptors to the hard limit (a viewer needs three); return it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def prefer(priority: str) -> str:
    """Give the calling thread, which must be the event loop's, another priority.

    Args:
        priority: ``normal``; ``nice`` for nice -10; ``fifo`` for the real-time class SCHED_FIFO.

    Returns:
        What came of it: the same word, or ``normal`` when the system does not permit it.

    Raises:
        ValueError: no such word.
    """
    try:
        match priority:
            case "normal":
                pass
            case "nice":
                os.setpriority(os.PRIO_PROCESS, 0, NICE)
            case "fifo":
                os.sched_setscheduler(0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(1))
            case _:
                raise ValueError(f"{priority!r}: normal, nice or fifo")
    except PermissionError:
        return "normal"
    return priority
