"""What a build ran on, for its record: enough to repeat it, nothing that names a person or a place."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from typing import Any

PACKAGES = ("numpy", "onnxruntime", "tokenizers", "torch", "transformers", "scikit-learn", "genai-prices")


def describe_environment() -> dict[str, Any]:
    """Python, the machine and the versions of what the figures depend on."""
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "python": platform.python_version(),
        "system": platform.system(),
        "architecture": platform.machine(),
        "cores": os.cpu_count() or 0,
        "packages": versions,
    }
