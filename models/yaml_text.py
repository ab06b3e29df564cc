"""YAML as settings are written in it: what the format allows and no author means is refused."""

from __future__ import annotations

from collections.abc import Iterator

import yaml

_WORDS_AS_VALUES = {"tag:yaml.org,2002:bool": "a truth value", "tag:yaml.org,2002:null": "nothing at all"}
"""Tags by which YAML reads some plain words (yes, no, on, off, null) as something else than text."""


class YamlError(ValueError):
    """The text is no YAML, or says something twice; names the line."""


def parse_yaml(text: str) -> object:
    """What the text holds, as plain Python values. Raises YamlError.

    A key that stands twice in one mapping is an error, at any depth: the format's own readers let the second replace
    the first without a word.
    """
    loader = yaml.SafeLoader(text)
    try:
        root = loader.get_single_node()
        if root is None:
            return None
        if problems := list(_problems(root, "", set())):
            raise YamlError("\n".join(problems))
        return loader.construct_document(root)
    except yaml.MarkedYAMLError as error:
        raise YamlError(_explained(error)) from error
    except yaml.YAMLError as error:
        raise YamlError(f"not valid YAML: {' '.join(str(error).split())}") from error
    finally:
        loader.dispose()


def _explained(error: yaml.MarkedYAMLError) -> str:
    mark = error.problem_mark or error.context_mark
    at = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
    what = ", ".join(part for part in (error.context, error.problem) if part)
    return f"not valid YAML: {at}{what}; look at the indentation, quotes and brackets of this line and those before it"


def _problems(node: yaml.Node, path: str, seen: set[int]) -> Iterator[str]:
    if id(node) in seen:  # An alias.
        return
    seen.add(id(node))
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            yield from _problems(item, f"{path}[{index}]", seen)
    elif isinstance(node, yaml.MappingNode):
        first: dict[str, int] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            where = f"{path}.{key.value}" if path else str(key.value)
            line = key.start_mark.line + 1
            if (taken_for := _WORDS_AS_VALUES.get(key.tag)) is not None:
                yield f"{where}: line {line}: YAML takes this key for {taken_for}; put it in quotes: '{key.value}'"
            elif key.value in first:
                yield (
                    f"{where}: this key stands twice, in lines {first[key.value]} and {line}, and one would replace "
                    "the other; expected it once: join them, or remove one"
                )
            first.setdefault(key.value, line)
            yield from _problems(value, where, seen)
