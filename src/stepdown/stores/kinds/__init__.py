"""Kinds of store, one file each: the file's name is the scheme of its address."""
