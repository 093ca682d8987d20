"""From recorded traffic to a certified cascade, in a folder that is complete."""
