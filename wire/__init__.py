"""Sans-IO codecs, one protocol a module. Grammar only; conversations live elsewhere."""
