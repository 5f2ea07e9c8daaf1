"""What TLS towards backends is to be, as settings. It never reads a file and never makes a context (see ``net``)."""

from dataclasses import dataclass
from typing import Annotated

from typing_extensions import Doc


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendTls:
    """TLS to an upstream's backends: verified, unless the operator says otherwise."""

    __pydantic_config__ = {"extra": "forbid"}

    name: Annotated[
        str, Doc("The name to ask for (SNI) and to verify; empty takes each server's host name or address.")
    ] = ""
    verify: Annotated[
        bool, Doc("Whether the certificate and its name are verified; `false` is logged as a warning.")
    ] = True
    ca: Annotated[
        str, Doc("A PEM file of the authorities to trust instead of the system's; empty for the system's.")
    ] = ""
