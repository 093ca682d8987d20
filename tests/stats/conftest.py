import os

from hypothesis import settings

EXAMPLES = int(os.environ.get("STEPDOWN_TEST_RANDOM") or os.environ.get("STEPDOWN_TEST_EXAMPLES") or 60)
settings.register_profile("stats", deadline=None, max_examples=EXAMPLES)
settings.load_profile("stats")
