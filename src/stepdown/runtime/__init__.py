"""What answers: cascades of opened students. Needs core alone."""
