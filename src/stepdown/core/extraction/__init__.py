"""What an extraction is: a form with fields, values that stand in a text or come from a closed set, and where they stand."""
