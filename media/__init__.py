"""Inside the files: MP4, transport streams, segment indexes. Bytes in, bytes and indexes out; no network."""
