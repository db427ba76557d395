"""Use cases of the profile service; each is one transaction."""
