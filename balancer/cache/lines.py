"""Field lines as a stored response has them, each with its CRLF: what is taken out of them, and what one says.

It never judges a value.
"""


def name_of(line: bytes) -> bytes:
    """The lower-case name of one field line."""
    return line[: line.find(b":")].lower()


def value_of(line: bytes) -> bytes:
    """The value of one field line, without the white space around it."""
    return line[line.find(b":") + 1 :].strip(b" \t")


def without(lines: bytes, names: frozenset[bytes]) -> bytes:
    """The lines but those of these lower-case names."""
    return b"\r\n".join([line for line in lines.split(b"\r\n") if name_of(line) not in names])


def only(lines: bytes, names: frozenset[bytes]) -> bytes:
    """The lines of these lower-case names."""
    return b"".join([line + b"\r\n" for line in lines.split(b"\r\n") if name_of(line) in names])


def names_in(lines: bytes) -> frozenset[bytes]:
    """The lower-case names that there are."""
    return frozenset([name_of(line) for line in lines.split(b"\r\n") if line])
