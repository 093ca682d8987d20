"""Measured figures behind docs/benchmarks.md: one file each, run by hand, never asserted on in the tests."""
