"""Every wait of a connection or an exchange, named; the edges keep the timers, this module only holds the numbers."""

from dataclasses import dataclass
from typing import Annotated

from typing_extensions import Doc

from balancer.core.units import Seconds, SecondsOrZero


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientTimeouts:
    """How long a listener waits for its clients."""

    __pydantic_config__ = {"extra": "forbid"}

    tls_handshake: Annotated[Seconds, Doc("Seconds for a client's TLS handshake; then it is closed.")] = 5.0
    client_hello: Annotated[
        Seconds, Doc("Seconds from the accept to a whole ClientHello, for mode tls-passthrough; then it is reset.")
    ] = 5.0
    head: Annotated[
        Seconds, Doc("Seconds from the first byte of a request's head (or the connection) to its end, absolute: 408.")
    ] = 10.0
    body: Annotated[Seconds, Doc("Seconds without a byte of a request's body before 408.")] = 60.0
    write: Annotated[
        Seconds, Doc("Seconds a client may read nothing of a response that waits for it before it is aborted.")
    ] = 60.0
    keep_alive: Annotated[Seconds, Doc("Seconds an idle client connection is kept between requests.")] = 75.0
    tunnel: Annotated[
        Seconds, Doc("Seconds without a byte in either direction that end a tunnel (mode tcp, and HTTP after 101).")
    ] = 3600.0
    linger: Annotated[
        Seconds,
        Doc("Seconds a connection that is closed early still reads, so that the client gets the answer, not a reset."),
    ] = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendTimeouts:
    """How long an upstream's backends are waited for."""

    __pydantic_config__ = {"extra": "forbid"}

    connect: Annotated[Seconds, Doc("Seconds for a connection to a backend to open; then the next one, or 504.")] = 3.0
    tls_handshake: Annotated[Seconds, Doc("Seconds for the TLS handshake with a backend.")] = 5.0
    first_byte: Annotated[
        Seconds, Doc("Seconds from the request's end to the first byte of the response; then 504.")
    ] = 60.0
    idle: Annotated[
        Seconds, Doc("Seconds without a byte of a response that has begun; then the client is aborted.")
    ] = 60.0
    total: Annotated[SecondsOrZero, Doc("Seconds for the whole exchange, 0 for no limit.")] = 0.0
