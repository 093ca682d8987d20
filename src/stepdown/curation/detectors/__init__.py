"""Kinds of personal data, one file each: PLACEHOLDER, RANK, TRIGGER, PATTERN, locate(found) and examples()."""
