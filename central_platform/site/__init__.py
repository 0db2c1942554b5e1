"""What the platform shows to others: for now the published folder, as static files."""
