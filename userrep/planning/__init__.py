"""Planning: what a training will need in memory and time, counted from shapes and from a few steps of it."""
