"""Candidates of a document and how they are ranked, as the kind `ranker` answers with them."""
