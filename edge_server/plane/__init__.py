"""The HTTP data path: media requests answered from an edge-triggered epoll set by ``sendfile``.

The set owns the connections of the port and is itself one reader of the asyncio loop. What it does not recognise with
certainty, and everything that is no medium, is handed over with its bytes to aiohttp, which answers media by the same
`Resource` (``through_aiohttp``), only slower. The plane knows resources and HTTP; which egress found one it does not
know.
"""
