"""The fallback chain: ``hdr(x-tenant) or leastconn``. The first selector that has a key for a request places it.

Where none of the chain has one, turns are taken as by ``roundrobin``, as HAProxy does. This module also hands a
selector's memory on to its successor when an upstream rebuilds it.
"""

from collections.abc import Callable, Iterator, Sequence

from zope.interface import classImplements

from balancer.core.model import Member
from balancer.core.selection.inheriting import Inheriting
from balancer.core.selection.roundrobin import RoundRobin
from balancer.core.traits import Traits
from balancer.interfaces import ISelector, SelectionOptions


class Chain:
    """Selectors in order of preference.

    :param selectors: at least one, all for these members.
    """

    def __init__(self, selectors: Sequence[ISelector], members: Sequence[Member], options: SelectionOptions) -> None:
        self.selectors = tuple(selectors)
        self._members = members
        self._options = options
        self._last: RoundRobin | None = None

    def refresh(self) -> None:
        """Tell each."""
        for selector in self.selectors:
            selector.refresh()
        if self._last is not None:
            self._last.refresh()

    def candidates(self, traits: Traits) -> Iterator[Member]:
        """Of the first that has a key, or else in turn."""
        for selector in self.selectors:
            found = selector.candidates(traits)
            if found is not None:
                return found
        if self._last is None:  # made when first needed: most chains end with one that always answers
            self._last = RoundRobin(self._members, self._options)
        return self._last.candidates(traits)

    def observe(self, member: Member, latency: float, now: float) -> None:
        """Tell each."""
        for selector in self.selectors:
            selector.observe(member, latency, now)

    def inherit(self, predecessor: "Chain") -> None:
        """Hand on the memory, position by position."""
        for selector, before in zip(self.selectors, predecessor.selectors, strict=True):
            if type(selector) is type(before) and isinstance(selector, Inheriting):
                selector.inherit(before)


classImplements(Chain, ISelector)


class Succession:
    """Builds the chain anew for each set of members; what the last one learned is handed on.

    One for each upstream.
    """

    def __init__(self, makers: Sequence[Callable[[Sequence[Member]], ISelector]], options: SelectionOptions) -> None:
        self._makers = tuple(makers)
        self._options = options
        self._latest: Chain | None = None

    def __call__(self, members: Sequence[Member]) -> Chain:
        """The chain for these members."""
        chain = Chain([make(members) for make in self._makers], members, self._options)
        if self._latest is not None:
            chain.inherit(self._latest)
        self._latest = chain
        return chain
