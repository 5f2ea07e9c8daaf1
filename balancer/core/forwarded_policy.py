"""The settings of what backends are told about clients, and of whom is believed about one: frozen values, checked.

``forwarded`` acts on them. Pydantic reads this class, so it is never compiled (docs/compiled.md).
"""

import re
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import AfterValidator
from typing_extensions import Doc

from balancer.core.addresses import TrustedProxies, checked_network
from balancer.core.route_spec import checked_field_name

_PSEUDONYM = re.compile(r"(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]+(?::[0-9]{1,5})?)?")  # RFC 9110 section 7.6.3, received-by


def _checked_pseudonym(name: str) -> str:
    if _PSEUDONYM.fullmatch(name) is None:
        raise ValueError(f'"{name}" is not a name for Via: a token or host:port (RFC 9110 section 7.6.3), or ""')
    return name


def _checked_optional_name(name: str) -> str:
    if name:
        checked_field_name(name)
    return name


@dataclass(frozen=True)
class ForwardedPolicy:
    """Settings: the fields about the client that go to backends, and whose are believed."""

    __pydantic_config__ = {"extra": "forbid"}

    trusted_proxies: Annotated[
        tuple[Annotated[str, AfterValidator(checked_network)], ...],
        Doc(
            'Addresses and networks of proxies in front of this one, and "unix" for peers on a UNIX socket. What '
            "they say about the client is continued; what anyone else says is removed. Default: nobody."
        ),
    ] = ()
    x_forwarded: Annotated[
        bool,
        Doc("Tell backends the client's address, scheme and host in X-Forwarded-For, -Proto and -Host."),
    ] = True
    forwarded: Annotated[bool, Doc("Tell backends the same in Forwarded (RFC 7239).")] = False
    via: Annotated[
        Annotated[str, AfterValidator(_checked_pseudonym)],
        Doc(
            "Name of this balancer in Via, which RFC 9110 section 7.6.3 asks a gateway to add to requests; empty "
            "adds none. (nginx as a backend does not compress for requests with Via unless gzip_proxied says so.)"
        ),
    ] = "balancer"
    via_response: Annotated[bool, Doc("Add Via to responses as well.")] = False
    request_id: Annotated[
        Annotated[str, AfterValidator(_checked_optional_name)],
        Doc("Field with the request's id: kept from a trusted proxy, else generated. Empty: none is sent."),
    ] = "X-Request-ID"
    host: Annotated[
        Literal["client", "backend"],
        Doc('Host that backends see: the one the client asked for, or the backend\'s own name ("backend").'),
    ] = "client"
    remove_untrusted: Annotated[
        tuple[Annotated[str, AfterValidator(checked_field_name)], ...],
        Doc(
            "More fields removed from requests of peers that are not trusted proxies. The default lists what "
            "applications take for the client's address, and the two that override the path in some frameworks."
        ),
    ] = (
        "client-ip", "true-client-ip", "x-client-ip", "x-cluster-client-ip", "cf-connecting-ip", "fastly-client-ip",
        "x-original-url", "x-rewrite-url", "x-original-host",
    )  # fmt: skip

    def __post_init__(self) -> None:
        TrustedProxies(self.trusted_proxies)
        _checked_pseudonym(self.via)
        _checked_optional_name(self.request_id)
        for name in self.remove_untrusted:
            checked_field_name(name)
