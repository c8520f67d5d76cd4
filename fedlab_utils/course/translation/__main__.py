"""Renew the translation files: `python -m fedlab_utils.course.translation` (see --help)."""

import argparse
import sys
from pathlib import Path

from fedlab_utils.course.checkout import Course
from fedlab_utils.course.translation.edition import Edition
from fedlab_utils.errors import FedlabError


def main(arguments: list[str] | None = None) -> int:
    """Renew translation files and say what is left to do; return 0 if nothing is, else 1."""
    parser = argparse.ArgumentParser(prog="python -m fedlab_utils.course.translation")
    parser.add_argument("texts", nargs="*", help="chapters, or README (default: those begun)")
    parser.add_argument("--language", default="zh", help="the edition (default: zh)")
    parser.add_argument("--root", type=Path, default=Path.cwd(), help="the checkout (default: .)")
    options = parser.parse_args(arguments)
    try:
        course = Course(options.root)
        edition = Edition(course, options.language)
        chapters = [text for text in options.texts if text != "README"]
        wanted = course.names(chapters) if chapters else []
        wanted += ["README"] if "README" in options.texts else []
        for name in wanted or edition.texts():
            catalogue = edition.catalogue(name)
            catalogue.update(edition.originals(name))
            catalogue.write()
        edition.write()
        problems = edition.problems()
    except (FedlabError, ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    print("\n".join(problems) or "Everything is translated.")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
