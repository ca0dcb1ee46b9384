"""On a busy machine a slow example is no failure: pytest's own time-out guards against one that never ends."""

from hypothesis import settings

settings.register_profile("without deadline", deadline=None)
settings.load_profile("without deadline")
