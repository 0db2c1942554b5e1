"""Puts programs together from a folder and its configuration: the edge server in ``edge``, a worker in ``worker``.

Nothing is imported here: a worker needs a fraction of what the whole edge does.
"""
