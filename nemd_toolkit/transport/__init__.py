"""Exact optimal transport between clouds; the only code that knows POT."""
