"""The model store: trained versions in a folder or at any fsspec URL, immutable and checked, and aliases that move.

    ROOT/NAME/VERSION/…                 one version: see `models.store.manifest`
    ROOT/NAME/history/ALIAS/….json      what an alias means, and meant: see `models.store.aliases`
    ROOT/NAME/verdicts/VERSION.json     what a gate said of a version: see `models.verdict`

A version becomes visible by its manifest, which is written last, and is never changed afterwards; every file is checked
when it is read, and nothing is ever unpickled. A store reads from several roots, the first that has a version or an
alias wins; it writes to the first. The weights that ship with the project are the last root. torch is loaded only to
read or write weights: a process that just watches an alias does without.
"""

from models.store.aliases import AliasMove, AliasState
from models.store.collection import Collected, collect_garbage
from models.store.diff import ModelDiff, diff_models
from models.store.errors import (
    AliasMovedError,
    BadReference,
    BrokenModelError,
    ModelNotFoundError,
    NotApprovedError,
    StoreUnavailableError,
)
from models.store.manifest import TRAINING_MATCHES, Manifest
from models.store.promotion import CANDIDATE, promote, rollback
from models.store.store import SHIPPED, Listing, ModelStore
from models.store.stored import StoredModel

__all__ = [
    "CANDIDATE",
    "SHIPPED",
    "TRAINING_MATCHES",
    "AliasMove",
    "AliasMovedError",
    "AliasState",
    "BadReference",
    "BrokenModelError",
    "Collected",
    "Listing",
    "Manifest",
    "ModelDiff",
    "ModelNotFoundError",
    "ModelStore",
    "NotApprovedError",
    "StoreUnavailableError",
    "StoredModel",
    "collect_garbage",
    "diff_models",
    "promote",
    "rollback",
]
