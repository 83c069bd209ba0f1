"""Readers of image collections: `open_images("digits")`, `"folder:DIR"`, and others."""

from nemd_toolkit.images.collection import Images
from nemd_toolkit.images.colours import to_space
from nemd_toolkit.images.opening import open_images
from nemd_toolkit.images.resizing import Sizing, resize_and_crop

__all__ = ["Images", "Sizing", "open_images", "resize_and_crop", "to_space"]
