"""The losses that a contract can be about, one file each; the folder is the list, dashes for underscores."""
