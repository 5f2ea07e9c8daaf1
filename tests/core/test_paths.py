"""The readings of a path."""

import re
from urllib.parse import unquote_to_bytes

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from balancer.core.paths import MAX_READINGS, readings
from balancer.errors import RequestRefused

PIECES = [b"/", b"a", b"b", b".", b"..", b"%2e", b"%2E", b"%2f", b"%2F", b"%5c", b";", b";x=1", b"%3b", b"%25", b"2f",
          b"2e", b"%61", b"//", b"%20"]  # fmt: skip
paths = st.lists(st.sampled_from(PIECES), max_size=9).map(lambda pieces: b"/" + b"".join(pieces))

LIBERTIES = {
    "decode": unquote_to_bytes,
    "decode but the slash": lambda path: unquote_to_bytes(re.sub(rb"%2[fF]", b"%252F", path)),
    "turn backslashes": lambda path: path.replace(b"\\", b"/"),
    "remove parameters": lambda path: re.sub(rb";[^/]*", b"", path),
    "merge slashes": lambda path: re.sub(rb"/+", b"/", path),
}


def read_by(server: list[str], path: bytes) -> bytes:
    """How a server reads a path that takes these liberties in this order and then resolves dot segments."""
    for liberty in server:
        path = LIBERTIES[liberty](path)
    kept: list[bytes] = []
    for segment in path.split(b"/")[1:]:
        if segment == b"..":
            del kept[-1:]
        elif segment != b".":
            kept.append(segment)
    return b"/" + b"/".join(kept)


servers = st.lists(st.sampled_from(list(LIBERTIES)), max_size=5).map(
    # RFC 9110 section 4.2.3: an escape of an unreserved character is that character, so every server decodes;
    # some do it before parameters are removed, some after, all of them before anything else.
    lambda more: ["decode but the slash", *more]
) | st.lists(st.sampled_from(list(LIBERTIES)), max_size=4).map(
    lambda more: ["remove parameters", "decode but the slash", *more]
)


class ReadingsTests(SynchronousTestCase):
    def refused(self, path: bytes) -> RequestRefused:
        refusal = self.assertRaises(RequestRefused, readings, path)
        self.assertEqual(refusal.status, 400)
        self.assertNotEqual(refusal.section, "")
        return refusal

    def test_a_plain_path_has_one_reading(self) -> None:
        """A path with nothing in doubt is read as it is, dots and dashes in names included."""
        for path in (b"/", b"/a/b", b"/a/b/", b"/.well-known/x", b"/a..b/...", b"/v1.2/x,y:z@w", b"*"):
            self.assertEqual(readings(path), (path,))

    def test_escapes_are_decoded_once_for_the_first_reading(self) -> None:
        """The first reading is RFC 3986's: every escape decoded but the one of the slash."""
        self.assertEqual(readings(b"/%61pi/caf%C3%A9"), (b"/api/caf\xc3\xa9",))
        self.assertEqual(readings(b"/50%25"), (b"/50%",))
        self.assertEqual(readings(b"/@scope%2Fname"), (b"/@scope%2Fname", b"/@scope/name"))

    def test_dot_segments_are_refused_in_every_spelling(self) -> None:
        """No path reaches a route if some server in use would find a dot segment in it."""
        for path in (
            b"/public/../admin", b"/public/./x", b"/..", b"/a/..", b"/.", b"/public/..%2fadmin",
            b"/public%2f..%2fadmin",
            b"/public/%2e%2e/admin", b"/public/.%2E/admin", b"/public/%252e%252e/admin", b"/public/..%5cadmin",
            b"/public/..;/admin", b"/public/..;x=1/admin", b"/public/..%3b/admin", b"/public/%25252e%2e/admin",
            b"/public/;/../admin",
        ):  # fmt: skip
            self.refused(path)

    def test_what_is_no_character_is_refused(self) -> None:
        """Broken escapes, encoded control characters, overlong UTF-8 and backslashes are refused."""
        for path in (b"/%", b"/%4", b"/%zz", b"/%u002e", b"/a%00", b"/a%0d%0aX:1", b"/a%7f", b"/%c0%ae%c0%ae/x",
                     b"/%c1%9c", b"/%e0%80%af", b"/%f0%80%80%af", b"/a\\b"):  # fmt: skip
            self.refused(path)

    def test_the_number_of_readings_is_bounded(self) -> None:
        """A path made to have many readings is refused instead of read."""
        refusal = self.refused(b"/a%" + b"25" * 40 + b"2f")
        self.assertIn("more than", refusal.reason)

    @settings(max_examples=500, deadline=None)
    @given(paths, servers)
    def test_no_server_reads_a_path_in_a_way_that_is_not_listed(self, path: bytes, server: list[str]) -> None:
        """Whatever a server does to a path that is not refused, in whatever order, the result is a listed reading."""
        try:
            found = readings(path)
        except RequestRefused:
            return
        self.assertIn(read_by(server, path), found)
        self.assertLessEqual(len(found), MAX_READINGS)

    @settings(max_examples=200, deadline=None)
    @given(st.binary(max_size=30).map(lambda tail: b"/" + tail))
    def test_any_bytes_are_read_or_refused(self, path: bytes) -> None:
        """Nothing but a refusal is ever raised, and a reading never has a dot segment or a control character."""
        try:
            found = readings(path)
        except RequestRefused as refusal:
            self.assertEqual(refusal.status, 400)
            return
        for reading in found[1:]:
            self.assertNotRegex(reading, rb"[\x00-\x1f]")
            self.assertFalse({b".", b".."} & set(reading.split(b"/")))
