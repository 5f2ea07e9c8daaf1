"""The reference (docs/reference.md) and the commented configuration (etc/balancer.toml), made from the schema.

Each key's manual entry stands where the key is defined and nowhere else; here it is only laid out. A test fails
when the files are stale. Write them with::

    python -m balancer.config.reference

It never describes a key in words of its own.
"""

from collections.abc import Iterator
from dataclasses import MISSING
from importlib import import_module
from pathlib import Path
from textwrap import wrap

from balancer.cache.policy import BypassPolicy, CachePolicy, KeyPolicy
from balancer.config.chosen import StoreConfig
from balancer.config.layout import NAME, Table, tables
from balancer.config.schema import ListenerConfig, ServerConfig
from balancer.config.vocabulary import Vocabulary
from balancer.config.wording import Key, toml
from balancer.core.health import CheckSettings
from balancer.core.route_spec import RouteSpec
from balancer.core.tls import CertificateFiles, ListenerTls

VOCABULARY = ("balancer.service", "vocabulary")
"""Where the command finds the words of plugins: by name, for this room imports nothing above it."""

REFERENCE = Path("docs", "reference.md")
EXAMPLE = Path("etc", "balancer.toml")
WIDTH = 100

_MADE = "It is made from the schema by `python -m balancer.config.reference`: change it there, not here."

_INTRODUCTION = f"""\
# Reference

Every table and every key of the configuration file. {_MADE}
[configuration.md](configuration.md) explains how the tables work together;
[etc/balancer.toml](../etc/balancer.toml) has every key with its default.

- `NAME` stands for a name you choose.
- A duration is a number of seconds, or a text with a unit: `"250ms"`, `"5s"`, `"10m"`, `"1h"`, `"1d"`, `"50us"`;
  at most 366 days.
- A size is a number of bytes, or a text with a unit: `"64KiB"`, `"1MiB"`, `"1GiB"` (powers of 1024), `"64KB"`, `"1MB"`,
  `"1GB"` (of 1000), `"64B"`.
"""

_SHARED: dict[type | None, str] = {
    CheckSettings: " It has the keys of every check, and:",
    StoreConfig: ' Beside "type" it has:',
}
"""What is said of the keys that a table shares with others."""

_OFF = (RouteSpec, CertificateFiles, CachePolicy, KeyPolicy, BypassPolicy, StoreConfig)
"""Tables that do not stand there by default, beside those that are absent."""

_NAMES = "web"
_EXAMPLES: dict[tuple[type, str], object] = {
    (ServerConfig, "address"): "127.0.0.1:8001",
    (ListenerConfig, "listen"): "tcp:8080",
    (StoreConfig, "type"): "memory",
    (ListenerConfig, "to"): _NAMES,
    (ListenerTls, "certificate"): "/etc/ssl/web.pem",
    (CertificateFiles, "certificate"): "/etc/ssl/other.pem",
}
"""What the example says where a key has to be given; the second server has the next port."""

_EVIDENT = ("a text", "true or false")
"""What a key takes need not be said where its default shows it."""


def reference(vocabulary: Vocabulary) -> str:
    """The text of docs/reference.md."""
    return "\n".join([_INTRODUCTION, *(line for table in tables(vocabulary) for line in _section(table))])


def _section(table: Table) -> Iterator[str]:
    title = f"`{table.header}`" if table.header else "The top"
    yield f"## {title}" + f' with `type = "{table.chosen}"`' * bool(table.chosen)
    yield ""
    yield _sentence(table.doc) + _SHARED.get(table.shared, "")
    yield ""
    if table.values:
        yield "| key | takes | default | meaning |"
        yield "|---|---|---|---|"
        for key in table.values:
            yield f"| `{key.name}` | {_cell(key.brief)} | {_default(key)} | {_cell(key.doc)} |"
        yield ""


def _default(key: Key) -> str:
    if key.default is MISSING:
        return "has to be given"
    return f"`{_cell(key.written_default)}`" if key.written_default else "absent"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def example(vocabulary: Vocabulary) -> str:
    """The text of etc/balancer.toml: as it stands, it says what is so anyway."""
    lines = [
        f"# {line}"
        for line in wrap(
            "Every key of twistd balancer with its default. A line that begins with # and no space is off: take the # "
            "away to use it. " + _MADE.replace("`", ""),
            WIDTH,
        )
    ]
    for table in tables(vocabulary):
        lines += ["", *_example_table(table)]
        if table.kind is ServerConfig:
            lines += ["", _named(table.header), 'address = "127.0.0.1:8002"']
    return "\n".join(lines) + "\n"


def _example_table(table: Table) -> Iterator[str]:
    off = "#" * (table.absent or table.kind in _OFF)
    yield from _comment(_sentence(table.doc))
    if table.header:
        yield off + _named(table.header)
    if table.chosen:
        yield f"{off}type = {toml(table.chosen)}"
    for key in table.values:
        yield ""
        yield from _comment(_sentence(key.doc) + f" ({key.brief})" * (key.brief not in _EVIDENT))
        written = _given(table, key) or key.written_default
        yield f"{off}{key.name} = {written}" if written else f"#{key.name} ="


def _given(table: Table, key: Key) -> str:
    value = _EXAMPLES.get((table.kind, key.name))
    return "" if value is None else toml(value)


def _named(header: str) -> str:
    return header.replace(NAME, _NAMES)


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."


def _comment(text: str) -> list[str]:
    return [f"# {line}" for line in wrap(text.replace("`", ""), WIDTH, break_long_words=False)]


def main(root: Path = Path()) -> None:
    """Write both files below the root of a checkout."""
    module, name = VOCABULARY
    vocabulary: Vocabulary = getattr(import_module(module), name)()
    (root / REFERENCE).write_text(reference(vocabulary), encoding="ascii")
    (root / EXAMPLE).write_text(example(vocabulary), encoding="ascii")


if __name__ == "__main__":
    main()
