"""Readers of image collections."""
