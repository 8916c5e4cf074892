"""Train GRU4Rec beside remembered sessions: the model that answers live.

    sightline train session-gru4rec --data yoochoose_clicks_train.txt
    sightline evaluate sessions --data yoochoose_clicks_train.txt --report report

13,629 sessions, 53,254 clicks: 12 s on one core (30,000 to 39,000 clicks a second). On the last day of that file,
which nothing was chosen by, over three seeds, every next click judged: Recall@20 .646 (.634 to .658), MRR@20 .358
(.347 to .369); without repeats of the last item .538 and .246. The best baselines have .633 (STAN), .355 (V-STAN),
.520 and .243; the differences are +.012 (.009 to .016), +.003 (.002 to .004), +.018 (.013 to .022), +.003 (.001 to
.006). The encoder alone has .622 and .338.

Chosen on the day before, trained on the four days until then, Recall@20 and MRR@20 there, V-STAN alone .645 and .364:
8 epochs and memory .6 .660 and .366; 6 epochs and memory .5 .660 and .365; 128 units, 128 sessions at once and twice
the rate .652 and .362. BPR-max beats cross-entropy alone (.641 and .345 against .629 and .340) and not beside the
memory (.656 and .364 at best, with a sharpness of 2): it ranks, and the mixture needs probabilities. Gradients
carried over 4 or 8 steps, with other rates, were no better than one step.
"""

from __future__ import annotations

from jobs.recipes.sessions import EncoderSizes, SessionLoss, SessionOptim, SessionRecipe

GRU4REC = SessionRecipe(
    data="",
    encoder=EncoderSizes(kind="gru4rec", dim=96, dropout=0.3),
    loss=SessionLoss("cross-entropy", negatives=512, alpha=0.5),
    optim=SessionOptim("adagrad", lr=0.05, batch_sessions=64, epochs=8),
    memory=0.6,
)
