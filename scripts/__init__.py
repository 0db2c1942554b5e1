"""What the Makefile words run."""
