"""Sweeps: many commands from one, each a child process of its own, run once whoever shares the list."""
