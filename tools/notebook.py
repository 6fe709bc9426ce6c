"""Write docs/tutorial/python.ipynb: the page python.md as a notebook.

python tools/notebook.py           write it
python tools/notebook.py --check   exit code 1 if the notebook is not the page
"""

import re
import sys
from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

PAGE = Path(__file__).parents[1] / "docs" / "tutorial" / "python.md"
NOTEBOOK = PAGE.with_suffix(".ipynb")
CODE = re.compile(r"```python\n(.*?)\n```\n?", re.DOTALL)


def cells(page: str) -> list[nbformat.NotebookNode]:
    """Split a page at its code blocks."""
    made = []
    for number, text in enumerate(CODE.split(page)):
        if text.strip():
            make = new_code_cell if number % 2 else new_markdown_cell
            made.append(make(text.strip(), id=f"cell-{number:02}"))
    return made


def main() -> None:
    """Write the notebook, or compare it with the page."""
    notebook = new_notebook(cells=cells(PAGE.read_text(encoding="utf-8")))
    text = nbformat.writes(notebook) + "\n"
    if "--check" in sys.argv:
        current = NOTEBOOK.read_text(encoding="utf-8") if NOTEBOOK.exists() else ""
        sys.exit(0 if current == text else f"{NOTEBOOK.name} is out of date: run `make notebook`")
    NOTEBOOK.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
