"""The JSON Schema of a type, by which the faults of a value are found.

The schema is exported from the type that msgspec decodes, so the two cannot differ. The library is slow to import, so
it is imported at the first invalid value.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast, get_args

import msgspec

from clew_events.content import Detail, Role, ToolName
from clew_events.list_query import OrderBy
from clew_events.queries import Consistency, Order

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import ValidationError

Schema = Mapping[str, object]

# msgspec exports choices sorted; error texts list them in the contract's order.
_SPELLED: Final = {
    frozenset(get_args(choice)): get_args(choice) for choice in (Role, Detail, ToolName, Order, OrderBy, Consistency)
}

# The order in which OpenAI reports faults; all others follow in the contract's order.
_GRAVITY: Final = {"required": 0, "additionalProperties": 1}


class Violation(NamedTuple):
    """A fault of a value: the violated keyword of JSON Schema, and the keyword's value as ``limit``.

    ``value`` is the part at fault, at ``path``; with ``names`` it is a key of the object there, not a value.
    """

    keyword: str
    limit: Any
    value: Any
    schema: Schema
    path: tuple[str | int, ...]
    names: bool


def violations(value: object, form: object) -> list[Violation]:
    """All faults of a plain value as type ``form``, the most serious first."""
    faults = [_violation(error) for error in _validator(form).iter_errors(value)]
    return sorted(faults, key=lambda violation: _GRAVITY.get(violation.keyword, len(_GRAVITY)))


def branches(schema: Schema) -> Iterator[Schema]:
    """The alternatives of a schema: those of ``anyOf``, or else the schema itself."""
    if "anyOf" not in schema:
        yield schema
    for branch in cast("Sequence[Schema]", schema.get("anyOf", ())):
        yield from branches(branch)


def json_type(schema: Schema) -> str:
    """The JSON type of a schema without ``anyOf``. Choices are always strings."""
    return str(schema.get("type", "string"))


def _violation(error: ValidationError) -> Violation:
    return Violation(
        keyword=str(error.validator),
        limit=error.validator_value,
        value=error.instance,
        schema=cast("Schema", error.schema),
        path=tuple(error.absolute_path),
        names="propertyNames" in error.relative_schema_path,
    )


@functools.cache
def _validator(form: object) -> Draft202012Validator:
    schema = msgspec.json.schema(form)
    definitions = schema.get("$defs", {})
    inlined = cast("dict[str, object]", _inline(schema, definitions))
    return _validator_class()(
        {**inlined, "$defs": {name: _inline(definitions[name], definitions, name) for name in definitions}}
    )


def _inline(node: object, definitions: Mapping[str, object], *within: str) -> object:
    """A schema with references inlined, except recursive ones, and choices in the contract's order."""
    if isinstance(node, list):
        return [_inline(part, definitions, *within) for part in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        name = node["$ref"].rpartition("/")[2]
        if name in within:
            return {"type": "object", "$ref": node["$ref"]}
        return _inline(definitions[name], definitions, *within, name)
    inlined = {name: _inline(part, definitions, *within) for name, part in node.items() if name != "$defs"}
    if isinstance(choices := node.get("enum"), list):
        inlined["enum"] = list(_SPELLED.get(frozenset(choices), choices))
    return inlined


def _free_properties(
    judge: Draft202012Validator, schema_of_values: Schema | bool, value: object, schema: Schema
) -> Iterator[ValidationError]:
    """``additionalProperties`` and ``propertyNames`` for error reports: pair by pair, in the order sent.

    The library walks through a set, whose order differs from process to process.
    """
    from jsonschema.exceptions import ValidationError  # noqa: PLC0415 - see above

    known = cast("Mapping[str, object]", schema.get("properties", {}))
    names = cast("Schema", schema.get("propertyNames", {}))
    if not isinstance(value, dict):
        return
    extras = [name for name in value if name not in known]
    if extras and not schema_of_values:
        yield ValidationError("unknown properties")
        return
    for name in extras:
        yield from judge.descend(name, names, schema_path="propertyNames")
        yield from judge.descend(value[name], schema_of_values, path=name)


def _one_branch(
    judge: Draft202012Validator, any_of: Sequence[Schema], value: object, schema: Schema
) -> Iterator[ValidationError]:
    """``anyOf`` for error reports: choose the branch by tag or JSON type, and report the faults of that branch."""
    from jsonschema.exceptions import ValidationError  # noqa: PLC0415 - see above

    tag = cast("Mapping[str, str]", schema.get("discriminator", {})).get("propertyName")
    if tag is not None and isinstance(value, dict):
        yield from _tagged_branch(judge, {_tag_of(branch, tag): branch for branch in any_of}, value, tag)
        return
    for branch in any_of:
        if any(judge.is_type(value, json_type(simple)) for simple in branches(branch)):
            yield from judge.descend(value, branch)
            return
    yield ValidationError("no branch takes this type")


def _tagged_branch(
    judge: Draft202012Validator, tagged: Mapping[str, Schema], value: Mapping[str, object], tag: str
) -> Iterator[ValidationError]:
    from jsonschema.exceptions import ValidationError  # noqa: PLC0415 - see above

    if tag not in value:
        yield ValidationError("no tag", validator="required", validator_value=[tag], instance=value)
    elif not isinstance(said := value[tag], str) or said not in tagged:
        yield ValidationError(
            "no such tag", validator="enum", validator_value=list(tagged), instance=value[tag], path=[tag]
        )
    else:
        yield from judge.descend(value, tagged[said])


def _tag_of(branch: Schema, tag: str) -> str:
    properties = cast("Mapping[str, Mapping[str, Sequence[str]]]", branch["properties"])
    return properties[tag]["enum"][0]


def _is_integer(_: object, value: object) -> bool:
    # 1.0 is an integer in JSON Schema, but not in msgspec, which decides.
    return isinstance(value, int) and not isinstance(value, bool)


@functools.cache
def _validator_class() -> type[Draft202012Validator]:
    from jsonschema import Draft202012Validator  # noqa: PLC0415 - see above
    from jsonschema.validators import extend  # noqa: PLC0415

    made = extend(  # type: ignore[no-untyped-call]
        Draft202012Validator,
        {"anyOf": _one_branch, "additionalProperties": _free_properties, "propertyNames": None},
        type_checker=Draft202012Validator.TYPE_CHECKER.redefine("integer", _is_integer),
    )
    return cast("type[Draft202012Validator]", made)
