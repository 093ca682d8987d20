"""What an extraction is: a form with fields, and values that stand in a text or come from a closed set."""
