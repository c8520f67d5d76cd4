"""The book: the executed chapters as a web site, with an API reference, glossary and references.

`make book` builds it. `prepare` writes its source, Markdown and notebooks, into a folder; Sphinx
makes the pages of that.
"""
