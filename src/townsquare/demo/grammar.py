"""Sentences from lists of words: `{name}` in a text stands for one of the words of that name."""

import re
import tomllib
from collections.abc import Mapping, Sequence
from importlib.resources import files
from random import Random
from typing import Any

import msgspec
from msgspec import Struct

Words = Mapping[str, Sequence[str]]

_SLOT = re.compile(r"\{(\w+)\}")
_SENTENCE_START = re.compile(r"(\A|[.!?]\s+|\n\d\. |\n- )([*>\s]*)([a-z])")


class Topic(Struct, frozen=True):
    """Something that people talk about. `warned` are posts with their content warnings, `words` the topic's own."""

    name: str
    tags: list[str]
    skills: list[str]
    react: dict[str, int]
    post: list[str]
    reply: list[str]
    warned: list[tuple[str, str]]
    words: dict[str, list[str]]


class Language(Struct, frozen=True):
    """Every word there is."""

    given: list[str]
    family: list[str]
    common: dict[str, list[str]]
    topics: list[Topic]


def load_language() -> Language:
    """Read the words that come with the package."""
    common = _read("words.toml")
    given, family = common.pop("given").split(), common.pop("family").split()
    return Language(given, family, common, [_topic(name, parts) for name, parts in _read("topics.toml").items()])


def _topic(name: str, parts: dict[str, Any]) -> Topic:
    own = {key: parts.pop(key) for key in list(parts) if key not in Topic.__struct_fields__}
    return msgspec.convert({"warned": [], **parts, "name": name, "words": own}, Topic)


def _read(name: str) -> dict[str, Any]:
    return tomllib.loads(files("townsquare.demo").joinpath(name).read_text("utf-8"))


class Speaker:
    """Says things by chance: the same chance says the same."""

    def __init__(self, language: Language, chance: Random) -> None:
        self._language = language
        self._chance = chance

    def say(self, texts: Sequence[str], topic: Topic | None = None, **given: str) -> str:
        """Return one of the texts, whole: each word is used once in it as long as there is another."""
        words: dict[str, Sequence[str]] = {**self._language.common, **(topic.words if topic else {})}
        words |= {name: [word] for name, word in given.items()}
        said = self._fill(self._chance.choice(texts), words, set[str]())
        return _SENTENCE_START.sub(lambda found: found[1] + found[2] + found[3].upper(), said)

    def _fill(self, text: str, words: Words, used: set[str]) -> str:
        def fill(found: re.Match[str]) -> str:
            there = words[found[1]]
            word = self._chance.choice([word for word in there if word not in used] or there)
            used.add(word)
            return self._fill(word, words, used)

        return _SLOT.sub(fill, text)
