"""Whether a cluster lets us in, told before a client asks: the clients take a refusal for an outage, and try for ever.

A broker is greeted as a client greets it: TLS, where it is set, then the first words of SASL, which every listener
answers, one without SASL by saying so. A refusal is definite (a certificate, an alert, a mechanism) and names the
setting to change; all that could be a broker that is just going down or coming up counts as away.
"""

from __future__ import annotations

import socket
import ssl
import struct

from streaming.kafka.settings import KafkaSettings
from streaming.transport import AccessDenied, TransportUnavailable

_SASL_HANDSHAKE, _VERSION = 17, 1
_UNSUPPORTED_SASL_MECHANISM, _ILLEGAL_SASL_STATE = 33, 34
_LONGEST_ANSWER_BYTES = 65_536
_TLS_ALERT = b"\x15\x03"
_WRONG_NAME = (62, 64)  # X509_V_ERR_HOSTNAME_MISMATCH, X509_V_ERR_IP_ADDRESS_MISMATCH
_HUNG_UP = (ssl.SSLEOFError, ssl.SSLZeroReturnError, ConnectionResetError)  # without a word of why
_OUT_OF_DATE = (9, 10)  # X509_V_ERR_CERT_NOT_YET_VALID, X509_V_ERR_CERT_HAS_EXPIRED


def tls_context(settings: KafkaSettings) -> ssl.SSLContext | None:
    """What the connections are encrypted with; None where they are not.

    Raises:
        AccessDenied: a file is missing, is not PEM, or does not fit the others; the message names the setting.
    """
    if settings.security_protocol not in ("SSL", "SASL_SSL"):
        return None
    cafile, certfile, keyfile = settings.ssl_cafile, settings.ssl_certfile, settings.ssl_keyfile
    try:
        context = ssl.create_default_context(cafile=cafile)
    except OSError as error:  # ssl.SSLError is one
        raise AccessDenied(f"kafka.ssl_cafile {cafile} cannot be used: {_reason(error)}") from None
    context.check_hostname = settings.ssl_check_hostname
    if certfile is not None:
        try:
            # Never without a password: OpenSSL would ask for it at the terminal, and wait.
            context.load_cert_chain(certfile, keyfile, lambda: settings.ssl_password or "")
        except OSError as error:
            files = certfile if keyfile is None else f"{certfile} with kafka.ssl_keyfile {keyfile}"
            raise AccessDenied(f"kafka.ssl_certfile {files} cannot be used: {_reason(error)}") from None
    return context


def greet(settings: KafkaSettings) -> None:
    """Return once a bootstrap server lets these settings in, as far as can be told without a password.

    Raises:
        AccessDenied: one turns them away, and no other lets them in.
        TransportUnavailable: none answers.
    """
    context = tls_context(settings)
    denied: AccessDenied | None = None
    away = ""
    for host, port in settings.addresses():
        try:
            with socket.create_connection((host, port), settings.unavailable_after_s) as connection:
                _greet(connection, host, context, settings)
                return
        except _Refused as refused:
            denied = denied or AccessDenied(f"Kafka at {host}:{port} {refused}")
        except OSError as error:
            away = away or str(error)
    raise denied or TransportUnavailable(f"Kafka at {settings.bootstrap_servers} does not answer ({away})")


class _Refused(Exception):
    """The rest of a sentence that begins with the broker."""


def _greet(connection: socket.socket, host: str, context: ssl.SSLContext | None, settings: KafkaSettings) -> None:
    if context is None:
        answer = _ask(connection, settings)
    else:
        with _encrypted(connection, host, context, settings) as encrypted:
            try:
                answer = _ask(encrypted, settings)
            except ssl.SSLError as error:  # with TLS 1.3 the broker looks at our certificate after we at its
                raise _Refused(_own_certificate(error, settings)) from None
    if answer is not None:
        _understand(answer, settings)


def _ask(connection: socket.socket, settings: KafkaSettings) -> bytes | None:
    """The answer after its length and correlation id; None when the broker hung up, which can mean anything."""
    mechanism = (settings.sasl_mechanism or "PLAIN").encode()
    head = struct.pack(">hhih", _SASL_HANDSHAKE, _VERSION, 0, 0)  # correlation id 0, an empty client id
    request = head + struct.pack(">h", len(mechanism)) + mechanism
    try:
        connection.sendall(struct.pack(">i", len(request)) + request)
        head = _read(connection, 8)
        if head[:2] == _TLS_ALERT:
            return head
        (length,) = struct.unpack(">i", head[:4])
        return _read(connection, length - 4) if 6 <= length <= _LONGEST_ANSWER_BYTES else None
    except (EOFError, *_HUNG_UP):
        return None


def _encrypted(connection: socket.socket, host: str, context: ssl.SSLContext, settings: KafkaSettings) -> socket.socket:
    try:
        return context.wrap_socket(connection, server_hostname=host)
    except ssl.SSLCertVerificationError as error:
        raise _Refused(_its_certificate(error, settings)) from None
    except _HUNG_UP:
        raise ConnectionError(
            "it hung up in the TLS handshake: it is just starting or stopping, or it speaks no TLS there and "
            f"kafka.security_protocol {settings.security_protocol} is wrong"
        ) from None
    except ssl.SSLError as error:
        if error.reason == "WRONG_VERSION_NUMBER":
            raise _Refused(
                f"speaks no TLS there, but kafka.security_protocol is {settings.security_protocol}"
            ) from None
        raise _Refused(_own_certificate(error, settings)) from None


def _its_certificate(error: ssl.SSLCertVerificationError, settings: KafkaSettings) -> str:
    if error.verify_code in _WRONG_NAME:
        return (
            "has a certificate for another name: use that in kafka.bootstrap_servers (and in the broker's "
            "advertised.listeners), or set kafka.ssl_check_hostname to false"
        )
    if error.verify_code in _OUT_OF_DATE:
        return f"has a certificate that is out of date ({error.verify_message}): renew it, or set this clock right"
    trusted = "the system" if settings.ssl_cafile is None else settings.ssl_cafile
    return f"has a certificate that {trusted} does not vouch for ({error.verify_message}): set kafka.ssl_cafile"


def _own_certificate(error: ssl.SSLError, settings: KafkaSettings) -> str:
    alert = (error.reason or str(error)).lower().replace("_", " ")
    if settings.ssl_certfile is None:
        return f"asks for a client certificate ({alert}): set kafka.ssl_certfile and kafka.ssl_keyfile"
    return f"does not accept the certificate in kafka.ssl_certfile {settings.ssl_certfile} ({alert})"


def _read(connection: socket.socket, size: int) -> bytes:
    parts = bytearray()
    while len(parts) < size:
        part = connection.recv(size - len(parts))
        if not part:
            if parts[:2] == _TLS_ALERT:
                break
            raise EOFError
        parts += part
    return bytes(parts)


def _understand(answer: bytes, settings: KafkaSettings) -> None:
    protocol, wants_sasl = settings.security_protocol, settings.security_protocol.startswith("SASL")
    if answer[:2] == _TLS_ALERT:
        raise _Refused(f"speaks TLS there, but kafka.security_protocol is {protocol}: set SSL or SASL_SSL")
    (code,) = struct.unpack_from(">h", answer)
    if code == _ILLEGAL_SASL_STATE:
        if wants_sasl:
            plain = protocol.removeprefix("SASL_")
            raise _Refused(f"asks for no password there, but kafka.security_protocol is {protocol}: set {plain}")
    elif code == _UNSUPPORTED_SASL_MECHANISM or (code == 0 and not wants_sasl):
        has = ", ".join(_strings(answer[2:]))
        if wants_sasl:
            raise _Refused(f"has no {settings.sasl_mechanism}: set kafka.sasl_mechanism to one of {has}")
        sasl = "SASL_PLAINTEXT" if protocol == "PLAINTEXT" else "SASL_SSL"
        raise _Refused(f"asks for a user and a password ({has}): set kafka.security_protocol to {sasl}")


def _strings(data: bytes) -> list[str]:
    """An array of strings on Kafka's wire; what is cut short is left out."""
    (count,), position, found = struct.unpack_from(">i", data.ljust(4, b"\0")), 4, []
    for _ in range(min(count, 16)):
        (length,) = struct.unpack(">h", data[position : position + 2].rjust(2, b"\0"))
        found.append(data[position + 2 : position + 2 + max(length, 0)].decode("utf-8", "replace"))
        position += 2 + max(length, 0)
    return found


def _reason(error: OSError) -> str:
    if not isinstance(error, ssl.SSLError):
        return (error.strerror or str(error)).lower()
    if error.reason in (None, "BAD_DECRYPT", "BAD_PASSWORD_READ"):  # OpenSSL gives no reason where the PEM is at fault
        return "no certificate or no key is in it, or the key is encrypted and kafka.ssl_password does not open it"
    return error.reason.lower().replace("_", " ")
