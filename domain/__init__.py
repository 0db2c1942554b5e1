"""The words everybody shares (glossary: requirements §2). Frozen values, no I/O."""
