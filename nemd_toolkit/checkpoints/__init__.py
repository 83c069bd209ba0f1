"""Reading checkpoints safely, and knowing whose they are."""
