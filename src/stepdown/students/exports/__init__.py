"""What each kind of student gives to the export formats, one file for a kind; the folder is the list."""
