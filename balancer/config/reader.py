"""Text to :class:`~balancer.config.schema.Configuration`, or to every mistake in it at once.

Read as TOML, checked by the schema and by the rules; what is wrong is taken out and the rest is looked at again, so
that one mistake does not hide another. It reads one file and nothing else.
"""

from collections.abc import Collection
from dataclasses import replace

from pydantic import TypeAdapter, ValidationError

from balancer.config.completion import completed, stores
from balancer.config.document import MAX_BYTES, Document
from balancer.config.draft import Draft, misfits
from balancer.config.problems import Mistake, Translator
from balancer.config.rules import mistakes
from balancer.config.schema import Configuration
from balancer.config.vocabulary import Vocabulary
from balancer.config.wording import Path, dotted
from balancer.errors import ConfigurationError, Problem

ANYWHERE = "tcp:0"
"""What stands in for a wrong ``listen`` while the rest is looked at: it collides with nothing."""

_ADAPTER: TypeAdapter[Configuration] = TypeAdapter(Configuration)


def read(path: str, vocabulary: Vocabulary) -> Configuration:
    """The configuration in a file.

    :raises ConfigurationError: the file cannot be read, or has mistakes; all of them are in ``problems``.
    """
    try:
        with open(path, "rb") as file:
            content = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        found = getattr(error, "strerror", None) or str(error)
        raise ConfigurationError(Problem(file=path, line=0, key="", found=found, allowed="a file to read")) from None
    if len(content) > MAX_BYTES:
        raise ConfigurationError(
            Problem(file=path, line=0, key="", found="a larger file", allowed=f"at most {MAX_BYTES} bytes")
        )
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        found = f"the byte 0x{content[error.start]:02x}, which is not UTF-8 there"
        raise ConfigurationError(Problem(file=path, line=line, key="", found=found, allowed="UTF-8")) from None
    return reads(text, path, vocabulary)


def reads(text: str, name: str, vocabulary: Vocabulary) -> Configuration:
    """The configuration in a text.

    :param name: what messages call it.
    :raises ConfigurationError: it has mistakes; all of them are in ``problems``, in the order of the text.
    """
    document = Document(text, name)
    reading = _Reading(document, vocabulary)
    configuration = reading.configuration()
    if reading.mistakes or configuration is None:
        raise ConfigurationError(*_in_order(document, reading.mistakes))
    return completed(configuration, vocabulary)


class _Reading:
    """One attempt to understand a document.

    :ivar mistakes: what was found wrong so far.
    """

    def __init__(self, document: Document, vocabulary: Vocabulary) -> None:
        self.mistakes: list[Mistake] = []
        self._draft = Draft(document.values)
        self._vocabulary = vocabulary
        self._translator = Translator(self._draft, vocabulary)

    def __repr__(self) -> str:
        return f"<_Reading with {len(self.mistakes)} mistakes>"

    def configuration(self) -> Configuration | None:
        """What can be understood; None where nothing can."""
        found = [self._translator.misfit(path, allowed) for path, allowed in misfits(self._draft.original)]
        self._take(found)
        understood = self._understood()
        if understood is not None:
            names = (self._names(table) for table in ("upstream", "cache", "store"))
            whole = replace(understood, store=stores(understood, self._vocabulary))
            self._take([self._placed(mistake) for mistake in mistakes(whole, *names)])
        return understood

    def _understood(self) -> Configuration | None:
        # Each round takes at least one value out, so this ends; two or three rounds are usual.
        while True:
            try:
                return _ADAPTER.validate_json(self._draft.json(), strict=True, context=self._vocabulary)
            except ValidationError as error:
                if not self._take(list(self._translator.mistakes(error))):
                    return None

    def _take(self, found: list[Mistake]) -> bool:
        """Remember what is no consequence of another mistake, and take the values out. Whether any was there."""
        touched = {mistake.path for mistake in self.mistakes}
        touched |= {mistake.meant for mistake in (*self.mistakes, *found)}
        wrong = {path[:length] for path in touched for length in range(1, len(path) + 1)}
        self.mistakes += [mistake for mistake in found if wrong.isdisjoint(mistake.about)]
        removed = [self._remove(mistake.spoils or mistake.path) for mistake in found]
        return any(removed)

    def _remove(self, path: Path) -> bool:
        if _is_listen(path):  # without it the listener would go, and its other mistakes would not be found
            return self._draft.fill(path, ANYWHERE)
        return self._draft.remove(path)

    def _placed(self, mistake: Mistake) -> Mistake:
        """A rule sees what is left; a person sees the file."""
        place = self._draft.place
        return Mistake(
            path=place(mistake.path),
            found=mistake.found,
            allowed=mistake.allowed,
            hint=mistake.hint,
            about=tuple(map(place, mistake.about)),
        )

    def _names(self, table: str) -> Collection[str]:
        """What is there by name, right or wrong."""
        named = self._draft.at((table,))
        return list(named) if isinstance(named, dict) else []


def _is_listen(path: Path) -> bool:
    return len(path) == 3 and path[0] == "listener" and path[2] == "listen"


def _in_order(document: Document, found: list[Mistake]) -> list[Problem]:
    return [
        Problem(
            file=document.name,
            line=document.point(mistake.path)[0],
            key=dotted(mistake.path),
            found=mistake.found,
            allowed=mistake.allowed,
            hint=mistake.hint,
        )
        for mistake in sorted(found, key=lambda mistake: document.point(mistake.path))
    ]
