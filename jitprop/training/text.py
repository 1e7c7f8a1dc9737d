"""Text from outside, such as names of files, as a terminal may show it."""


def printable(text: str) -> str:
    """Return the text with what a terminal or an encoding could trip over written as escapes."""
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text
    )
