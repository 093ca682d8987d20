"""Shrinking, one method a file. Each takes a model, gives a smaller one, and says in a lineage entry what it did.

`prune` drops layers and vocabulary, `distil` teaches a smaller network what a larger one answers, `quantise` rounds to
int8 and writes the graph that is served. They compose in any order that types allow.
"""
