"""Exceptions that cross a layer: each says who is to blame and what the user can do next.

This module never imports another of ours.
"""

from dataclasses import dataclass

MAX_REPORTED = 100
"""Problems that the text of a :class:`ConfigurationError` shows: nobody reads more at once."""


class BalancerError(Exception):
    """Anything the balancer raises on purpose."""


class LeaseError(BalancerError):
    """A lease was used after it was given back. The caller is to blame; nothing was changed."""


class UnknownName(BalancerError):
    """No upstream, backend or plugin of that name. The message lists the names there are."""


class BadProxyHeader(BalancerError):
    """What came is no PROXY protocol header, or a wrong one: the sender is to blame, the message says how."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One mistake in a configuration.

    :ivar file: the file as it was named, or ``"command line"``.
    :ivar line: counted from 1; 0 where there is none (the command line, a file that cannot be read).
    :ivar key: dotted path from the top, for example ``upstream.web.servers[0].weight``; list items count from 0.
    :ivar found: what is there, as a person would write it.
    :ivar allowed: what may be there.
    :ivar hint: what was probably meant; empty where nothing is near.
    """

    file: str
    line: int
    key: str
    found: str
    allowed: str
    hint: str = ""

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        head = f"{place}: {self.key}" if self.key else place
        hint = f"\n    did you mean {self.hint}?" if self.hint else ""
        return f"{head}\n    found:   {self.found}\n    allowed: {self.allowed}{hint}"


class ConfigurationError(BalancerError):
    """The configuration cannot be served. ``str`` is the whole report, one problem a paragraph.

    :ivar problems: every mistake, in the order of the file; at least one.
    """

    def __init__(self, *problems: Problem) -> None:
        if not problems:
            raise ValueError("a configuration error without a problem")
        super().__init__(*problems)
        self.problems = problems

    def __str__(self) -> str:
        count = "1 mistake" if len(self.problems) == 1 else f"{len(self.problems)} mistakes"
        shown = [str(problem) for problem in self.problems[:MAX_REPORTED]]
        more = len(self.problems) - len(shown)
        return "\n".join([f"{count} in the configuration", *shown, *([f"and {more} more"] if more else [])])


class ListenError(BalancerError):
    """An address cannot be listened on. The message names listener, address, cause and what to change."""


class NatError(BalancerError):
    """The kernel did not take our rules, or cannot. The message says why and what to change."""


class AccessLogError(BalancerError):
    """The access log cannot be opened. The message names the path and the cause."""


class PreflightError(BalancerError):
    """What a configuration needs of this machine is not there. The message has a line for each thing."""


class TlsSettingsError(BalancerError):
    """What TLS is to be cannot be had. Each problem names the file, or the name, and what is expected.

    ``str`` is the whole report, one problem a line.

    :ivar problems: every one that was found; at least one.
    """

    def __init__(self, *problems: str) -> None:
        if not problems:
            raise ValueError("an error of TLS settings without a problem")
        super().__init__(*problems)
        self.problems = problems

    def __str__(self) -> str:
        return "\n".join(self.problems)

    def within(self, place: str) -> "TlsSettingsError":
        """The same, with the place they were found at in front of each problem."""
        return TlsSettingsError(*[f"{place}: {problem}" for problem in self.problems])


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


class ClientHelloRefused(BalancerError):
    """A client of TLS passthrough sent no ClientHello, or none that can be routed.

    :ivar reason: what was found, for the log.
    :ivar alert: the TLS alert to answer with (RFC 8446 section 6.2); ``None`` where it speaks no TLS, and so would not
        understand one.
    :ivar section: the rule's source.
    """

    def __init__(self, reason: str, alert: int | None, section: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.alert = alert
        self.section = section

    def __str__(self) -> str:
        return f"{self.reason} ({self.section})" if self.section else self.reason


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


class StoreError(BalancerError):
    """A store of responses cannot read or keep something: for the store's caller, which goes on without it."""
