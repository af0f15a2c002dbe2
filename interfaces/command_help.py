"""What `--help` of every command ends with: examples, and what its exit status means."""

from argparse import HelpFormatter
from typing import Any


class KeepsLines(HelpFormatter):
    """Text that has lines of its own keeps them."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        if "\n" not in text:
            return super()._fill_text(text, width, indent)
        return "".join(indent + line for line in text.splitlines(keepends=True))


def ending(*examples: str, exits: str) -> dict[str, Any]:
    """The part of an ArgumentParser that says so."""
    shown = "\n".join(f"  {example}" for example in examples)
    return {"formatter_class": KeepsLines, "epilog": f"examples:\n{shown}\n\nexit status: {exits}"}
