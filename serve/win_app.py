"""The win-prediction app: replicas of `serve.win.WinReplica`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from serve.app import ReplicaApp
from serve.win import WinReplica


class WinApp(ReplicaApp):
    """The app of one run.

    Args:
        name: `serve.app.app_name`.
        models: title to reference, such as {"lol": "tsstn-lol@live"}.
        store: folder of the user's own models, the same on every node, or URL; those that ship with Sightline come
            after it.
        replicas: how many, until `scale` says otherwise.
        gpus_per_replica: 0 for the CPU.
    """

    def __init__(
        self, name: str, models: Mapping[str, str], store: str, *, replicas: int = 1, gpus_per_replica: float = 0.0
    ) -> None:
        super().__init__(
            name,
            "win",
            WinReplica,
            (store, dict(models), "cuda" if gpus_per_replica else "cpu"),
            {"store_must_exist": Path(store).is_dir(), "fall_back": True},
            replicas=replicas,
            gpus_per_replica=gpus_per_replica,
        )
