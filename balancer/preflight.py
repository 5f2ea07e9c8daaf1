"""What a configuration needs of this machine, looked at before anything starts: kinds of endpoints, files of TLS.

It is what ``--check`` can say beyond the file itself. It opens no port, so it never says whether one is free.
"""

from collections.abc import Iterator
from typing import Any

from balancer.config.schema import Configuration
from balancer.core.tls import BackendTls
from balancer.errors import BalancerError, ListenError, PreflightError, TlsSettingsError
from balancer.health.settings import SecureCheckSettings
from balancer.net.listen import readable
from balancer.net.tls import TlsClients


def preflight(configuration: Configuration, reactor: Any) -> None:
    """Look at all of it.

    :param reactor: handed to the parsers of endpoint descriptions; nothing is started.
    :raises PreflightError: with everything that is missing, a line each.
    """
    missing = [str(error) for error in (*_authorities(configuration), *_endpoints(configuration, reactor))]
    if missing:
        raise PreflightError("\n".join(missing))


def _authorities(configuration: Configuration) -> Iterator[BalancerError]:
    """The files of authorities, of traffic and of checks."""
    for name, upstream in configuration.upstream.items():
        wanted = {f'upstream "{name}"': upstream.tls} if upstream.tls is not None else {}
        if isinstance(upstream.check, SecureCheckSettings):
            wanted[f'upstream "{name}", its check'] = BackendTls(verify=upstream.check.verify, ca=upstream.check.ca)
        for owner, settings in wanted.items():
            try:
                TlsClients(settings)
            except TlsSettingsError as error:
                yield TlsSettingsError(f"{owner}: {error}")


def _endpoints(configuration: Configuration, reactor: Any) -> Iterator[BalancerError]:
    """Kinds of endpoints that only a plugin may have, certificates and keys of listeners."""
    for name, listener in configuration.listener.items():
        try:
            readable(reactor, name, listener.listen)
        except ListenError as error:
            yield error
