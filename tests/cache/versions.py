"""What a stored response may have come to say, and what its directives mean: RFC 9111 sections 3, 4.1 and 4.2 as a
reader of the text would write them down.

It never looks at what a cache did.
"""

from dataclasses import dataclass, field, replace
from typing import NamedTuple

from balancer.cache.policy import CachePolicy
from balancer.cache.stored import Fields
from tests.cache.exchanges import Ask, Directives, Said

HEURISTIC = {200, 203, 204, 206, 300, 301, 308, 404, 405, 410, 414, 501}
"""RFC 9110 section 15.1: the status codes that are defined as heuristically cacheable."""
UNDERSTOOD = HEURISTIC | {302, 303, 307, 403, 451, 500, 502, 503, 504}
"""Those for which must-understand may be met."""
SAFE = {"GET", "HEAD", "OPTIONS", "TRACE", "QUERY"}
NEVER_UPDATED = {b"content-length", b"age", b"connection"}


class Violation(NamedTuple):
    """What is forbidden, and by which section."""

    section: str
    what: str


class Directed:
    """What a response says about caching to us: RFC 9213 section 2.2 chooses the field."""

    def __init__(self, said: Said, policy: CachePolicy) -> None:
        ours = "cdn-cache-control" in (name.lower() for name in policy.targets)
        targeted = said.cdn if ours and isinstance(said.cdn, tuple) else ()
        self.targeted = bool(targeted)
        # Of the members of a dictionary with the same name the last counts (RFC 8941 section 4.2.2).
        self._all: Directives = tuple(dict(targeted).items()) or said.cc or ()
        self._said = said
        self._policy = policy

    def has(self, name: str) -> bool:
        """Whether the directive is there, whatever its argument."""
        return any(found == name for found, _ in self._all)

    def whole(self, name: str) -> bool:
        """Whether the directive is there without field names."""
        return any(found == name and not isinstance(value, tuple) for found, value in self._all)

    def named(self, *names: str) -> set[bytes]:
        """The field names that qualified directives list."""
        return {
            entry.lower().encode()
            for found, value in self._all
            if found in names and isinstance(value, tuple)
            for entry in value
        }

    def seconds(self, name: str) -> float | None:
        """The first value of a directive; 0 for what is no number (section 4.2.1), None for no such directive."""
        for found, value in self._all:
            if found == name:
                return float(value) if isinstance(value, int) and value >= 0 else 0.0
        return None

    @property
    def explicit(self) -> bool:
        """Whether there is an explicit expiration time (section 4.2.1), be it a wrong one."""
        return self.has("s-maxage") or self.has("max-age") or bool(self._said.expires and not self.targeted)

    @property
    def shareable(self) -> bool:
        """Whether what was asked for with Authorization may be reused (section 3.5)."""
        return self.has("must-revalidate") or self.has("public") or self.has("s-maxage")

    @property
    def never_stale(self) -> str:
        """The directive that forbids any stale reuse (section 4.2.4); empty for none."""
        names = ("no-cache", "must-revalidate", "proxy-revalidate", "s-maxage")
        return next((name for name in names if (self.whole if name == "no-cache" else self.has)(name)), "")

    def lifetime(self, date: float, age: float) -> float:
        """The longest freshness lifetime that is permitted (sections 4.2.1 and 4.2.2). The operator's settings count
        from the arrival, when it had this age.
        """
        policy = self._policy
        if policy.ttl is not None:
            lifetime = age + policy.ttl
        elif (shared := self.seconds("s-maxage")) is not None:
            lifetime = shared
        elif (private := self.seconds("max-age")) is not None:
            lifetime = private
        elif self.explicit:
            first = self._said.expires[0]
            lifetime = max(0.0, first - date) if isinstance(first, int) else 0.0
        elif self._said.status in HEURISTIC or self.has("public"):
            since = 0.0 if self._said.modified is None else max(0.0, date - self._said.modified)
            lifetime = max(age + policy.default_ttl, min(policy.heuristic * since, policy.heuristic_max))
        else:
            lifetime = 0.0
        if policy.min_ttl:
            lifetime = max(lifetime, age + policy.min_ttl)
        return min(lifetime, age + policy.max_ttl) if policy.max_ttl else lifetime


def age_told(said: Said) -> float:
    """The first member of Age; what is no number is ignored (section 5.1)."""
    first = (said.age or "").partition(",")[0].strip()
    return float(first) if first.isdigit() else 0.0


def members(ask: Ask, name: str) -> object:
    """A selecting field, normalised as its definition allows (section 4.1); None where it is absent."""
    lower = name.lower()
    if lower == "authorization":
        return ask.authorization or None
    values = [value for found, value in ask.selecting if found.lower() == lower]
    if not values:
        return None
    if lower in ("accept-encoding", "accept-language"):
        return frozenset(member.lower() for value in values for member in value)
    return tuple(member for value in values for member in value)


def selected(vary: tuple[str, ...], first: Ask, second: Ask) -> bool:
    """Whether two requests match in what Vary names (section 4.1)."""
    return "*" not in vary and all(members(first, name) == members(second, name) for name in vary)


@dataclass(slots=True)
class Received:
    """One response of the origin, or that there was none.

    :ivar asked: the order in which things happened (clocks go backwards): when the request for it was sent.
    :ivar order: when it came.
    :ivar complete: all of its content came.
    """

    ask: Ask
    said: Said | None
    asked_at: float
    arrived: float
    asked: int
    order: int
    complete: bool = True

    @property
    def failed(self) -> bool:
        """Whether stale-if-error speaks of it (RFC 5861 section 4; RFC 9111 section 4.3.3)."""
        return self.said is None or self.said.status >= 500

    @property
    def date(self) -> float:
        """The value of Date; that of arrival where it is absent or invalid (RFC 9110 section 6.6.1)."""
        date = self.said.date if self.said else None
        return float(date) if isinstance(date, int) else self.arrived


@dataclass(slots=True)
class Version:
    """What a stored response says after its last update.

    :ivar base: the response that its content came with.
    :ivar last: the one that updated it last; ``base`` where none did.
    :ivar withheld: names of fields that did not have to be stored, for a directive named them.
    :ivar choosers: requests that it was sent, or chosen by the origin, for.
    :ivar superseded: an update had to be made of it since.
    :ivar doubted: a response to HEAD said that it is not current any more (section 4.3.5), or a soft purge met it.
    """

    base: Received
    last: Received
    said: Said
    fields: Fields
    withheld: set[bytes] = field(default_factory=set)
    choosers: list[Ask] = field(default_factory=list)
    superseded: bool = False
    doubted: bool = False

    @property
    def original(self) -> Said:
        assert self.base.said
        return self.base.said

    @property
    def initial_age(self) -> float:
        """corrected_initial_age (section 4.2.3)."""
        last = self.last
        age_value = age_told(last.said) if last.said else 0.0
        return max(0.0, last.arrived - last.date, age_value + max(0.0, last.arrived - last.asked_at))

    def age(self, now: float) -> float:
        """current_age (section 4.2.3). A clock that was set back does not make anything younger than it came."""
        return self.initial_age + max(0.0, now - self.last.arrived)

    def lifetime(self, policy: CachePolicy) -> float:
        return Directed(self.said, policy).lifetime(self.last.date, self.initial_age)

    def fresh(self, now: float, policy: CachePolicy) -> bool:
        """Section 4.2."""
        back = now < self.last.arrived
        return not (self.doubted or back) and self.lifetime(policy) > self.age(now)

    def suits(self, ask: Ask) -> bool:
        """Whether it could be chosen for a request, but for freshness (sections 4 and 4.1)."""
        base = self.base.ask
        methods = ("GET", "HEAD") if base.method == "GET" else (base.method,)
        return (
            ask.method in methods
            and base.target == ask.target
            and base.content == ask.content
            and any(selected(self.said.vary, chooser, ask) for chooser in self.choosers)
        )

    def updated(self, by: Received, policy: CachePolicy, *, chosen: bool) -> "Version":
        """After an update (section 3.2)."""
        said = by.said
        assert said
        new = [line for line in said.fields() if line[0].lower() not in NEVER_UPDATED | {b"x-base", b"content-type"}]
        names = {name.lower() for name, _ in new}
        kept = [line for line in self.fields if line[0].lower() not in names]
        choosers = [*self.choosers, by.ask] if chosen else self.choosers
        merged = self.said.updated(said)
        withheld = (self.withheld - names) | Directed(merged, policy).named("no-cache", "private")
        return Version(self.base, by, merged, kept + new, withheld, choosers)

    def joined(self, new: "Version") -> "Version":
        """Combined with another part of the same representation, whose fields replace its own (section 3.4)."""
        names = {name.lower() for name, _ in new.fields}
        kept = [line for line in self.fields if line[0].lower() not in names]
        said = replace(self.said.updated(new.said), part=new.said.part)
        return Version(new.base, new.last, said, kept + new.fields, self.withheld | new.withheld, new.choosers)


def unstorable(received: Received, said: Said, policy: CachePolicy) -> list[Violation]:
    """Why a response must not be stored (section 3).

    :param said: what it says by now, after updates.
    """
    out = []
    ask, told = received.ask, Directed(said, policy)
    if ask.method not in ("GET", "HEAD", "QUERY"):
        out.append(Violation("9111 3", f"the response to {ask.method} is reused"))
    if said.status < 200 or said.status == 304:
        out.append(Violation("9111 3", f"a response with status {said.status} is reused"))
    if told.has("must-understand"):
        if said.status not in UNDERSTOOD:
            out.append(Violation("9111 5.2.2.3", f"must-understand and status {said.status}"))
    elif told.has("no-store"):
        out.append(Violation("9111 5.2.2.5", "a response with no-store is reused"))
    if ask.has("no-store"):
        out.append(Violation("9111 5.2.1.5", "the response to a request with no-store is reused"))
    if told.whole("private"):
        out.append(Violation("9111 5.2.2.7", "a private response is reused"))
    if ask.authorization and not told.shareable:
        out.append(Violation("9111 3.5", "the response to a request with Authorization is reused"))
    allowed = told.has("public") or told.explicit or said.status in HEURISTIC or policy.ttl is not None
    if not allowed:
        out.append(Violation("9111 3", f"nothing allows to store a response with status {said.status}"))
    cookie = received.said is not None and received.said.status != 304 and received.said.set_cookie
    if cookie and policy.set_cookie == "pass" and b"set-cookie" not in told.named("private", "no-cache"):
        out.append(Violation("set_cookie", "a response that sets a cookie is reused, by policy pass"))
    return out
