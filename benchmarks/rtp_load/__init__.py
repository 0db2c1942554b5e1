"""RTSP load client: sessions, the ledger of their packets, readers for UDP and TCP, and the run."""
