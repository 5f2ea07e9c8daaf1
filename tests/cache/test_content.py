"""The judge of ranges: wrong bytes and wrong joins are caught, right ones are not flagged."""

from typing import Any

from tests.cache.content import Sent
from tests.cache.exchanges import Ask
from tests.cache.judging import OTHER, STRONG, WEAK, JudgeCase
from tests.cache.versions import Received


class RangeTests(JudgeCase):
    """RFC 9110 section 14, RFC 9111 sections 3.3 and 3.4."""

    def part(self, got: Received, first: int, end: int, ask: Ask, data: bytes | None = None, total: int = 10) -> Sent:
        assert got.said
        line = (b"Content-Range", b"bytes %d-%d/%d" % (first, end - 1, total))
        body = got.said.body[first:end] if data is None else data
        return self.reply(got, ask, status=206, body=body, drop={b"content-length", b"content-range"}, add=[line])

    def test_slice(self) -> None:
        """A 206 has the bytes that were asked for, and is sent only to who asks for a range that counts."""
        got = self.fetch(etag=STRONG)
        self.permitted(self.part(got, 2, 5, Ask(ranges=((2, 4),))))
        self.permitted(self.part(got, 7, 10, Ask(ranges=((None, 3),))))
        self.permitted(self.part(got, 7, 10, Ask(ranges=((7, 99),), if_range=STRONG)))
        self.permitted(self.reply(got, Ask(ranges=((2, 4),))))
        self.forbidden("15.3.7", self.part(got, 2, 5, Ask(ranges=((2, 4),)), b"999"))
        self.forbidden("15.3.7", self.part(got, 2, 5, Ask(ranges=((2, 5),))))
        self.forbidden("15.3.7", self.part(got, 2, 5, Ask(ranges=((2, 4),)), total=11))
        self.forbidden("14.2", self.part(got, 2, 5, Ask()))
        self.forbidden("13.1.5", self.part(got, 2, 5, Ask(ranges=((2, 4),), if_range=OTHER)))
        self.forbidden("14.2", self.part(self.fetch(status=404), 2, 5, Ask(ranges=((2, 4),))))
        self.forbidden("6.4", self.reply(got, Ask(ranges=((2, 4),)), body=b"234"))

    def test_several(self) -> None:
        """Several ranges are sent as parts, each with its bytes."""
        got, ask = self.fetch(), Ask(ranges=((0, 1), (5, 6)))
        piece = b"--x\r\nContent-Range: bytes %s/10\r\n\r\n%s\r\n"
        kind: dict[str, Any] = {
            "status": 206,
            "drop": {b"content-type"},
            "add": [(b"Content-Type", b"multipart/byteranges; boundary=x")],
        }
        kind["drop"] = {b"content-type", b"content-length"}
        right = piece % (b"0-1", b"01") + piece % (b"5-6", b"56") + b"--x--\r\n"
        self.permitted(self.reply(got, ask, body=right, **kind))
        self.forbidden("15.3.7", self.reply(got, ask, body=right.replace(b"56\r", b"65\r"), **kind))
        self.forbidden("missing", self.reply(got, ask, body=piece % (b"0-1", b"01") + b"--x--\r\n", **kind))

    def test_unsatisfiable(self) -> None:
        """A 416 says the length, and is sent only where no range can be satisfied."""
        got = self.fetch()
        bare: dict[str, Any] = {
            "status": 416,
            "body": b"",
            "drop": {b"x-serial", b"x-base", b"content-length", b"content-type"},
        }
        length = [(b"Content-Range", b"bytes */10")]
        self.permitted(self.reply(got, Ask(ranges=((10, None),)), add=length, **bare))
        self.forbidden("14.4", self.reply(got, Ask(ranges=((10, None),)), **bare))
        self.forbidden("15.5.17", self.reply(got, Ask(ranges=((9, None),)), add=length, **bare))

    def test_incomplete(self) -> None:
        """A part is not sent as the whole."""
        ask = Ask(ranges=((0, 4),))
        got = self.fetch(ask, status=206, part=(0, 5), etag=STRONG)
        self.permitted(self.part(got, 1, 3, Ask(ranges=((1, 2),))))
        self.forbidden("6.4", self.reply(got, status=200))
        self.forbidden("3.4", self.reply(got, status=200, body=b"0123456789", drop={b"content-length"}))

    def test_combined(self) -> None:
        """Parts are joined only by the same strong validator."""
        for tag, permitted in ((STRONG, True), (WEAK, False), (None, False)):
            for ends in ((0, 5), (5, 10)):
                got = self.fetch(Ask(ranges=((ends[0], ends[1] - 1),)), status=206, part=ends, etag=tag)
            sent = self.part(got, 2, 8, Ask(ranges=((2, 7),)))
            if permitted:
                self.permitted(sent)
            else:
                self.forbidden("3.4", sent)
