"""Where events come from: one file a kind of source, one yaml a data set."""
