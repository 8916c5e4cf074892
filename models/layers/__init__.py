"""Parts that several models share, each a pure function or a small module."""

from models.layers.odd import OddGroupScores
from models.layers.slot_scale import SlotScale
from models.layers.softmax import masked_softmax

__all__ = ["OddGroupScores", "SlotScale", "masked_softmax"]
