"""What must hold between keys about TLS: who ends it, who passes it through, and which keys mean something where.

Rules as in :mod:`balancer.config.rules`, which runs them. Nothing here looks at a file or at the network.
"""

from collections.abc import Iterator

from balancer.config.listen import place
from balancer.config.problems import Mistake
from balancer.config.schema import Configuration, ListenerConfig
from balancer.config.wording import Path, shown
from balancer.core.client_hello import LIMIT
from balancer.core.timeouts import ClientTimeouts

ENCRYPTED = ("ssl", "tls", "txsni")
"""Kinds of endpoints that end TLS themselves: Twisted's own, and those of txsni."""

PASSTHROUGH = "tls-passthrough"
_OF_HELLOS = ("sni", "alpn")
_OF_REQUESTS = ("host", "path", "path_prefix", "path_regex", "methods", "headers")


def passed_through(configuration: Configuration) -> Iterator[Mistake]:
    """Who passes TLS through does not end it."""
    for name, listener in configuration.listener.items():
        if listener.mode == PASSTHROUGH:
            yield from _ended_too(("listener", name), listener)


def _ended_too(path: Path, listener: ListenerConfig) -> Iterator[Mistake]:
    mode = (*path, "mode")
    if listener.tls is not None:
        allowed = 'no such table (the servers end TLS), or mode = "tcp" (it is ended here)'
        yield Mistake(
            path=(*path, "tls"),
            found=f'certificates in mode "{PASSTHROUGH}"',
            allowed=allowed,
            about=((*path, "tls"), mode),
        )
    if place(listener.listen).kind in ENCRYPTED:
        yield Mistake(
            path=(*path, "listen"),
            found=f'{shown(listener.listen)}, which ends TLS, in mode "{PASSTHROUGH}"',
            allowed='a plain endpoint, for example "tcp:443"',
            about=((*path, "listen"), mode),
        )


def hellos(configuration: Configuration) -> Iterator[Mistake]:
    """What is about ClientHellos stands where they are read, and what is about requests where those are."""
    for name, listener in configuration.listener.items():
        path: Path = ("listener", name)
        passing = listener.mode == PASSTHROUGH
        keys: list[Path] = [] if passing else _about_hellos(path, listener)
        for index, route in enumerate(listener.route if listener.mode != "tcp" else ()):
            foreign = _OF_REQUESTS if passing else _OF_HELLOS
            keys += [(*path, "route", index, key) for key in foreign if getattr(route, key)]
        for key in keys:
            yield Mistake(
                path=key,
                found=f'a key that means nothing in mode "{listener.mode}"',
                allowed='"sni", "alpn", or nothing' if passing else f'nothing, or mode = "{PASSTHROUGH}"',
                about=(key, (*path, "mode")),
            )


def _about_hellos(path: Path, listener: ListenerConfig) -> list[Path]:
    """The listener's keys about ClientHellos that say something."""
    standard = ClientTimeouts().client_hello
    late: list[Path] = [(*path, "timeouts", "client_hello")] if listener.timeouts.client_hello != standard else []
    return late + [(*path, "max_client_hello")] * (listener.max_client_hello != LIMIT)


def keys_with_certificates(configuration: Configuration) -> Iterator[Mistake]:
    """A key belongs to a certificate."""
    for name, upstream in configuration.upstream.items():
        for table, settings in (("tls", upstream.tls), ("check", upstream.check)):
            if getattr(settings, "key", "") and not getattr(settings, "certificate", ""):
                path: Path = ("upstream", name, table, "key")
                yield Mistake(
                    path=path, found='a key without "certificate"', allowed='"certificate" beside it', about=(path,)
                )
