"""Other packages, each in an environment of its own, at the same work with the same settings."""
