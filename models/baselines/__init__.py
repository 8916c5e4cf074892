"""Plain networks that TSSTN is measured against: they may use all it uses, and explain nothing.

All have one call, `forward(features (B, T, F), clock_s (B, T), mask (B, T)) -> logits (B, T)`, NaN = not known, and
`scale`, a `SlotScale` to be fitted on training frames first. A frame's answer depends on no later frame.
"""

from models.baselines.frame_mlp import FrameMLP, FrameMLPConfig
from models.baselines.inputs import FrameInputs
from models.baselines.recurrent import RecurrentNet, RecurrentNetConfig
from models.baselines.transformer import CausalTransformer, CausalTransformerConfig

__all__ = [
    "CausalTransformer",
    "CausalTransformerConfig",
    "FrameInputs",
    "FrameMLP",
    "FrameMLPConfig",
    "RecurrentNet",
    "RecurrentNetConfig",
]
