"""Judging measures: one small file per finding, and the verdict."""
