"""Energy: the CPU package's own counter (RAPL) where it can be read, else an estimate that says so.

Sources for the estimates, all as ranges because nothing better is public:
- CPU: 3.5 W per busy vCPU on average at AWS, 3.76 at Azure, 4.26 at Google Cloud (Cloud Carbon Footprint, methodology,
  from SPECpower); 2 to 10 W spans efficient Arm cores and a desktop CPU with few of them.
- A large model's output token: 3 to 4 J for LLaMA-65B on A100 (Samsi et al. 2023, From Words to Watts); about 2 J from
  0.3 Wh per 500-token GPT-4o answer (You 2025, How much energy does ChatGPT use?, Epoch AI); 0.1 J for small
  mixture-of-experts models in large batches.
- Its prompt token: at most 0.9 J (2.5 Wh for 10,000 tokens, Epoch AI as above), 0.01 J for a model of 3 billion active
  parameters by its floating-point operations; the middle of that range on a logarithmic scale.
For scale: the median Gemini text prompt took 0.24 Wh = 864 J (Elsworth et al. 2025, arXiv:2508.15734).
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from stepdown.core.estimates import Estimate

POWERCAP = Path("/sys/class/powercap")
JOULES_PER_KWH = 3.6e6

WATTS_PER_BUSY_VCPU = (2.0, 4.0, 10.0)
JOULES_PER_PROMPT_TOKEN = (0.01, 0.1, 0.9)
JOULES_PER_OUTPUT_TOKEN = (0.1, 0.6, 4.0)


@dataclass(frozen=True)
class Reading:
    """Counters at one moment: CPU seconds of this process, and microjoules by RAPL package (none where unreadable)."""

    cpu_s: float
    packages: dict[Path, int]


def read_counters(root: Path = POWERCAP) -> Reading:
    """The counters now. Packages that this user may not read are left out."""
    read = {folder: _microjoules(folder) for folder in _packages(root)}
    return Reading(time.process_time(), {folder: used for folder, used in read.items() if used is not None})


def joules_between(before: Reading, after: Reading, requests: int) -> Estimate:
    """Joules spent between two readings during which `requests` were answered, per thousand requests.

    With RAPL: the whole package, so other processes and idle power are in it. Without: CPU seconds × watts per busy
    vCPU, over the range that the module names.
    """
    per_1k = 1000.0 / requests
    shared = sorted(before.packages.keys() & after.packages.keys())
    if shared:
        used = sum(_difference(folder, before.packages[folder], after.packages[folder]) for folder in shared) / 1e6
        return Estimate(
            value=used * per_1k, low=used * per_1k, high=used * per_1k, n=requests, method="RAPL, package", unit="J"
        )
    low, middle, high = (watts * (after.cpu_s - before.cpu_s) * per_1k for watts in WATTS_PER_BUSY_VCPU)
    return Estimate(
        value=middle,
        low=low,
        high=high,
        n=requests,
        method="CPU seconds × 4 W per busy vCPU (2 to 10; Cloud Carbon Footprint)",
        unit="J",
        estimated=True,
    )


def incumbent_joules_per_1k(prompt_tokens: float, completion_tokens: float, n: int) -> Estimate:
    """Joules per thousand calls of a large model, from mean tokens over n calls. A wide, cited estimate."""
    low, middle, high = (
        1000.0 * (prompt_tokens * prompt + completion_tokens * output)
        for prompt, output in zip(JOULES_PER_PROMPT_TOKEN, JOULES_PER_OUTPUT_TOKEN, strict=True)
    )
    return Estimate(
        value=middle,
        low=low,
        high=high,
        n=n,
        method="tokens × joules per token (Samsi et al. 2023; Epoch AI 2025), a range of two orders of magnitude",
        unit="J",
        estimated=True,
    )


def _packages(root: Path) -> list[Path]:
    """Top-level RAPL zones: "intel-rapl:0" is a package, "intel-rapl:0:1" a part of one that would count twice."""
    return sorted(folder for folder in root.glob("*-rapl:*") if folder.name.count(":") == 1) if root.is_dir() else []


def _microjoules(folder: Path, name: str = "energy_uj") -> int | None:
    try:
        return int((folder / name).read_text())
    except (OSError, ValueError):
        return None


def _difference(folder: Path, before: int, after: int) -> int:
    """The counter wraps round at max_energy_range_uj."""
    return after - before if after >= before else after - before + (_microjoules(folder, "max_energy_range_uj") or 0)
