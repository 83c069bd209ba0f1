"""Cheap collapse measures inside a training loop: warn, raise or stop on what lasts.

monitor = Monitor(on_finding="stop")
for images in batches:
    ...
    monitor.step(embeddings, loss=loss)
    if monitor.should_stop:
        break
"""

from nemd_toolkit.monitor.check import Check
from nemd_toolkit.monitor.layer import LayerOutputs
from nemd_toolkit.monitor.monitor import Action, CollapseWarning, Monitor, sentence

__all__ = ["Action", "Check", "CollapseWarning", "LayerOutputs", "Monitor", "sentence"]
