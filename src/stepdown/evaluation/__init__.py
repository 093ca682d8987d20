"""students × dataset → measurements. Every figure is an Estimate; every metric is a loss in [0, 1], lower is better."""
