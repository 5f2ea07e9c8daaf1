"""What a configuration needs of this machine, looked at before anything starts: kinds of endpoints, files of TLS,
directories of stores.

It is what ``--check`` can say beyond the file itself. It opens no port, so it never says whether one is free.
"""

from collections.abc import Iterator
from typing import Any

from balancer.config.nat_rules import entrance
from balancer.config.schema import Configuration
from balancer.errors import BalancerError, ListenError, PreflightError, StoreError, TlsSettingsError
from balancer.health.settings import SecureCheckSettings
from balancer.interfaces import ICacheStorePlugin
from balancer.nat.ability import inability, not_forwarding
from balancer.net.listen import readable
from balancer.net.tls import TlsClients
from balancer.plugins import named
from balancer.tls_material import tls_material


def preflight(configuration: Configuration, reactor: Any, now: float) -> tuple[str, ...]:
    """Look at all of it.

    :param reactor: handed to the parsers of endpoint descriptions; nothing is started.
    :param now: seconds since the epoch, to which certificates' times are compared.
    :returns: what is there and may still not be meant, a line each.
    :raises PreflightError: with everything that is missing, a line each.
    """
    found: tuple[str, ...] = ()
    missing: list[str] = []
    try:
        found = tls_material(configuration).remarks(now)
    except TlsSettingsError as error:
        missing += error.problems
    missing += [str(error) for error in (*_files_of_checks(configuration), *_endpoints(configuration, reactor))]
    missing += _stores(configuration)
    refused, warnings = _kernel(configuration)
    missing += refused
    if missing:
        raise PreflightError("\n".join(missing))
    return (*found, *warnings)


def _files_of_checks(configuration: Configuration) -> Iterator[BalancerError]:
    """The files of authorities and certificates that checks have."""
    for name, upstream in configuration.upstream.items():
        if isinstance(upstream.check, SecureCheckSettings):
            try:
                TlsClients(upstream.check.backend_tls)
            except TlsSettingsError as error:
                yield error.within(f'upstream "{name}", its check')


def _stores(configuration: Configuration) -> list[str]:
    """What the stores of caches miss, as far as their plugins look."""
    missing = []
    for name, store in configuration.store.items():
        check = getattr(named(ICacheStorePlugin, store.type), "check", None)
        try:
            if check is not None:
                check(store.settings)
        except StoreError as error:
            missing.append(f'store "{name}": {error}')
    return missing


def _kernel(configuration: Configuration) -> tuple[list[str], list[str]]:
    """What listeners of mode nat miss, and what they can do without. Asks the kernel, if there are any."""
    listeners = {name: each for name, each in configuration.listener.items() if each.mode == "nat"}
    if not listeners:
        return [], []
    problem = inability(configuration.nat)
    if not problem:
        families = {entrance(name, each.listen).family for name, each in listeners.items()}
        return [], not_forwarding(families)
    told = {name: f'listener "{name}": the kernel cannot forward: {problem}' for name in listeners}
    refused = [told[name] for name, each in listeners.items() if each.nat.fallback == "none"]
    instead = [f"{told[name]}; this process will, as mode tcp" for name in listeners if told[name] not in refused]
    return refused, instead


def _endpoints(configuration: Configuration, reactor: Any) -> Iterator[BalancerError]:
    """Kinds of endpoints that only a plugin may have, certificates and keys of listeners."""
    for name, listener in configuration.listener.items():
        if listener.mode in ("udp", "nat"):
            continue  # all there is to it was read with the file
        try:
            readable(reactor, name, listener.listen)
        except ListenError as error:
            yield error
