"""What Kafka's client calls an authentication or authorization error, in words that say what to change."""

from __future__ import annotations

from kafka.errors import (
    AuthorizationError,
    GroupAuthorizationFailedError,
    IllegalSaslStateError,
    SaslAuthenticationFailedError,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailedError,
    UnsupportedSaslMechanismError,
)

from streaming.kafka.settings import KafkaSettings
from streaming.transport import AccessDenied

DENIALS = (
    AuthorizationError,
    SaslAuthenticationFailedError,
    UnsupportedSaslMechanismError,
    IllegalSaslStateError,
)
"""Errors after which waiting does not help."""


def access_denied(
    settings: KafkaSettings, error: Exception, operation: str = "Describe", name: str = ""
) -> AccessDenied:
    """One of `DENIALS` as ours.

    Args:
        settings: of the client that met it.
        error: what it met.
        operation: the right to a topic that was needed, as Kafka calls it: Read, Write, Describe, Create.
        name: of the topic, group or transactional id, for an error that does not tell it.
    """
    if isinstance(error, TopicAuthorizationFailedError):
        return missing_right(settings, operation, f"topic {_topics(error) or name}")
    if isinstance(error, GroupAuthorizationFailedError):
        return missing_right(settings, "Read", f"group {name}")
    if isinstance(error, TransactionalIdAuthorizationFailedError):
        return missing_right(settings, "Write", f"transactional-id {name}")
    if isinstance(error, AuthorizationError):
        return missing_right(settings, operation, "the cluster")
    return AccessDenied(
        f"Kafka at {settings.bootstrap_servers} does not let {_who(settings)} in: check kafka.sasl_username, "
        f"kafka.sasl_password and kafka.sasl_mechanism ({type(error).__name__})"
    )


def missing_right(settings: KafkaSettings, operation: str, resource: str) -> AccessDenied:
    """The error that names a right, such as Read on topic match.events."""
    return AccessDenied(
        f"Kafka at {settings.bootstrap_servers} does not allow {_who(settings)} {operation} on {resource}: "
        "`sightline topics acls` lists the rights that each role needs"
    )


def _who(settings: KafkaSettings) -> str:
    if settings.security_protocol.startswith("SASL"):
        return f"the user {settings.sasl_username}"
    return f"the certificate {settings.ssl_certfile}" if settings.ssl_certfile else "an unnamed client"


def _topics(error: Exception) -> str:
    """The topics that the error names, as kafka-python has them: a collection, or one name."""
    told = error.args[0] if error.args else ""
    return told if isinstance(told, str) else ", ".join(sorted(told))
