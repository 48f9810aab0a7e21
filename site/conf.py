"""Settings of the site: `make site` builds it into site/html, `adapt.py` fits sources to pages."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

project = "Certified unlearning"
copyright = "the authors of unlearnlib; MIT licence"
extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx-mathjax-offline",
    "sphinx.ext.mathjax",
    "adapt",
]

# The sources are the files of the repository, where they are: links between them hold here too.
root_doc = "site/index"
include_patterns = [
    "site/*.md",
    "*.md",
    "figures/*.md",
    "notebooks/*.md",
    "notebooks/[0-9][0-9]_*.ipynb",
    "notebooks/solutions/[0-9][0-9]_*.ipynb",
    "notebooks/coursework/**.md",
]
exclude_patterns = [".*", "site/html", "coursework", "unlearnlib", "tests"]

nb_execution_mode = "off"  # outputs are those that were published
nb_ipywidgets_js = {}  # no scripts from elsewhere: there are no widgets among the outputs
nb_render_markdown_format = "myst"  # of outputs; it has formulas
myst_enable_extensions = ["amsmath", "dollarmath"]
myst_heading_anchors = 3

autodoc_default_options = {"members": True}
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True
maximum_signature_line_length = 72

html_theme = "furo"
pygments_style = "a11y-high-contrast-light"
pygments_dark_style = "a11y-high-contrast-dark"
html_title = project
html_static_path = ["static"]
html_css_files = ["site.css"]
html_extra_path = ["root"]
html_copy_source = False
html_show_sphinx = False
html_use_index = False  # the search finds more
html_domain_indices = False
html_show_search_summary = False  # it asks for files, which a page from a disk may not
