"""The grammar as a JSON Schema (draft 2020-12), so that any editor completes and checks a rule set.

A schema knows the shape and the names of the catalogue. What a condition says, and what the whole file means,
only the compiler can judge.
"""

from collections.abc import Mapping
from typing import Any

from services.decision.domain.language import grammar
from services.decision.domain.language.forms import (
    Anything,
    BlockOf,
    Choice,
    Conditions,
    Either,
    Flag,
    Form,
    Formula,
    Known,
    ListOf,
    Named,
    Number,
    OneOrList,
    Refer,
    Words,
)
from services.vocabulary.catalogue import HOUSEHOLD_COUNTS, Catalogue

Schema = dict[str, Any]


def rule_set_schema(catalogue: Catalogue) -> Schema:
    """The schema of a rule set that uses the names of this catalogue."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "urn:rapport:rule-set",
        "title": "A rule set of Rapport",
        **_block(grammar.RULE_SET),
        "$defs": {
            **{name: {"enum": sorted(names)} for name, names in _names(catalogue).items()},
            "condition": _CONDITION,
            "conditions": {"type": "array", "items": {"$ref": "#/$defs/condition"}},
            "action": {
                "type": "object",
                "oneOf": [_block(action) for action in grammar.ACTIONS.values()],
            },
            **{name: schema_of(form) for name, form in grammar.PARTS.items()},
        },
    }


_CONDITION: Schema = {
    "description": "One condition: windows.drops_24h >= 3, fact bad_day, or any: [… , …]",
    "anyOf": [
        {"type": "string", "minLength": 1},
        {
            "type": "object",
            "properties": {
                name: {"type": "array", "items": {"$ref": "#/$defs/condition"}, "description": means}
                for name, means in grammar.GROUPS.items()
            },
            "additionalProperties": False,
            "minProperties": 1,
            "maxProperties": 1,
        },
    ],
}


def _names(catalogue: Catalogue) -> Mapping[str, list[str]]:
    events = catalogue.events.values()
    return {
        "event": [event.name for event in events if not event.thing],
        "thing-event": [event.name for event in events if event.thing],
        "question": list(catalogue.questions),
        "field": [f"{event.name}.{name}" for event in events for name in event.keep.fields],
        "trait": [name for name, trait in catalogue.traits.items() if not trait.household],
        "household": [
            *HOUSEHOLD_COUNTS,
            *(name for name, trait in catalogue.traits.items() if trait.household),
        ],
        "offer": list(catalogue.offers),
        "template": list(catalogue.templates),
        "topic": list(catalogue.topics),
    }


def schema_of(form: Form) -> Schema:
    """The schema of one shape."""
    match form:
        case Words(pattern=pattern, numbers=numbers):
            text: Schema = {"type": ["string", "number"] if numbers else "string"}
            return {**text, "pattern": f"^(?:{pattern})$"} if pattern else text
        case Choice(words=words):
            return {"enum": list(words)}
        case Flag():
            return {"type": "boolean"}
        case Number(least=least, most=most, whole=whole):
            return {"type": "integer" if whole else "number", "minimum": least, "maximum": most}
        case Formula(least=least, most=most):
            return {
                "anyOf": [
                    {"type": "number", "minimum": least, "maximum": most},
                    {"type": "string", "pattern": r"(event|profile|windows|context|household|ask)\."},
                ]
            }
        case Known(of=kind):
            return {"$ref": f"#/$defs/{kind}"}
        case Anything():
            return {}
        case Conditions():
            return {"$ref": "#/$defs/conditions"}
        case ListOf(item=item, least=least):
            return {"type": "array", "items": schema_of(item), **({"minItems": least} if least else {})}
        case OneOrList(item=item):
            one = schema_of(item)
            return {"anyOf": [one, {"type": "array", "items": one}]}
        case Named(value=value, names=names):
            return {
                "type": "object",
                "additionalProperties": schema_of(value),
                **({} if names == Words() else {"propertyNames": schema_of(names)}),
            }
        case Either(forms=forms):
            return {"anyOf": [schema_of(each) for each in forms]}
        case Refer(name=name):
            return {"$ref": f"#/$defs/{name}"}
        case BlockOf():
            return _block(form)


def _block(block: BlockOf) -> Schema:
    schema: Schema = {
        "type": "object",
        "description": block.means,
        "properties": {key.name: {"description": key.means, **schema_of(key.form)} for key in block.keys},
    }
    if not block.open:
        schema["additionalProperties"] = False
    required = [key.name for key in block.keys if key.required]
    if required:
        schema["required"] = required
    if block.among:
        schema["oneOf"] = [{"required": [name]} for name in block.among]
    if block.any_of:
        schema["anyOf"] = [{"required": [name]} for name in block.any_of]
    if block.with_key:
        schema["dependentRequired"] = {name: [other] for name, other in block.with_key}
    conditional = [
        {
            "if": {"properties": {name: {"const": word}}, "required": [name]},
            "then": {"required": [other]},
        }
        for name, word, other in block.with_word
    ]
    if conditional:
        schema["allOf"] = conditional
    return schema
