"""Made-up traffic with known truth, and the ways in which evidence of it can be collected."""
