"""Tables whose further keys are a plugin's, which ``type`` names: checks and stores.

The classes of their settings come with the vocabulary. Nothing here looks for a plugin.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any

from pydantic import TypeAdapter, ValidationError, ValidationInfo
from pydantic_core import InitErrorDetails, PydanticCustomError
from typing_extensions import Doc

from balancer.config.vocabulary import NO_CHECK, Vocabulary
from balancer.config.wording import any_of, nearest

WRONG_TYPE = "wrong_type"
"""The kind of error of a ``type`` that nobody provides."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreConfig:
    """Where caches keep responses: `[store.NAME]`.

    :ivar settings: the plugin's own keys: an instance of its settings class.
    """

    type: Annotated[
        str,
        Doc("The kind of store: `memory`, `tiered`, `disk` or a plugin's, which decides which further keys it has."),
    ]
    settings: Any

    @property
    def over(self) -> str:
        """The store behind it, for settings that name one; else empty."""
        over = getattr(self.settings, "over", "")
        return over if isinstance(over, str) else ""


def vocabulary_of(info: ValidationInfo) -> Vocabulary:
    """The words that whoever reads has passed in."""
    return info.context if isinstance(info.context, Vocabulary) else Vocabulary()


def check(value: object, validated: Any, info: ValidationInfo) -> object:
    """The settings of a check: their class is chosen by ``type``."""
    value = {"type": value} if isinstance(value, str) else value
    if not isinstance(value, dict):
        return validated(value)
    checks = vocabulary_of(info).checks
    kind = value.get("type", "tcp")
    if kind == NO_CHECK and len(value) == 1:
        return None
    if not isinstance(kind, str) or kind not in checks:
        note = f' ("{NO_CHECK}" stands alone)' * (kind == NO_CHECK)
        raise _wrong_type(kind, [*checks, NO_CHECK], note)
    return _validated(checks[kind], value, info)


def store(value: object, validated: Any, info: ValidationInfo) -> object:
    """A store: ``type``, and the keys of the class that it chooses."""
    if not isinstance(value, dict):
        return validated(value)
    stores = vocabulary_of(info).stores
    if "type" not in value:
        missing = InitErrorDetails(type="missing", loc=("type",), input=value)
        raise ValidationError.from_exception_data("store", [missing])
    kind = value["type"]
    if not isinstance(kind, str) or kind not in stores:
        raise _wrong_type(kind, list(stores))
    own = {key: item for key, item in value.items() if key != "type"}
    return StoreConfig(type=kind, settings=_validated(stores[kind], own, info))


def types_of(kinds: Iterable[str]) -> str:
    """The types there are, in words."""
    return any_of([json.dumps(kind) for kind in sorted(kinds)] or ["none: no plugin provides any"])


@cache
def _adapter(settings: Any) -> TypeAdapter[Any]:
    return TypeAdapter(settings)


def _validated(settings: Any, value: Mapping[str, object], info: ValidationInfo) -> object:
    # JSON once more: only there does pydantic read strictly and still take a list for a tuple.
    return _adapter(settings).validate_json(json.dumps(value), strict=True, context=info.context)


def _wrong_type(kind: object, names: list[str], note: str = "") -> ValidationError:
    near = nearest(kind, names)
    allowed = any_of([json.dumps(name) for name in names] or ["none: no plugin provides any"]) + note
    context = {"allowed": allowed, "hint": json.dumps(near) if near and near != kind else ""}
    error = PydanticCustomError(WRONG_TYPE, "{allowed}", context)
    return ValidationError.from_exception_data("type", [InitErrorDetails(type=error, loc=("type",), input=kind)])
