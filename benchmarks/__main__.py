"""Every benchmark, one after the other, each in a process of its own: `make bench`, or `python -m benchmarks NAME…`."""

from __future__ import annotations

import pkgutil
import subprocess
import sys
import time

import benchmarks


def main() -> None:
    """Run the named benchmarks, or all of them; the exit code is 1 when one failed."""
    known = [entry.name for entry in pkgutil.iter_modules(benchmarks.__path__) if not entry.name.startswith("_")]
    unknown = [name for name in sys.argv[1:] if name not in known]
    if unknown:
        sys.exit(f"There is no benchmark {unknown[0]!r}. Known: {', '.join(known)}.")
    failed = []
    for name in sys.argv[1:] or known:
        print(f"\n=== {name}", flush=True)
        started = time.monotonic()
        code = subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], check=False).returncode
        print(f"=== {name}: {time.monotonic() - started:.0f} s, exit {code}", flush=True)
        failed += [name] if code else []
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
