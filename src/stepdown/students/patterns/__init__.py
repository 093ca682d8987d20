"""Values found by the words that make them up and stand round them: linear models on word patterns and known values."""
