"""The answers the balancer makes itself, and the Date it adds where a backend sent none.

An answer names the status and what happened, in words that are the same whoever the backend was: addresses and
reasons of backends are for the log, not for strangers. What the client itself did wrong is told in detail.
"""

from collections.abc import Callable
from email.utils import formatdate
from typing import Final, Protocol

from balancer.core.termination import Termination
from balancer.errors import RequestRefused
from balancer.http.front import Front
from balancer.http1.heads import LENGTH, NO_BODY, Fields, Framing
from balancer.http1.serialize import reason as phrase

TEXT: Final = b"text/plain; charset=utf-8"


class DateField:
    """The value of Date (RFC 9110 section 6.6.1), written once a second.

    :param wall: seconds since the epoch.
    """

    __slots__ = ("_second", "_value", "_wall")

    def __init__(self, wall: Callable[[], float]) -> None:
        self._wall = wall
        self._second = -1
        self._value = b""

    def __call__(self) -> bytes:
        """The present value."""
        second = int(self._wall())
        if second != self._second:
            self._second = second
            self._value = formatdate(second, usegmt=True).encode("ascii")
        return self._value


class Conditions(Protocol):
    """What of the listener's settings an answer needs."""

    @property
    def date(self) -> DateField: ...
    @property
    def retry_after(self) -> int: ...


class Answer:
    """A short text that says which status it is and why.

    :ivar framing: of the body as GET would get it; the fields announce the same to HEAD.
    """

    __slots__ = ("body", "fields", "framing", "reason", "status")

    def __init__(self, status: int, why: str, date: bytes, retry_after: int = 0) -> None:
        """:param retry_after: seconds after which trying again may help (RFC 9110 section 10.2.3); 0 for not saying."""
        self.status = status
        self.reason = phrase(status)
        self.body = b"%d %b\n%b\n" % (status, self.reason, why.encode("utf-8", "backslashreplace"))
        self.framing = Framing(LENGTH, len(self.body))
        self.fields: Fields = [
            (b"Date", date),
            (b"Content-Type", TEXT),
            (b"Content-Length", b"%d" % len(self.body)),
            (b"Cache-Control", b"no-store"),
        ]
        if retry_after:
            self.fields.append((b"Retry-After", b"%d" % retry_after))

    def send(self, front: Front, method: bytes, last: bool) -> None:
        """Answer a request of this method with it.

        :param last: the connection is of no more use.
        """
        has_body = method != b"HEAD"
        front.send_head(self.status, self.reason, self.fields, self.framing if has_body else NO_BODY, last)
        if has_body:
            front.send_body(self.body)
        front.finish([])


def failed(termination: Termination, settings: Conditions) -> Answer:
    """The answer to a request that ended like this, in general words; 503 says when to try again."""
    status = termination.status
    return Answer(status, termination.explanation, settings.date(), settings.retry_after if status == 503 else 0)


def refused(refusal: RequestRefused, settings: Conditions) -> Answer:
    """The answer to a request that is not forwarded, in the refusal's own words."""
    return Answer(refusal.status, refusal.reason, settings.date())
