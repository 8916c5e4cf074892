"""What AIFL and its AS-GAN are held to on paper dolls: each gate with what was wanted and what was found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jobs.gate_row import gate_row
from jobs.recipes.aifl_study import BASELINE, JITTERED, WHOLE

Runs = Sequence[Mapping[str, float]]
_POINT = 0.01
_ON_REAL = "≥ 0 within the interval over people"


def gates_of(found: Mapping[str, Runs], checks: Runs, real: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
    """Gates on means over seeds, with their standard deviation; differences are taken seed by seed.

    `passed` is None of what was not run.

    Args:
        found: figures of each row, by seed.
        checks: of the AS-GAN, by seed.
        real: of `jobs.reid.aifl_real`.
    """

    def values(row: str, figure: str) -> np.ndarray:
        return np.array([run[figure] for run in found[row]])

    def checked(figure: str) -> np.ndarray:
        return np.array([run[figure] for run in checks])

    changed, same = "changed_clothes_rank1", "same_clothes_rank1"
    aifl, base, jitter = WHOLE, BASELINE, JITTERED
    apparel = 1 - values(aifl, "probe_apparel") / values(base, "probe_apparel")
    identity = values(aifl, "probe_identity") - values(base, "probe_identity")
    gates = [
        _below("baseline, changed clothes, rank-1", values(base, changed), 0.30),
        _above("AIFL over the baseline, changed clothes", values(aifl, changed) - values(base, changed), 15 * _POINT),
        _above("AIFL over colour jitter, changed clothes", values(aifl, changed) - values(jitter, changed), 5 * _POINT),
        _above("AIFL over the baseline, same clothes", values(aifl, same) - values(base, same), -0.5 * _POINT),
        _below(
            "drop of a query dressed anew, of the baseline's",
            values(aifl, "redressed_drop") / np.maximum(values(base, "redressed_drop"), 1e-9),
            0.5,
        ),
        _above("probe for clothes falls by, relative", apparel, 0.30),
        _above("probe for identity, AIFL over the baseline", identity, 0.0),
        _above("AS-GAN, obedience, mean", checked("obedience"), 0.8),
        _above("AS-GAN, obedience, 5th percentile", checked("obedience_5th_percentile"), 0.6),
        _above("AS-GAN, colour histogram agrees with the donor", checked("histogram_agrees_with_donor"), 0.7),
        _below("AS-GAN, change where it copies", checked("locality"), 0.02),
        _above("AS-GAN, identity of heads kept", checked("identity_agreement"), 0.9),
    ]
    stargan, on_real = "AS-GAN, Fréchet distance, of a StarGAN's", "real people, AIFL over its baseline, mAP"
    if "frechet_of_stargan" in checks[0]:
        gates.append(_below(stargan, checked("frechet") / checked("frechet_of_stargan"), 1.0))
    else:
        gates.append(_not_run(stargan, "≤ 1"))
    gates.append(_not_run(on_real, _ON_REAL) if real is None else _on_real(on_real, real["above_baseline"]["usual"]))
    return gates


def _above(name: str, found: np.ndarray, wanted: float) -> dict[str, Any]:
    return _gate(name, found, f"≥ {wanted:g}", float(found.mean()) >= wanted)


def _below(name: str, found: np.ndarray, wanted: float) -> dict[str, Any]:
    return _gate(name, found, f"≤ {wanted:g}", float(found.mean()) <= wanted)


def _gate(name: str, found: np.ndarray, wanted: str, passed: bool) -> dict[str, Any]:
    spread = f" ± {found.std(ddof=1):.3f}" if len(found) > 1 else ""
    return gate_row(name, wanted, f"{found.mean():.3f}{spread}", passed)


def _on_real(name: str, above: Mapping[str, Mapping[str, float]]) -> dict[str, Any]:
    got = "{value:+.3f} ({low:+.3f} to {high:+.3f})".format(**above["map"])
    return gate_row(name, _ON_REAL, got, above["map"]["high"] >= 0)


def _not_run(name: str, wanted: str) -> dict[str, Any]:
    return gate_row(name, wanted, "not run", None)
