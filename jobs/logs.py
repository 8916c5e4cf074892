"""Logs as one JSON object a line, on stderr. `ranges` and `record` hold the one id from event to answer: an answer
carries the topic, partition and offset of the event that made it, and so do the lines about that event here.

    {"time": "…Z", "level": "info", "logger": "…", "message": "committed", "ranges": ["match.events/0[10,15)"], …}
"""

from __future__ import annotations

import json
import logging
import sys
import time
from typing import Any

_OWN = set(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonLines(logging.Formatter):
    """Message, and whatever was handed over in `extra`."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line: dict[str, Any] = {
            "time": f"{moment}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {name: value for name, value in vars(record).items() if name not in _OWN}
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str, ensure_ascii=False)


def log_as_json(level: int = logging.INFO) -> None:
    """Send our own log lines to stderr; those of libraries only where something is wrong."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.WARNING)
    for package in ("streaming", "serve", "jobs"):
        logging.getLogger(package).setLevel(level)
    # It reports every attempt to reconnect as an error; what that means is said once, by whoever waits.
    logging.getLogger("kafka").setLevel(logging.CRITICAL)
