"""Who is logged in and who watches what: pure tables, time is an argument."""
