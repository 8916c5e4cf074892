"""A real broker that lets nobody in unasked: SCRAM over TLS, client certificates, and rights by ACL.

Who comes in clear, from this machine, is the super user: that is how the tests make users and rights. Certificates are
made anew for each broker, and expire within a day.
"""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from kafka.admin import (
    ACLFilter,
    ACLOperation,
    ACLPermissionType,
    ACLResourcePatternType,
    ResourcePatternFilter,
    ResourceType,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

from streaming.kafka.acls import Right
from streaming.kafka.broker import EmbeddedBroker
from streaming.kafka.clients import open_admin
from streaming.kafka.granting import acl, grant
from streaming.kafka.settings import KafkaSettings
from streaming.ports import free_ports
from tests.waiting import wait_until

SCRAM, MTLS = "SCRAM", "MTLS"

_SECURED = """\
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port},\
SCRAM://127.0.0.1:{scram},MTLS://127.0.0.1:{mtls}
advertised.listeners=PLAINTEXT://127.0.0.1:{port},SCRAM://127.0.0.1:{scram},MTLS://127.0.0.1:{mtls}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SCRAM:SASL_SSL,MTLS:SSL
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
allow.everyone.if.no.acl.found=false
super.users=User:ANONYMOUS
ssl.keystore.type=PEM
ssl.keystore.location={folder}/127.0.0.1.pem
ssl.truststore.type=PEM
ssl.truststore.location={folder}/ca.pem
listener.name.mtls.ssl.client.auth=required
listener.name.scram.sasl.enabled.mechanisms=SCRAM-SHA-512
listener.name.scram.scram-sha-512.sasl.jaas.config=\
org.apache.kafka.common.security.scram.ScramLoginModule required;
"""


class Authority:
    """Issues certificates into a folder: `NAME.pem` has key and chain, `ca.pem` is what to trust."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _named("a test's authority")
        certificate = (
            self._begin(self._name, self._key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self.certificate = folder / "ca.pem"
        self.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    def issue(self, name: str, address: str | None = None, password: str | None = None) -> Path:
        """Key and certificate of CN=`name`, as one PEM file; for a server with its IP address."""
        key = ec.generate_private_key(ec.SECP256R1())
        purpose = ExtendedKeyUsageOID.CLIENT_AUTH if address is None else ExtendedKeyUsageOID.SERVER_AUTH
        builder = self._begin(_named(name), key.public_key()).add_extension(x509.ExtendedKeyUsage([purpose]), False)
        if address is not None:
            names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))])
            builder = builder.add_extension(names, critical=False)
        certificate = builder.sign(self._key, hashes.SHA256())
        secret = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(password.encode()) if password else serialization.NoEncryption(),
        )
        path = self._folder / f"{name}.pem"
        path.write_bytes(secret + certificate.public_bytes(serialization.Encoding.PEM))
        return path

    def _begin(self, subject: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(days=1))
        )


class SecuredBroker(EmbeddedBroker):
    """Reached in clear by the super user, at SCRAM by a user with a password, at MTLS by one with a certificate."""

    def __init__(self, home: Path) -> None:
        super().__init__(home / "kafka")
        self.folder = home / "certificates"
        self.authority = Authority(self.folder)
        self.authority.issue("127.0.0.1", address="127.0.0.1")
        self.ports = dict(zip((SCRAM, MTLS), free_ports(2), strict=True))

    def properties(self, port: int, controller_port: int) -> str:
        ports = {"port": port, "controller_port": controller_port, "scram": self.ports[SCRAM], "mtls": self.ports[MTLS]}
        return super().properties(port, controller_port) + _SECURED.format(folder=self.folder, **ports)

    @property
    def super_user(self) -> KafkaSettings:
        """For making topics, users and rights."""
        address = self.status().bootstrap_servers
        assert address is not None
        return KafkaSettings(address)

    def over(self, listener: str, user: str) -> KafkaSettings:
        """What this user connects with; `add` it first."""
        ours: dict[str, str] = {"security_protocol": "SASL_SSL", "sasl_mechanism": "SCRAM-SHA-512"}
        ours |= {"sasl_username": user, "sasl_password": _password(user)}
        if listener == MTLS:
            ours = {"security_protocol": "SSL", "ssl_certfile": str(self.folder / f"{user}.pem")}
        address, trusted = f"127.0.0.1:{self.ports[listener]}", str(self.authority.certificate)
        return KafkaSettings(address, ssl_cafile=trusted, unavailable_after_s=3.0, **ours)  # type: ignore[arg-type]

    def add(self, *users: str) -> None:
        """Give each a password and a certificate, and no right."""
        with open_admin(self.super_user) as admin:
            told = admin.alter_user_scram_credentials(
                [UserScramCredentialUpsertion(user, ScramMechanism.SCRAM_SHA_512, _password(user)) for user in users]
            )
        assert set(told.values()) == {None}
        for user in users:
            self.authority.issue(user)

    def allow(self, principal: str, rights: Sequence[Right]) -> None:
        """Grant, and wait until it counts."""
        grant(self.super_user, principal, rights)
        wanted = {acl(principal, right) for right in rights}
        wait_until(lambda: wanted <= set(self._acls(principal)))

    def forbid(self, principal: str, rights: Sequence[Right]) -> None:
        """Take rights away, and wait until that counts."""
        unwanted = {acl(principal, right) for right in rights}
        with open_admin(self.super_user) as admin:
            admin.delete_acls(list(unwanted))
        wait_until(lambda: not unwanted & set(self._acls(principal)))

    def _acls(self, principal: str) -> list[Any]:
        everything = ResourcePatternFilter(ResourceType.ANY, None, ACLResourcePatternType.ANY)
        wanted = ACLFilter(principal, None, ACLOperation.ANY, ACLPermissionType.ANY, everything)
        with open_admin(self.super_user) as admin:
            found, _ = admin.describe_acls(wanted)
        return list(found)


def principal(listener: str, user: str) -> str:
    """How Kafka calls a user who came in there."""
    return f"User:CN={user}" if listener == MTLS else f"User:{user}"


def _password(user: str) -> str:
    return f'{user}\'s own \\ "secret"'


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
