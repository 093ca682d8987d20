"""The report's sections, one file each: what of a record is shown, as plain words, rows and charts for its template."""
