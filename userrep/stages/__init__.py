"""One verb of the command line a file, and beside them what several verbs share; nothing below knows of a config."""
