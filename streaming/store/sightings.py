"""Sightings as frames, and which of them cannot be believed.

A record of `person.sightings` is one of three things:

- a **sighting**: `track_id` and box, feet on the floor plan where the camera is calibrated, `person_id` once known;
- a **frame that shows nobody**: no `track_id`. Time goes on with it, and it tells an empty room from a dead camera;
- a **correction** of an identity: `corrects_from_ms` (from then on), `corrects_person_id` (old), `person_id` (new).
  With `track_id` it moves what `camera_id` saw as that track; the old one is null when a track is linked for the first
  time, the new one when a link is taken back. Without `track_id` it moves all that was said of the old identity (a
  merge), and both are named. A merge is undone by a correction for each track that goes back.

Only confirmed tracks have a `track_id`, so what the tracker has not confirmed counts nowhere.
"""

from __future__ import annotations

import polars as pl

from streaming.pipeline import Transform
from streaming.rejecting import Rule, rejecting, says
from streaming.store.plan import StorePlan

SIGHTING_SCHEMA = pl.Schema(
    {
        "camera_id": pl.String(),
        "captured_ms": pl.Datetime("ms", "UTC"),
        "frame": pl.Int64(),
        "track_id": pl.Int64(),
        **dict.fromkeys(("x0_px", "y0_px", "x1_px", "y1_px", "score", "x_m", "y_m"), pl.Float32()),
        "person_id": pl.String(),
        "link_score": pl.Float32(),
        "corrects_person_id": pl.String(),
        "corrects_from_ms": pl.Datetime("ms", "UTC"),
        "covered": pl.Boolean(),
    }
)
"""Columns of a frame of sightings, as person-sightings.avsc states them, that say what was seen. The others say how it
came to be said."""

FIRST_YEAR, LAST_YEAR = 1970, 2100
AHEAD_MS = 2_000
"""A capture time may lie so far after the time at which the record reached the log: clocks differ."""

MAX_ID_BYTES = 128
MAX_POSITION = 1e6


def validate_for(plan: StorePlan) -> Transform:
    """The transform that says in `_reject` why a row cannot be believed, as "InvalidSighting: reason".

    A box must have a size and lie in the picture at least in part, where the plan says how large that is.
    """
    return rejecting(_rules(plan), "validate")


def _rules(plan: StorePlan) -> list[Rule]:
    camera, time = pl.col("camera_id"), pl.col("captured_ms")
    time_ms, log_ms = time.to_physical(), pl.col("_ingest_time_ms")
    track, person, corrects = pl.col("track_id"), pl.col("person_id"), pl.col("corrects_person_id")
    from_ms, is_correction = pl.col("corrects_from_ms"), pl.col("corrects_from_ms").is_not_null()
    box = [pl.col(name) for name in ("x0_px", "y0_px", "x1_px", "y1_px")]
    x0, y0, x1, y1 = box
    is_person = track.is_not_null() & ~is_correction
    has_box = pl.all_horizontal([side.is_finite().fill_null(False) for side in box])
    first, last = (pl.datetime(year, 1, 1, time_unit="ms", time_zone="UTC") for year in (FIRST_YEAR, LAST_YEAR))
    names = [known.name for known in plan.camera]
    sized = [known for known in plan.camera if known.width_px is not None]
    calibrated = pl.col("x_m").is_not_null() | pl.col("y_m").is_not_null()
    on_floor = pl.all_horizontal([_within(pl.col(name)) for name in ("x_m", "y_m")])
    box_text = pl.format("({}, {}, {}, {})", *[side.cast(pl.String).fill_null("missing") for side in box])
    rules = [
        (
            ~camera.is_in(names).fill_null(False),
            _says("camera_id is '{}', which the store's plan does not know", camera.str.slice(0, 64)),
        ),
        (
            ~time.is_between(first, last, closed="left").fill_null(False),
            _says(f"captured_ms is {{}}, not a time from {FIRST_YEAR} to {LAST_YEAR}", time_ms),
        ),
        (
            time_ms > log_ms + AHEAD_MS,
            _says(
                f"captured_ms is {{}} ms after the record reached the log, {AHEAD_MS} are allowed: set the clock of "
                "camera {}",
                time_ms - log_ms,
                camera,
                error="SightingFromTheFuture",
            ),
        ),
        (~pl.col("frame").ge(0).fill_null(False), _says("frame is {}, not 0 or more", pl.col("frame"))),
        (track < 0, _says("track_id is {}, not 0 or more", track)),
        (is_person & ~has_box, _says("the box {} has a side that is no number", box_text)),
        (is_person & ~((x1 > x0) & (y1 > y0)), _says("the box {} has no size", box_text)),
        (is_person & calibrated & ~on_floor, _says("the feet ({}, {}) are no place on a floor", "x_m", "y_m")),
        (corrects.is_not_null() & ~is_correction, _says("corrects_person_id is {} without corrects_from_ms", corrects)),
        (
            is_correction & ~from_ms.is_between(first, last, closed="left").fill_null(True),
            _says(f"corrects_from_ms is {{}}, not a time from {FIRST_YEAR} to {LAST_YEAR}", from_ms.to_physical()),
        ),
        (
            is_correction & track.is_null() & (corrects.is_null() | person.is_null()),
            _says("a correction of {} to {} without track_id: it must name both", corrects, person),
        ),
        (is_correction & corrects.eq_missing(person), _says("a correction of {} to itself", corrects)),
    ]
    for name in ("person_id", "corrects_person_id"):
        value = pl.col(name)
        rules.append((value == "", _says(f"{name} is empty")))
        length = value.str.len_bytes()
        rules.append((length > MAX_ID_BYTES, _says(f"{name} has {{}} bytes, more than {MAX_ID_BYTES}", length)))
        rules.append((value.str.contains(r"[\p{Cc}#]"), _says(f"{name} has a control character or #, which is ours")))
    for known in sized:
        is_out = (x1 <= 0) | (y1 <= 0) | (x0 >= known.width_px) | (y0 >= known.height_px)
        rules.append(
            (
                is_person & (camera == known.name) & is_out,
                _says(f"the box {{}} lies outside of the picture, {known.width_px} x {known.height_px}", box_text),
            )
        )
    return rules


def _within(value: pl.Expr) -> pl.Expr:
    return (value.is_finite() & (value.abs() <= MAX_POSITION)).fill_null(False)


def _says(text: str, *values: pl.Expr | str, error: str = "InvalidSighting") -> pl.Expr:
    return says(error, text, *values)


def feet(rows: pl.DataFrame, plan: StorePlan) -> pl.DataFrame:
    """Adds `_x, _y`, where each row's person stands, and `_on_floor`: in metres there; else in pixels, the middle of
    the box's lower edge, and at the picture's edge for a box that goes beyond it."""
    sizes = pl.DataFrame(
        {
            "camera_id": [camera.name for camera in plan.camera],
            "_width": [camera.width_px for camera in plan.camera],
            "_height": [camera.height_px for camera in plan.camera],
        },
        schema={"camera_id": pl.String, "_width": pl.Float32, "_height": pl.Float32},
    )
    on_floor = pl.col("x_m").is_not_null()
    x_px, y_px = (pl.col("x0_px") + pl.col("x1_px")) / 2, pl.col("y1_px")
    return (
        rows.join(sizes, on="camera_id", how="left", maintain_order="left")
        .with_columns(
            _on_floor=on_floor,
            _x=pl.when(on_floor).then("x_m").otherwise(x_px.clip(0.0, pl.col("_width"))),
            _y=pl.when(on_floor).then("y_m").otherwise(y_px.clip(0.0, pl.col("_height"))),
        )
        .drop("_width", "_height")
    )
