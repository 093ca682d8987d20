"""Public data sets as recorded traffic, and how extracted answers are counted: what `benchmarks.extraction` runs on."""
