"""Finding plugins by name: the only caller of ``twisted.plugin.getPlugins``.

Built-ins come through the same door as strangers: ``twisted/plugins/balancer_plugin.py`` lists lazy references
(:class:`LazySelector`, :class:`LazyProbe`, :class:`LazyStore`) that import their module when first used, as
``ServiceMaker`` does. This module never keeps a plugin's state.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from difflib import get_close_matches
from importlib import import_module
from typing import Any

from twisted.application.service import ServiceMaker
from twisted.internet.defer import Deferred
from twisted.plugin import IPlugin, getPlugins  # noqa: TID251 - the one place
from zope.interface import implementer
from zope.interface.interface import InterfaceClass

from balancer.core.model import Member
from balancer.errors import UnknownName
from balancer.hangup import HANGUP
from balancer.interfaces import (
    ICacheStore,
    ICacheStorePlugin,
    IProbePlugin,
    ISelector,
    ISelectorPlugin,
    ProbeResult,
    ProbeTarget,
    SelectionOptions,
)


def every(interface: InterfaceClass) -> dict[str, Any]:
    """All plugins that provide the interface, by name. Of two with one name a stranger's counts, so that a site may
    replace a built-in; of two strangers' the one found last."""
    found: Iterable[Any] = getPlugins(interface)
    return {plugin.name: plugin for plugin in sorted(found, key=_is_built_in, reverse=True)}


def named(interface: InterfaceClass, name: str) -> Any:
    """The plugin of that name.

    :raises UnknownName: there is none; the message lists those there are and the nearest.
    """
    found = every(interface)
    try:
        return found[name]
    except KeyError:
        near = get_close_matches(name, found, 1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        names = ", ".join(sorted(found))
        raise UnknownName(f"no {_kind(interface)} is named {name!r}{hint}; there are: {names}") from None


@implementer(IPlugin, ISelectorPlugin)
class LazySelector:
    """A selector plugin in another module, imported when first asked. ``reference`` names an object with
    ``check`` and ``selector``."""

    def __init__(self, name: str, reference: str) -> None:
        self.name = name
        self.reference = reference

    def __repr__(self) -> str:
        return f"<LazySelector {self.name} = {self.reference}>"

    def check(self, arguments: Sequence[str]) -> None:
        """See :meth:`ISelectorPlugin.check`."""
        _load(self.reference).check(arguments)

    def selector(self, arguments: Sequence[str], members: Sequence[Member], options: SelectionOptions) -> ISelector:
        """See :meth:`ISelectorPlugin.selector`."""
        made: ISelector = _load(self.reference).selector(arguments, members, options)
        return made


@implementer(IPlugin, IProbePlugin)
class LazyProbe:
    """A probe plugin in another module, imported when first asked. ``reference`` names an object with ``settings``
    and ``probe``."""

    def __init__(self, name: str, reference: str) -> None:
        self.name = name
        self.reference = reference

    def __repr__(self) -> str:
        return f"<LazyProbe {self.name} = {self.reference}>"

    @property
    def settings(self) -> Any:
        """See :class:`IProbePlugin`."""
        return _load(self.reference).settings

    def probe(self, target: ProbeTarget, settings: object, reactor: object) -> Deferred[ProbeResult]:
        """See :meth:`IProbePlugin.probe`."""
        started: Deferred[ProbeResult] = _load(self.reference).probe(target, settings, reactor)
        return started


@implementer(IPlugin, ICacheStorePlugin)
class LazyStore:
    """A plugin for stores of responses in another module, imported when first asked. ``reference`` names an object
    with ``settings`` and ``store``."""

    def __init__(self, name: str, reference: str) -> None:
        self.name = name
        self.reference = reference

    def __repr__(self) -> str:
        return f"<LazyStore {self.name} = {self.reference}>"

    @property
    def settings(self) -> Any:
        """See :class:`ICacheStorePlugin`."""
        return _load(self.reference).settings

    def check(self, settings: object) -> None:
        """See :class:`ICacheStorePlugin`."""
        check = getattr(_load(self.reference), "check", None)
        if check is not None:
            check(settings)

    def store(self, settings: object, reactor: object, others: Callable[[str], ICacheStore]) -> ICacheStore:
        """See :meth:`ICacheStorePlugin.store`."""
        made: ICacheStore = _load(self.reference).store(settings, reactor, others)
        return made


class Command(ServiceMaker):
    """A subcommand of ``twistd`` and ``twist`` whose SIGHUP is kept while its module is imported, which takes most of
    the time of a start."""

    def __init__(self, name: str, module: str, description: str, tapname: str) -> None:
        super().__init__(name, module, description, tapname)  # type: ignore[no-untyped-call]  # Twisted's has no types

    @property
    def options(self) -> Any:
        """What the command understands."""
        HANGUP.hold()
        return _load(f"{self.module}.Options")


def _is_built_in(plugin: object) -> bool:
    return isinstance(plugin, LazySelector | LazyProbe | LazyStore) and plugin.reference.startswith("balancer.")


def _load(reference: str) -> Any:
    module, _, name = reference.rpartition(".")
    return getattr(import_module(module), name)


def _kind(interface: InterfaceClass) -> str:
    """``ISelectorPlugin`` is a selector, to people; ``ICacheStorePlugin`` a cache store."""
    words = re.findall("[A-Z][a-z]+", str(interface.__name__).removeprefix("I").removesuffix("Plugin"))
    return " ".join(words).lower()
