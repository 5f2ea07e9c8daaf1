"""The settings of a cache: `[cache.NAME]`. Frozen values, documented key by key. Nothing here decides anything."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

from typing_extensions import Doc

from balancer.core.route_spec import HeaderCondition
from balancer.core.units import Count, CountOrZero, Seconds, SecondsOrZero, Share, Size


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyPolicy:
    """What requests are told apart by, beside scheme, host and path."""

    __pydantic_config__ = {"extra": "forbid"}

    query: Annotated[
        bool, Doc("Whether the query counts; with false, or with the two keys below, servers should not look at it.")
    ] = True
    include_query: Annotated[
        tuple[str, ...],
        Doc('The only arguments of the query that count, by name; "utm_*" stands for all that begin so.'),
    ] = ()
    exclude_query: Annotated[
        tuple[str, ...], Doc('Arguments of the query that do not count, by name; "utm_*" stands for all that begin so.')
    ] = ()
    sort_query: Annotated[bool, Doc("Whether the order of the arguments does not count.")] = False
    headers: Annotated[tuple[str, ...], Doc("Request fields whose values count, whatever Vary says.")] = ()
    cookies: Annotated[tuple[str, ...], Doc("Cookies whose values count.")] = ()
    host: Annotated[bool, Doc("Whether the host counts; with false all hosts have the same pages.")] = True


@dataclass(frozen=True, slots=True, kw_only=True)
class BypassPolicy:
    """Requests that go past the cache: nothing is looked up, nothing stored."""

    __pydantic_config__ = {"extra": "forbid"}

    headers: Annotated[
        Mapping[str, HeaderCondition],
        Doc("Conditions on request fields, one of which is enough; as in a route's `headers`."),
    ] = field(default_factory=dict)
    cookies: Annotated[
        tuple[str, ...], Doc('Cookies whose presence is enough, by name; "wordpress_*" stands for all that begin so.')
    ] = ()
    query: Annotated[tuple[str, ...], Doc("Arguments of the query whose presence is enough.")] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PurgePolicy:
    """Who may purge by HTTP requests of the method PURGE."""

    __pydantic_config__ = {"extra": "forbid"}

    token: Annotated[str, Doc("What `Authorization: Bearer` has to say.")]
    sources: Annotated[
        tuple[str, ...], Doc('Networks whose clients may: "127.0.0.0/8", "10.1.2.3", "2001:db8::/32".')
    ] = ("127.0.0.0/8", "::1/128")


@dataclass(frozen=True, slots=True, kw_only=True)
class CachePolicy:
    """One cache: what is stored, for how long, and who may purge it."""

    __pydantic_config__ = {"extra": "forbid"}

    store: Annotated[
        str,
        Doc('Where responses are kept: the name of a `[store.NAME]`; "memory" is there without being written.'),
    ] = "memory"
    key: Annotated[KeyPolicy, Doc("What requests are told apart by.")] = field(default_factory=KeyPolicy)
    bypass: Annotated[BypassPolicy, Doc("Which requests go past the cache.")] = field(default_factory=BypassPolicy)
    ttl: Annotated[
        SecondsOrZero | None,
        Doc(
            "Seconds that responses are fresh, whatever they say of it (no-store, private and no-cache count all the "
            "same); absent: what they say."
        ),
    ] = None
    default_ttl: Annotated[
        SecondsOrZero,
        Doc("Seconds that a response is fresh which says nothing of it and has a status that may be guessed about."),
    ] = 0.0
    min_ttl: Annotated[SecondsOrZero, Doc("Seconds that a response is fresh at least, if it may be stored.")] = 0.0
    max_ttl: Annotated[SecondsOrZero, Doc("Seconds that a response is fresh at most; 0 for no limit.")] = 0.0
    heuristic: Annotated[
        Share,
        Doc(
            "The part of its age (Date less Last-Modified) for which a response is fresh that says nothing of it "
            "(RFC 9111 section 4.2.2); 0 never guesses."
        ),
    ] = 0.1
    heuristic_max: Annotated[Seconds, Doc("Seconds that a guess is at most.")] = 86400.0
    stale_while_revalidate: Annotated[
        SecondsOrZero,
        Doc("Seconds for which a stale response is sent while it is validated, where the response does not say."),
    ] = 0.0
    stale_if_error: Annotated[
        SecondsOrZero,
        Doc("Seconds for which a stale response is sent where the servers fail, where the response does not say."),
    ] = 86400.0
    targets: Annotated[
        tuple[str, ...],
        Doc("Fields that come before Cache-Control for us, the first that is there counts (RFC 9213)."),
    ] = ("CDN-Cache-Control",)
    request_directives: Annotated[
        bool,
        Doc(
            "Whether Cache-Control of requests is heeded; with false clients can not make us ask the servers "
            "(only-if-cached and no-store are heeded still)."
        ),
    ] = True
    set_cookie: Annotated[
        Literal["pass", "strip", "store"],
        Doc(
            "What is done with responses that set cookies: `pass` does not store them; `strip` takes the cookie out of "
            "what is stored; `store` keeps it, so that every client gets it."
        ),
    ] = "pass"
    tags: Annotated[
        tuple[str, ...],
        Doc("Response fields with tags to purge by: separated by spaces (Surrogate-Key) or commas (Cache-Tag)."),
    ] = ("Surrogate-Key", "Cache-Tag")
    max_object: Annotated[Size, Doc("Bytes of the largest body that is stored.")] = 64 * 2**20
    max_variants: Annotated[
        Count, Doc("Responses kept for one key that differ by Vary; the oldest leaves for one more.")
    ] = 32
    collapse: Annotated[
        bool, Doc("Whether requests for what is being fetched already wait for it instead of asking a server too.")
    ] = True
    followers: Annotated[
        CountOrZero, Doc("Requests that wait for one fetch at most; more ask a server themselves. 0 for no limit.")
    ] = 10000
    uncacheable: Annotated[
        SecondsOrZero,
        Doc("Seconds for which requests are not collapsed after a response that may not be stored (hit-for-miss)."),
    ] = 120.0
    jitter: Annotated[
        Share,
        Doc(
            "The part of stale-while-revalidate's window, or of the last tenth of a lifetime, over which validations "
            "in the background are spread, so that what was stored together is not validated together."
        ),
    ] = 0.1
    name: Annotated[str, Doc("What Cache-Status (RFC 9211) calls this cache; empty leaves the field out.")] = "balancer"
    purge: Annotated[PurgePolicy | None, Doc("Who may purge by requests; absent for nobody.")] = None
