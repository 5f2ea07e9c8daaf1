r"""A finished record as one line of text: common, combined or JSON.

Pure functions from a record to bytes that end in the line's only line feed, whatever peers sent: in the
text formats a control character, a quote, a backslash and a byte beyond ASCII become ``\xHH``, as nginx
writes them; in JSON bytes that are not UTF-8 become the text ``\xHH`` and JSON escapes the rest. No value
longer than :data:`LONGEST_VALUE` is written whole. Nothing here writes a file or knows the time.
"""

import json
import re
from collections.abc import Callable
from functools import lru_cache
from time import gmtime

from balancer.core.record import ConnectionRecord, ExchangeRecord, SessionRecord
from balancer.errors import UnknownName

LONGEST_VALUE = 4096
"""Bytes of one value that are written, then ``...``: half a request line at its default limit, and more than
any value worth reading; what bounds the memory of one line, however large the limits of heads are set."""

SHORT = 128
"""Bytes of a value that is worth remembering as it is written."""

Format = Callable[[ConnectionRecord], bytes]

_SPECIAL = re.compile(rb'[\x00-\x1f"\\\x7f-\xff]')
_PLAIN = re.compile(r"[!#-\[\]-~]+")  # visible ASCII without the quote and the backslash
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_to_json = json.JSONEncoder(separators=(",", ":")).encode
_TIMERS = ("queue", "connect", "first_byte", "total")


@lru_cache(maxsize=4)
def _clf_time(second: int) -> str:
    """``[10/Oct/2000:13:55:36 +0000]``: UTC, and English whatever the locale."""
    t = gmtime(second)
    return f"[{t.tm_mday:02}/{_MONTHS[t.tm_mon - 1]}/{t.tm_year}:{t.tm_hour:02}:{t.tm_min:02}:{t.tm_sec:02} +0000]"


@lru_cache(maxsize=4)
def _iso_second(second: int) -> str:
    t = gmtime(second)
    return f"{t.tm_year:04}-{t.tm_mon:02}-{t.tm_mday:02}T{t.tm_hour:02}:{t.tm_min:02}:{t.tm_sec:02}"


def _iso_time(started: float) -> str:
    """RFC 3339 with milliseconds, UTC."""
    second, part = divmod(int(started * 1000), 1000)
    return f"{_iso_second(second)}.{part:03}Z"


def _cut(value: bytes) -> bytes:
    return value if len(value) <= LONGEST_VALUE else value[:LONGEST_VALUE] + b"..."


def escaped(value: bytes) -> str:
    r"""Return a value as it stands between quotes: visible ASCII and spaces as they are, ``\xHH`` for the rest."""
    if _SPECIAL.search(value) is None:
        return value.decode("ascii")
    return _SPECIAL.sub(lambda found: b"\\x%02X" % found[0][0], value).decode("ascii")


def _between_quotes(value: bytes) -> str:
    return f'"{escaped(value)}"' if value else '"-"'


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "backslashreplace")


def _word(value: str) -> str:
    """A value of ``key=value``: as it is if it is one plain word, ``-`` if empty, else quoted."""
    if not value:
        return "-"
    if len(value) <= LONGEST_VALUE and value != "-" and _PLAIN.fullmatch(value) is not None:
        return value
    return f'"{escaped(_cut(_utf8(value)))}"'


def _received_word(value: bytes) -> str:
    return _word(_text(value))


def _client(value: str) -> str:
    return value if _PLAIN.fullmatch(value) is not None else "-"


def _request_line(method: bytes, target: bytes, minor: int) -> str:
    if not method:
        return '"-"'
    return _between_quotes(b"%b %b %b" % (_cut(method), _cut(target), _protocol(minor).encode("ascii")))


# Clients come with the same words again and again: each is looked at once. Of what they send only short values are
# remembered, so that all caches together stay below 1 MiB.
_known_client = lru_cache(maxsize=1024)(_client)
_known_word = lru_cache(maxsize=1024)(_received_word)
_known_request = lru_cache(maxsize=1024)(_request_line)
_known_quotes = lru_cache(maxsize=1024)(_between_quotes)


def _protocol(minor: int) -> str:
    return f"HTTP/1.{minor}" if minor >= 0 else ""


@lru_cache(maxsize=128)
def _tcp_line(listener: str) -> str:
    """Listeners are ours, and few."""
    return _between_quotes(b"TCP %b -" % _cut(_utf8(listener)))


def _tls_line(listener: str, name: bytes) -> str:
    """With the name that was asked for."""
    return _between_quotes(b"TCP %b %b" % (_cut(_utf8(listener)), name))


@lru_cache(maxsize=128)
def _udp_line(listener: str) -> str:
    return _between_quotes(b"UDP %b -" % _cut(_utf8(listener)))


def _request(record: ConnectionRecord) -> str:
    """The request line, or for a TCP connection or a UDP session a line of the same three parts."""
    if not isinstance(record, ExchangeRecord):
        if isinstance(record, SessionRecord):
            return _udp_line(record.listener)
        return _tls_line(record.listener, record.sni) if record.sni else _tcp_line(record.listener)
    line = _known_request if len(record.target) <= SHORT else _request_line
    return line(record.method, record.target, record.minor)


@lru_cache(maxsize=1024)
def _way(end: str, listener: str, route: str, upstream: str, backend: str) -> str:
    """Names of ours, which are few: each of their combinations is written once."""
    return (
        f"end={end} listener={_word(listener)} route={_word(route)} upstream={_word(upstream)} backend={_word(backend)}"
    )


def _digits(seconds: float | None) -> str:
    """Seconds with six digits after the point, as ``.6f`` has them, which takes four times as long; ``-`` for none."""
    if not seconds:
        return "-" if seconds is None else "0.000000"  # nearly all of them waited for nothing
    if not 0.0 <= seconds < 1e9:  # a clock that was set
        return f"{seconds:.6f}"
    micros = int(seconds * 1e6 + 0.5)
    if micros < 1_000_000:
        return "0." + str(1_000_000 + micros)[1:]
    return f"{micros // 1_000_000}.{str(1_000_000 + micros % 1_000_000)[1:]}"


def _pairs(record: ConnectionRecord) -> str:
    """What NCSA's formats have no place for, in a fixed order."""
    http = ""
    if isinstance(record, ExchangeRecord):
        host, name = record.host, record.request_id
        word = _known_word if len(host) <= SHORT else _received_word
        # A generated id is plain, and never comes again.
        plain = name.isalnum() and len(name) <= SHORT
        known = name.decode("ascii") if plain else _received_word(name)
        http = f" host={word(host)} id={known} cache={record.cache or '-'}"
    elif isinstance(record, SessionRecord):
        http = f" datagrams_in={record.datagrams_in} datagrams_out={record.datagrams_out}"
    end = record.termination
    return (
        f"{_way('-' if end is None else end.word, record.listener, record.route, record.upstream, record.backend)} "
        f"attempts={record.attempts} "
        f"queue={_digits(record.queue)} "
        f"connect={_digits(record.connect)} "
        f"first_byte={_digits(record.first_byte)} "
        f"total={_digits(record.total)} in={record.bytes_in}{http} "
        f"reason={_word(record.reason) if record.reason else '-'}"
    )


def _ncsa(record: ConnectionRecord) -> str:
    status = record.status if isinstance(record, ExchangeRecord) else 0
    return (
        f"{_known_client(record.client)} - - {_clf_time(int(record.started))} {_request(record)} "
        f"{status or '-'} {record.bytes_out or '-'}"
    )


def common(record: ConnectionRecord) -> bytes:
    """NCSA common log format, then ``key=value`` pairs."""
    return f"{_ncsa(record)} {_pairs(record)}\n".encode("ascii")


def combined(record: ConnectionRecord) -> bytes:
    """NCSA combined log format (common, Referer, User-Agent), then ``key=value`` pairs."""
    fields = '"-" "-"'
    if isinstance(record, ExchangeRecord):
        referer, agent = record.referer, record.user_agent
        if referer or agent:
            quotes = _known_quotes if len(agent) <= SHORT else _between_quotes
            fields = f"{_between_quotes(_cut(referer))} {quotes(_cut(agent))}"
    return f"{_ncsa(record)} {fields} {_pairs(record)}\n".encode("ascii")


def _text(value: bytes) -> str:
    return _cut(value).decode("utf-8", "backslashreplace")


def _seconds(value: float | None) -> float | None:
    return None if value is None else round(value, 6)


def as_json(record: ConnectionRecord) -> bytes:
    """One JSON object (RFC 8259), ASCII only; keys are always the same for one kind of record."""
    end = record.termination
    members: dict[str, object] = {
        "time": _iso_time(record.started),
        "kind": "tcp",
        "listener": record.listener,
        "client": record.client,
        "client_port": record.client_port,
        "end": None if end is None else end.value,
        "reason": record.reason[:LONGEST_VALUE],
        "route": record.route,
        "upstream": record.upstream,
        "backend": record.backend,
        "attempts": record.attempts,
        "bytes_in": record.bytes_in,
        "bytes_out": record.bytes_out,
    }
    for timer in _TIMERS:
        members[timer] = _seconds(getattr(record, timer))
    if isinstance(record, ExchangeRecord):
        members["kind"] = "http"
        members |= {
            "peer": record.peer,
            "scheme": record.scheme,
            "method": _text(record.method),
            "host": _text(record.host),
            "target": _text(record.target),
            "protocol": _protocol(record.minor),
            "status": record.status,
            "reused": record.reused,
            "request_id": _text(record.request_id),
            "referer": _text(record.referer),
            "user_agent": _text(record.user_agent),
            "cache": record.cache,
            "cache_detail": record.cache_detail[:LONGEST_VALUE],
        }
    elif isinstance(record, SessionRecord):
        members["kind"] = "udp"
        members |= {"datagrams_in": record.datagrams_in, "datagrams_out": record.datagrams_out}
    else:
        members["sni"] = _text(record.sni)
    members["decisions"] = record.decisions
    return _to_json(members).encode("ascii") + b"\n"


FORMATS: dict[str, Format] = {"common": common, "combined": combined, "json": as_json}


def format_named(name: str) -> Format:
    """Return a format by its name in the settings.

    :raises UnknownName: there is none of that name.
    """
    try:
        return FORMATS[name]
    except KeyError:
        raise UnknownName(f'no access log format "{name}": allowed are {", ".join(FORMATS)}') from None
