"""Fields of documents: candidates that a field's rule reads in a text, ranked by what stands round them."""
