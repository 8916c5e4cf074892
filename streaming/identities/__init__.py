"""Who is who across a store: tracks of single cameras joined into persons.

    sightings of tracks, with embeddings ─► IdentityStage ─► sightings with person_id and link_score, and corrections

A track is looked at for a second and then linked to a person who was seen before, or to a new one. What speaks for a
person is how the two looks compare (`appearance`), whether and how fast one comes from the camera of the last sighting
to this one (`transit`, learned from sure links), and where both stand on the floor plan; nobody is in two cameras at
once unless these see the same floor. `linking` makes a probability of it, the score of the link, and assigns the tracks
that are due together at once; `decisions` gathers what it needs. `ledger` keeps the events from which identities are
derived, so that merges and splits can be undone, and erases; `memory` is the state. An operator's `orders` are files
beside the keys, carried out by `obeying`.

What is learned is learned while it runs, from links of a score of at least 0.9; the figures of the embedding network
(`Appearance.fit`) come from labelled pairs.
"""

from streaming.identities.appearance import Appearance
from streaming.identities.decisions import Rules
from streaming.identities.ledger import Correction, Ledger
from streaming.identities.stage import IdentityStage

__all__ = ["Appearance", "Correction", "IdentityStage", "Ledger", "Rules"]
