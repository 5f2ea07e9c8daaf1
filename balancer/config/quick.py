"""A configuration from a few words of a command line: listeners, servers, a cache if you like, nothing else.

What it makes is an ordinary :class:`~balancer.config.schema.Configuration`. It never reads the command line itself.
"""

import re
from collections.abc import Sequence
from typing import Literal

from balancer.cache.policy import CachePolicy
from balancer.config.completion import completed
from balancer.config.listen import description, place, split_place
from balancer.config.loops import loops
from balancer.config.schema import Configuration, ListenerConfig, ServerConfig, UpstreamConfig, checked_address
from balancer.config.vocabulary import Vocabulary
from balancer.config.wording import shown
from balancer.core.access_log import AccessLogSettings
from balancer.core.tls import ListenerTls
from balancer.errors import ConfigurationError, Problem, UnknownName

COMMAND_LINE = "command line"
"""What messages say instead of a file."""

UPSTREAM = "servers"
"""The name of the one upstream."""

CACHE = "responses"
"""The name of the one cache."""

_MODES: dict[str, Literal["http", "tcp", "udp"]] = {
    "http": "http", "https": "http", "tcp": "tcp", "tls": "tcp", "udp": "udp",
}  # fmt: skip


_IN_OPTIONS = (
    (re.compile(r'^listener "[^"]*": (?=tls\.)', re.MULTILINE), ""),
    (re.compile(r"\btls\.certificate = "), "--cert "),
    (re.compile(r"\btls\.key = "), "--key "),
    (re.compile(r'name its file with "key"'), "name its file with --key"),
    (re.compile(r'change "listen" of listener\.(https?|tcp|tls|udp)\b[\d-]*'), r"choose another port with --\1"),
)
"""What a file's words are on the command line."""


def in_options(message: str) -> str:
    """A message about a configuration of :func:`quick` (or of the demonstration) in the words of the command line.

    :param message: about what the configuration needs of the machine; a line for each thing.
    """
    for words, option in _IN_OPTIONS:
        message = words.sub(option, message)
    return "\n".join(dict.fromkeys(message.splitlines()))  # two listeners have one certificate


def split_listen(text: str | int, option: str) -> tuple[str, int]:
    """Where to listen, as host (empty: every interface) and port.

    :param text: ``8080``, ``127.0.0.1:8080`` or ``[::1]:8080``.
    :param option: what the message calls it, for example ``--http``.
    :raises ConfigurationError: it is none of these.
    """
    try:
        return split_place(str(text))
    except ValueError as error:
        raise ConfigurationError(_problem(option, shown(text), str(error))) from None


def quick(
    *,
    http: Sequence[str | int] = (),
    https: Sequence[str | int] = (),
    tcp: Sequence[str | int] = (),
    tls: Sequence[str | int] = (),
    udp: Sequence[str | int] = (),
    cert: str = "",
    key: str = "",
    to: Sequence[str] = (),
    balance: str = "",
    access_log: str = "",
    cache: bool = False,
    vocabulary: Vocabulary | None = None,
) -> Configuration:
    """Listeners that all send to the same servers; everything else has its default.

    :param http: where to listen for HTTP: ``8080``, ``127.0.0.1:8080``, ``[::1]:8080``.
    :param https: where to listen for HTTP over TLS.
    :param tcp: where to listen for TCP.
    :param tls: where to listen for TLS, whose inside is forwarded as plain TCP.
    :param udp: where to listen for UDP.
    :param cert: the PEM file of the certificate, for ``https`` and ``tls``.
    :param key: the PEM file of its key; empty where it is in the certificate's.
    :param to: the servers, ``HOST:PORT``.
    :param balance: how a server is picked; empty for the default of the mode.
    :param access_log: a file, ``-`` for standard output; empty for none.
    :param cache: whether what the servers answer over HTTP is kept in memory and sent again.
    :raises ConfigurationError: with every mistake; ``key`` is the option.
    """
    vocabulary = vocabulary or Vocabulary()
    given = {"http": http, "https": https, "tcp": tcp, "tls": tls, "udp": udp}
    places = [(option, text) for option, texts in given.items() for text in texts]
    secured = ListenerTls(certificate=cert, key=key) if cert else None
    problems = (
        _missing(places, to)
        + _bad_certificate([*https, *tls], cert, key)
        + _bad_servers(to)
        + _bad_balance(balance, vocabulary)
        + _idle_cache(cache and not (http or https))
    )
    listeners: dict[str, ListenerConfig] = {}
    for option, text in places:
        try:
            host, port = split_listen(text, f"--{option}")
        except ConfigurationError as error:
            problems += error.problems
            continue
        listen = description(host, port, "udp" if option == "udp" else "tcp")
        problems += _collisions(option, text, listen, listeners)
        listeners[f"{option}-{_free(port, option, listeners)}"] = ListenerConfig(
            listen=listen,
            mode=_MODES[option],
            tls=secured if option in ("https", "tls") else None,
            to=UPSTREAM,
        )
    if problems:
        raise ConfigurationError(*problems)
    servers = tuple(ServerConfig(address=address) for address in to)
    configuration = Configuration(
        upstream={UPSTREAM: UpstreamConfig(servers=servers, balance=balance, cache=CACHE if cache else "")},
        listener=listeners,
        cache={CACHE: CachePolicy()} if cache else {},
        access_log=AccessLogSettings(path=access_log) if access_log else None,
    )
    problems = [_problem("--to", mistake.found, mistake.allowed) for mistake in loops(configuration)]
    if problems:
        raise ConfigurationError(*problems)
    return completed(configuration, vocabulary)


def _problem(option: str, found: str, allowed: str) -> Problem:
    return Problem(file=COMMAND_LINE, line=0, key=option, found=found, allowed=allowed)


def _missing(places: Sequence[object], to: Sequence[str]) -> list[Problem]:
    problems = []
    if not places:
        found = "none of --http, --https, --tcp, --tls, --udp"
        problems.append(_problem("--http", found, "where to listen, for example --http 8080"))
    if not to:
        problems.append(_problem("--to", "no server", "one --to HOST:PORT or more"))
    return problems


def _bad_certificate(places: Sequence[object], cert: str, key: str) -> list[Problem]:
    if places and not cert:
        return [_problem("--cert", "no certificate", "with --https and --tls: --cert FILE, and --key FILE for its key")]
    if (cert or key) and not places:
        option = "--cert" if cert else "--key"
        return [_problem(option, f"{shown(cert or key)} for nobody", "together with --https or --tls")]
    return []


def _bad_servers(to: Sequence[str]) -> list[Problem]:
    problems = []
    for position, address in enumerate(to):
        try:
            checked_address(address)
        except ValueError as error:
            problems.append(_problem("--to", shown(address), str(error)))
        if address in to[:position]:
            problems.append(_problem("--to", f"{shown(address)} a second time", "each server once"))
    return problems


def _bad_balance(balance: str, vocabulary: Vocabulary) -> list[Problem]:
    try:
        if balance:
            vocabulary.selectors(balance)
    except (ValueError, UnknownName) as error:
        return [_problem("--balance", shown(balance), str(error))]
    return []


def _idle_cache(idle: bool) -> list[Problem]:
    found = "a cache, and no listener that looks into what it passes on"
    return [_problem("--cache", found, "together with --http or --https")] if idle else []


def _collisions(option: str, text: str | int, listen: str, listeners: dict[str, ListenerConfig]) -> list[Problem]:
    there = place(listen)
    taken = [name for name, listener in listeners.items() if there.collides(place(listener.listen))]
    return [_problem(f"--{option}", f"{shown(text)}, where {name} listens already", "each port once") for name in taken]


def _free(port: int, option: str, listeners: dict[str, ListenerConfig]) -> str:
    """A name for a listener: its port, with a number behind where that is taken (127.0.0.1:80 and [::1]:80)."""
    names = (str(port), *(f"{port}-{number}" for number in range(2, len(listeners) + 2)))
    return next(name for name in names if f"{option}-{name}" not in listeners)
