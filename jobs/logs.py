"""Logs as one JSON object a line, on stderr. `ranges` and `record` hold the one id from event to answer: an answer
carries the topic, partition and offset of the event that made it, and so do the lines about that event here.

    {"time": "…Z", "level": "info", "logger": "…", "message": "committed", "ranges": ["match.events/0[10,15)"], …}

No line holds a secret, whoever wrote it: tokens of the gateway, credentials in headers, and the passwords of the
settings are struck out of all it says, traces and `extra` included.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import time
from collections.abc import Iterable
from typing import Any

STRUCK_OUT = "[struck out]"
_SHORTEST_SECRET = 4  # a shorter one is part of too many words
_SECRET = re.compile(
    r"sl_[A-Za-z0-9_-]{43}"
    r"|(?<=authorization)(?P<between>\W{1,6}(?:b['\"])?(?:bearer|basic|negotiate|digest)\s+)[^\s\"',)]+"
    r"|(?<=://)[^/\s:@\"]+:[^/\s@\"]+(?=@)",  # USER:PASSWORD of an address
    re.IGNORECASE,
)

_OWN = set(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonLines(logging.Formatter):
    """Message, and whatever was handed over in `extra`; without these secrets."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        super().__init__()
        # As they are, and as they read in the words of a library that quotes them.
        quoted = (form[1:-1] for secret in secrets for form in (f" {secret} ", repr(secret), json.dumps(secret)))
        self._secrets = sorted({form for form in quoted if len(form) >= _SHORTEST_SECRET}, key=len, reverse=True)

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
        return json.dumps(self._told(line), ensure_ascii=False)

    def _told(self, value: Any) -> Any:
        if value is None or isinstance(value, bool | int | float):
            return value
        if isinstance(value, dict):
            return {self._told(str(name)): self._told(inner) for name, inner in value.items()}
        if isinstance(value, list | tuple):
            return [self._told(inner) for inner in value]
        text = str(value)
        for secret in self._secrets:
            text = text.replace(secret, STRUCK_OUT)
        return _SECRET.sub(lambda found: (found["between"] or "") + STRUCK_OUT, text)


def log_as_json(level: int = logging.INFO, secrets: Iterable[str] = ()) -> None:
    """Send our own log lines to stderr, without these secrets; those of libraries only where something is wrong."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines(secrets))
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.WARNING)
    for package in ("streaming", "serve", "jobs"):
        logging.getLogger(package).setLevel(level)
    # It reports every attempt to reconnect as an error; what that means is said once, by whoever waits.
    logging.getLogger("kafka").setLevel(logging.CRITICAL)
