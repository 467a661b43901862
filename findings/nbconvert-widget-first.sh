#!/usr/bin/env bash
# nbconvert 7.17.2 with ipywidgets 8.1.9: an output that holds a widget and the same thing as text/html, for
# those who read without a kernel, loses the HTML when the notebook is exported: the widget is written in its
# place, and its page fetches a script from a CDN to draw it. The notebook's execution stores the widget's
# state without being asked, and that decides: with the state taken out of the same notebook the HTML is there.
# Seen: state stored: "PLAIN" is not in the page, a CDN's address is; state removed: "PLAIN" is.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet nbconvert==7.17.2 ipykernel==7.4.0 ipywidgets==8.1.9
"$folder/venv/bin/python" - <<'PYTHON'
import copy

import nbformat
from nbclient import NotebookClient
from nbconvert import HTMLExporter

cell = """
from IPython.display import display
from ipywidgets import IntSlider

slider = IntSlider(3)
both = {**slider._repr_mimebundle_(), "text/html": "<b>PLAIN</b>"}
display(both, raw=True)
"""
notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell)])
notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python", "language": "python"}
NotebookClient(notebook).execute()
(output,) = (one for one in notebook.cells[0].outputs if one.output_type == "display_data")
print(sorted(output.data))
stored = "widgets" in notebook.metadata
without = copy.deepcopy(notebook)
without.metadata.pop("widgets", None)
pages = [HTMLExporter().from_notebook_node(one)[0] for one in (notebook, without)]
body = ["<b>PLAIN</b>" in page for page in pages]
print("state stored:", stored, "HTML in the page:", body[0], "asks a CDN:", "cdn" in pages[0])
print("state removed: HTML in the page:", body[1])
assert stored and body == [False, True]
PYTHON
