"""Sphinx's settings for the book. `make book` copies this folder, adds pages, and runs Sphinx."""

import json
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
FACTS = json.loads((HERE / "book.json").read_text(encoding="utf-8"))

project = "Federated anomaly detection, hands on"
release = version = FACTS["version"]
language = "en"

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.mathjax",
    "sphinxcontrib.bibtex",
    "fedlab_book",
]
exclude_patterns = ["chapters-table.txt"]

# The chapters are executed already, with the versions of the lock.
nb_execution_mode = "off"
nb_merge_streams = True
myst_enable_extensions = ["amsmath", "attrs_inline", "deflist", "dollarmath"]
myst_heading_anchors = 3
suppress_warnings = ["mystnb.unknown_mime_type"]

bibtex_bibfiles = ["references.bib"]
bibtex_default_style = "alpha"

# Docstrings write code as `code`; where that names something, it becomes a link.
default_role = "fedlab"
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
python_maximum_signature_line_length = 80
toc_object_entries_show_parents = "hide"

nitpicky = True
# The documentation of Python's and other projects' types is not here; our own must be.
nitpick_ignore_regex = [(r"py:.*", r"(?!fedlab_utils\.)\w+\..+")]

html_theme = "sphinx_book_theme"
html_title = project
html_static_path = ["_static"]
html_css_files = ["book.css"]
html_copy_source = False
html_show_copyright = False
html_theme_options = {
    "repository_url": FACTS["address"],
    "repository_branch": "main",
    "use_repository_button": True,
    "use_issues_button": True,
    "use_download_button": True,
    "path_to_docs": "",
    "footer_content_items": [],
    "launch_buttons": {
        "binderhub_url": "https://mybinder.org",
        "colab_url": "https://colab.research.google.com",
        "notebook_interface": "jupyterlab",
    },
    "show_toc_level": 2,
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}
mathjax_path = "mathjax/tex-chtml.js"
