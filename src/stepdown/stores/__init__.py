"""Where calls, gold, tasks and the journal are kept. One kind of store is one file in `kinds/`."""
