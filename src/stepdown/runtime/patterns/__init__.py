"""Word patterns, a gazetteer and a chain of tags, as the kind `crf` answers with them."""
