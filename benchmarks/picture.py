"""The comparison as a picture: one SVG, readable on a light page and on a dark one, by the standard library alone.

For each case, on one scale, CPU per request as a multiple of HAProxy's: a bar for each subject, and a mark where ours
is to stay below. It never measures anything.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, LEFT, RIGHT = 760, 96, 200
BAR, GAP, HEAD = 15, 14, 58
"""Pixels: of a bar, between two cases, above the first."""

LONGEST = 6.0
"""Multiples of HAProxy's cost that fit; a longer bar is cut, and says so by its number."""

STYLE = """
  text { font: 12px system-ui, sans-serif; fill: #24292f }
  .case { font-weight: 600 } .small { font-size: 11px; fill: #57606a }
  .grid { stroke: #d0d7de } .limit { stroke: #1a1a1a; stroke-width: 2 }
  .haproxy { fill: #8c959f } .nginx { fill: #54a36a } .caddy { fill: #b98ad6 } .varnish { fill: #d6a28a }
  .ours { fill: #2f6feb } .over { fill: #d1532f }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 } .small { fill: #9198a1 } .grid { stroke: #3d444d } .limit { stroke: #f0f6fc }
    .haproxy { fill: #7d8590 } .ours { fill: #4c8dff } .over { fill: #f07048 }
  }
"""


@dataclass(frozen=True)
class Bar:
    """One subject of a case.

    :ivar ratio: its cost over HAProxy's.
    :ivar words: the cost with its unit.
    """

    name: str
    ratio: float
    words: str


def picture(cases: Mapping[str, Sequence[Bar]], limits: Mapping[str, float], title: str) -> str:
    """Draw it.

    :param limits: for each case the ratio that ours is not to be above; a case may have none.
    """
    height = HEAD + sum(len(bars) * BAR + GAP for bars in cases.values()) + 6
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        f'role="img" aria-label="{escape(title)}">',
        f"<style>{STYLE}</style>",
        f'<text class="case" x="8" y="18">{escape(title)}</text>',
        *_grid(height),
    ]
    y = HEAD
    for case, bars in cases.items():
        parts += _case(case, bars, limits.get(case), y)
        y += len(bars) * BAR + GAP
    return "\n".join([*parts, "</svg>", ""])


def _grid(height: int) -> list[str]:
    parts = []
    for multiple in range(int(LONGEST) + 1):
        x = _x(multiple)
        parts.append(f'<line class="grid" x1="{x:.1f}" y1="{HEAD - 10}" x2="{x:.1f}" y2="{height - 8}"/>')
        parts.append(f'<text class="small" x="{x:.1f}" y="{HEAD - 16}" text-anchor="middle">{multiple}</text>')
    return parts


def _case(case: str, bars: Sequence[Bar], limit: float | None, y: int) -> list[str]:
    middle = y + len(bars) * BAR / 2 + 4
    parts = [f'<text class="case" x="{LEFT - 10}" y="{middle:.1f}" text-anchor="end">{escape(case)}</text>']
    for place, bar in enumerate(bars):
        top = y + place * BAR
        ours = bar.name not in ("haproxy", "nginx", "caddy", "varnish")
        kind = bar.name if not ours else "over" if limit is not None and bar.ratio > limit else "ours"
        end = _x(min(bar.ratio, LONGEST))
        parts.append(
            f'<rect class="{kind}" x="{LEFT}" y="{top + 1}" width="{max(1.0, end - LEFT):.1f}" height="{BAR - 3}"/>'
        )
        text = f"{bar.name} {bar.ratio:.2f} ({bar.words})"
        parts.append(f'<text class="small" x="{end + 6:.1f}" y="{top + BAR - 4}">{escape(text)}</text>')
        if ours and limit is not None:
            x = _x(limit)
            parts.append(f'<line class="limit" x1="{x:.1f}" y1="{top - 1}" x2="{x:.1f}" y2="{top + BAR}"/>')
    return parts


def _x(multiple: float) -> float:
    return LEFT + multiple / LONGEST * (WIDTH - LEFT - RIGHT)
