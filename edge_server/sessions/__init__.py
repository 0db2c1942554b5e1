"""Who is logged in, and who watches what. Pure: time is an argument, nothing here does I/O."""
