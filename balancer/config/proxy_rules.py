"""What must hold between the keys of the PROXY protocol and others. Nothing here looks at a file or at the network."""

from collections.abc import Iterator

from balancer.config.listen import place
from balancer.config.problems import Mistake
from balancer.config.schema import STREAMS, Configuration, ListenerConfig, UpstreamConfig
from balancer.config.wording import Path, shown
from balancer.core.policies import PoolPolicy

INSIDE = ("ssl", "tls", "txsni", "haproxy")
"""Kinds of endpoints behind which no header arrives: TLS of their own begins before it, or they take it themselves."""


def proxy_headers(configuration: Configuration) -> Iterator[Mistake]:
    """Headers are taken and sent where they can be, and say what their version can."""
    for name, listener in configuration.listener.items():
        yield from _taken(("listener", name), listener)
        yield from _passed_by(("listener", name), listener, configuration)
    for name, upstream in configuration.upstream.items():
        yield from _sent(("upstream", name), upstream)


def _taken(path: Path, listener: ListenerConfig) -> Iterator[Mistake]:
    if listener.accept_proxy is None:
        return
    key: Path = (*path, "accept_proxy")
    if listener.mode not in STREAMS:
        found = f"PROXY protocol headers in mode {shown(listener.mode)}, which never sees them"
        allowed = 'nothing, or a listener of mode "tcp", "http" or "tls-passthrough"'
        yield Mistake(path=key, found=found, allowed=allowed, about=(key, (*path, "mode")))
    kind = place(listener.listen).kind
    if kind in INSIDE:
        found = f"{shown(listener.listen)}, where a PROXY protocol header comes too late"
        allowed = 'a plain endpoint, for example "tcp:443", with the table "tls" where clients speak TLS'
        yield Mistake(path=key, found=found, allowed=allowed, about=(key, (*path, "listen")))


def _passed_by(path: Path, listener: ListenerConfig, configuration: Configuration) -> Iterator[Mistake]:
    """What a listener that makes no connections sends to, never gets a header."""
    if listener.mode in STREAMS:
        return
    for name in sorted(listener.upstreams):
        upstream = configuration.upstream.get(name)
        if upstream is not None and upstream.send_proxy is not None:
            key: Path = ("upstream", name, "send_proxy")
            found = (
                f"a PROXY protocol header, which {'.'.join(map(str, path))} (mode {shown(listener.mode)}) never sends"
            )
            allowed = "nothing, or an upstream of its own for that listener"
            yield Mistake(path=key, found=found, allowed=allowed, about=(key, (*path, "mode")))


def _sent(path: Path, upstream: UpstreamConfig) -> Iterator[Mistake]:
    settings = upstream.send_proxy
    if settings is None:
        return
    key: Path = (*path, "send_proxy")
    if settings.version == "v1" and settings.tlvs:
        allowed = 'no such key, or version = "v2": v1 says no more than addresses'
        tlvs: Path = (*key, "tlvs")
        yield Mistake(path=tlvs, found=f'{shown(settings.tlvs[0])} in version "v1"', allowed=allowed, about=(tlvs, key))
    if upstream.pool != PoolPolicy():
        pool: Path = (*path, "pool")
        found = "kept connections beside send_proxy, with which each request opens one of its own"
        yield Mistake(path=pool, found=found, allowed='nothing, or no "send_proxy"', about=(pool, key))
