"""Training frameworks that need more than a loader; each library is optional."""
