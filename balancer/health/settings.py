"""The keys of each built-in check. Only values: nothing here connects."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator
from typing_extensions import Doc

from balancer.config.wording import Written
from balancer.core.health import CheckSettings
from balancer.core.tls import BackendTls
from balancer.core.units import Seconds, SecondsOrZero, Size

StatusRange = tuple[int, int]
"""The first and the last status that pass."""

Pairs = tuple[tuple[str, str], ...]
"""A table as pairs, sorted by name: settings are hashable."""

_ESCAPE = re.compile(r"\\(x[0-9A-Fa-f]{2}|[rnt0\\]|.?)", re.DOTALL)
_PLAIN_ESCAPES = {"r": b"\r", "n": b"\n", "t": b"\t", "0": b"\0", "\\": b"\\"}
_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VALUE = re.compile(r"[\t\x20-\x7e]*")


def status_ranges(value: object) -> tuple[StatusRange, ...]:
    """Turn ``["200-299", 301]`` into ranges; ranges pass through.

    :raises ValueError: an item is neither a status from 100 to 599 nor two of them with a hyphen.
    """
    if isinstance(value, str) or not isinstance(value, Iterable):
        value = [value]
    ranges = tuple(_status_range(item) for item in value)
    if not ranges:
        raise ValueError('at least one status, for example ["200-299", 301]')
    return ranges


def _status_range(item: object) -> StatusRange:
    if isinstance(item, list | tuple):
        numbers = list(item)
    else:
        match = None if isinstance(item, bool) else re.fullmatch(r"(\d{3})(?:-(\d{3}))?", str(item))
        numbers = [int(match[1]), int(match[2] or match[1])] if match else []
    if len(numbers) != 2 or not 100 <= numbers[0] <= numbers[1] <= 599:
        raise ValueError(f'statuses like 200, "200" and "200-299", from 100 to 599; not {item!r}')
    return numbers[0], numbers[1]


def spell_ranges(ranges: Iterable[StatusRange]) -> str:
    """``200-299, 301``, for a reason."""
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in ranges)


def fields(value: object) -> object:
    """Turn a table of HTTP fields into sorted pairs.

    :raises ValueError: a name is not a token, or a value has other characters than visible ASCII, space and tab.
    """
    if not isinstance(value, Mapping):
        return value
    for name, text in value.items():
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise ValueError(f"names of HTTP fields (RFC 9110 section 5.1); not {name!r}")
        if not isinstance(text, str) or not _VALUE.fullmatch(text):
            raise ValueError(f"values of visible ASCII, space and tab; not that of {name}")  # which may be a secret
    return tuple(sorted(value.items()))


@lru_cache(maxsize=256)
def unescape(text: str) -> bytes:
    r"""The bytes that a text with ``\r``, ``\n``, ``\t``, ``\0``, ``\xHH`` and ``\\`` stands for; the rest is UTF-8.

    :raises ValueError: there is another escape.
    """
    sent = bytearray()
    end = 0
    for match in _ESCAPE.finditer(text):
        sent += text[end : match.start()].encode()
        code = match[1]
        if code in _PLAIN_ESCAPES:
            sent += _PLAIN_ESCAPES[code]
        elif len(code) == 3:
            sent.append(int(code[1:], 16))
        else:
            raise ValueError(rf"a text with the escapes \r \n \t \0 \xHH \\; not {match[0]}")
        end = match.end()
    return bytes(sent + text[end:].encode())


def _escaped(text: str) -> str:
    unescape(text)
    return text


def _pattern(text: str) -> str:
    try:
        re.compile(text.encode())
    except re.error as error:
        raise ValueError(f"a regular expression of Python's; here {error}") from None
    return text


def _fitting(pattern: str, allowed: str) -> AfterValidator:
    shape = re.compile(pattern)

    def fits(text: str) -> str:
        if shape.fullmatch(text) is None:
            raise ValueError(allowed)
        return text

    return AfterValidator(fits)


Escaped = Annotated[str, AfterValidator(_escaped)]
"""A text with escapes, see :func:`unescape`."""

Pattern = Annotated[str, AfterValidator(_pattern)]
"""A regular expression of Python's, matched against bytes; non-ASCII characters stand for their UTF-8."""

Fields = Annotated[
    Pairs, BeforeValidator(fields), Written('a table of texts, for example {Accept = "text/plain"}', "{}")
]
"""A table of HTTP fields."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SecureCheckSettings(CheckSettings):
    """What every check that can speak TLS has."""

    __pydantic_config__ = {"extra": "forbid"}

    tls_name: Annotated[
        str, Doc("The name to ask for (SNI) and to verify; empty takes the upstream's, or the server's host.")
    ] = ""
    verify: Annotated[
        bool,
        Doc("Whether the certificate and its name are verified. An upstream's `tls.verify` does not count for checks."),
    ] = True
    ca: Annotated[
        str, Doc("A PEM file of the authorities to trust instead of the system's; empty for the system's.")
    ] = ""
    certificate: Annotated[
        str,
        Doc(
            "A PEM file of the certificate to show to servers that ask for one; empty for none. An upstream's "
            "`tls.certificate` does not count for checks."
        ),
    ] = ""
    key: Annotated[str, Doc("A PEM file of its private key; empty where the key is in `certificate` too.")] = ""

    @property
    def backend_tls(self) -> BackendTls:
        """What TLS is to be, but for the name."""
        return BackendTls(verify=self.verify, ca=self.ca, certificate=self.certificate, key=self.key)


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsCheckSettings(SecureCheckSettings):
    """`type = "tls"`: the TLS handshake succeeds."""

    __pydantic_config__ = {"extra": "forbid"}

    type: Annotated[str, Doc("`tls`")] = "tls"
    expiry_warning: Annotated[
        SecondsOrZero,
        Doc("Warn (in the log and in the reason) of a certificate that ends within this time; 0 never warns."),
    ] = 14 * 86400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpCheckSettings(SecureCheckSettings):
    """`type = "http"`: a request is answered as expected. Redirects are answers, never followed."""

    __pydantic_config__ = {"extra": "forbid"}

    type: Annotated[str, Doc("`http`")] = "http"
    method: Annotated[
        str, _fitting("[A-Z]{1,16}", 'a method in capital letters, for example "GET"'), Doc("The request's method.")
    ] = "GET"
    path: Annotated[
        str,
        _fitting('/[!-"$-~]*', 'a path that begins with "/", percent-encoded, without a fragment'),
        Doc("The request's path and query, percent-encoded as it is to be sent."),
    ] = "/"
    host: Annotated[
        str,
        _fitting("[!-.0-~]*", "a host name or address, with or without a port"),
        Doc("The Host field; empty takes the server's address as written in the configuration."),
    ] = ""
    headers: Annotated[Fields, Doc("Further fields of the request, a table.")] = ()
    tls: Annotated[bool, Doc("Speak TLS even where the upstream does not (with an upstream that does, it is so).")] = (
        False
    )
    status: Annotated[
        tuple[StatusRange, ...],
        BeforeValidator(status_ranges),
        Written('a list of statuses and ranges of them, for example ["200-299", 301]', '["200-399"]'),
        Doc('The statuses that pass, for example `["200-299", 301]`.'),
    ] = ((200, 399),)
    expect_headers: Annotated[
        Fields, Doc("Fields the response must have, a table; an empty value is content with any value.")
    ] = ()
    expect_body: Annotated[
        Pattern, Doc("A regular expression that must match somewhere in the body; empty does not read the body.")
    ] = ""
    body_limit: Annotated[Size, Doc("Bytes of the body that are read and searched; what follows is not looked at.")] = (
        65536
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectCheckSettings(SecureCheckSettings):
    """`type = "expect"`: bytes are sent, and others expected, over TCP (TLS where the upstream speaks it)."""

    __pydantic_config__ = {"extra": "forbid"}

    type: Annotated[str, Doc("`expect`")] = "expect"
    send: Annotated[Escaped, Doc(r"What is sent once connected, with `\r \n \t \0 \xHH \\`; empty sends nothing.")] = ""
    expect: Annotated[
        str, Doc("What must arrive: a text with the same escapes, or a regular expression if `regex` is true.")
    ] = ""
    regex: Annotated[bool, Doc("Whether `expect` is a regular expression.")] = False
    read_limit: Annotated[Size, Doc("Bytes that may arrive before the expected ones are complete.")] = 16384

    def __post_init__(self) -> None:
        (_pattern if self.regex else _escaped)(self.expect)


@dataclass(frozen=True, slots=True, kw_only=True)
class UdpCheckSettings(CheckSettings):
    """`type = "udp"`: a datagram is answered as expected or, where nothing is expected, not refused (ICMP)."""

    __pydantic_config__ = {"extra": "forbid"}

    type: Annotated[str, Doc("`udp`")] = "udp"
    send: Annotated[Escaped, Doc(r"The datagram, with `\r \n \t \0 \xHH \\`; empty sends one without a byte.")] = ""
    expect: Annotated[
        str,
        Doc(
            "What the answer must have in it: a text with the same escapes, or a regular expression if `regex` is "
            "true; empty passes any answer, and silence."
        ),
    ] = ""
    regex: Annotated[bool, Doc("Whether `expect` is a regular expression.")] = False
    wait: Annotated[Seconds, Doc("Seconds a refusal is waited for where nothing is expected; silence passes then.")] = (
        0.5
    )

    def __post_init__(self) -> None:
        (_pattern if self.regex else _escaped)(self.expect)
        if not self.expect and self.wait >= self.timeout:
            raise ValueError(f'a "wait" below "timeout" ({self.timeout:g} s), or no probe would ever pass')
