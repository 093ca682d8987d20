"""Should this task step down? Answered in seconds, before any training. facts → dimensions → verdict."""
