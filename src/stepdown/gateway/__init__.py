"""The gateway: a certified cascade in the large model's place, on its own wire."""
