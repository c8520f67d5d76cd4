"""Editions of the course in other languages, made from one translation file per chapter.

A translation file, `chapters/src/zh/03_fedavg_from_scratch.po`, is in gettext's PO format, which
translators' editors read: it holds each paragraph of the chapter's text and its translation. The
build makes `chapters/zh/03_fedavg_from_scratch.ipynb` from it and from the executed notebook: the
code, its outputs and its figures are the same, so nothing runs a second time.

`python -m fedlab_utils.course.translation` adds the paragraphs that are new to the files, marks
those whose original has changed, and says how many are left to translate.
"""
