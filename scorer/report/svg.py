"""A plot as SVG inside the page: its colours follow the theme, its words the language."""

from __future__ import annotations

import io
import re
import warnings
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import matplotlib

from scorer.report.figures import COLOURS, Plot, style
from scorer.report.texts import term

_SVG = "http://www.w3.org/2000/svg"
_LINK = "{http://www.w3.org/1999/xlink}href"
_STROKES = "*{stroke-linejoin:round;stroke-linecap:butt}"


def written(plot: Plot, form: str, **options: Any) -> bytes:
    """Return the file of a plot; `form` is `svg` or `png`."""
    stream = io.BytesIO()
    with matplotlib.rc_context(style()), warnings.catch_warnings():
        # A name may be in a script that no installed font has; a box in its place is no reason
        # to fail, and in SVG the reader's fonts have it.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        metadata = {"Date": None} if form == "svg" else None  # the same answers, the same bytes
        plot.figure.savefig(stream, format=form, metadata=metadata, **options)
    return stream.getvalue()


class Embedder:
    """Turns plots into SVG elements for one page.

    What matplotlib writes into `style` attributes becomes classes, since the page's content
    security policy forbids such attributes; `css` holds them after the last plot.
    """

    def __init__(self) -> None:
        self._classes: dict[str, str] = {}

    @property
    def css(self) -> str:
        """Rules of the classes that the plots use."""
        rules = (f".{name}{{{rule}}}" for rule, name in self._classes.items())
        return f"svg.plot {_STROKES}" + "".join(rules)

    def embed(self, plot: Plot) -> str:
        """Return the `<svg>` element of a plot."""
        root = ET.fromstring(written(plot, "svg", facecolor="none"))
        _drop_namespaces(root)
        _drop(root, "metadata", "style")
        _scope_ids(root, plot.name)
        for element in root.iter():
            self._to_class(element)
        _translate(root)
        for name in ("width", "height", "version"):
            root.attrib.pop(name, None)
        root.attrib |= {
            "class": "plot",
            "role": "img",
            "aria-label": plot.alt.en,
            "data-en": plot.alt.en,
            "data-zh": plot.alt.zh,
        }
        return ET.tostring(root, encoding="unicode")

    def _to_class(self, element: ET.Element) -> None:
        rules = [element.attrib.pop("style", "")]
        rules += [
            f"{name}: {element.attrib.pop(name)}"
            for name in ("fill", "stroke")
            if name in element.attrib
        ]
        rule = ";".join(filter(None, map(_themed, rules)))
        if rule:
            name = self._classes.setdefault(rule, f"p{len(self._classes)}")
            element.set("class", name)


def _themed(rule: str) -> str:
    """Return CSS with the page's variables for colours, in the page's font."""
    rule = re.sub(r"font-family:[^;]*;?", "", rule)
    rule = re.sub(
        "#[0-9a-f]{6}",
        lambda match: f"var(--{COLOURS[match[0]]})" if match[0] in COLOURS else match[0],
        rule,
    )
    return re.sub(r"\s*([:;])\s*", r"\1", rule).strip("; ")


def _drop_namespaces(root: ET.Element) -> None:
    """Leave plain names, which is what HTML takes."""
    for element in root.iter():
        element.tag = element.tag.removeprefix(f"{{{_SVG}}}")
        if _LINK in element.attrib:
            element.set("href", element.attrib.pop(_LINK))


def _drop(root: ET.Element, *tags: str) -> None:
    for parent in list(root.iter()):
        for child in [child for child in parent if child.tag in tags]:
            parent.remove(child)


def _scope_ids(root: ET.Element, prefix: str) -> None:
    """Keep the ids that something refers to, and make them the plot's own in the page."""
    used = set()
    for element in root.iter():
        for name, value in element.attrib.items():
            if (target := _target(name, value)) is not None:
                used.add(target)
                element.set(name, value.replace(f"#{target}", f"#{prefix}-{target}"))
    for element in root.iter():
        if (own := element.attrib.pop("id", None)) in used:
            element.set("id", f"{prefix}-{own}")


def _target(name: str, value: str) -> str | None:
    if name == "href":
        return value.removeprefix("#")
    match = re.fullmatch(r"url\(#(.+)\)", value)
    return match[1] if match else None


def _translate(root: ET.Element) -> None:
    """Set a second text, in Chinese, beside every text that has one."""
    for parent, position, element in list(_texts(root)):
        both = term((element.text or "").strip())
        if both.en == both.zh:
            continue
        chinese = deepcopy(element)
        chinese.text = both.zh
        for one, language in ((element, "en"), (chinese, "zh")):
            one.set("class", f"{one.get('class', '')} {language}".strip())
        parent.insert(position + 1, chinese)


def _texts(root: ET.Element) -> Iterator[tuple[ET.Element, int, ET.Element]]:
    """Yield (parent, position, element) of the texts, the last first so that positions hold."""
    for parent in root.iter():
        for position in range(len(parent) - 1, -1, -1):
            if parent[position].tag == "text":
                yield parent, position, parent[position]
