"""Widths of text, estimated without a font, and line breaks that keep to them."""

_WIDTHS = {
    275: "'", 278: "ijl", 295: "IJ", 318: " \u00a0,.·", 337: "/:;\\|", 352: "f", 361: "-",
    390: "()[]", 392: "t", 401: "!", 411: "r", 460: '"', 500: "*_`", 521: "s", 525: "z",
    531: "?", 550: "c",
    557: "L", 575: "F", 579: "k", 592: "vxy", 603: "P", 611: "TY", 612: "o", 613: "a", 615: "e",
    632: "E", 634: "hnu", 635: "Sbdgpq", 636: "$0123456789{}", 656: "K", 684: "AV", 685: "XZ",
    686: "B", 695: "R", 698: "C", 732: "U", 748: "N", 752: "H", 770: "D", 775: "G", 780: "&",
    787: "OQ", 818: "w", 838: "#+<=>^~\u00d7→", 863: "M", 950: "%", 974: "m", 989: "W", 1000: "@…",
}  # fmt: skip
ADVANCES = {letter: width / 1000 for width, letters in _WIDTHS.items() for letter in letters}
"""Width of each character at font size 1, as in DejaVu Sans.

That is the widest of the fonts that browsers take for 'sans-serif': Arial, Helvetica, Roboto, Segoe
UI and San Francisco are narrower.
"""
WIDEST = 1.0
"""Width of a character that the table does not have."""
BOLD = 1.27
"""Largest ratio of a bold character's width to the regular one's."""


def text_width(text: str, size: float, bold: bool = False) -> float:
    """Return an upper bound of the width of a line of text, in the unit of ``size``.

    Args:
        text: the line.
        size: font size.
        bold: True for bold letters.

    >>> text_width("24 channels", 10) < text_width("24 channels", 10, bold=True) < 90
    True
    """
    width = size * sum(ADVANCES.get(letter, WIDEST) for letter in text)
    return width * BOLD if bold else width


def broken(text: str, size: float, width: float, bold: bool = False) -> list[str]:
    """Return text in lines that are not wider than ``width``, broken between words.

    A word that is wider alone is broken between letters.

    Args:
        text: words with single spaces between them.
        size: font size.
        width: width of a line, in the unit of ``size``; at least that of a letter.
        bold: True for bold letters.

    >>> broken("a convolution, BatchNorm", 12, 120)
    ['a convolution,', 'BatchNorm']
    """
    lines = [""]
    for word in text.split(" "):
        longer = f"{lines[-1]} {word}" if lines[-1] else word
        if text_width(longer, size, bold) <= width:
            lines[-1] = longer
            continue
        lines += [""] if lines[-1] else []
        for letter in word:
            if lines[-1] and text_width(lines[-1] + letter, size, bold) > width:
                lines.append("")
            lines[-1] += letter
    return lines
