"""Exceptions that cross a layer: each says who is to blame and what the user can do next.

This module never imports another of ours.
"""


class BalancerError(Exception):
    """Anything the balancer raises on purpose."""


class LeaseError(BalancerError):
    """A lease was used after it was given back. The caller is to blame; nothing was changed."""


class UnknownName(BalancerError):
    """No upstream, backend or plugin of that name. The message lists the names there are."""


class ConfigurationError(BalancerError):
    """The configuration cannot be served. ``str`` is the whole report, one problem a paragraph."""


class RequestRefused(BalancerError):
    """The client sent what we do not forward.

    :ivar status: the HTTP status to answer with, after which the connection closes.
    :ivar reason: one sentence for the log and the body: what was found and what is allowed.
    :ivar section: the rule's source, for example ``"RFC 9112 section 6.3"``.
    """

    def __init__(self, status: int, reason: str, section: str = "") -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.section = section

    def __repr__(self) -> str:
        return f"RequestRefused({self.status}, {self.reason!r}, {self.section!r})"


class BadResponse(BalancerError):
    """The backend sent what is not an HTTP response, or only a part of one.

    :ivar reason: one sentence for the log: what was found and what is allowed.
    :ivar section: the rule's source, for example ``"RFC 9112 section 6.3"``.
    :ivar nothing_received: the backend closed without one byte of a response; such a request
        may be retried where the method allows it.
    """

    def __init__(self, reason: str, section: str = "", nothing_received: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.section = section
        self.nothing_received = nothing_received

    def __repr__(self) -> str:
        return f"BadResponse({self.reason!r}, {self.section!r}, nothing_received={self.nothing_received})"
