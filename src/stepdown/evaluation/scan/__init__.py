"""Should this task step down? Asked in seconds, before any training. facts → dimensions → verdict."""

from stepdown.evaluation.scan.facts import CallStatistics, ScanFacts
from stepdown.evaluation.scan.gather import gather_facts
from stepdown.evaluation.scan.verdict import ScanReport, scan

__all__ = ["CallStatistics", "ScanFacts", "ScanReport", "gather_facts", "scan"]
