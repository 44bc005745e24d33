"""Transferable user representations: pre-train a sequence encoder, adapt it, trust the number."""

__version__ = "0.1.0"
