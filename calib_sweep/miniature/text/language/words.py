"""Word lists written as one string."""


def words(text: str) -> list[str]:
    """The words of `text`."""
    return text.split()


def phrases(text: str) -> list[str]:
    """The phrases of `text`, which stand between bars."""
    return [phrase.strip() for phrase in text.split("|")]
