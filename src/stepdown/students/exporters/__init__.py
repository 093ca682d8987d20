"""The formats that students are exported to, one file each; the folder is the list."""
