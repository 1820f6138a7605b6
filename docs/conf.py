"""The site, built by Sphinx from the files of this repository as they lie (`make docs`).

The source folder is the repository's root and not docs/, so that a README beside its code is a page
as well, and a relative link means the same here and in a plain view of the files.
"""

from __future__ import annotations

from flexnfv import __version__

project = "FlexNFV"
author = "The FlexNFV developers"
project_copyright = author
version = release = __version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
]
root_doc = "docs/index"
include_patterns = [
    "README.md",
    "docs/**.md",
    "hw_backend/dataplane/README.md",
    "hw_backend/dataplane/*/README.md",
]
exclude_patterns = [".venv", ".git", ".*_cache", "**/build", "**/__pycache__", "docs/_site", "runs"]
source_suffix = {".md": "markdown"}

# --- pages ----------------------------------------------------------------------------------------
myst_heading_anchors = 4
pygments_style = "default"

# --- API reference --------------------------------------------------------------------------------
default_role = "py:obj"  # `name` in a docstring links to what has that name, where there is one
suppress_warnings = ["ref.python"]  # to one of them where several things have it
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_default_options = {"members": True, "show-inheritance": True}
autodoc_preserve_defaults = True
autodoc_type_aliases = {
    name: name for name in ("Array", "FloatArray", "IntArray", "State", "Decision", "TraceSource")
}
napoleon_use_rtype = False
napoleon_use_ivar = True
python_maximum_signature_line_length = 88

# --- look -----------------------------------------------------------------------------------------
html_theme = "pydata_sphinx_theme"
html_title = "FlexNFV"
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    "navbar_end": ["theme-switcher"],
    "secondary_sidebar_items": ["page-toc"],
    "show_prev_next": True,
    "show_toc_level": 2,
    "navigation_depth": 3,
    "footer_start": ["copyright"],
    "footer_end": [],
}
