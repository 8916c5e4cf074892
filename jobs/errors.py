"""What an error means to the person at the prompt: one line, and an exit code that scripts can rely on."""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    """Exit codes of every command."""

    OK = 0
    FAILED = 1
    BAD_INPUT = 2  # also wrong usage and wrong settings
    UNAVAILABLE = 3  # Kafka, Ray, the registry or a model is not there
    REFUSED = 4  # by a gate, or for want of its verdict: the same again is refused again
    INTERRUPTED = 130


class UsageProblem(ValueError):
    """What was asked for makes no sense; the message says what would."""


class SettingsError(ValueError):
    """A setting is unknown or has a wrong value; the message names it, where it comes from, and the remedy."""


# Named as text, so that an error of a part that was never loaded costs nothing. The first that fits counts.
_MEANINGS: tuple[tuple[str, str, Exit], ...] = (
    ("jobs.errors", "UsageProblem", Exit.BAD_INPUT),
    ("jobs.errors", "SettingsError", Exit.BAD_INPUT),
    ("jobs.alerts.message", "BadSecret", Exit.BAD_INPUT),
    ("jobs.camera_book", "BadCameraFile", Exit.BAD_INPUT),
    ("jobs.demo_parts", "DemoFailed", Exit.FAILED),
    ("jobs.run_cameras", "CameraEnded", Exit.FAILED),
    ("jobs.checkpoints", "CheckpointError", Exit.FAILED),
    ("jobs.runs.record", "BrokenRun", Exit.BAD_INPUT),
    ("jobs.schedule.book", "BookBroken", Exit.FAILED),
    ("jobs.stream_set.manifest", "BrokenSet", Exit.BAD_INPUT),
    ("jobs.stream_set.partition", "SchemaChanged", Exit.FAILED),
    ("jobs.stream_set.staging", "DiskFull", Exit.FAILED),
    ("streaming.cameras.source", "BadSource", Exit.BAD_INPUT),
    ("streaming.cameras.source", "SourceLost", Exit.UNAVAILABLE),
    ("streaming.features.nanodet", "NotThePackage", Exit.BAD_INPUT),
    ("streaming.features.onnx_detectors", "BadDetector", Exit.BAD_INPUT),
    ("streaming.importers.problem", "ImportProblem", Exit.BAD_INPUT),
    ("streaming.store.plan", "PlanProblem", Exit.BAD_INPUT),
    ("streaming.insights.wording", "TemplateError", Exit.BAD_INPUT),
    ("streaming.kafka.jars", "BrokerError", Exit.UNAVAILABLE),
    ("streaming.kafka.admin", "TopicMissing", Exit.UNAVAILABLE),
    ("streaming.kafka.granting", "NotGranted", Exit.FAILED),
    ("streaming.kafka.dead_letter_queue", "Unreplayable", Exit.BAD_INPUT),
    ("streaming.transport", "TransportUnavailable", Exit.UNAVAILABLE),
    ("streaming.transport", "AccessDenied", Exit.BAD_INPUT),
    ("streaming.transport", "OffsetsExpired", Exit.FAILED),
    ("streaming.transport", "Fenced", Exit.FAILED),
    ("streaming.transport", "NoLongerOwned", Exit.FAILED),
    ("streaming.transport", "LogCorrupt", Exit.FAILED),
    ("streaming.transport", "CommitRefused", Exit.FAILED),
    ("streaming.pipeline", "DependencyUnavailable", Exit.UNAVAILABLE),
    ("streaming.privacy.folder", "BadKeyFolder", Exit.BAD_INPUT),
    ("streaming.codec.registry", "RegistryUnavailable", Exit.UNAVAILABLE),
    ("streaming.codec.registry", "UnknownSchema", Exit.FAILED),
    ("serve.gateway.run", "AddressTaken", Exit.UNAVAILABLE),
    ("serve.gateway.run", "Unguarded", Exit.BAD_INPUT),
    ("serve.gateway.tls", "TlsProblem", Exit.BAD_INPUT),
    ("serve.gateway.tokens", "BadTokenFile", Exit.BAD_INPUT),
    ("serve.gateway.audit", "AuditUnwritable", Exit.FAILED),
    ("serve.gateway.audit", "AuditBroken", Exit.FAILED),
    ("streaming.changelog", "StateLayoutChanged", Exit.FAILED),
    ("streaming.changelog", "StateCorrupt", Exit.FAILED),
    ("streaming.state", "StateTooLarge", Exit.FAILED),
    ("streaming.pipelines.person_sightings", "EmbeddingChanged", Exit.FAILED),
    ("serve.app", "DeploymentFailed", Exit.FAILED),
    ("models.store.errors", "ModelNotFoundError", Exit.UNAVAILABLE),
    ("models.store.errors", "StoreUnavailableError", Exit.UNAVAILABLE),
    ("models.store.errors", "BrokenModelError", Exit.BAD_INPUT),
    ("models.store.errors", "BadReference", Exit.BAD_INPUT),
    ("models.store.errors", "AliasMovedError", Exit.FAILED),
    ("models.store.errors", "NotApprovedError", Exit.REFUSED),
    ("models.verdict", "BadVerdict", Exit.BAD_INPUT),
    ("builtins", "FileNotFoundError", Exit.BAD_INPUT),
    ("builtins", "IsADirectoryError", Exit.BAD_INPUT),
    ("builtins", "NotADirectoryError", Exit.BAD_INPUT),
    ("builtins", "PermissionError", Exit.BAD_INPUT),
    ("builtins", "ConnectionError", Exit.UNAVAILABLE),
)


def meaning(error: BaseException) -> tuple[str, Exit]:
    """One line for stderr, and the exit code.

    An error that is not known here is a fault of ours or of a library: its class is part of the line.
    """
    if isinstance(error, KeyboardInterrupt):
        return "interrupted", Exit.INTERRUPTED
    for module, name, code in _MEANINGS:
        if any(kind.__name__ == name and kind.__module__ == module for kind in type(error).__mro__):
            return _one_line(error), code
    return f"{type(error).__name__}: {_one_line(error)} (--debug shows where)", Exit.FAILED


def _one_line(error: BaseException) -> str:
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{error.filename}: {error.strerror[:1].lower()}{error.strerror[1:]}"
    text = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    return " ".join(text.split())
