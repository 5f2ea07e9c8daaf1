"""The command line: ``twistd balancer``. The only module that imports the reactor.

It turns options into a configuration and a configuration into a service. It never serves anything itself.
"""

import gc
import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Any, ClassVar

from twisted.application.service import IService, Service
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.logger import Logger
from twisted.python import usage

from balancer import __version__, compiled
from balancer.config.quick import in_options, quick, split_listen
from balancer.config.reader import read
from balancer.config.rules import remarks
from balancer.config.schema import Configuration
from balancer.core.access_log import STDOUT
from balancer.demo import Demonstration
from balancer.errors import AccessLogError, BalancerError, ListenError
from balancer.hangup import HANGUP
from balancer.preflight import preflight
from balancer.service import BalancerService, vocabulary

log = Logger()

DEMO_HTTP = "127.0.0.1:8080"
DEMO_TCP = "127.0.0.1:8081"

GC_THRESHOLDS = (10000, 20, 50)
"""Of the garbage collector, in place of (700, 10, 10): records that wait for the log make it look all the time."""


class Options(usage.Options):
    """What ``twistd balancer`` understands. Either a file, or listeners and servers, or the demonstration."""

    synopsis = "[options]"
    longdesc = (
        "Balance TCP and UDP (layer 4) and HTTP (layer 7). "
        "Without a file: --http 8080 --to 10.0.0.1:80 --to 10.0.0.2:80, or --tcp 5432 --to db1:5432, "
        "or --udp 53 --to 10.0.0.1:53, "
        "or --https 8443 --cert cert.pem --key key.pem --to 10.0.0.1:80. "
        "With one: --config balancer.toml (see docs/configuration.md); --check only reads it."
    )
    optFlags: ClassVar[list[Any]] = [
        ["check", None, "Read the configuration, report every mistake, and exit."],
        ["cache", None, "Keep what the servers answer in memory and send it again (docs/cache.md); with --to."],
        ["demo", None, "Start sample backends in this process and balance them."],
    ]
    optParameters: ClassVar[list[Any]] = [
        ["config", "c", None, "The configuration file (TOML)."],
        ["balance", "b", "", "How a server is picked, for example leastconn; with --to."],
        ["cert", None, "", "PEM file of the certificate and its chain; with --https and --tls."],
        ["key", None, "", "PEM file of its private key, unless that is in the certificate's file."],
        ["access-log", None, "", "Where the access log goes, - for standard output; with --to."],
    ]

    configuration: Configuration | None = None
    places: tuple[tuple[str, int], ...] = ()

    def __init__(self) -> None:
        super().__init__()
        for option in ("http", "https", "tcp", "tls", "udp", "to"):
            self[option] = []

    def opt_version(self) -> None:
        """Print the version, and whether the data path is compiled, and exit."""
        print(_version())
        sys.exit(0)

    def opt_http(self, place: str) -> None:
        """Listen for HTTP at PORT, IP:PORT or [IPV6]:PORT. May be repeated."""
        self["http"].append(place)

    def opt_https(self, place: str) -> None:
        """Listen for HTTP over TLS; with --cert. May be repeated."""
        self["https"].append(place)

    def opt_tls(self, place: str) -> None:
        """Listen for TLS and forward what is inside as plain TCP; with --cert. May be repeated."""
        self["tls"].append(place)

    def opt_tcp(self, place: str) -> None:
        """Listen for TCP at PORT, IP:PORT or [IPV6]:PORT. May be repeated."""
        self["tcp"].append(place)

    def opt_udp(self, place: str) -> None:
        """Listen for UDP at PORT, IP:PORT or [IPV6]:PORT. May be repeated."""
        self["udp"].append(place)

    def opt_to(self, address: str) -> None:
        """A server to balance to, HOST:PORT or [IPV6]:PORT. May be repeated."""
        self["to"].append(address)

    def postOptions(self) -> None:
        """Read the configuration, so that a mistake is told before anything starts (and before twistd forks)."""
        self["config"] = os.path.abspath(self["config"]) if self["config"] else None  # a daemon changes directory
        for option in ("cert", "key"):
            self[option] = os.path.abspath(self[option]) if self[option] else ""
        ways = [way for way in ("config", "demo", "to") if self[way]]
        if len(ways) != 1:
            places = [option for option in ("http", "https", "tcp", "tls", "udp") if self[option]]
            if not ways and places:
                _leave(
                    f"--to is missing: --{places[0]} says where to listen, --to HOST:PORT to which server to balance"
                )
            given = " and ".join(f"--{way}" for way in ways) or "none of them"
            verb = "were" if ways else "was"
            _leave(f"say what to balance with one of --config FILE, --to HOST:PORT …, --demo; {given} {verb} given")
        self._refuse_strays(ways[0])
        select_reactor()  # before twist, which imports one when it has read its own options
        warnings: tuple[str, ...] = ()
        try:
            self._read()
            if self.configuration is not None:
                now = time.time()  # noqa: TID251 - the program's own clock: the reactor does not run yet
                warnings = (*remarks(self.configuration), *preflight(self.configuration, _reactor(), now))
        except BalancerError as error:
            _leave(str(error) if self["config"] else in_options(str(error)))
        if self["check"]:
            if self.configuration is not None:
                self._tell(self.configuration, warnings)
            raise SystemExit(0)

    def _tell(self, configuration: Configuration, warnings: tuple[str, ...]) -> None:
        """What ``--check`` says of a good configuration."""
        for remark in warnings:
            print(f"warning: {remark}")
        upstreams, listeners = len(configuration.upstream), len(configuration.listener)
        print(f"{self['config'] or 'the command line'}: good, {upstreams} upstream(s), {listeners} listener(s)")

    def _refuse_strays(self, way: str) -> None:
        """An option that the others leave without a meaning is a mistake, not a wish to be overheard."""
        if way == "config":
            for option in ("http", "https", "tcp", "tls", "udp", "cert", "key", "balance", "access-log", "cache"):
                if self[option]:
                    _leave(f"--{option} goes with --to; with --config the file says it")
        if way == "demo":
            for option in ("https", "tls", "udp", "cert", "key", "balance", "access-log", "cache", "check"):
                if self[option]:
                    _leave(f"--{option} does not go with --demo")
            for option in ("http", "tcp"):
                if len(self[option]) > 1:
                    _leave(f"the demonstration has one listener for each mode; --{option} was given twice")

    def _read(self) -> None:
        if self["demo"]:
            self.places = tuple(
                _loopback((self[mode] or [default])[0], f"--{mode}")
                for mode, default in (("http", DEMO_HTTP), ("tcp", DEMO_TCP))
            )
        elif self["config"]:
            self.configuration = read(self["config"], vocabulary())
        elif self["to"]:
            self.configuration = quick(
                http=self["http"],
                https=self["https"],
                tcp=self["tcp"],
                tls=self["tls"],
                udp=self["udp"],
                cert=self["cert"],
                key=self["key"],
                to=self["to"],
                balance=self["balance"],
                access_log=self["access-log"],
                cache=bool(self["cache"]),
                vocabulary=vocabulary(),
            )


def _version() -> str:
    return f"twistd-balancer {__version__} ({compiled.build()})"


def _leave(problem: str) -> None:
    """End the program. (twistd prints a ``UsageError`` but exits 0, which would let a broken file pass.)"""
    raise SystemExit(f"twistd balancer: {problem}")


def select_reactor() -> None:
    """Take the uvloop reactor where uvloop is installed and nobody chose another (``--reactor`` of twistd or twist,
    or an import): it carries the same traffic for less (docs/reactor.md)."""
    if "twisted.internet.reactor" in sys.modules:
        return
    try:
        from balancer.net import uvloop_reactor
    except ImportError:
        return
    uvloop_reactor.install()
    log.info("no reactor was named: uvloop, the fastest for this (another: --reactor NAME before balancer)")


def makeService(options: Options) -> IService:
    """The service that twistd runs."""
    reactor = _reactor()
    if options["demo"]:
        http, tcp = options.places
        inner: Service = Demonstration(reactor, http, tcp, print)
    else:
        assert options.configuration is not None  # postOptions read it
        inner = BalancerService(options.configuration, reactor)
    parent: Any = options.parent or {}
    nodaemon = bool(parent.get("nodaemon", True))
    access_log = options.configuration.access_log if options.configuration else None
    if not nodaemon and access_log is not None and access_log.path == STDOUT:
        _leave(
            'the access log goes to standard output ("-"), which a daemon does not have: name a file, or start with -n'
        )
    return Program(inner, options["config"], reactor, nodaemon, parent.get("pidfile"))


def _reactor() -> Any:
    """The reactor: imported no sooner than twistd has installed the one that was asked for."""
    select_reactor()
    from twisted.internet import reactor  # noqa: TID251 - the one place

    return reactor


def _loopback(place: str, option: str) -> tuple[str, int]:
    host, port = split_listen(place, option)
    return host or "127.0.0.1", port


def spare_collector() -> None:
    """Let the garbage collector look seldom, and never at what is there for good (modules, configuration).

    Nothing on the data path makes reference circles, so there is next to nothing to be found.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)


class Program(Service):
    """The balancer as a program: signals, and a clear word where a listener cannot open.

    SIGHUP reads the configuration file (where there is one) and certificates again, SIGUSR1 opens the log files again.

    :param nodaemon: whether standard error still is the terminal of whoever started it.
    """

    def __init__(self, inner: Any, config: str | None, reactor: Any, nodaemon: bool, pidfile: str | None) -> None:
        self.inner = inner
        self.config = config
        self.reactor = reactor
        self.nodaemon = nodaemon
        self.pidfile = pidfile
        self._opened = False

    def privilegedStartService(self) -> None:
        """Open the listeners, while there may still be the privilege to."""
        self._opened = True
        try:
            self.inner.privilegedStartService()
        except ListenError as error:
            self._give_up(error if self.config else ListenError(in_options(str(error))))

    def _give_up(self, error: BalancerError) -> None:
        """End the program before it serves, with a word that somebody sees."""
        if not self.nodaemon:
            raise error  # twistd hands the message to the process that waits in the foreground
        if self.pidfile and os.path.exists(self.pidfile):
            os.unlink(self.pidfile)
        print(f"twistd balancer: {error}", file=sys.__stderr__)  # sys.stderr is twistd's log by now
        sys.exit(1)

    def startService(self) -> None:
        """Start, and listen to signals. (``twist``, which gives up no privileges, calls nothing before this.)"""
        if not self._opened:
            self.privilegedStartService()
        super().startService()
        log.info("{version}", version=_version())
        try:
            self.inner.startService()
        except AccessLogError as error:
            self._give_up(error)
        self.reactor.callWhenRunning(self._install_signals)
        self.reactor.callWhenRunning(spare_collector)

    def stopService(self) -> "Deferred[None]":
        """Drain and stop; another SIGINT or SIGTERM ends the drain."""
        super().stopService()
        if isinstance(self.inner, BalancerService):
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, self._later(self.inner.hurry))
        stopped: Deferred[None] = maybeDeferred(self.inner.stopService)
        return stopped

    def _install_signals(self) -> None:
        HANGUP.give(self._later(self._reload))
        if isinstance(self.inner, BalancerService):
            signal.signal(signal.SIGUSR1, self._later(self.inner.reopen_logs))

    def _later(self, action: Callable[[], object]) -> Callable[..., None]:
        """A signal handler: signals come between any two instructions, the action waits for the reactor's turn."""

        return lambda *_: self.reactor.callFromThread(action)

    def _reload(self) -> None:
        if not isinstance(self.inner, BalancerService):
            log.info("SIGHUP: the demonstration has nothing to read again")
            return
        try:
            if self.config is not None:
                configuration = read(self.config, vocabulary())
            else:
                configuration = self.inner.configuration
                log.info("SIGHUP: started without --config, so no file is read again but certificates and keys")
            preflight(configuration, self.reactor, time.time())  # noqa: TID251 - the program's own clock
            self.inner.reload(configuration)
        except BalancerError as error:
            problem = str(error) if self.config is not None else in_options(str(error))
            log.error("not reloaded, the running configuration stays: {problem}", problem=problem)
