"""What the gateway's benchmarks share: upstreams, homes, processes, load. No benchmark of its own."""
