"""stepdown: a step-down transformer for LLM traffic."""

__version__ = "0.1.0"
