"""From what pydantic says to what a person needs: where, what was found, what is allowed, what was meant.

It never validates; it only words what did not pass.
"""

import json
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from balancer.config.chosen import WRONG_TYPE, StoreConfig, types_of
from balancer.config.draft import Draft, has
from balancer.config.schema import Configuration, ListenerConfig, UpstreamConfig, is_name
from balancer.config.vocabulary import Vocabulary
from balancer.config.wording import (
    Path,
    Step,
    Written,
    any_of,
    choices,
    inside,
    keys_of,
    measure,
    nearest,
    shown,
    table_in,
    words,
)
from balancer.core.health import CheckSettings
from balancer.core.route_spec import RouteSpec

_QUOTED = re.compile(r'"([a-z_]+)"')
_BEHIND_LISTENERS: tuple[tuple[str, type], ...] = (("an upstream", UpstreamConfig), ("a route", RouteSpec))


@dataclass(frozen=True, slots=True, kw_only=True)
class Mistake:
    """One mistake, before its line is known.

    :ivar path: where it is; for a key that is missing, where it would be.
    :ivar about: paths it is about: where one of them is wrong already, this is only a consequence.
    :ivar meant: the path of the key that was probably meant by an unknown one; empty for none.
    :ivar spoils: what cannot be judged because of it, where that is more than the value; empty for the value alone.
    """

    path: Path
    found: str
    allowed: str
    hint: str = ""
    about: tuple[Path, ...] = ()
    meant: Path = ()
    spoils: Path = ()


def unknown_name(path: Path, wanted: str, kind: str, names: Collection[str]) -> Mistake:
    """A name that nothing of its kind has.

    :param kind: ``upstream``, ``cache`` or ``store``.
    :param names: those there are, of which some may be such as nothing may have: these are not recommended.
    """
    fit = sorted(filter(is_name, names))
    near = nearest(wanted, fit)
    return Mistake(
        path=path,
        found=f"{shown(wanted)}, which is no {kind}",
        allowed=f"the name of {'an' if kind[0] in 'aeiou' else 'a'} {kind}: {', '.join(fit) or 'none is configured'}",
        hint=shown(near) if near else "",
        about=(path,),
    )


def _elsewhere(table: type | None, key: Step) -> str:
    """Whose key it is, where it was written on a listener that sends there; empty where it is nobody's."""
    homes = [home for home, other in _BEHIND_LISTENERS if key in keys_of(other)] if table is ListenerConfig else []
    return f"{json.dumps(key)} of {any_of(homes)}" if homes else ""


class Translator:
    """Words the errors of one validation.

    :param draft: what was validated.
    """

    def __init__(self, draft: Draft, vocabulary: Vocabulary) -> None:
        self._draft = draft
        self._vocabulary = vocabulary

    def __repr__(self) -> str:
        return f"<Translator of {self._draft!r}>"

    def mistakes(self, error: ValidationError) -> Iterator[Mistake]:
        """One for each place. A value that fits none of several types has an error for each: the first one counts,
        or those inside the value, which say more."""
        found: dict[Path, Mistake] = {}
        for details in error.errors(include_url=False, include_input=False):
            mistake = self._mistake(details)
            found.setdefault(mistake.path, mistake)
        around = {path[:length] for path in found for length in range(len(path))}
        yield from (mistake for path, mistake in found.items() if path not in around)

    def misfit(self, path: Path, allowed: str) -> Mistake:
        """A value that no key takes."""
        if not allowed:
            annotation = self.annotation(path)
            allowed = "a number, a text, true or false" if annotation is None else words(annotation)
        return Mistake(path=path, found=shown(self._draft.at(path), path), allowed=allowed)

    def annotation(self, path: Path) -> Any | None:
        """What the schema says of the value at a path; None if it knows none."""
        annotation: Any | None = Configuration
        for length, step in enumerate(path):
            if annotation is None:
                return None
            table = self._chosen(annotation, path[:length])
            if table_in(annotation) is StoreConfig and step == "type":
                annotation = Annotated[str, Written(types_of(self._vocabulary.stores))]
            else:
                annotation = inside(annotation if table is None else table, step)
        return annotation

    def _chosen(self, annotation: Any, path: Path) -> type | None:
        """The table that an annotation takes there, which ``type`` may choose; None for no table."""
        table = table_in(annotation)
        raw = self._draft.at(path)
        kind = raw.get("type") if isinstance(raw, dict) else None
        if table is CheckSettings:
            return self._vocabulary.checks.get(kind or "tcp", table) if isinstance(kind, str | None) else table
        if table is StoreConfig:
            return self._vocabulary.stores.get(kind, table) if isinstance(kind, str) else table
        return table

    def _mistake(self, details: ErrorDetails) -> Mistake:
        kind = details["type"]
        path = self._path(details["loc"], kind == "missing")
        context = details.get("ctx", {})
        if kind == "unexpected_keyword_argument":
            return self._unknown_key(path)
        if kind == "missing":
            annotation = self.annotation(path)
            allowed = "this key" if annotation is None else words(annotation)
            return Mistake(path=path, found="nothing: the key has to be given", allowed=allowed, about=(path,))
        if kind == WRONG_TYPE:
            found = shown(self._draft.at(path), path)
            allowed, hint = context["allowed"], context["hint"]
            spoils = path[:-1] if path[-1] == "type" else path  # where it was written as the type alone
            return Mistake(path=path, found=found, allowed=allowed, hint=hint, spoils=spoils)
        if details["loc"][-1:] == ("[key]",):
            return Mistake(path=path, found=f"the name {json.dumps(path[-1])}", allowed=str(context.get("error", "")))
        return self._wrong_value(path, str(context["error"]) if kind == "value_error" else "")

    def _wrong_value(self, path: Path, complaint: str) -> Mistake:
        value = self._draft.at(path)
        annotation = self.annotation(path)
        said = "another value" if annotation is None else words(annotation)
        allowed = said if annotation is None or measure(annotation) else complaint or said
        near = nearest(value, choices(annotation))
        # Keys that a complaint about a whole table names: while one of them is wrong, so is the complaint.
        about = tuple((*path, key) for key in _QUOTED.findall(complaint)) if isinstance(value, dict) else (path,)
        hint = json.dumps(near) if near else ""
        return Mistake(path=path, found=shown(value, path), allowed=allowed, hint=hint, about=about)

    def _unknown_key(self, path: Path) -> Mistake:
        around = self.annotation(path[:-1])
        table = None if around is None else self._chosen(around, path[:-1])
        known = list(keys_of(table)) if table is not None and table is not StoreConfig else []
        if around is not None and table_in(around) is StoreConfig:
            known = list(dict.fromkeys(("type", *known)))  # a plugin's settings may have it too
        near = nearest(path[-1], known)
        allowed = f"{'the keys' if len(known) > 1 else 'the key'} {any_of(known)}" if known else "no such key"
        return Mistake(
            path=path,
            found="an unknown key",
            allowed=allowed,
            hint=_elsewhere(table, path[-1]) or near,
            meant=(*path[:-1], near) if near and not has(self._draft.at(path[:-1]), near) else (),
        )

    def _path(self, places: tuple[int | str, ...], missing: bool) -> Path:
        """Where in the document: pydantic also names the types it tried, and these are not in it."""
        path: Path = ()
        for step in places:
            if step == "[key]":
                break
            value = self._draft.at(self._draft.place(path))
            # A missing key is not there either, but it comes last.
            if has(value, step) or (missing and step == places[-1] and isinstance(value, dict)):
                path = (*path, step)
        return self._draft.place(path)
