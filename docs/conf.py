"""The documentation as a site: `make docs` writes it into site/, and every warning is an error.

The root of the repository is the source, so that links out of this folder (../data/README.md) are the same on a forge,
in an editor and in the site. Nothing in it needs a network, and its search works on pages that are opened without a
server.
"""

import ndsc

project = "ndsc"
author = "the ndsc developers"
project_copyright = author
version = release = ndsc.__version__

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton"]
root_doc = "docs/contents"
include_patterns = ["docs/**", "CHANGELOG.md", "CONTRIBUTING.md", "README.md", "data/README.md"]
exclude_patterns = ["docs/conf.py", "docs/templates"]
templates_path = ["templates"]

myst_heading_anchors = 4
# Notebooks are executed at every build, each in an empty folder, so what they show is what the code does now.
nb_execution_mode = "force"
nb_execution_in_temp = True
nb_execution_raise_on_error = True
nb_execution_timeout = 300
napoleon_numpy_docstring, napoleon_google_docstring = True, False
napoleon_use_rtype = False
autodoc_typehints = "none"
autodoc_member_order = "bysource"
toc_object_entries_show_parents = "hide"

html_theme = "furo"
html_title = f"ndsc {version}"
html_copy_source = False
html_show_sourcelink = False
html_additional_pages = {"index": "redirect.html"}
