"""A project folder: settings, stores, journal, builds, and what the command line and reports read of them."""
