"""The keys of the built-in checks."""

from pydantic import TypeAdapter, ValidationError
from twisted.trial.unittest import SynchronousTestCase

from balancer.core.health import CheckSettings
from balancer.health.probes import EXPECT, HTTP, TCP, TLS
from balancer.health.settings import ExpectCheckSettings, HttpCheckSettings, spell_ranges, status_ranges, unescape


def http(**keys: object) -> HttpCheckSettings:
    return TypeAdapter(HttpCheckSettings).validate_python(keys)


class Http(SynchronousTestCase):
    def test_statuses_are_numbers_and_ranges(self) -> None:
        """A number, a text and a range become ranges, and are spelled back as short as they were."""
        settings = http(status=["200-299", 301, "404"])
        self.assertEqual(settings.status, ((200, 299), (301, 301), (404, 404)))
        self.assertEqual(spell_ranges(settings.status), "200-299, 301, 404")
        self.assertEqual(status_ranges(204), ((204, 204),))

    def test_other_statuses_are_refused_with_what_is_allowed(self) -> None:
        """Beyond 100 to 599, the wrong way round, not a status, none at all."""
        for wrong in (["299-200"], [99], [600], ["2xx"], [True], [None], [[200]], []):
            with self.assertRaisesRegex(ValidationError, "status"):
                http(status=wrong)

    def test_tables_become_sorted_pairs(self) -> None:
        """Settings are hashable, and equal whatever the order they were written in."""
        one, other = http(headers={"B": "2", "A": "1"}), http(headers={"A": "1", "B": "2"})
        self.assertEqual(one.headers, (("A", "1"), ("B", "2")))
        self.assertEqual((one, hash(one)), (other, hash(other)))

    def test_what_could_forge_a_request_is_refused(self) -> None:
        """No line break, no space, no empty name in any part of the request."""
        for keys in (
            {"headers": {"A": "1\r\nB: 2"}},
            {"headers": {"A b": "1"}},
            {"headers": {"": "1"}},
            {"headers": {"A": 1}},
            {"path": "health"},
            {"path": "/a b"},
            {"path": "/a\r\nX: y"},
            {"path": "/a#b"},
            {"path": "/\u00e4"},
            {"method": "GET /x HTTP/1.1\r\n"},
            {"method": ""},
            {"host": "a b"},
            {"host": "a/b"},
            {"host": "a\n"},
            {"path": "/a\n"},
            {"method": "GET\n"},
        ):
            with self.assertRaises(ValidationError, msg=str(keys)):
                http(**keys)

    def test_a_broken_regular_expression_is_refused(self) -> None:
        """At the start, not at the first probe."""
        with self.assertRaisesRegex(ValidationError, "a regular expression"):
            http(expect_body="(")

    def test_an_unknown_key_is_refused(self) -> None:
        """A misspelled key is no default in disguise."""
        with self.assertRaises(ValidationError):
            http(pth="/")


class Expect(SynchronousTestCase):
    def test_escapes_stand_for_bytes(self) -> None:
        """The six escapes; all else is UTF-8."""
        self.assertEqual(
            unescape(r"a\r\n\t\0\x7f\xFf\\n\u00e4".replace(r"\u00e4", "\u00e4")), b"a\r\n\t\0\x7f\xff\\n\xc3\xa4"
        )

    def test_other_escapes_are_refused_with_what_is_allowed(self) -> None:
        """An escape of another language is a mistake to be told, not to be sent."""
        for wrong in (r"\q", r"\x1", r"\xzz", "\\"):
            with self.assertRaisesRegex(ValueError, "with the escapes"):
                unescape(wrong)
            for key in ("send", "expect"):
                with self.assertRaisesRegex(ValidationError, "with the escapes"):
                    TypeAdapter(ExpectCheckSettings).validate_python({key: wrong})

    def test_what_is_expected_is_checked_as_what_it_is(self) -> None:
        r"""`\d` is a regular expression and no escape; `(` is a text and no regular expression."""
        self.assertEqual(ExpectCheckSettings(expect=r"\d", regex=True).expect, r"\d")
        self.assertEqual(ExpectCheckSettings(expect="(").expect, "(")
        with self.assertRaises(ValueError):
            ExpectCheckSettings(expect="(", regex=True)
        with self.assertRaises(ValidationError):
            TypeAdapter(ExpectCheckSettings).validate_python({"expect": "(", "regex": True})


class All(SynchronousTestCase):
    def test_every_probe_has_settings_of_its_own_name_that_are_hashable(self) -> None:
        """The type is the plugin's name, and equal settings are one key."""
        for plugin in (TCP, TLS, HTTP, EXPECT):
            settings = plugin.settings()
            self.assertIsInstance(settings, CheckSettings)
            self.assertEqual((settings.type, hash(settings)), (plugin.name, hash(plugin.settings())))

    def test_what_every_check_has_is_there(self) -> None:
        """Intervals, port and address are keys of each of them, with units."""
        settings = http(interval="500ms", port=8080, address="10.0.0.9", rise=1)
        self.assertEqual(
            (settings.interval, settings.port, settings.address, settings.rise), (0.5, 8080, "10.0.0.9", 1)
        )
