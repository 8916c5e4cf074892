"""Event time in a partition: how far it has come, said by the rows alone.

The *watermark* is the newest event time that two rows running have reached. It only rises, a single row from the future
does not move it, and it is a function of the partition's rows in their order, however they are cut into batches.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]


def watermarks(time_ms: Ints, last_ms: int, watermark_ms: int) -> Ints:
    """Watermark before the first row and after each, (N + 1,); -1 before the second row ever.

    Args:
        time_ms: (N,) event times of one partition's rows, in offset order.
        last_ms: event time of the row before them, -1 for none.
        watermark_ms: where that row left the watermark.
    """
    reached = np.minimum(time_ms, np.concatenate([[last_ms], time_ms[:-1]]))
    risen: Ints = np.maximum.accumulate(np.concatenate([[watermark_ms], reached]))
    return risen
