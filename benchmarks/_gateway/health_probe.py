"""Asks for /healthz every 10 ms until its input ends, then prints what it saw as JSON.

usage: python -m benchmarks._gateway.health_probe PORT

A process of its own, so that what loads the gateway does not hold the probe up. worst_ms: the longest answer; p99_ms;
late_ms: by how much the probe itself woke up late at worst, which is the machine's doing and not the gateway's.
"""

from __future__ import annotations

import json
import select
import socket
import sys
import time

EVERY_S = 0.01
ASK = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n"


def main(port: int) -> None:
    took: list[float] = []
    late = failed = 0.0
    connection = socket.create_connection(("127.0.0.1", port), 60)
    while not took or not select.select([sys.stdin], [], [], 0)[0]:
        started = time.perf_counter()
        try:
            connection.sendall(ASK)
            if not connection.recv(4096).startswith(b"HTTP/1.1 200"):
                raise OSError
        except OSError:
            failed += 1
            connection.close()
            connection = socket.create_connection(("127.0.0.1", port), 60)
        took.append(time.perf_counter() - started)
        until = time.perf_counter() + EVERY_S
        time.sleep(EVERY_S)
        late = max(late, time.perf_counter() - until)
    took.sort()
    seen = {"asked": len(took), "failed": failed, "worst_ms": took[-1] * 1e3, "late_ms": late * 1e3}
    print(json.dumps({**seen, "p99_ms": took[int(0.99 * (len(took) - 1))] * 1e3}))


if __name__ == "__main__":
    main(int(sys.argv[1]))
