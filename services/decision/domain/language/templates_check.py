"""Checks that an action has something to show: its offer, its templates, their texts and their ground."""

from collections.abc import Iterator

from services.decision.domain.language.nodes import Block
from services.decision.domain.language.report import Report
from services.decision.domain.problems import did_you_mean
from services.decision.domain.program import ActionSpec
from services.vocabulary.catalogue import Catalogue, Offer, Template
from services.vocabulary.words import ActionKind, Category, Channel

_WITHOUT_TEXT = frozenset({Channel.TASK, Channel.CALL, Channel.WEBHOOK})


def check_template(node: Block, spec: ActionSpec, catalogue: Catalogue, report: Report) -> str:
    """Reports what is missing; the topic that the offer or the template names, empty when none does."""
    offer = None
    if spec.kind is ActionKind.OFFER:
        offer = catalogue.offers.get(spec.name)
        if offer is None:
            suggestion = did_you_mean(spec.name, catalogue.offers) or "add it to offers.yaml"
            report.error(
                node.get("offer"), f"the catalogue has no offer `{spec.name}`", "unknown-offer", suggestion
            )
            return ""
    if spec.kind is ActionKind.TASK and not spec.template:
        if spec.category is Category.MANDATORY:
            report.error(
                node,
                "a mandatory task names no template, and so no legal or contractual ground",
                "no-ground",
                "add template: NAME of one with a ground, or use the category service",
            )
        return ""
    names = list(dict.fromkeys(_names(spec, offer)))
    known = [catalogue.templates[name] for name in names if name in catalogue.templates]
    named = {spec.template, *(variant.template for variant in spec.arms.values())} - {""}
    missing = [name for name in names if name not in catalogue.templates]
    wrong = [name for name in missing if name in named] or ([] if known else missing[:1])
    for name in wrong:
        suggestion = did_you_mean(name, catalogue.templates) or f"add templates/{name}/"
        named_by = node.get("template") if name == spec.template else node.get(spec.kind.value)
        at = node if name not in {spec.template, spec.name} or named_by is None else named_by
        report.error(at, f"there is no template `{name}`", "missing-template", suggestion, text=name)
    for template in known:
        _check_one(node, spec, template, report)
    if offer is not None and not spec.template:
        _check_offer_channels(node, spec, offer, catalogue, report)
    else:
        for template in known:
            _check_channels(node, spec, template, report)
    return (offer.topic if offer else "") or next((template.topic for template in known), "")


def _names(spec: ActionSpec, offer: Offer | None) -> Iterator[str]:
    channels = [choice.channel for choice in spec.channels if choice.channel is not None]
    if spec.template:
        yield spec.template
    elif offer is not None:
        for channel in channels or [Channel.SMS, Channel.EMAIL, Channel.APP, Channel.PUSH]:
            yield offer.template_for(channel)
    else:
        yield spec.name
    yield from (variant.template for variant in spec.arms.values() if variant.template)


def _check_one(node: Block, spec: ActionSpec, template: Template, report: Report) -> None:
    if spec.category is Category.MANDATORY and not template.ground:
        report.error(
            node,
            f"the template `{template.name}` names no legal or contractual ground, as mandatory ones must",
            "no-ground",
            "add ground to the template, or use the category service",
            text=template.name,
        )
    given = {*spec.parameters, *(name for variant in spec.arms.values() for name in variant.parameters)}
    for name in template.parameters:
        if name not in given:
            report.error(
                node,
                f"the template `{template.name}` needs `{name}`",
                "missing-parameter",
                f"add with: {{{name}: …}}",
                text=name,
            )


def _check_offer_channels(
    node: Block, spec: ActionSpec, offer: Offer, catalogue: Catalogue, report: Report
) -> None:
    listed = _with_text(spec)
    shown = [
        channel
        for channel in listed
        if (template := catalogue.templates.get(offer.template_for(channel))) and channel in template.channels
    ]
    if listed and not shown and len(listed) == len(spec.channels):
        report.error(
            node,
            f"the offer `{offer.name}` has no text for {' or '.join(listed)}",
            "missing-template",
            f"add templates/{offer.name}/en.{listed[0]}.j2",
            text=offer.name,
        )


def _check_channels(node: Block, spec: ActionSpec, template: Template, report: Report) -> None:
    listed = _with_text(spec)
    lacking = [channel for channel in listed if channel not in template.channels]
    if not lacking:
        return
    message = f"the template `{template.name}` has no text for {' or '.join(lacking)}"
    if len(lacking) == len(listed) == len(spec.channels):
        suggestion = f"it has texts for {', '.join(sorted(template.channels))}"
        report.error(node, message, "missing-template", suggestion, text=template.name)
    else:
        suggestion = f"add templates/{template.name}/en.{lacking[0]}.j2, or remove the channel"
        report.warn(node, message, "missing-template", suggestion, text=template.name)


def _with_text(spec: ActionSpec) -> list[Channel]:
    return [
        choice.channel for choice in spec.channels if choice.channel and choice.channel not in _WITHOUT_TEXT
    ]
