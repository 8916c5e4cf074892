"""TLS for the gateway, with errors that name the file."""

from __future__ import annotations

import ssl
from pathlib import Path


class TlsProblem(ValueError):
    """The certificate or its key cannot be used; the message names the file and the remedy."""


def tls_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """TLS 1.2 and newer with this certificate (PEM, its chain behind it) and key (PEM, not encrypted).

    Raises:
        TlsProblem: either cannot be used, or they do not belong together.
    """
    for setting, path in (("gateway.tls_cert", certificate), ("gateway.tls_key", key)):
        try:
            path.open("rb").close()
        except OSError as error:
            raise TlsProblem(f"{setting} {path}: {(error.strerror or str(error)).lower()}") from None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        # An empty password: OpenSSL would ask for one at the terminal, and wait.
        context.load_cert_chain(certificate, key, password="")  # nosec B106  # none
    except ssl.SSLError as error:
        raise TlsProblem(_explained(error, certificate, key)) from None
    return context


def _explained(error: ssl.SSLError, certificate: Path, key: Path) -> str:
    if error.reason == "KEY_VALUES_MISMATCH":
        return f"gateway.tls_key {key}: not the key of the certificate {certificate}; give the two that belong together"
    if not _holds(certificate, "CERTIFICATE"):
        return f"gateway.tls_cert {certificate}: holds no certificate in PEM"
    if not _holds(key, "PRIVATE KEY"):
        return f"gateway.tls_key {key}: holds no private key in PEM"
    if _holds(key, "ENCRYPTED"):
        return f"gateway.tls_key {key}: encrypted; write it without a password: openssl pkey -in {key} -out plain.key"
    return f"gateway.tls_cert {certificate}, gateway.tls_key {key}: {error.reason or error}"


def _holds(path: Path, word: str) -> bool:
    return word.encode() in path.read_bytes()
