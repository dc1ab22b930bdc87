"""Rows of tables whose modules are imported when they are asked for something: who does without them starts sooner."""

from importlib import import_module
from typing import Any


class Later:
    """A class that is not imported yet; its attributes are those of the class."""

    __slots__ = ("module", "name")

    def __init__(self, module: str, name: str) -> None:
        self.module, self.name = module, name

    def __getattr__(self, attribute: str) -> Any:
        if attribute in self.__slots__:  # of a copy that is being made
            raise AttributeError(attribute)
        return getattr(getattr(import_module(self.module), self.name), attribute)


def later(module: str, name: str) -> Any:
    """What a table holds in place of a class."""
    return Later(module, name)
