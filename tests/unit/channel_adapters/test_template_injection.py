"""What comes as a value is only ever read: it adds no header, no tag, no link that acts, and no template."""

import email
import email.policy
import re
import unicodedata
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.channel.adapters.mail import Letterhead, mail_of
from services.channel.adapters.templates import JinjaRenderer
from services.channel.adapters.templating.compiler import Compiler
from services.channel.app.ports import Outgoing, Rendered
from services.channel.domain.errors import InvalidTemplateError
from services.vocabulary.words import Category, Channel
from tests.unit.channel_adapters.template_making import filled, renderer, text, wanted

TRICKS = (
    *("\r\nBcc: a@b.example", "\n\n<script>", "</p><script>alert(1)</script>", '" onmouseover="x', "' x='"),
    *("javascript:alert(1)", " java\nscript:alert(1)", "\x01javascript:x", "data:text/html,x", "vbscript:x"),
    *(
        "{{ 7 * 7 }}",
        "{% raw %}",
        "{# x #}",
        "{{ profile.name }}",
        "=?utf-8?q?=0d=0aBcc:_x?=",
        "&#106;avascript:",
    ),
    *(
        "\u202egpj.exe",
        "pay\u200bpal",
        "\u2066x\u2069",
        "a\u200db",
        "\ufeff",
        "\x00\x1b[31m",
        "\x85",
        "\u2028",
    ),
    *("%0d%0aBcc:", 'https://a.example/"><img src=x>', "//evil.example", "<!--", "-->", "]]>", "x" * 3000),
)
HOSTILE = st.lists(st.one_of(st.sampled_from(TRICKS), st.text(max_size=8)), max_size=5).map("".join)
SOURCE = (
    "{% block subject %}For {{ x }}{% endblock %}{% block text %}Dear {{ x }}.{% endblock %}"
    '{% block html %}<p title="{{ x }}">Dear {{ x }}</p>'
    "<img alt='{{ x }}' src=\"https://a.example/{{ x }}.png\">"
    '<a href="{{ x }}">1</a><a href="https://a.example/?q={{ x }}&amp;r={{ x }}">2</a>{% endblock %}'
)
MANY = settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
BIDI = re.compile("[\u202a-\u202e\u2066-\u2069\u200b\u2060\ufeff]")


class Tags(HTMLParser):
    """The tags with their attributes, as a browser would see them."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.others: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))

    def handle_comment(self, data: str) -> None:
        self.others.append(data)

    def handle_decl(self, decl: str) -> None:
        self.others.append(decl)


@pytest.fixture(scope="module")
def mailer(tmp_path_factory: pytest.TempPathFactory) -> JinjaRenderer:
    return renderer(tmp_path_factory.mktemp("templates"), offer__en_email=SOURCE)


def say(mailer: JinjaRenderer, value: str) -> Rendered:
    answer = mailer.render(wanted(Channel.EMAIL, parameters={"x": value}, traits={"name": value}))
    assert isinstance(answer, Rendered), answer
    return answer


@MANY
@given(HOSTILE)
def test_html_has_only_the_tags_attributes_and_links_of_the_template(
    mailer: JinjaRenderer, value: str
) -> None:
    seen = Tags(say(mailer, value).html)
    assert [(tag, list(attributes)) for tag, attributes in seen.seen] == [
        ("p", ["title"]),
        ("img", ["alt", "src"]),
        ("a", ["href"]),
        ("a", ["href"]),
    ]
    assert seen.others == []
    links = [attributes["href"] or "" for tag, attributes in seen.seen if tag == "a"]
    assert links[0] == "#" or re.match("(https?|mailto|tel):", links[0], re.IGNORECASE)
    assert re.fullmatch(r"https://a\.example/\?q=[\w.~%-]*&r=[\w.~%-]*", links[1], re.ASCII)
    assert re.fullmatch(r"https://a\.example/[\w.~%-]*\.png", seen.seen[1][1]["src"] or "", re.ASCII)


@MANY
@given(HOSTILE)
def test_a_mail_has_only_our_headers_whatever_the_values(mailer: JinjaRenderer, value: str) -> None:
    said = say(mailer, value)
    outgoing = Outgoing(
        "7e4c5f6a-0000-4000-8000-000000000001",
        *(1, "ada@customer.example", said.text, said.subject, said.html, said.sender),
        *(Category.SERVICE, "offer", 0),
        again=False,
    )
    mail = mail_of(outgoing, Letterhead(sender="Care <care@operator.example>"), now_micros=1)
    parsed = email.message_from_bytes(mail.content, policy=email.policy.default)
    assert [name for name in parsed if not name.startswith("Content-")] == [
        *("From", "To", "Subject", "Message-ID", "Auto-Submitted", "MIME-Version", "Date")
    ]
    assert parsed["From"] == "Care <care@operator.example>"
    assert parsed["To"] == "ada@customer.example"
    assert "\n" not in str(parsed["Subject"])
    assert [part.get_content_type() for part in parsed.walk()] == [
        *("multipart/alternative", "text/plain", "text/html")
    ]


@MANY
@given(HOSTILE)
def test_nothing_hidden_and_nothing_evaluated_reaches_a_handset(mailer: JinjaRenderer, value: str) -> None:
    said = say(mailer, value)
    for told in (said.text, said.subject, said.html):
        assert not BIDI.search(told)
        assert not {"Cc", "Cs"} & {unicodedata.category(one) for one in told.replace("\n", "")}, ascii(told)
    if value == "{{ 7 * 7 }}":
        assert said.text == "Dear {{ 7 * 7 }}."


def test_template_syntax_in_a_value_is_text(tmp_path: Path) -> None:
    value = "{{ 7 * 7 }}{% if x %}{# no #}"
    assert text(filled(tmp_path, "{{ x }}", {"x": value})) == value


def test_a_value_that_is_too_long_is_cut(tmp_path: Path) -> None:
    said = text(filled(tmp_path, "{{ x }}|{{ profile.name }}", {"x": "y" * 5000}, traits={"name": "z" * 200}))
    assert said == "y" * 1000 + "|" + "z" * 200
    listed = text(filled(tmp_path, "{{ x | length }}", {"x": ("a",) * 5000}))
    assert listed == "100"


def test_joiners_stay_where_a_script_or_an_emoji_needs_them(tmp_path: Path) -> None:
    kept = "क्\u200dष 👨\u200d👩 می\u200cخواهم"
    assert (
        text(filled(tmp_path, "{{ x }}", {"x": kept + " pay\u200dpal"}, channel=Channel.APP))
        == kept + " paypal"
    )


def html(inner: str) -> str:
    return "{% block text %}t{% endblock %}{% block html %}" + inner + "{% endblock %}"


@pytest.mark.parametrize(
    "inner",
    [
        "<a href={{ x }}>a</a>",
        "<a {{ x }}>a</a>",
        "<{{ x }}>a</p>",
        "<p style='{{ x }}'>a</p>",
        "<p onclick='{{ x }}'>a</p>",
        "<!-- {{ x }} -->",
        "<style>{{ x }}</style>",
        "<script>{{ x }}</script>",
        "<script>static()</script>",
        "<a href='javascript:x'>a</a>",
        "<a href=' java\nscript:{{ x }}'>a</a>",
        "<img srcset='{{ x }}'>",
        "<meta content='{{ x }}'>",
        "<link rel='stylesheet' href='{{ x }}'>",
        "<svg href='{{ x }}'>",
        "<p title='{{ x }}>a</p>",
        "<p{% if x %} title='{% endif %}{{ x }}'>",
        "<a href='{% if x %}https://a.example/{% endif %}{{ x }}'>a</a>",
        "<p {% for a in x %}'{% endfor %}>",
        "<p title={% if x %}'{{ x }}'{% else %}b{% endif %} {{ x }}>",
        "{% macro m() %}<p title={% endmacro %}{{ m() }}",
    ],
)
def test_a_value_may_stand_only_where_html_reads_it_as_text(inner: str) -> None:
    with pytest.raises(InvalidTemplateError):
        Compiler().compile(html(inner))


@pytest.mark.parametrize(
    ("inner", "value", "said"),
    [
        ("<p>{% if x %}<b>{{ x }}</b>{% endif %}</p>", "<i>", "<p><b>&lt;i&gt;</b></p>"),
        (
            "{% set a %}<b>{{ x }}</b>{% endset %}<p title='{{ a }}'>",
            '"',
            "<p title='&lt;b&gt;&#34;&lt;/b&gt;'>",
        ),
        (
            "{% macro m(v) %}<b>{{ v }}</b>{% endmacro %}<a href='{{ m(x) }}'>{{ m(x) }}</a>",
            "javascript:x",
            "<a href='#'><b>javascript:x</b></a>",
        ),
        (
            "<a href='{{ x }}'>",
            "https://a.example/?a=1&b='2'",
            "<a href='https://a.example/?a=1&amp;b=&#39;2&#39;'>",
        ),
        ("<a href='{{ x }}'>", "mailto:a@b.example", "<a href='mailto:a@b.example'>"),
        ("<a href='https://a.example/{{ x }}'>", "../b c", "<a href='https://a.example/..%2Fb%20c'>"),
        ("{{ x ~ '<b>' }}{{ x + '<b>' }}", "<", "&lt;&lt;b&gt;&lt;&lt;b&gt;"),
        ("{{ x | e | replace('&', '<') }}", "<", "&lt;lt;"),
        ("{{ [x, x | e] | join('<') }}", "<", "&lt;&lt;&lt;"),
        ("{{ x | upper }}{{ x | trim }}{{ x | title }}", "<a", "&lt;A&lt;a&lt;A"),
    ],
)
def test_what_macros_sets_and_filters_make_stays_escaped(
    tmp_path: Path, inner: str, value: str, said: str
) -> None:
    answer = filled(tmp_path, html(inner), {"x": value}, channel=Channel.EMAIL)
    assert isinstance(answer, Rendered), answer
    assert answer.html == said


def test_nobody_but_the_author_chooses_the_sender() -> None:
    with pytest.raises(InvalidTemplateError, match="sender"):
        Compiler().compile("{% block sender %}{{ x }}{% endblock %}{% block text %}t{% endblock %}")


def test_a_line_end_in_the_value_of_a_subject_line_adds_no_header(tmp_path: Path) -> None:
    source = "Subject: {{ x }}\n\nText\n"
    answer = filled(tmp_path, source, {"x": "Hi\r\nBcc: a@b.example\r\n\r\nBody"}, channel=Channel.EMAIL)
    assert isinstance(answer, Rendered)
    assert answer.subject == "Hi Bcc: a@b.example Body"
    assert answer.text == "Text"
