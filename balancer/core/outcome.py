"""How the use of a backend ended, and what that says about the backend. It never decides that it has ended."""

from enum import Enum


class Outcome(Enum):
    """How the use of a backend ended. ``failure`` says what it tells about the backend (``None``: nothing)."""

    SUCCESS = ("success", False)
    CLIENT_LEFT = ("the client left", None)
    UNUSED = ("given back unused", None)
    CONNECT_REFUSED = ("connect refused", True)
    CONNECT_TIMEOUT = ("connect timed out", True)
    CONNECT_FAILED = ("connect failed", True)
    RESET = ("connection reset", True)
    EMPTY_RESPONSE = ("closed before any byte of a response", True)
    BAD_RESPONSE = ("malformed or truncated response", True)
    TIMEOUT = ("timed out", True)
    SERVER_ERROR = ("answered 502, 503 or 504", True)

    def __init__(self, words: str, failure: bool | None) -> None:
        self.words = words
        self.failure = failure
