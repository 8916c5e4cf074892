"""Train SASRec, alone.

    sightline train session-sasrec --data yoochoose_clicks_train.txt

13,629 sessions, 53,254 clicks: 50 s on one core. On the last day of that file, over three seeds, every next click
judged: Recall@20 .633 (.622 to .645), MRR@20 .347 (.336 to .359). On the day before, by which it was chosen:
cross-entropy .644 and .351, the paper's loss of one negative (`--set loss.name=bce`) .631 and .344.
"""

from __future__ import annotations

from jobs.recipes.sessions import EncoderSizes, SessionLoss, SessionOptim, SessionRecipe

SASREC = SessionRecipe(
    data="",
    encoder=EncoderSizes(kind="sasrec", dim=64, dropout=0.3, blocks=2, heads=1),
    loss=SessionLoss("cross-entropy", negatives=512, alpha=0.5),
    optim=SessionOptim("adamw", lr=2e-3, weight_decay=1e-4, batch_sessions=128, epochs=16),
)
