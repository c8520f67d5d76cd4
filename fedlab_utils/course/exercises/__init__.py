"""The exercises of the chapters, one module `chapterNN` each, imported when first checked."""
