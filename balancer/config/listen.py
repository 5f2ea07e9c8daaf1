"""Where a listener listens, as text: Twisted's endpoint descriptions, checked before anything opens.

Only the grammar, Twisted's own kinds and ours for UDP are known here; a kind of a plugin passes, and Twisted looks
at it when the listener opens. It never opens anything.
Source: ``twisted.internet.endpoints.serverFromString``.
"""

import re
from dataclasses import dataclass
from ipaddress import ip_address

ALLOWED = (
    'a Twisted endpoint description: "tcp:8080", "tcp:80:interface=127.0.0.1", "tcp6:80:interface=\\\\:\\\\:1", '
    '"unix:/run/web.sock"'
)

_WORD = re.compile(r"((?:[^\\:=]|\\.)*+)([:=]|\Z)", re.DOTALL)
_OPTIONS = {
    "tcp": ("port", "interface", "backlog"),
    "tcp6": ("port", "interface", "backlog"),
    "ssl": (
        "port", "privateKey", "certKey", "sslmethod", "interface", "backlog", "extraCertChain", "dhParameters",
    ),
    "udp": ("port", "interface"),
    "udp6": ("port", "interface"),
    "unix": ("address", "mode", "backlog", "lockfile"),
    "systemd": ("domain", "index", "name"),
}  # fmt: skip
_POSITIONAL = {"tcp": 1, "tcp6": 1, "ssl": 1, "udp": 1, "udp6": 1, "unix": 1, "systemd": 0}

DATAGRAMS = ("udp", "udp6")
"""Kinds of ours, which Twisted has no endpoints for."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a listener listens, as far as it can be told from the text.

    :ivar kind: ``tcp``, ``tcp6``, ``ssl``, ``unix`` and so on
    :ivar port: the TCP or UDP port; 0 where the system chooses, or there is none.
    :ivar address: interface or path; empty for every interface.
    """

    kind: str
    port: int = 0
    address: str = ""

    def collides(self, other: "Place") -> bool:
        """Whether both cannot be open at one time. (Whether ``tcp`` and ``tcp6`` can, the system decides.)"""
        if self.kind == "unix" or other.kind == "unix":
            return self == other
        if not self.port or self.port != other.port or self._family != other._family:
            return False
        if self.datagrams is not other.datagrams:
            return False
        return self.address == other.address or "" in (self.address, other.address)

    @property
    def datagrams(self) -> bool:
        """Whether it is a port of UDP."""
        return self.kind in DATAGRAMS

    @property
    def _family(self) -> int:
        return 6 if self.kind in ("tcp6", "udp6") or ":" in self.address else 4


def place(description: str) -> Place:
    """What an endpoint description says.

    :raises ValueError: it is none; the message says what is allowed.
    """
    kind, arguments, options = _tokens(description)
    if kind not in _OPTIONS:
        _refuse_bare(description)
        return Place(kind)
    known = _OPTIONS[kind]
    named = dict(zip(known[: _POSITIONAL[kind]], arguments, strict=False)) | options
    unknown = [name for name in options if name not in known]
    if unknown or len(arguments) > len(known[: _POSITIONAL[kind]]):
        stray = f'"{unknown[0]}"' if unknown else f'"{arguments[-1]}"'
        raise ValueError(f"{ALLOWED}; {kind} does not take {stray}, it takes {', '.join(known)}")
    if kind == "unix":
        if not named.get("address"):
            raise ValueError(f"{ALLOWED}; unix needs a path")
        return Place(kind, address=named["address"])
    if kind == "systemd":
        return Place(kind)
    return Place(kind, _port(named.get("port", "")), _interface(named.get("interface", "")))


def checked_listen(description: str) -> str:
    """Return the description.

    :raises ValueError: see :func:`place`.
    """
    place(description)
    return description


def description(host: str, port: int) -> str:
    """The endpoint description of an IP address (empty: every interface) and a port."""
    if not host:
        return f"tcp:{port}"
    kind = "tcp6" if ":" in host else "tcp"
    return f"{kind}:{port}:interface={host.replace(':', chr(92) + ':')}"


def split_place(text: str) -> tuple[str, int]:
    """``8080``, ``127.0.0.1:8080`` or ``[::1]:8080`` into host (empty: every interface) and port.

    :raises ValueError: it is none of these; the message says what is allowed.
    """
    host, colon, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    address = host[1:-1] if bracketed else host
    try:
        if colon and (ip_address(address).version == 6) is not bracketed:
            raise ValueError
        return address, _port(port)
    except ValueError:
        raise ValueError("PORT, IP:PORT or [IPV6]:PORT, for example 8080, 127.0.0.1:8080, [::1]:8080") from None


def _tokens(description: str) -> tuple[str, list[str], dict[str, str]]:
    """Kind, positional arguments and options; a backslash takes the next character as it is."""
    arguments: list[str] = []
    options: dict[str, str] = {}
    name = ""
    position = 0
    while position <= len(description):
        match = _WORD.match(description, position)
        if match is None:
            raise ValueError(f"{ALLOWED}; a backslash stands before the character it protects")
        word = re.sub(r"\\(.)", r"\1", match[1], flags=re.DOTALL)
        if match[2] == "=":
            if name:
                raise ValueError(f'{ALLOWED}; a "=" inside a value is written "\\\\="')
            name = word
        elif name:
            options[name], name = word, ""
        else:
            arguments.append(word)
        position = match.end() + (not match[2])
    return (arguments[0] if arguments else ""), arguments[1:], options


def _refuse_bare(text: str) -> None:
    """A port or an address where a description belongs, and kinds that are no names."""
    try:
        host, port = split_place(text)
    except ValueError:
        if re.fullmatch(r"[A-Za-z][A-Za-z0-9_+-]*:.+", text, flags=re.DOTALL) is None:
            raise ValueError(ALLOWED) from None
    else:
        raise ValueError(f'{ALLOWED}; here "{description(host, port).replace(chr(92), chr(92) * 2)}"')


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and int(text) <= 65535):
        raise ValueError(f"{ALLOWED}; a port is a number from 0 (the system chooses) to 65535")
    return int(text)


def _interface(text: str) -> str:
    return "" if text in ("", "0.0.0.0", "::") else text
