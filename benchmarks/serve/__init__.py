"""The edge as a complete program, under load, against others in the same run (docs/benchmarks.md)."""
