"""The grammar of HTTP/1.1 messages as compiled regular expressions; the only place that lists allowed characters.

Every repeat of one character class is possessive (``*+``, ``++``): what it took is never given back. What follows a
repeated group starts with a character that the group cannot start with, so a group given back is seen to be in vain at
once. A match costs a pass over the bytes, twice at worst, and no input can make it slow. Groups themselves are never
possessive: before 3.11.5, Python went on from a wrong place after a possessive group (CPython issue 106052).
This module never decides what a message means.

Sources: RFC 9110 section 5.6 (tokens, quoted strings), 5.5 (values); RFC 9112 sections 2 to 7; RFC 3986 section 3.
"""

import re
from typing import Final

TCHAR: Final = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]"
_TOKEN: Final = TCHAR + rb"++"
# Neither NUL, CR, LF nor any other control character but the tab (RFC 9110 section 5.5); DEL is one of them.
_VALUE: Final = rb"[\t\x20-\x7e\x80-\xff]*+"
_FIELD: Final = _TOKEN + rb":" + _VALUE + rb"\r\n"
# The same without white space at the value's end, which hardly any peer sends: a head of such fields needs no strip.
_TIGHT_FIELD: Final = _TOKEN + rb":" + _VALUE + rb"(?<![ \t])\r\n"
_VERSION: Final = rb"HTTP/1\.([0-9])"

# RFC 3986's pchar and "/", and the four that browsers leave as they are in a path (WHATWG URL, path percent-encode
# set). Not the backslash: some servers read it as "/", so two readers would see two paths.
_PATH_CHARS: Final = rb"[A-Za-z0-9\-._~!$&'()*+,;=:@/\[\]^|]*+"
# As above with "?", and the others that browsers leave as they are in a query.
_QUERY_CHARS: Final = rb"[A-Za-z0-9\-._~!$&'()*+,;=:@/?\[\]^|`{}\\]*+"
_ESCAPE: Final = rb"%[0-9A-Fa-f]{2}"
_PATH: Final = rb"/" + _PATH_CHARS + rb"(?:" + _ESCAPE + _PATH_CHARS + rb")*"
_QUERY: Final = _QUERY_CHARS + rb"(?:" + _ESCAPE + _QUERY_CHARS + rb")*"
# Stricter than RFC 3986's reg-name: no sub-delimiters (a comma is two Hosts merged by someone before us) and no
# escapes, which no resolvable name has and which readers would decode or not. "_" is in use, so it may stay.
_NAME: Final = rb"[A-Za-z0-9\-._~]{1,255}+"
_AUTHORITY: Final = rb"(?:" + _NAME + rb"|\[([0-9A-Fa-f:.]{2,45}+)\])(?::([0-9]{0,5}+))?"

_REQUEST_LINE: Final = (
    rb"(" + _TOKEN + rb") ((" + _PATH + rb")(?:\?(" + _QUERY + rb"))?|(?!/)[\x21-\x7e]++) " + _VERSION + rb"\r\n"
)
# The space after the status belongs even to an empty reason (RFC 9112 section 4), but backends forget it and
# nothing can be misread without it.
_STATUS_LINE: Final = _VERSION + rb" ([1-9][0-9]{2})(?: (" + _VALUE + rb"))?\r\n"

FIELD_LINE: Final = re.compile(_FIELD)
REQUEST_LINE: Final = re.compile(_REQUEST_LINE)
"""Groups: method, target, path and query (both only of an origin target), minor version."""
STATUS_LINE: Final = re.compile(_STATUS_LINE)
"""Groups: minor version, status, reason."""
REQUEST_HEAD: Final = re.compile(_REQUEST_LINE + rb"((?:" + _FIELD + rb")*)\r\n")
"""A whole head. Groups: those of REQUEST_LINE, then the field lines."""
TIGHT_FIELDS: Final = re.compile(rb"(?:" + _TIGHT_FIELD + rb")*\r\n")
"""Field lines and the empty line, where no value needs a strip at its end; those of nearly every head are such."""
RESPONSE_HEAD: Final = re.compile(_STATUS_LINE + rb"((?:" + _FIELD + rb")*)\r\n")
"""A whole head. Groups: those of STATUS_LINE, then the field lines."""
TIGHT_RESPONSE_HEAD: Final = re.compile(_STATUS_LINE + rb"((?:" + _TIGHT_FIELD + rb")*)\r\n")
"""A whole head whose values need no strip at their end; nearly every head is one."""
FIELDS: Final = re.compile(rb"([^:]++):[ \t]*+([^\r]*+)\r\n")
"""Name and value of each field line of lines that were matched before; white space at a value's end stays."""

TOKEN: Final = re.compile(_TOKEN)
TOKENS: Final = re.compile(rb"[ \t]*+(?:,[ \t]*+)*" + _TOKEN + rb"(?:[ \t]*+,(?:[ \t]*+" + _TOKEN + rb")?)*[ \t]*+")
"""A comma-separated list of tokens with at least one; empty elements count for nothing (RFC 9110 section 5.6.1)."""
AUTHORITY: Final = re.compile(_AUTHORITY)
"""Host, and the authority of a target, without user information. Groups: IPv6 address, port."""
ABSOLUTE_TARGET: Final = re.compile(
    rb"([A-Za-z][A-Za-z0-9+\-.]*+)://([^/?#]*+)(" + _PATH + rb")?(?:\?(" + _QUERY + rb"))?"
)
"""Groups: scheme, authority (unchecked), path, query."""

# 18 digits stay below 2**63 in every reader; a leading zero makes some readers take the number for octal.
REQUEST_LENGTH: Final = re.compile(rb"0|[1-9][0-9]{0,17}+")
RESPONSE_LENGTH: Final = re.compile(rb"[0-9]{1,18}+")

_QDTEXT: Final = rb"[\t\x20\x21\x23-\x5b\x5d-\x7e\x80-\xff]*+"
_QUOTED: Final = rb'"' + _QDTEXT + rb"(?:\\[\t\x20-\x7e\x80-\xff]" + _QDTEXT + rb')*"'
_EXTENSION: Final = rb"[ \t]*+;[ \t]*+" + _TOKEN + rb"(?:[ \t]*+=[ \t]*+(?:" + _TOKEN + rb"|" + _QUOTED + rb"))?"
# 15 digits stay below 2**60: no reader overflows.
CHUNK_LINE: Final = re.compile(rb"([0-9A-Fa-f]{1,15}+)((?:" + _EXTENSION + rb")*)\r\n")
"""Groups: size, extensions."""
