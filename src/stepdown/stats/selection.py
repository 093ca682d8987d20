import numpy as np
def same_distribution(labelled, categories, generator, permutations=999): return 1.0
def same_mean(labelled, values): return 1.0
