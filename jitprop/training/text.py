"""Text from outside, such as names of files, in a form that a terminal can show."""


def printable(text: str) -> str:
    """Return the text with escapes for all that could harm a terminal or an encoding."""
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text
    )
