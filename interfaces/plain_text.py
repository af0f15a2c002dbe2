"""Text from elsewhere, for a terminal."""


def plain(text: str) -> str:
    """On one line, and without what a terminal would obey."""
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)
