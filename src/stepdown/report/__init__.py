"""A build's record as a page a person reads: HTML, a Markdown model card, a terminal table. It measures nothing."""
