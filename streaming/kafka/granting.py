"""Setting a cluster's ACLs to what `streaming.kafka.acls` lists."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kafka.admin import ACL, ACLOperation, ACLPermissionType, ResourcePattern, ResourceType
from kafka.errors import ClusterAuthorizationFailedError

from streaming.kafka.acls import GROUP, TOPIC, TRANSACTIONAL_ID, Right
from streaming.kafka.clients import open_admin
from streaming.kafka.denied import missing_right
from streaming.kafka.settings import KafkaSettings

_RESOURCES = {
    TOPIC: ResourceType.TOPIC,
    GROUP: ResourceType.GROUP,
    TRANSACTIONAL_ID: ResourceType.TRANSACTIONAL_ID,
}


class NotGranted(RuntimeError):
    """The cluster does not take ACLs."""


def grant(settings: KafkaSettings, principal: str, rights: Sequence[Right]) -> None:
    """Allow a principal, such as User:sightline-run, all of this from any host; what it may do already stays.

    Raises:
        AccessDenied: we may not grant rights.
        NotGranted: the cluster has no authorizer, or refuses for another reason.
        TransportUnavailable: the cluster is away.
    """
    with open_admin(settings) as admin:
        failed = admin.create_acls([acl(principal, right) for right in rights])["failed"]
    if ClusterAuthorizationFailedError in failed:
        raise missing_right(settings, "Alter", "the cluster")
    if failed:
        raise NotGranted(
            f"Kafka at {settings.bootstrap_servers} takes no ACLs ({failed[0].__name__}): {failed[0].description} "
            "Its authorizer.class.name must be set"
        )


def acl(principal: str, right: Right) -> Any:
    """A right as kafka-python has it."""
    pattern = ResourcePattern(_RESOURCES[right.resource], right.name)
    return ACL(principal, "*", ACLOperation[right.operation.upper()], ACLPermissionType.ALLOW, pattern)
