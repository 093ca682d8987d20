"""The word that exported programs share with `core/students.py`."""

ABSTAINS = "abstains"
