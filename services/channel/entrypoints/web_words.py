"""What the pages behind links say, in each language."""
# ruff: noqa: E501  a sentence a line reads best

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from services.vocabulary.words import Channel


class Page(StrEnum):
    """What a page says."""

    ASK_OUT = "ask_out"
    OUT = "out"
    ASK_IN = "ask_in"
    IN = "in"
    STILL_SHUT = "still_shut"
    BAD = "bad"
    AWAY = "away"


@dataclass(frozen=True, slots=True)
class Words:
    """A page: its heading, its sentences, and what its button says."""

    title: str
    text: str
    button: str = ""


CHANNELS: Mapping[str, Mapping[Channel, str]] = {
    "en": {Channel.EMAIL: "e-mail", Channel.SMS: "text message"},
    "fr": {Channel.EMAIL: "e-mail", Channel.SMS: "SMS"},
    "de": {Channel.EMAIL: "E-Mail", Channel.SMS: "SMS"},
    "es": {Channel.EMAIL: "correo electrónico", Channel.SMS: "SMS"},
    "it": {Channel.EMAIL: "e-mail", Channel.SMS: "SMS"},
}
PAGES: Mapping[str, Mapping[Page, Words]] = {
    "en": {
        Page.ASK_OUT: Words(
            "Unsubscribe",
            "Press the button, and we will send you no more offers and surveys by {channel}. Notices about your "
            "contract will still reach you.",
            "Unsubscribe",
        ),
        Page.OUT: Words(
            "You are unsubscribed",
            "We will send you no more offers and surveys by {channel}. There is nothing else to do.",
        ),
        Page.ASK_IN: Words(
            "Subscribe again",
            "You asked us to stop sending you offers by {channel}. Press the button to hear from us again.",
            "Subscribe again",
        ),
        Page.IN: Words("Welcome back", "We may send you offers and surveys by {channel} again."),
        Page.STILL_SHUT: Words(
            "We have noted it",
            "Something else still keeps us from writing to you by {channel}. Our customer service can help.",
        ),
        Page.BAD: Words(
            "This link does not work",
            "It may be incomplete, or it is no longer valid. Nothing was changed. Please open it from the "
            "message itself.",
        ),
        Page.AWAY: Words(
            "Please try again soon",
            "We cannot carry this out just now, and nothing was changed. Please open the link again in a few "
            "minutes.",
        ),
    },
    "fr": {
        Page.ASK_OUT: Words(
            "Se désabonner",
            "Appuyez sur le bouton et vous ne recevrez plus d'offres ni d'enquêtes par {channel}. Les "
            "informations sur votre contrat vous parviendront toujours.",
            "Se désabonner",
        ),
        Page.OUT: Words(
            "Vous êtes désabonné",
            "Vous ne recevrez plus d'offres ni d'enquêtes par {channel}. Vous n'avez rien d'autre à faire.",
        ),
        Page.ASK_IN: Words(
            "Se réabonner",
            "Vous nous avez demandé de ne plus vous envoyer d'offres par {channel}. Appuyez sur le bouton pour "
            "en recevoir à nouveau.",
            "Se réabonner",
        ),
        Page.IN: Words(
            "Heureux de vous retrouver", "Vous pourrez recevoir à nouveau offres et enquêtes par {channel}."
        ),
        Page.STILL_SHUT: Words(
            "C'est noté",
            "Autre chose nous empêche encore de vous écrire par {channel}. Notre service client peut vous aider.",
        ),
        Page.BAD: Words(
            "Ce lien ne fonctionne pas",
            "Il est peut-être incomplet, ou n'est plus valable. Rien n'a été modifié. Ouvrez-le depuis le "
            "message lui-même.",
        ),
        Page.AWAY: Words(
            "Réessayez bientôt",
            "Nous ne pouvons pas le faire pour l'instant, et rien n'a été modifié. Rouvrez le lien dans "
            "quelques minutes.",
        ),
    },
    "de": {
        Page.ASK_OUT: Words(
            "Abmelden",
            "Mit dem Knopf melden Sie sich ab: keine Angebote und Umfragen mehr per {channel}. Mitteilungen zu "
            "Ihrem Vertrag erreichen Sie weiterhin.",
            "Abmelden",
        ),
        Page.OUT: Words(
            "Sie sind abgemeldet",
            "Wir senden Ihnen keine Angebote und Umfragen mehr per {channel}. Sie müssen nichts weiter tun.",
        ),
        Page.ASK_IN: Words(
            "Wieder anmelden",
            "Sie wollten keine Angebote mehr per {channel}. Mit dem Knopf melden Sie sich wieder an.",
            "Wieder anmelden",
        ),
        Page.IN: Words(
            "Willkommen zurück", "Wir dürfen Ihnen wieder Angebote und Umfragen per {channel} senden."
        ),
        Page.STILL_SHUT: Words(
            "Wir haben es vermerkt",
            "Etwas anderes verhindert noch, dass wir Ihnen per {channel} schreiben. Unser Kundendienst hilft.",
        ),
        Page.BAD: Words(
            "Dieser Link funktioniert nicht",
            "Er ist unvollständig oder nicht mehr gültig. Es wurde nichts geändert. Bitte öffnen Sie ihn aus "
            "der Nachricht selbst.",
        ),
        Page.AWAY: Words(
            "Bitte später noch einmal",
            "Das geht gerade nicht, und es wurde nichts geändert. Bitte öffnen Sie den Link in einigen Minuten "
            "noch einmal.",
        ),
    },
    "es": {
        Page.ASK_OUT: Words(
            "Darse de baja",
            "Pulse el botón y no le enviaremos más ofertas ni encuestas por {channel}. Seguirá recibiendo los "
            "avisos sobre su contrato.",
            "Darse de baja",
        ),
        Page.OUT: Words(
            "Se ha dado de baja",
            "No le enviaremos más ofertas ni encuestas por {channel}. No tiene que hacer nada más.",
        ),
        Page.ASK_IN: Words(
            "Volver a suscribirse",
            "Nos pidió que no le enviáramos ofertas por {channel}. Pulse el botón para volver a recibirlas.",
            "Volver a suscribirse",
        ),
        Page.IN: Words(
            "Bienvenido de nuevo", "Podremos enviarle otra vez ofertas y encuestas por {channel}."
        ),
        Page.STILL_SHUT: Words(
            "Lo hemos anotado",
            "Otra cosa nos impide todavía escribirle por {channel}. Nuestro servicio de atención puede ayudarle.",
        ),
        Page.BAD: Words(
            "Este enlace no funciona",
            "Puede estar incompleto o haber caducado. No se ha cambiado nada. Ábralo desde el propio mensaje.",
        ),
        Page.AWAY: Words(
            "Inténtelo de nuevo pronto",
            "Ahora no podemos hacerlo, y no se ha cambiado nada. Vuelva a abrir el enlace en unos minutos.",
        ),
    },
    "it": {
        Page.ASK_OUT: Words(
            "Annulla l'iscrizione",
            "Premi il pulsante e non ti invieremo più offerte e sondaggi via {channel}. Continuerai a ricevere "
            "gli avvisi sul tuo contratto.",
            "Annulla l'iscrizione",
        ),
        Page.OUT: Words(
            "Iscrizione annullata",
            "Non ti invieremo più offerte e sondaggi via {channel}. Non devi fare altro.",
        ),
        Page.ASK_IN: Words(
            "Iscriviti di nuovo",
            "Ci hai chiesto di non inviarti offerte via {channel}. Premi il pulsante per riceverle di nuovo.",
            "Iscriviti di nuovo",
        ),
        Page.IN: Words("Bentornato", "Potremo inviarti di nuovo offerte e sondaggi via {channel}."),
        Page.STILL_SHUT: Words(
            "Ne abbiamo preso nota",
            "Qualcos'altro ci impedisce ancora di scriverti via {channel}. Il servizio clienti può aiutarti.",
        ),
        Page.BAD: Words(
            "Questo link non funziona",
            "Forse è incompleto o non è più valido. Non è stato cambiato nulla. Aprilo dal messaggio stesso.",
        ),
        Page.AWAY: Words(
            "Riprova tra poco",
            "Ora non possiamo farlo, e non è stato cambiato nulla. Riapri il link tra qualche minuto.",
        ),
    },
}
