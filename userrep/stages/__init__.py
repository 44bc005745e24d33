"""One verb of the command line a file: each composes its config, does the work, returns its answer."""
