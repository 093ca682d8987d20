"""Values that are tagged in a text or chosen for it: the layout of outputs, how they are read, and the answer."""
