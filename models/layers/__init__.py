"""Parts that several models share, each a pure function or a small module."""

from models.layers.clock_curve import at_clock
from models.layers.heroes import HeroEmbedding
from models.layers.odd import LinearGroupScores, OddGroupScores
from models.layers.rows import PIECE, affine, padded
from models.layers.slot_scale import SlotScale
from models.layers.softmax import masked_softmax
from models.layers.temporal import AttentionDrive, ConstantDrive, Drive, RecurrentDrive, SlotTableDrive

__all__ = [
    "PIECE",
    "AttentionDrive",
    "ConstantDrive",
    "Drive",
    "HeroEmbedding",
    "LinearGroupScores",
    "OddGroupScores",
    "RecurrentDrive",
    "SlotScale",
    "SlotTableDrive",
    "affine",
    "at_clock",
    "masked_softmax",
    "padded",
]
