"""Extraction: a form with fields, whose values stand in a text or come from a closed set."""
