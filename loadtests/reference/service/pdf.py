"""PDFs: text out of uploaded ones, proposals into new ones. Plain functions, good for any process.

The libraries are loaded by the functions: a worker that leaves its PDFs to another process does without them.
"""

import base64
import io
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Section:
    """One section: its heading without a number, and its text in Markdown."""

    title: str
    markdown: str


@dataclass(frozen=True)
class Proposal:
    """What is rendered."""

    title: str
    sections: list[Section]


@dataclass(frozen=True)
class Rendered:
    """A PDF and its number of pages."""

    data: bytes
    page_count: int


class Unreadable(Exception):
    """The upload is no PDF that can be read."""


def warm_up() -> None:
    """Loads what a first PDF would load."""
    import matplotlib.figure  # noqa: F401
    import pypdf  # noqa: F401
    import weasyprint  # noqa: F401

    _markdown()
    _template()


def timed(work: Callable[..., T], *arguments: object) -> tuple[T, float]:
    """What the work gives, and the CPU seconds of this thread that it took."""
    began = time.thread_time()
    return work(*arguments), time.thread_time() - began


def extract(data: bytes) -> list[str]:
    """The text of every page."""
    from pypdf import PdfReader
    from pypdf.errors import PyPdfError

    try:
        return [page.extract_text() for page in PdfReader(io.BytesIO(data)).pages]
    except (PyPdfError, ValueError, KeyError, RecursionError) as error:
        # Only the words travel: an exception has to survive the way between processes.
        raise Unreadable(str(error)) from None


def render(proposal: Proposal) -> Rendered:
    """Cover with a chart, contents, numbered sections, page numbers."""
    from weasyprint import HTML

    html = _template().render(
        title=proposal.title,
        chart=base64.b64encode(_chart(proposal)).decode(),
        sections=[
            {"title": section.title, "html": _markdown().render(_below(section))} for section in proposal.sections
        ],
    )
    document = HTML(string=html).render()
    return Rendered(document.write_pdf(), len(document.pages))


@lru_cache
def _markdown():
    from markdown_it import MarkdownIt

    return MarkdownIt("commonmark", {"html": False}).enable("table")


@lru_cache
def _template():
    from jinja2 import Environment, PackageLoader, select_autoescape

    return Environment(loader=PackageLoader(__package__), autoescape=select_autoescape()).get_template(
        "proposal.html"
    )


def _below(section: Section) -> str:
    """The text under its own heading: models often repeat the title."""
    first, _, rest = section.markdown.lstrip().partition("\n")
    bare = re.sub(r"^#+\s*[\d.]*\s*", "", first).strip()
    repeated = first.startswith("#") and bare.casefold() == section.title.strip().casefold()
    return rest if repeated else section.markdown


def _chart(proposal: Proposal) -> bytes:
    """Words per section, as a bar chart in PNG."""
    # A figure that no window manager owns is drawn by Agg.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.3, 2.6), dpi=150, layout="constrained")
    axes = figure.subplots()
    words = [len(section.markdown.split()) for section in proposal.sections]
    labels = [f"{number} {section.title[:36]}" for number, section in enumerate(proposal.sections, start=1)]
    bars = axes.barh(labels, words, color="#2f6f9f")
    axes.bar_label(bars, padding=3, fontsize=8)
    axes.invert_yaxis()
    axes.tick_params(labelsize=8)
    axes.set_xlabel("words", fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    image = io.BytesIO()
    figure.savefig(image, format="png")
    return image.getvalue()
