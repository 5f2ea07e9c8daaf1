"""The selectors that hash: the same key meets the same member, as long as it is there and not too busy.

``source``, ``uri``, ``url_param``, ``hdr``, ``cookie`` and ``hash`` differ in their key (``keys``); where keys land is
for ``ring`` or ``maglev`` to say, how much one member may get for ``bounded``. All three are chosen by options.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial

from zope.interface import classImplements

from balancer.core.model import Member
from balancer.core.selection import keys
from balancer.core.selection.bounded import BoundedLoad
from balancer.core.selection.digest import digest
from balancer.core.selection.keys import Key
from balancer.core.selection.kinds import Kind
from balancer.core.selection.maglev import Maglev
from balancer.core.selection.places import Places, walk
from balancer.core.selection.ring import Ring
from balancer.core.traits import Traits
from balancer.interfaces import ISelector, SelectionOptions

HASH_TYPES: dict[str, Callable[[Sequence[Member]], Places]] = {"maglev": Maglev, "ring": Ring}
"""What ``hash_type`` may be."""


class Hashed:
    """Members by the hash of a key."""

    def __init__(self, key: Key, members: Sequence[Member], options: SelectionOptions) -> None:
        self._key = key
        self._places = HASH_TYPES[options.hash_type](members)
        self._bound = BoundedLoad(members, options.balance_factor) if options.balance_factor else None

    def refresh(self) -> None:
        """The places stay as they are: whoever is not usable is passed over."""
        if self._bound is not None:
            self._bound.refresh()

    def candidates(self, traits: Traits) -> Iterator[Member] | None:
        """The key's member, then those that would have it if that one were gone."""
        key = self._key(traits)
        if not key:
            return None
        preferred = walk(self._places, digest(key))
        return preferred if self._bound is None else self._bound.order(preferred)

    def observe(self, member: Member, latency: float, now: float) -> None:
        """Latency is of no interest."""


classImplements(Hashed, ISelector)


def _by(key: Callable[[Sequence[str]], Key]) -> Kind:
    return Kind(lambda arguments: partial(Hashed, key(arguments)))


SOURCE = _by(keys.source)
URI = _by(keys.uri)
URL_PARAM = _by(keys.url_param)
HEADER = _by(keys.header)
COOKIE = _by(keys.cookie)
HASH = _by(keys.joined)
