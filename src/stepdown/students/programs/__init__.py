"""The programs that go with exported models. They need numpy, tokenizers and what the format needs, and never stepdown.

`run.py` stands at the top of an export. The other modules go into its folder `models/`, together with whatever of the
house they import: that has to be as light as they are (`students/exporter.py` copies and rewrites the imports).
"""
