"""What an edge tells those who watch over it: is it alive, is it ready, and numbers (docs/monitoring.md)."""
