"""Metrics, one file each. The protocol that a module here keeps is `stepdown.evaluation.metric.Metric`."""
