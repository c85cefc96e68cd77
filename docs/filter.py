#!/usr/bin/env python3
"""Doxygen's view of a source file, on stdout. The header is written for people who read the header:
its chapters become groups, and the rules of its main page headings. Other files are as they are."""

import pathlib
import re
import sys

TITLE = re.compile(r"/\* =+ (.*) \*/\n")
RULE = re.compile(r" \* ([A-Z]{4,10})  +(.*)\n")
ITEM = re.compile(r" \* +(?:THREADS +)?(\[[a-z-]+\])  +(.*)\n")

# Chapters that go together.
JOINED = {"status": "status and errors"}


def chapters(text):
    """Each chapter a group, which ends where the next one begins."""
    opened = False

    def group(match):
        nonlocal opened
        title = JOINED.get(match.group(1), match.group(1))
        name = re.sub(r"\W+", "_", title)
        before = "/** @} */\n" if opened else ""
        opened = True
        return f"{before}/** @addtogroup {name} {title[0].upper()}{title[1:]}\n * @{{ */\n"

    text = TITLE.sub(group, text)
    end = text.rindex("#ifdef __cplusplus")
    return text[:end] + "/** @} */\n" + text[end:]


def main_page(text):
    """NAMES and the like become headings, [any] and the like a list."""
    begin = text.index("@mainpage")
    end = text.index("*/", begin)
    lines, listed = [], False
    for line in text[begin:end].splitlines(keepends=True):
        item, rule = ITEM.fullmatch(line), RULE.fullmatch(line)
        indent = re.match(r" \*( *)", line).end() if line.startswith(" *") else 0
        if rule:
            lines.append(f" *\n * ### {rule.group(1).capitalize()}\n *\n")
        elif not item and listed and indent < 20:
            lines.append(" *\n")  # the list has ended
        listed = bool(item) or listed and not rule and indent >= 20
        if item:
            lines.append(f" * - **{item.group(1)}** {item.group(2)}\n")
        elif rule:
            lines.append(f" * {rule.group(2)}\n")
        else:
            lines.append(re.sub(r"^ \* {12,}", " * ", line))
    return text[:begin] + "".join(lines) + text[end:]


def main():
    path = pathlib.Path(sys.argv[1])
    text = path.read_text()
    if path.name == "hotstuff.h":
        text = main_page(chapters(text))
    sys.stdout.write(text)


if __name__ == "__main__":
    main()
