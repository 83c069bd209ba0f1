"""Layouts of checkpoints, each against a file built as its original code saves it."""
