"""How an action is put into words: which template says it, in which language."""

from services.channel.app.ports import MissingTemplate, Rendered, Renderer, ToRender
from services.channel.domain.actions import Action
from services.channel.domain.contact import Reach
from services.vocabulary.catalogue import Catalogue
from services.vocabulary.values import to_json
from services.vocabulary.words import CATEGORY_FACTS, ActionKind, Channel


class Speech:
    """Finds the template of an action and fills it."""

    def __init__(self, catalogue: Catalogue, renderer: Renderer) -> None:
        self._catalogue = catalogue
        self._renderer = renderer

    def say(self, action: Action, channel: Channel, reach: Reach | None) -> Rendered | MissingTemplate:
        """What the customer, or for a task the agent, reads.

        A mandatory message needs a template that names its ground; a task without a template lists what
        it was given.
        """
        name = self._template(action, channel)
        if CATEGORY_FACTS[action.category].needs_ground and not action.is_task and not self._ground(name):
            return MissingTemplate(f"template {name} names no ground, which a mandatory message needs")
        rendered = self._renderer.render(
            ToRender(
                name=name,
                locale=(reach.language if reach is not None else "") or action.language,
                channel=channel,
                category=action.category,
                parameters=action.parameters,
                types=action.types,
                zone=reach.zone if reach is not None else "",
                traits=reach.traits if reach is not None else {},
            ),
        )
        if isinstance(rendered, MissingTemplate) and action.is_task:
            shown = {key: to_json(value, action.types.get(key)) for key, value in action.parameters.items()}
            return Rendered("\n".join(f"{key}: {value}" for key, value in shown.items()) or action.name)
        return rendered

    def breaks_quiet_hours(self, action: Action, channel: Channel) -> bool:
        """Whether the ground named by its template asks for it at any hour."""
        template = self._catalogue.templates.get(self._template(action, channel))
        return template is not None and bool(template.ground) and template.breaks_quiet_hours

    def _template(self, action: Action, channel: Channel) -> str:
        if not action.template and action.kind is ActionKind.OFFER:
            offer = self._catalogue.offers.get(action.name)
            if offer is not None:
                return offer.template_for(channel)
        return action.template_name

    def _ground(self, name: str) -> str:
        template = self._catalogue.templates.get(name)
        return template.ground if template is not None else ""
