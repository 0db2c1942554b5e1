"""Fast channel change: a box that wants a group gets its last seconds by unicast first (stb_protocols §4.11).

Only who asked gets anything, at the address that it asked from: a burst is a thousand times its request.
"""
