"""How much one HTTP/1.1 message may take of us: every size and count the codec enforces, named.

This module only holds numbers; it never measures anything.
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from pydantic import ConfigDict
from typing_extensions import Doc

from balancer.core.units import Count, CountOrZero, Size, SizeOrZero


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpLimits:
    """What a message may weigh before it is refused; sizes in bytes, with their line ends.

    A head has two bounds (bytes, fields) because each stops what the other lets through: one field of a
    megabyte, or thousands of fields of three bytes.
    """

    __pydantic_config__: ClassVar[ConfigDict] = {"extra": "forbid"}

    method: Annotated[
        Size,
        Doc("Longest method; a longer one is answered 501 (RFC 9112 3). The longest registered has 16 bytes."),
    ] = 64
    request_line: Annotated[
        Size,
        Doc("Longest request line without its line end; a longer one is answered 414 (RFC 9112 3 asks for 8000)."),
    ] = 8192
    head: Annotated[
        Size,
        Doc("Largest head, from its first byte to its empty line; a larger one is answered 431 (RFC 6585 5)."),
    ] = 65536
    fields: Annotated[
        Count,
        Doc("Most field lines in a head; more are answered 431. Browsers send about 15."),
    ] = 100
    leading_empty_lines: Annotated[
        CountOrZero,
        Doc("Empty lines skipped before a request line (RFC 9112 2.2: at least one); more are answered 400."),
    ] = 1
    body: Annotated[
        SizeOrZero,
        Doc("Largest request body, framing not counted; a larger one is answered 413; 0 for no limit: it is streamed."),
    ] = 0
    chunk_line: Annotated[
        Size,
        Doc("Longest line of a chunk's size and extensions; a longer one is answered 400."),
    ] = 256
    chunk_extensions: Annotated[
        Size,
        Doc("Most bytes of chunk extensions in one body (RFC 9112 7.1.1 asks for a limit); more are answered 400."),
    ] = 16384
    trailers: Annotated[
        Size,
        Doc("Largest trailer section with its empty line; a larger one is answered 431."),
    ] = 8192
    trailer_fields: Annotated[
        Count,
        Doc("Most field lines in a trailer section; more are answered 431."),
    ] = 32
    interim_responses: Annotated[
        Count,
        Doc("Most 1xx responses a backend may send before the final one; more make the response a bad one (502)."),
    ] = 100
