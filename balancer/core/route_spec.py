"""The settings of a route: what it matches and where it sends.

Frozen values with their checks, one message per mistake. Nothing here looks at a request:
:mod:`balancer.core.routing` compiles these into the table that does.
"""

import re
from dataclasses import dataclass, field
from ipaddress import IPv6Address
from typing import Annotated

from pydantic import AfterValidator, Strict
from typing_extensions import Doc

from balancer.core.tls import checked_protocol
from balancer.core.units import CountOrZero

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")  # RFC 9110 section 5.6.2
_NAME = re.compile(r"(?=.{1,253}\Z)[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?(?:\.[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?)*")
_UNCLEAR = re.compile(r"[\x00-\x1f\x7f%;?#\\]|//|/\.\.?(?:/|\Z)")


def checked_host(host: str) -> str:
    """Return a host as it is compared: lower case, no trailing dot, IPv6 in its shortest form.

    :raises ValueError: it is no host name, ``*.`` name or IP literal; a port is not matched and not allowed.
    """
    text = host.lower().removesuffix(".")
    if text.startswith("[") and text.endswith("]"):
        try:
            return f"[{IPv6Address(text[1:-1])}]"
        except ValueError as error:
            raise ValueError(f'"{host}" is not an IPv6 address in brackets: {error}') from None
    if _NAME.fullmatch(text.removeprefix("*.")) is None:
        raise ValueError(
            f'"{host}" is not a host: allowed are "api.example.com", "*.example.com" (one or more labels), '
            f'"192.0.2.1" and "[2001:db8::1]", without a port, and names beyond ASCII in their "xn--" form'
        )
    return text


def checked_sni(name: str) -> str:
    """Return a server name as it is compared: lower case, no trailing dot; empty for clients that ask for none.

    :raises ValueError: it is no host name or ``*.`` name.
    """
    text = name.lower().removesuffix(".")
    if text and _NAME.fullmatch(text.removeprefix("*.")) is None:
        raise ValueError(
            f'"{name}" is not a server name: allowed are "api.example.com", "*.example.com" (one or more labels), and '
            'names beyond ASCII in their "xn--" form; "" is for clients without a name; every name: no "sni" at all'
        )
    return text


def checked_path(path: str) -> str:
    """Return the path; it is written decoded (``/caf\u00e9``), and a request's path is decoded before it is compared.

    :raises ValueError: it does not start with ``/`` or has what a request's path could only match ambiguously.
    """
    if not path.startswith("/"):
        raise ValueError(f'"{path}" does not start with "/"')
    unclear = _UNCLEAR.search(path)
    if unclear is not None:
        raise ValueError(
            f'"{path}" has {unclear[0]!r}: a path is written decoded, without escapes, query, parameters, '
            'backslashes, empty segments, "." or ".."'
        )
    return path


def checked_regex(text: str) -> str:
    """Return the regular expression (Python's syntax, matched against bytes, over the whole value).

    :raises ValueError: it does not compile, or has characters beyond ASCII (write ``\\xc3\\xa9``).
    """
    if not text.isascii():
        raise ValueError(f'"{text}" has characters beyond ASCII: write their UTF-8 bytes, for example \\xc3\\xa9')
    try:
        re.compile(text.encode("ascii"))
    except re.error as error:
        raise ValueError(f'"{text}" is not a regular expression: {error}') from None
    return text


def checked_method(method: str) -> str:
    """Return the method.

    :raises ValueError: it is no token, or is not in upper case: methods are compared as they are.
    """
    if _TOKEN.fullmatch(method) is None or method != method.upper():
        raise ValueError(f'"{method}" is not a method: allowed are upper-case names like "GET" (case counts)')
    return method


def checked_field_name(name: str) -> str:
    """Return the field name in lower case.

    :raises ValueError: it is not a token (RFC 9110 section 5.1).
    """
    if _TOKEN.fullmatch(name) is None:
        raise ValueError("the name of a field: letters, digits and !#$%&'*+-.^_`|~ (RFC 9110 section 5.1)")
    return name.lower()


@dataclass(frozen=True)
class HeaderPattern:
    """A condition on a field's value that is a regular expression: ``{regex = "2\\\\..*"}``."""

    __pydantic_config__ = {"extra": "forbid"}

    regex: Annotated[
        str,
        AfterValidator(checked_regex),
        Doc("Regular expression (Python's syntax) that the whole value of one of the fields has to match."),
    ]

    def __post_init__(self) -> None:
        checked_regex(self.regex)


HeaderCondition = Annotated[bool, Strict()] | str | HeaderPattern
"""``true`` present, ``false`` absent, a text: equal, case counts, a table: regular expression."""


@dataclass(frozen=True)
class Match:
    """What a request has to be for a route to take it; a key that is not given matches everything."""

    __pydantic_config__ = {"extra": "forbid"}

    host: Annotated[
        Annotated[str, AfterValidator(checked_host)] | None,
        Doc(
            'Host the request is for: a name, an IP address, or "*.example.com", which stands for one or more '
            "labels before example.com and never for example.com itself. The port is not compared."
        ),
    ] = None
    path: Annotated[
        Annotated[str, AfterValidator(checked_path)] | None,
        Doc('The whole path, written decoded. Give one of "path", "path_prefix", "path_regex", or none.'),
    ] = None
    path_prefix: Annotated[
        Annotated[str, AfterValidator(checked_path)] | None,
        Doc('Leading segments of the path, written decoded: "/api" matches "/api" and "/api/x", never "/apix".'),
    ] = None
    path_regex: Annotated[
        Annotated[str, AfterValidator(checked_regex)] | None,
        Doc(
            "Regular expression (Python's syntax) that the whole decoded path has to match. It runs on what clients "
            'send, up to the request line\'s limit: avoid nested repeats, or make them possessive ("++").'
        ),
    ] = None
    methods: Annotated[
        tuple[Annotated[str, AfterValidator(checked_method)], ...],
        Doc('Methods, any of which matches, for example ["GET", "HEAD"]. Empty: every method.'),
    ] = ()
    headers: Annotated[
        dict[Annotated[str, AfterValidator(checked_field_name)], HeaderCondition],
        Doc(
            'Conditions on request fields as the client sent them, all of which have to hold: "value" (equal), '
            'true (present), false (absent), {regex = "..."}. A repeated field holds if one of its values does.'
        ),
    ] = field(default_factory=dict)
    sni: Annotated[
        tuple[Annotated[str, AfterValidator(checked_sni)], ...],
        Doc(
            "Names clients ask for with TLS (SNI), any of which matches, for mode tls-passthrough: a name, "
            '"*.example.com" (one or more labels before it, never example.com itself), or "" for clients that ask for '
            "none. Empty: every client."
        ),
    ] = ()
    alpn: Annotated[
        tuple[Annotated[str, AfterValidator(checked_protocol)], ...],
        Doc(
            'Protocols of which the client offers one (ALPN), for mode tls-passthrough, for example ["h2"]. '
            "Empty: whatever it offers."
        ),
    ] = ()

    def __post_init__(self) -> None:
        if sum(given is not None for given in (self.path, self.path_prefix, self.path_regex)) > 1:
            raise ValueError('only one of "path", "path_prefix" and "path_regex" can be given')
        if self.host is not None:
            checked_host(self.host)
        for path in (self.path, self.path_prefix):
            if path is not None:
                checked_path(path)
        if self.path_regex is not None:
            checked_regex(self.path_regex)
        for method in self.methods:
            checked_method(method)
        for name in self.headers:
            checked_field_name(name)
        for name in self.sni:
            checked_sni(name)
        for name in self.alpn:
            checked_protocol(name)

    def __str__(self) -> str:
        """What is matched, in one line: ``api.example.com /api/* GET x-canary``, or ``*.example.com h2``."""
        if self.sni or self.alpn:
            names = ",".join(name or '""' for name in self.sni) or "*"
            return " ".join([names, *([",".join(self.alpn)] if self.alpn else [])])
        paths = (self.path, self.path_prefix and self.path_prefix.rstrip("/") + "/*", self.path_regex)
        path = next((text for text in paths if text is not None), "/*")
        return " ".join([self.host or "*", path, *([",".join(self.methods)] if self.methods else []), *self.headers])


@dataclass(frozen=True)
class RouteSpec(Match):
    """A match and the upstream, or the weighted upstreams, that get the requests."""

    __pydantic_config__ = {"extra": "forbid"}

    name: Annotated[str, Doc("Name in logs and metrics. Empty: what it matches, in one line.")] = ""
    to: Annotated[str | None, Doc('Upstream that gets the requests. Give either "to" or "split".')] = None
    split: Annotated[
        dict[str, CountOrZero],
        Doc("Upstreams and their weights, for example {api = 90, api-canary = 10}: each request draws one."),
    ] = field(default_factory=dict)
    cache: Annotated[
        str | None,
        Doc(
            "The cache its responses are kept in, for mode http: the name of a `[cache.NAME]`; absent takes that of "
            "the upstream, empty for none."
        ),
    ] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.to is None) == (not self.split):
            raise ValueError('either "to" or "split" has to be given, and not both')
        if any(weight < 0 for weight in self.split.values()):
            raise ValueError('a weight in "split" is less than 0')
        if self.split and sum(self.split.values()) == 0:
            raise ValueError('"split" has no weight above 0, so no upstream would get a request')

    @property
    def upstreams(self) -> tuple[str, ...]:
        """Names of the upstreams this route refers to."""
        return tuple(self.split) if self.to is None else (self.to,)
