"""One serving process: the gateway put together with stores, students and prices."""
