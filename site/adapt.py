"""What pages need and sources lack: texts for figures, links that lead on, docstrings as text."""

import re
from pathlib import Path
from urllib.parse import unquote

from docutils import nodes
from myst_parser.mdit_to_docutils.base import default_slugify
from sphinx.addnodes import download_reference, pending_xref
from sphinx.application import Sphinx

from unlearnlib.lab.notebooks import default_folder, figures, first_sentence, study

SHOWN = re.compile(r"^save\(\w+\.(\w+), results\)$", re.MULTILINE)  # the cell that shows a figure
SECTION = re.compile(r"(\.ipynb#)([^)\s\"]+)")  # in a link to a section of a notebook


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("source-read", name_sections_as_pages_do)
    app.connect("doctree-read", describe_figures)
    app.connect("doctree-read", show_linked_figures, priority=400)  # before images are collected
    app.connect("doctree-read", unlink_what_is_no_page)
    app.connect("autodoc-process-docstring", keep_as_written)


def name_sections_as_pages_do(app: Sphinx, page: str, source: list[str]) -> None:
    """Let links to a section of a notebook, written for JupyterLab, find it on its page."""
    slug = lambda link: link[1] + default_slugify(unquote(link[2]).replace("-", " "))  # noqa: E731
    source[0] = SECTION.sub(slug, source[0])


def describe_figures(app: Sphinx, page: nodes.document) -> None:
    """Give each figure of a notebook a text: its caption, or the title of the section it is in.

    The caption is the docstring of the function in the notebook's study that draws the figure.
    """
    drawn_by = figures(study(default_folder(), Path(app.env.docname).name))
    captions = {draw.__name__: first_sentence(draw) for draw in drawn_by}
    for cell in page.findall(nodes.container):
        if cell.get("nb_element") != "cell_code":
            continue
        shown = SHOWN.search(cell.astext())
        for image in cell.findall(nodes.image):
            title = f"figure: {cell.parent.next_node(nodes.title).astext()}"
            image["alt"] = captions.get(shown and shown[1], title)


def show_linked_figures(app: Sphinx, page: nodes.document) -> None:
    """Show the figures that the tables of figures link to, small; each leads to itself."""
    for link in list(page.findall(download_reference)):
        if link["reftarget"].endswith(".png"):
            text = f"figure {link.astext()}"
            link.replace_self(nodes.image(uri=link["reftarget"], alt=text, width="16em"))


def unlink_what_is_no_page(app: Sphinx, page: nodes.document) -> None:
    """Turn links to assignments into text: their sources hold the solutions."""
    for link in list(page.findall(pending_xref)):
        if link["refdomain"] == "doc" and link["reftarget"] not in app.env.found_docs:
            link.replace_self(link.children)


def keep_as_written(app, what, name, thing, options, lines: list[str]) -> None:
    """Show a docstring as it stands: columns and formulas are laid out in plain text."""
    lines[:] = [
        ".. code-block:: text",
        "   :class: docstring",
        "",
        *(f"   {line}" for line in lines),
        "",
    ]
