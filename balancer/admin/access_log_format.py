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

from balancer.core.record import ConnectionRecord, ExchangeRecord
from balancer.errors import UnknownName

LONGEST_VALUE = 4096
"""Bytes of one value that are written, then ``...``: half a request line at its default limit, and more than
any value worth reading; what bounds the memory of one line, however large the limits of heads are set."""

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


# Names of ours, from the configuration: few, so each is looked at once.
_own = lru_cache(maxsize=4096)(_word)


def _time(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds:.6f}"


def _request(record: ConnectionRecord) -> bytes:
    """The request line, or for a TCP connection a line of the same three parts."""
    if not isinstance(record, ExchangeRecord):
        return b"TCP %b -" % _cut(_utf8(record.listener))
    if not record.method:
        return b""
    return b"%b %b %b" % (_cut(record.method), _cut(record.target), _protocol(record).encode("ascii"))


def _protocol(record: ExchangeRecord) -> str:
    return f"HTTP/1.{record.minor}" if record.minor >= 0 else ""


def _pairs(record: ConnectionRecord) -> str:
    """What NCSA's formats have no place for, in a fixed order."""
    end = record.termination
    http = ""
    if isinstance(record, ExchangeRecord):
        http = f" host={_word(_text(record.host))} id={_word(_text(record.request_id))}"
    return (
        f"end={'-' if end is None else end.value} listener={_own(record.listener)} route={_own(record.route)} "
        f"upstream={_own(record.upstream)} backend={_own(record.backend)} attempts={record.attempts} "
        f"queue={_time(record.queue)} connect={_time(record.connect)} first_byte={_time(record.first_byte)} "
        f"total={_time(record.total)} in={record.bytes_in}{http} reason={_word(record.reason)}"
    )


def _ncsa(record: ConnectionRecord) -> str:
    status = record.status if isinstance(record, ExchangeRecord) else 0
    return (
        f"{_host(record)} - - {_clf_time(int(record.started))} {_between_quotes(_request(record))} "
        f"{status or '-'} {record.bytes_out or '-'}"
    )


def _host(record: ConnectionRecord) -> str:
    client = record.client
    return client if _PLAIN.fullmatch(client) is not None else "-"


def common(record: ConnectionRecord) -> bytes:
    """NCSA common log format, then ``key=value`` pairs."""
    return f"{_ncsa(record)} {_pairs(record)}\n".encode("ascii")


def combined(record: ConnectionRecord) -> bytes:
    """NCSA combined log format (common, Referer, User-Agent), then ``key=value`` pairs."""
    referer = agent = b""
    if isinstance(record, ExchangeRecord):
        referer, agent = _cut(record.referer), _cut(record.user_agent)
    fields = f"{_between_quotes(referer)} {_between_quotes(agent)}"
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
            "protocol": _protocol(record),
            "status": record.status,
            "reused": record.reused,
            "request_id": _text(record.request_id),
            "referer": _text(record.referer),
            "user_agent": _text(record.user_agent),
        }
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
