"""How old a response is when it arrives and how long it is fresh (RFC 9111 section 4.2). Arithmetic on a head: it never
decides whether the response is stored or reused.
"""

from typing import Final

from balancer.cache.dates import age_value, http_date, valid_dates
from balancer.cache.directives import ABSENT, ResponseControl
from balancer.cache.messages import Response
from balancer.cache.policy import CachePolicy

HEURISTIC_STATUSES: Final = frozenset({200, 203, 204, 206, 300, 301, 308, 404, 405, 410, 414, 501})
"""Statuses of responses that may be stored and guessed about without a word of theirs (RFC 9110 section 15.1)."""

_REDIRECTS: Final = frozenset({302, 303, 307})
"""Those that the operator's ``ttl`` is for too; never for errors, which would outlive their cause."""


def initial_age(response: Response, asked_at: float, now: float) -> float:
    """corrected_initial_age (section 4.2.3), in seconds: never negative.

    Of several Dates the earliest counts; one that is invalid, absent or in the future says nothing.

    :param asked_at: when the request was sent; ``now``: when the response's head came.
    """
    dates = valid_dates(response.get_all(b"date"), now)
    apparent = max(0.0, now - min(dates)) if dates else 0.0
    return max(apparent, age_value(response.get_all(b"age")) + max(0.0, now - asked_at))


def explicit_lifetime(response: Response, control: ResponseControl, now: float) -> float | None:
    """What the response says of its lifetime (section 4.2.1), in seconds; ``None`` where it says nothing."""
    if control.s_maxage != ABSENT:
        return float(control.s_maxage)
    if control.max_age != ABSENT:
        return float(control.max_age)
    values = [] if control.targeted else response.get_all(b"expires")
    if not values:
        return None
    expires = valid_dates(values, now)
    if len(expires) < len(values):
        return 0.0  # "0" and whatever else is no date lie in the past (section 5.3)
    return max(0.0, min(expires) - max(valid_dates(response.get_all(b"date"), now), default=now))


def may_guess(status: int, control: ResponseControl) -> bool:
    """Whether a response that says nothing of its lifetime may be stored and guessed about (sections 3, 4.2.2)."""
    return control.public or status in HEURISTIC_STATUSES


def guessed_lifetime(response: Response, policy: CachePolicy, now: float, age: float = 0.0) -> float:
    """A lifetime for a response that says nothing of it, in seconds.

    :param age: its age when it arrives, from when on ``default_ttl`` counts.
    """
    value = response.get(b"last-modified")
    modified = None if value is None else http_date(value, now)
    if modified is None or not policy.heuristic:
        return age + policy.default_ttl if policy.default_ttl else 0.0
    date = min(valid_dates(response.get_all(b"date"), now), default=now)
    return min(policy.heuristic_max, policy.heuristic * max(0.0, date - modified))


def overridden(
    lifetime: float, status: int, explicit: bool, control: ResponseControl, policy: CachePolicy, age: float = 0.0
) -> float:
    """The lifetime as the operator will have it.

    :param age: its age when it arrives: the operator's seconds count from then on, whatever an origin's clock says.
    """
    if policy.ttl is not None and (explicit or takes_ttl(status, control)):
        lifetime = age + policy.ttl
    if policy.min_ttl:
        lifetime = max(lifetime, age + policy.min_ttl)
    return min(lifetime, age + policy.max_ttl) if policy.max_ttl else lifetime


def takes_ttl(status: int, control: ResponseControl) -> bool:
    """Whether the operator's ``ttl`` is for a response that says nothing of its lifetime."""
    return status in _REDIRECTS or may_guess(status, control)
