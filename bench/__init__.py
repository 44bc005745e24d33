"""Benchmarks: this package against the plain way of doing the same, in pairs, in one process."""
