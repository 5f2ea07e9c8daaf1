"""An independent judge of what a shared cache sends, written from the text of the RFCs: 9111, 9110 sections 13 and 14,
5861, 8246, 9213.

It is told everything that went to and came from the origin, and what was purged; then, for what a client was sent,
whether that was permitted, or which section forbids it. It never predicts which of the permitted things a cache does:
asking the origin is always permitted, but for only-if-cached. It imports nothing of :mod:`balancer.cache` but types.

A response may often be explained in several ways (a 304 does not say which stored response it was made from). It is
permitted if one of the explanations is.
"""

from dataclasses import dataclass

from balancer.cache.policy import CachePolicy
from balancer.cache.stored import Fields
from tests.cache.content import Sent, condition_met, faults_of_content
from tests.cache.exchanges import Ask, Said
from tests.cache.versions import SAFE, Directed, Received, Version, Violation, age_told, unstorable


@dataclass(slots=True)
class Purged:
    """A purge, or an invalidation by an unsafe method.

    :ivar met: of a purge by tag, what had the tag then: the order of what it came with. Tags change.
    """

    order: int
    kind: str
    what: str
    soft: bool = False
    by_method: bool = False
    met: frozenset[int] = frozenset()


class History:
    """What one cache saw, in order. Times are the cache's clock, which may go backwards; order goes by itself."""

    def __init__(self, policy: CachePolicy, scheme: str = "http") -> None:
        self.policy = policy
        self.scheme = scheme
        self._order = 0
        self._versions: list[Version] = []
        self._purges: list[Purged] = []

    def tick(self) -> int:
        """The place of what happens now in the order of things; take it when a request is sent to the origin."""
        self._order += 1
        return self._order

    def received(self, ask: Ask, said: Said | None, *, asked_at: float, asked: int, now: float) -> Received:
        """The origin's response to a request that was made for ``ask``; ``None`` where it gave none."""
        got = Received(ask, said, asked_at, now, asked, self.tick())
        if said is None:
            return got
        if ask.method not in SAFE:
            if 200 <= said.status < 400:
                self._invalidate(ask, said)
        elif said.status == 304:
            self._validated(got, said)
        elif said.status >= 200:
            if ask.method == "HEAD" and said.status == 200:
                self._headed(got, said)
            fields = said.fields(content=ask.method != "HEAD")
            withheld = Directed(said, self.policy).named("no-cache", "private")
            new = Version(got, got, said, fields, withheld, [ask])
            if said.part:
                parts = [v for v in self._relatives(new) if v.said.part and not v.superseded]
                self._versions += [part.joined(new) for part in parts]
            self._versions.append(new)
        return got

    def purged(self, kind: str, what: str = "", *, soft: bool = False) -> None:
        """A purge, as :class:`balancer.cache.purges.Purge` has it."""
        live = [version for version in self._versions if not version.superseded]
        lacking = {version.base.order for version in live if what not in version.said.tags}
        met = frozenset(version.base.order for version in live) - lacking
        self._purges.append(Purged(self.tick(), kind, what, soft, met=met))

    def _invalidate(self, ask: Ask, said: Said) -> None:
        """Section 4.4. That of Location and Content-Location, on the same origin, is optional there, and promised."""
        urls = [self.uri(ask)]
        prefix = f"{self.scheme}://{ask.host}"
        for link in (said.location, said.content_location):
            if link and link.startswith(prefix + "/"):
                urls.append(link)
            elif link and link.startswith("/") and not link.startswith("//"):
                urls.append(prefix + link)
        order = self.tick()
        self._purges += [Purged(order, "url", url, by_method=True) for url in urls]

    def uri(self, ask: Ask) -> str:
        """The target URI."""
        return f"{self.scheme}://{ask.host}{ask.path}" + ("" if ask.query is None else f"?{ask.query}")

    def _of_target(self, ask: Ask) -> list[Version]:
        return [version for version in self._versions if version.base.ask.target == ask.target]

    def _validated(self, got: Received, said: Said) -> None:
        """A 304 updates what it identifies (section 4.3.4)."""
        ask = got.ask
        stored = [v for v in self._of_target(ask) if not v.superseded and v.base.ask.content == ask.content]
        strong = said.etag is not None and not said.etag.weak
        if said.etag is not None:
            found = [v for v in stored if v.said.etag and v.said.etag.text == said.etag.text]
            found = [v for v in found if v.said.etag == said.etag] if strong else found
        elif said.modified is not None:
            found = [v for v in stored if v.said.modified == said.modified]
        else:
            found = [v for v in stored if not v.said.etag and v.said.modified is None]
        one = len({v.base.order for v in found}) == 1
        told = Directed(said, self.policy)
        withheld = ask.has("no-store") or (ask.authorization and not told.shareable) or ask.match is not None
        withheld = withheld or any(purge.order > got.asked for purge in self._purges)  # it may meet the update
        for version in found:
            must = version.suits(ask) and not withheld and (strong or (one and said.etag is not None))
            version.superseded = must
            self._versions.append(version.updated(got, self.policy, chosen=True))

    def _headed(self, got: Received, said: Said) -> None:
        """A response to HEAD updates or invalidates what GET brought (section 4.3.5)."""
        ask = got.ask
        withheld = ask.has("no-store") or ask.authorization or ask.match is not None
        for version in self._of_target(ask):
            if version.superseded or version.base.ask.method != "GET" or not version.suits(ask):
                continue
            original = version.original
            same = (said.etag is None or said.etag == version.said.etag) and (
                said.modified is None or said.modified == version.said.modified
            )
            same = same and (not said.length or len(said.body) == len(original.body))
            if same:
                self._versions.append(version.updated(got, self.policy, chosen=False))
            elif not withheld and original.status == 200:
                version.doubted = True

    def judge(self, sent: Sent) -> list[Violation]:
        """Why a response must not have been sent; empty where it was permitted. To be called when it is sent, before
        anything else happens."""
        ask = sent.ask
        ours = ask.method in ("GET", "HEAD", "QUERY") and ask.match is None
        if ask.has("only-if-cached") and ours and sent.forwarded:
            return [Violation("9111 5.2.1.7", "a request with only-if-cached is forwarded")]
        explanations = [self._made_here(sent)]
        explanations += [self._passed_on(sent, got) for got in sent.received]
        explanations += [self._made_of(sent, version) for version in self._of_target(ask)]
        possible = [explanation for explanation in explanations if explanation is not None]
        if not possible:
            return [Violation("9110 7.6", f"nothing explains a {sent.status} with X-Serial {sent.serial!r}")]
        return min(possible, key=len)

    def judge_body(self, sent: Sent) -> list[Violation]:
        """The same of a body alone that is complete by now, of a response that was judged when its head came."""
        versions = [v for v in self._of_target(sent.ask) if sent.serial in (None, b"%d" % v.said.serial)]
        found = [faults_of_content(sent, version, self._relatives(version)) for version in versions]
        passed = [got.said for got in sent.received if got.said and sent.serial == b"%d" % got.said.serial]
        if any(sent.has(said.content()) for said in passed) or not found:
            return []
        return min(found, key=len)

    def _made_here(self, sent: Sent) -> list[Violation] | None:
        """An error that a cache answers by itself."""
        if sent.serial is not None or sent.status not in (502, 503, 504):
            return None
        if sent.failed or (sent.status == 504 and sent.ask.has("only-if-cached")):
            return []
        return [Violation("9111 4", f"a {sent.status} though the origin did not fail")]

    def _passed_on(self, sent: Sent, got: Received) -> list[Violation] | None:
        """The origin's response to this very request, as it came."""
        said = got.said
        if said is None or sent.status != said.status or sent.serial not in (None, b"%d" % said.serial):
            return None
        out = []
        if not sent.has(b"" if sent.ask.method == "HEAD" else said.content()):
            out.append(Violation("9110 6.4", "another body than the origin sent"))
        if said.status == 304:
            confirmed = condition_met(sent.ask, said.etag, said.modified, got.date)
            # With If-Match the request went past the cache as it was: the origin knew the client's conditions.
            if not confirmed and (sent.ask.match is None or sent.ask.inm is sent.ask.ims):
                out.append(Violation("9111 4.3.3", "a 304 to a client whose validator it does not confirm"))
        elif sent.serial is None:
            return None
        missing = [
            line for line in self._meant(said.fields(content=sent.ask.method != "HEAD"), got) if line not in sent.fields
        ]
        out += [Violation("9110 7.7", f"the origin's {name!r}: {value!r} is missing") for name, value in missing]
        return out

    @staticmethod
    def _meant(fields: Fields, got: Received) -> Fields:
        """Lines that a response needs to have unchanged. A Date that is absent or wrong may be set; Age may be more."""
        loose = {b"age", b"connection"} | ({b"content-length"} if got.said and got.said.status == 304 else set())
        loose |= {b"date"} if not got.said or not isinstance(got.said.date, int) else set()
        return [line for line in fields if line[0].lower() not in loose]

    def _made_of(self, sent: Sent, version: Version) -> list[Violation] | None:
        """A response that was made of a stored one, or of one that just came."""
        if sent.serial is not None and sent.serial != b"%d" % version.said.serial:
            return None
        if sent.base not in (None, b"%d" % version.original.serial):
            return None
        if sent.serial is None and sent.status not in (304, 416):
            return None
        own = any(version.last is got for got in sent.received)
        out = faults_of_content(sent, version, self._relatives(version))
        out += self._faults_of_fields(sent, version, own)
        out += self._faults_of_age(sent, version, own)
        if own and version.base is version.last:
            return out
        out += unstorable(version.base, version.original, self.policy)
        out += self._faults_by_purges(version, sent.since)
        return out if own else out + self._faults_of_reuse(sent, version)

    def _relatives(self, version: Version) -> list[Version]:
        """What else came of the same representation: by a strong validator (sections 3.4, and RFC 9110 15.3.7.3)."""
        tag = version.said.etag
        return [
            other
            for other in self._of_target(version.base.ask)
            if tag and not tag.weak and other.original.etag == tag and other.original.status in (200, 206)
        ]

    def _faults_of_fields(self, sent: Sent, version: Version, own: bool) -> list[Violation]:
        out = []
        told = Directed(version.said, self.policy)
        validated = own and version.base is not version.last
        fetched = own and not validated
        just = {name.lower() for name, _ in version.last.said.fields()} if validated and version.last.said else set()
        never = told.named("private") - just if not fetched else set()
        never |= told.named("no-cache") if not own else set()
        if self.policy.set_cookie != "store" and not fetched and b"set-cookie" not in just:
            never.add(b"set-cookie")
        for name in sorted(never & {name.lower() for name, _ in sent.fields}):
            section = "set_cookie" if name == b"set-cookie" else "9111 5.2.2.4/5.2.2.7"
            out.append(Violation(section, f"{name!r} is replayed"))
        spared = set() if fetched else version.withheld | {b"set-cookie"}
        spared |= {b"content-length"}
        if sent.status in (206, 416):
            spared |= {b"content-range", b"content-type"}
        expected = [line for line in self._meant(version.fields, version.last) if line[0].lower() not in spared]
        if version.original.part:
            expected = [line for line in expected if line[0] != b"Content-Range"]
        if sent.status == 304:
            needed = {b"etag", b"cache-control", b"expires", b"vary", b"content-location", b"date"}
            expected = [line for line in expected if line[0].lower() in needed]
        if sent.status != 416:
            missing = [line for line in expected if line not in sent.fields]
            out += [Violation("9111 3.1/3.2", f"{name!r}: {value!r} is missing") for name, value in missing]
        return out + self._strangers(sent, version)

    def _strangers(self, sent: Sent, version: Version) -> list[Violation]:
        """Fields that nobody may have added, or with values of before an update."""
        free = {b"age", b"cache-status", b"via", b"content-length", b"connection", b"accept-ranges", b"keep-alive"}
        free |= {b"content-range", b"content-type", b"transfer-encoding"}
        if not isinstance(version.said.date, int):
            free.add(b"date")
        known = list(version.fields)
        for other in self._relatives(version) if version.original.part else []:
            known += other.fields
        return [
            Violation("9111 3.2", f"{name!r}: {value!r} is not what the origin says by now")
            for name, value in sent.fields
            if name.lower() not in free and (name, value) not in known
        ]

    def _faults_of_age(self, sent: Sent, version: Version, own: bool) -> list[Violation]:
        """Section 5.1: Age is there wherever nothing was validated, and right to a second."""
        told = sent.get(b"age")
        age = version.age(sent.now)
        if told is None:
            needed = not own or (version.base is version.last and (version.original.age or "").isdigit())
            if needed and sent.status not in (304, 416):
                return [Violation("9111 4", "Age is missing")]
            return []
        if not told.isdigit():
            return [] if own else [Violation("9111 5.1", f"Age: {told!r} is no number")]
        if int(told) > age + 1:
            return [Violation("9111 4.2.3", f"Age: {int(told)} of a response that is {age:g} s old: not reset?")]
        least = age_told(version.original) if own and version.base is version.last else 0.0 if own else age - 1
        if int(told) < least:
            return [Violation("9111 4.2.3", f"Age: {int(told)} of a response that is {age:g} s old")]
        return []

    def _faults_by_purges(self, version: Version, since: int) -> list[Violation]:
        """Sections 4.4, and what a purge promises: nothing asked for before it is found after it.

        :param since: when what is judged was found: what was purged later it may have yet.
        """
        out = []
        for purge in self._purges:
            if purge.order > since or not self._meets(purge, version):
                continue
            if purge.by_method:
                if version.last.order < purge.order:
                    out.append(Violation("9111 4.4", "reused without validation after an unsafe method's success"))
            elif not purge.soft and version.base.asked < purge.order:
                out.append(Violation("purge", f"reused after a purge of {purge.kind} {purge.what}"))
        return out

    def _meets(self, purge: Purged, version: Version) -> bool:
        ask = version.base.ask
        uri = self.uri(ask)
        return {
            "url": uri == purge.what,
            "prefix": uri.startswith(purge.what),
            "host": ask.host == purge.what,
            "tag": version.base.order in purge.met
            or (version.base.order > purge.order and purge.what in version.original.tags),
            "all": True,
        }[purge.kind]

    def _faults_of_reuse(self, sent: Sent, version: Version) -> list[Violation]:
        """Section 4, for what was sent without asking the origin, or against its answer."""
        ask = sent.ask
        out = [
            fault for fault in unstorable(version.last, version.said, self.policy) if "Authorization" not in fault.what
        ]
        if version.last.ask.authorization and not Directed(version.said, self.policy).shareable:
            out.append(Violation("9111 3.5", "what a request with Authorization brought is reused"))
        if not version.suits(ask):
            out.append(Violation("9111 4.1", "for another request, or another by what Vary names"))
        if version.superseded:
            out.append(Violation("9111 4.3.4", "as it was before an update"))
        full = [got for got in sent.received if got.said and got.said.status != 304 and not got.failed]
        if full:
            out.append(Violation("9111 4.3.3", "though the origin sent a full response"))
        newer = [v for v in self._versions if self._goes_before(v, version, ask, sent.now)]
        if newer:
            out.append(Violation("9111 4", f"though there is a more recent one ({newer[0].said.serial})"))
        return out + self._faults_of_freshness(sent, version)

    def _goes_before(self, new: Version, old: Version, ask: Ask, now: float) -> bool:
        """Whether one is to be used rather than another, as far as can be told: it is stored for certain, and later."""
        return (
            new.base.complete
            and new.base.order > old.last.order
            and new.last.date > old.last.date
            and new.suits(ask)
            and new.original.status == 200
            and (bool(new.said.vary) or not old.said.vary)  # of those with and without Vary, the former (section 4.1)
            and new.base.ask.match is None  # a condition on the origin's state goes past caches (section 4.3.2)
            and new.base.ask.method == old.base.ask.method
            and not unstorable(new.base, new.said, self.policy)
            and not self._faults_by_purges(new, self._order)
            and not new.superseded
            and new.fresh(now, self.policy)
            and not Directed(new.said, self.policy).whole("no-cache")
        )

    def _faults_of_freshness(self, sent: Sent, version: Version) -> list[Violation]:
        ask, policy, now = sent.ask, self.policy, sent.now
        told = Directed(version.said, policy)
        failed = sent.failed
        heeded = policy.request_directives and not failed
        lifetime, age = version.lifetime(policy), version.age(now)
        soft = any(
            p.soft and version.last.asked < p.order < sent.since and self._meets(p, version) for p in self._purges
        )
        fresh = version.fresh(now, policy) and not soft
        out = []
        if told.whole("no-cache"):
            out.append(Violation("9111 5.2.2.4", "no-cache, and not validated"))
        if heeded and ask.has("no-cache"):
            out.append(Violation("9111 5.2.1.4", "the client asks for validation"))
        most, spare, stale = ask.number("max-age"), ask.number("min-fresh"), ask.number("max-stale")
        if heeded and most is not None and age > most and not (told.has("immutable") and fresh):
            out.append(Violation("9111 5.2.1.1", f"{age:g} s old, for a client that wants at most {most} s"))
        if heeded and spare is not None and lifetime - age < spare:
            out.append(Violation("9111 5.2.1.3", f"{lifetime - age:g} s fresh, for a client that wants {spare} s"))
        if fresh:
            return out
        if told.never_stale:
            out.append(Violation("9111 4.2.4", f"stale, and {told.never_stale}"))
        past = max(0.0, age - lifetime)
        if ask.has("max-stale") and (stale is None or past <= stale):
            return out
        if heeded and most is not None:
            out.append(Violation("9111 5.2.1.1", "stale, for a client that sends max-age and no max-stale"))
        window = told.seconds("stale-while-revalidate")
        allowed = policy.stale_while_revalidate if window is None else window
        if failed:
            on_error = told.seconds("stale-if-error")
            on_error = policy.stale_if_error if on_error is None else on_error
            allowed = max(allowed, on_error, float(ask.number("stale-if-error") or 0))
        if past > allowed or not allowed:
            out.append(Violation("9111 4.2.4", f"stale for {past:g} s, of which {allowed:g} s are permitted"))
        return out
