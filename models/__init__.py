"""Torch models, one paper per file under its published name; the parts they share; and the store of trained versions."""
