"""Encoders with the key names of torchvision."""
