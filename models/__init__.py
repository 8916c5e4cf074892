"""Torch models, one paper per file under its published name, their shared parts, and the store of trained versions."""
