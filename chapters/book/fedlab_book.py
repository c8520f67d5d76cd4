"""What the book needs of Sphinx beside its own extensions."""

import importlib
import json
import shutil
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.domains.python import PyObject
from sphinx.ext.napoleon import Config, GoogleDocstring
from sphinx.util.docutils import SphinxRole

from fedlab_utils.course.book import api, docstrings, html, links
from fedlab_utils.course.book.papers import MENTION, Bibliography

FOLDER = Path(__file__).parent
FACTS = json.loads((FOLDER / "book.json").read_text(encoding="utf-8"))
PAPERS = Bibliography((FOLDER / "references.bib").read_text(encoding="utf-8"))


class CodeRole(SphinxRole):
    """`code` in a docstring: a link if it names a documented object, else just code."""

    def run(self) -> tuple[list[nodes.Node], list[Any]]:
        literal = nodes.literal(self.rawtext, self.text, classes=["py"])
        full = docstrings.target(self.text, FACTS["names"])
        if full is None:
            return [literal], []
        link = pending_xref("", literal, refdomain="py", reftype="obj", reftarget=full)
        link["refdoc"], link["optional"] = self.env.docname, True
        return [link], []


def add_alt_texts(app: Sphinx, document: nodes.document) -> None:
    """Give each figure of a chapter the alternative text that its output carries."""
    figures = FACTS["figures"].get(app.env.docname, {})
    for image in document.findall(nodes.image):
        if (name := Path(image["uri"]).stem) in figures:
            image["alt"] = figures[name]


def read_docstring(
    app: Sphinx, what: str, name: str, thing: Any, options: Any, lines: list[str]
) -> None:
    """Make a docstring readable for Sphinx, and cite the papers it names by number or DOI."""

    def cited(found: Any) -> str:
        key = PAPERS.key(found[0])
        return f"{found[0]} :cite:p:`{key}`" if key else found[0]

    new = docstrings.to_rst(lines)
    if what not in ("attribute", "property"):
        settings = Config(napoleon_use_ivar=True, napoleon_use_rtype=False)
        new = GoogleDocstring(new, settings, app, what, name, thing, options).lines()
    text = "\n".join(MENTION.sub(cited, line) for line in new)
    lines[:] = links.link_chapters(text, FACTS["pages"], _doc).split("\n")


def _doc(text: str, page: str) -> str:
    return f":doc:`{text} <{page}>`"


def shorten_signature(
    app: Sphinx, what: str, name: str, thing: Any, options: Any, signature: Any, returns: Any
) -> Any:
    """Leave out what says nothing: a protocol's arguments, a default made anew for each object."""
    if getattr(thing, "_is_protocol", False):
        return "", returns
    if signature and "<factory>" in signature:
        return signature.replace("<factory>", "..."), returns
    return None


def name_bases(app: Sphinx, name: str, thing: Any, options: Any, bases: list[Any]) -> None:
    """Name only the bases that tell a reader something."""
    bases[:] = [base for base in bases if not api.hidden_base(base)]


def find_type(app: Sphinx, env: Any, node: pending_xref, text: nodes.Element) -> Any:
    """Resolve a short name; link a type of the package that has no entry to its source."""
    if node.get("optional"):
        return text
    if node.get("refdomain") != "py":
        return None
    short = node["reftarget"].rpartition(".")[2]
    full = FACTS["names"].get(short)
    if full is not None and full != node["reftarget"]:
        domain = env.domains["py"]
        found = domain.resolve_xref(env, node["refdoc"], app.builder, "obj", full, node, text)
        if found is not None:
            return found
    files = FACTS["sources"].get(short, [])
    inside = [file for file in files if node["reftarget"].startswith(file[:-3].replace("/", "."))]
    if not files and node["reftype"] == "class" and "." not in node["reftarget"]:
        return text  # another project's type, such as Path
    if len(inside or files) != 1:
        return None
    address = f"{FACTS['address']}/blob/main/{(inside or files)[0]}"
    return nodes.reference("", "", text, internal=False, refuri=address)


def repair_pages(app: Sphinx, exception: Exception | None) -> None:
    """Mend the written pages for screen readers."""
    if exception is None:
        for path in (Path(app.outdir) / "_static").glob("*macros.html"):
            path.unlink()  # templates of the theme, which it leaves behind
        for path in Path(app.outdir).rglob("*.html"):
            path.write_text(html.repair(path.read_text(encoding="utf-8")), encoding="utf-8")


def copy_mathjax() -> None:
    """Put MathJax and its fonts into the book, so that formulas need no network."""
    package = Path(importlib.import_module("sphinx-mathjax-offline").__file__ or "").parent
    source, target = package / "static" / "mathjax", FOLDER / "_static" / "mathjax"
    target.mkdir(parents=True, exist_ok=True)
    shutil.copy(source / "tex-chtml.js", target)
    fonts = Path("output") / "chtml" / "fonts"
    shutil.copytree(source / fonts, target / fonts, dirs_exist_ok=True)


def setup(app: Sphinx) -> dict[str, Any]:
    for field in PyObject.doc_field_types:
        if field.name == "variable":
            field.label = "Attributes"
    app.add_role("fedlab", CodeRole())
    copy_mathjax()
    app.connect("doctree-read", add_alt_texts)
    app.connect("autodoc-process-docstring", read_docstring)
    app.connect("autodoc-process-signature", shorten_signature)
    app.connect("autodoc-process-bases", name_bases)
    app.connect("build-finished", repair_pages)
    app.connect("missing-reference", find_type)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
