"""The kinds of upstream: one file each, found by looking."""
