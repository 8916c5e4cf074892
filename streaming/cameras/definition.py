"""What is known of a camera before it runs."""

from __future__ import annotations

import re
from typing import Annotated

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, field_serializer, field_validator

from streaming.cameras.address import NETWORK, scheme_of, shown

MAX_FPS = 120.0
MAX_SIDE_PX = 16_384
_SIZE = re.compile(r"([1-9][0-9]{0,4})x([1-9][0-9]{0,4})")

Row3 = tuple[float, float, float]
CAMERA_ID = re.compile(r"\w[\w.-]{0,63}")
CameraId = Annotated[str, Field(pattern=rf"^{CAMERA_ID.pattern}$")]


class Camera(BaseModel):
    """One camera: where its frames come from, how many of them are wanted, and why they may be taken at all."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    id: CameraId
    source: str = Field(min_length=1, max_length=2048, repr=False)  # a URL, which may hold a password, or a path
    purpose: str = Field(min_length=1, max_length=500)
    retention_days: int = Field(ge=1, le=3650)
    fps: float = Field(default=5.0, gt=0, le=MAX_FPS)
    size: tuple[int, int] | None = None  # width, height of what is sent; None: as it comes
    homography: tuple[Row3, Row3, Row3] | None = None  # floor plan (m) to image (px), of frames of the size sent

    @field_validator("source")
    @classmethod
    def _can_be_opened(cls, value: str) -> str:
        scheme = scheme_of(value)
        if scheme is not None and scheme not in NETWORK:
            raise ValueError(f"no {scheme}:// is read; write a path, or a URL of {', '.join(NETWORK)}")
        return value

    @field_validator("purpose")
    @classmethod
    def _is_said(cls, value: str) -> str:
        if not value.strip():
            raise ValueError("say what the pictures are for, such as: count visitors")
        return value.strip()

    @field_validator("size", mode="before")
    @classmethod
    def _is_width_x_height(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        if not (found := _SIZE.fullmatch(value)):
            raise ValueError(f"{value!r} is not WIDTHxHEIGHT, such as 1280x720")
        return int(found[1]), int(found[2])

    @field_validator("size")
    @classmethod
    def _is_no_giant(cls, value: tuple[int, int] | None) -> tuple[int, int] | None:
        if value is not None and (min(value) < 1 or max(value) > MAX_SIDE_PX):
            raise ValueError(f"{value[0]} x {value[1]}: sides are 1 to {MAX_SIDE_PX} pixels")
        return value

    @field_validator("homography")
    @classmethod
    def _can_be_inverted(cls, value: tuple[Row3, Row3, Row3] | None) -> tuple[Row3, Row3, Row3] | None:
        if value is not None and not np.linalg.cond(np.array(value, np.float64)) < 1e12:
            raise ValueError("the homography cannot be inverted: the points it was made from lie on one line")
        return value

    @field_serializer("size")
    def _as_text(self, value: tuple[int, int] | None) -> str | None:
        return None if value is None else f"{value[0]}x{value[1]}"

    @property
    def shown_source(self) -> str:
        """The source, fit to be printed."""
        return shown(self.source)
