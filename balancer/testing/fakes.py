"""Small stand-ins for tests of whatever uses an upstream: a selector in order, traits of your choice, a ready upstream.

They need no plugin, no configuration and no clock of their own. This module never decides anything a test could be
about.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from zope.interface import implementer

from balancer.core.model import Backend, BackendKey, BackendSpec, Listener, Member
from balancer.core.policies import UpstreamPolicy
from balancer.core.traits import Traits
from balancer.core.upstream import SelectorBuilder, Upstream
from balancer.interfaces import ISelector


@implementer(ISelector)
class InOrder:
    """The usable members in the order of the set, always.

    :ivar refreshed: how often it was told that a ``usable`` flag changed.
    :ivar observed: what it was told of leases that came back: member, latency, time.
    """

    def __init__(self, members: Sequence[Member]) -> None:
        self.members = tuple(members)
        self.refreshed = 0
        self.observed: list[tuple[Member, float, float]] = []

    def refresh(self) -> None:
        """See :meth:`ISelector.refresh`."""
        self.refreshed += 1

    def candidates(self, traits: Traits) -> Iterator[Member]:
        """See :meth:`ISelector.candidates`."""
        return (member for member in self.members if member.usable)

    def observe(self, member: Member, latency: float, now: float) -> None:
        """See :meth:`ISelector.observe`."""
        self.observed.append((member, latency, now))


class FakeTraits:
    """Traits with the answers given; whatever is not given is not known."""

    def __init__(
        self,
        source: str | None = None,
        method: bytes | None = None,
        host: bytes | None = None,
        path: bytes | None = None,
        query: bytes | None = None,
        headers: Mapping[bytes, bytes] | None = None,
    ) -> None:
        self._source = source
        self._method = method
        self._host = host
        self._path = path
        self._query = query
        self._headers = dict(headers or {})

    def source(self) -> str | None:
        """The client's address."""
        return self._source

    def method(self) -> bytes | None:
        """The request's method."""
        return self._method

    def host(self) -> bytes | None:
        """The request's authority."""
        return self._host

    def path(self) -> bytes | None:
        """The request target's path."""
        return self._path

    def query(self) -> bytes | None:
        """The request target's query."""
        return self._query

    def header(self, name: bytes) -> bytes | None:
        """The field of that lower-case name."""
        return self._headers.get(name)


class Backends(dict[BackendKey, Backend]):
    """Backends by key, made when first asked for: what a registry is to several upstreams.

    :param listener: told of each change of each backend.
    """

    def __init__(self, listener: Listener | None = None) -> None:
        super().__init__()
        self.listener = listener

    def __missing__(self, key: BackendKey) -> Backend:
        backend = self[key] = Backend(key, self.listener)
        return backend

    @property
    def intern(self) -> Callable[[BackendKey], Backend]:
        """What :meth:`Upstream.update` asks."""
        return self.__getitem__


def make_specs(count: int, **changes: Any) -> tuple[BackendSpec, ...]:
    """Specs at 10.0.0.1:80, 10.0.0.2:80 and so on, all with these changes (``weight=2``, ``max_connections=1``)."""
    return tuple(replace(BackendSpec(host=f"10.0.0.{number}", port=80), **changes) for number in range(1, count + 1))


def make_upstream(
    specs: Iterable[BackendSpec] | int = 3,
    policy: UpstreamPolicy | None = None,
    *,
    name: str = "web",
    backends: Backends | None = None,
    build_selector: SelectorBuilder = InOrder,
    listener: Listener | None = None,
    now: float = 0.0,
) -> Upstream:
    """An upstream with members and a selector that takes them in order.

    :param specs: its backends, or how many (see :func:`make_specs`).
    :param backends: shared with other upstreams, where they are to share.
    """
    upstream = Upstream(name, policy or UpstreamPolicy(), build_selector, listener)
    wanted = make_specs(specs) if isinstance(specs, int) else specs
    upstream.update(wanted, (Backends(listener) if backends is None else backends).intern, now)
    return upstream
