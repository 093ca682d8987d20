"""Formats of logs, one file each."""
