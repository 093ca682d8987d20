"""What stands round every model call, one file each, folded in the order that serve/worker.py gives."""
