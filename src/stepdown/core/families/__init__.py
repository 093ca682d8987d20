"""Kinds of answer, one file each."""
