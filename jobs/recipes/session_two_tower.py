"""Train two towers, which answer items that nobody has clicked yet by their content.

    sightline train session-two-tower --data yoochoose-clicks.dat

On 13,629 sessions, 53,254 clicks without any content: 30 s on one core. On the last day of that file, over three
seeds, every next click judged: Recall@20 .601 (.590 to .613), MRR@20 .341 (.330 to .352). Content is what it is for:
the file of the challenge itself has categories, Diginetica's has categories, price classes and words of titles.

Items unseen in training, in the made-up shop of `sightline evaluate sessions`, where all that is known of them is their
category, over three seeds. After clicks on such items alone, as `models.cold_start.ColdStart` answers live: Recall@20
.385 (.358 to .412) of the next click; popularity .104, chance .014, the live model without them .096. A rule without a
model, popularity in the category of the latest click, has .492. Where the next click is on an unseen item: .659 (.645
to .673), that rule .181; live .041, because a session with any known click is answered by what learned from clicks.
"""

from __future__ import annotations

from jobs.recipes.sessions import EncoderSizes, SessionLoss, SessionOptim, SessionRecipe

TWO_TOWER = SessionRecipe(
    data="",
    encoder=EncoderSizes(kind="two-tower", dim=96, dropout=0.1, half_life=1.0, hide=0.1),
    loss=SessionLoss("in-batch-margin", margin=0.3),
    optim=SessionOptim("adamw", lr=3e-3, weight_decay=1e-4, batch_sessions=128, epochs=12),
)
