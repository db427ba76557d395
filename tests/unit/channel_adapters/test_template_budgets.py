"""No template, however it is written, keeps the service busy, grows without end, or reaches too far."""

from pathlib import Path

import pytest

from services.channel.adapters.templates import JinjaRenderer
from services.channel.adapters.templating import sandbox
from services.channel.adapters.templating.compiler import Compiler
from services.channel.adapters.templating.wording import words_of
from services.channel.domain.errors import InvalidTemplateError
from services.channel.domain.templates import TextKey
from services.vocabulary.words import Channel
from tests.unit.channel_adapters.template_making import filled, missing, text, wanted

KEY = TextKey("offer", "en", Channel.APP)
ITEMS = tuple("secret" * 20 for _ in range(100))
DOUBLED = 40


def refused(source: str) -> InvalidTemplateError:
    with pytest.raises(InvalidTemplateError) as caught:
        Compiler().compile(source)
    return caught.value


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("\n{% include 'other' %}", "line 2: include is not available"),
        ("{% import 'other' as o %}", "import is not available"),
        ("{% from 'other' import o %}", "import is not available"),
        ("{% extends 'other' %}", "extends is not available"),
        ("{% autoescape false %}x{% endautoescape %}", "autoescape cannot be changed"),
        ("{{ x | safe }}", "no filter safe"),
        ("{{ x | uper }}", "did you mean upper?"),
        ("{{ x | _step }}", "no filter _step"),
        ("{{ x | attr('y') }}", "no filter attr"),
        ("{{ x | center(1000000000) }}", "no filter center"),
        ("{{ 'x'.center(1000000000) }}", "only macros can be called"),
        ("{{ '{0.__class__}'.format(x) }}", "only macros can be called"),
        ("{{ ''.__class__.__mro__[1].__subclasses__() }}", "only macros can be called"),
        ("{{ x.__class__ }}", ".__class__ is not available"),
        ("{{ {'a': 1} }}", "is not available"),
        ("{{ self }}", "self is not available"),
        ("{% block other %}{% endblock %}", "no block other"),
        ("{% macro m() %}\n{{ m() }}{% endmacro %}{{ m() }}", "macro m calls itself"),
        ("{% macro a() %}{{ b() }}{% endmacro %}{% macro b() %}{{ a() }}{% endmacro %}", "calls itself"),
        ("{{ n | plural(one='a') }}", "plural"),
        ("a" * 1_000_000, "longer than 64 kB"),
        ("é" * 40_000, "longer than 64 kB"),
        ("{{" + " " * 20_000 + "x }}", "16 kB between braces"),
        ("{{ " + "x + " * 2_000 + "x }}", "nested too deep"),
        ("{{ x }}" * 2_300, "parts"),
        ("{{ " + "(" * 300 + "x" + ")" * 300 + " }}", "cannot be compiled"),
        ("{% for a in x %}" * 25 + "{% endfor %}" * 25, "cannot be compiled"),
        ("Subject: a\n\nb\n{% if %}", "line 4"),
    ],
)
def test_what_no_template_may_hold_is_refused_with_its_line(source: str, said: str) -> None:
    assert said in str(refused(source))


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (
            "{% for a in x %}{% for b in x %}{% for c in x %}.{% endfor %}{% endfor %}{% endfor %}",
            "steps",
        ),
        ("{% for a in x %}{% for b in x if a == 'z' %}{% endfor %}{% endfor %}", "steps"),
        ("{% for a in x %}{% for b in x %}{% if a %}{% endif %}{% endfor %}{% endfor %}", "steps"),
        ("{% macro m(f) %}{{ f(f) }}{% endmacro %}{{ m(m) }}", "macro"),
        (
            "{% macro m() %}{{ caller() }}{% endmacro %}" + "{% call m() %}" * 13 + "{% endcall %}" * 13,
            "macro",
        ),
        ("{% for a in x recursive %}{{ loop(x) }}{% endfor %}", "only macros can be called"),
        ("{% set a = x[0] %}" + "{% set a = a ~ a %}" * DOUBLED, "characters"),
        ("{% set a = x[0] %}" + "{% set a = a + a %}" * DOUBLED, "characters"),
        ("{% set a = x[0] %}" + "{% set a %}{{ a }}{{ a }}{% endset %}" * DOUBLED, "characters"),
        ("{% set a = x[0] %}" + "{% set a = a | replace('s', a) %}" * DOUBLED, "characters"),
        ("{% set a = [1] %}" + "{% set a = [a, a] %}" * DOUBLED, "no value"),
        ("{% set a = [1] %}" + "{% set a = a + a %}" * DOUBLED, "numbers only"),
        ("{% set a = 9 %}" + "{% set a = a ** 16 %}" * DOUBLED, "digits"),
        ("{% set b %}{% for a in x %}" + "b" * 50_000 + "{% endfor %}{% endset %}", "steps"),
        ("{{ 'a' * 10**9 }}", "numbers only"),
        ("{{ 2 ** 100000 }}", "exponent"),
        ("{{ '%1000000000d' % 1 }}", "numbers only"),
        ("{{ x['__class__'] }}", "by their place"),
        ("{{ x.upper }}", "attribute of a value"),
        ("{{ range(100) }}", "only macros can be called"),
        ("{{ profile }}", "no value"),
        ("{% macro m() %}{% endmacro %}{{ m }}", "no value"),
        ("{{ 1 // 0 }}", "ZeroDivisionError"),
        ("{{ x[0] | replace('', 'y') }}", "something to replace"),
        ("   \n ", "empty"),
    ],
)
def test_no_template_gets_out_of_hand(tmp_path: Path, source: str, said: str) -> None:
    why = missing(filled(tmp_path, source, {"x": ITEMS}, channel=Channel.APP))
    assert said in why
    assert "secret" not in why


@pytest.mark.parametrize("depth", [2, 4, 8, 16])
def test_towers_of_loops_end_soon_however_high(depth: int) -> None:
    source = "".join(f"{{% for a{level} in x %}}" for level in range(depth)) + "." + "{% endfor %}" * depth
    run = sandbox.Run(words_of("en", "UTC", plain=False))
    compiler = Compiler()
    speech = compiler.compile(source)
    compiler.use(run)
    with pytest.raises(sandbox.OverBudgetError):
        "".join(speech.text.generate(x=ITEMS))
    assert run._steps <= sandbox.MOST_STEPS + 100  # not one pass more than was paid for


def test_the_processors_time_ends_what_the_steps_let_pass() -> None:
    seen: list[int] = []

    def clock() -> int:
        seen.append(1)
        return len(seen) * 3_000_000

    compiler = Compiler()
    speech = compiler.compile("{% for a in x %}{% for b in x %}{% endfor %}{% endfor %}")
    compiler.use(sandbox.Run(words_of("en", "UTC", plain=False), clock))
    with pytest.raises(sandbox.OverBudgetError, match="4 ms"):
        "".join(speech.text.generate(x=ITEMS[:60]))
    assert len(seen) == 3, "the start sets the end, the second look is past it"


@pytest.mark.parametrize(
    ("inner", "said"),
    [
        ("{{ n | number }}", "steps"),
        ("{{ n | plural(other='#') }}", "steps"),
        ("{% set b = a[1:] %}", "characters"),
        ("{% set b = a | lower %}", "characters"),
    ],
)
def test_what_takes_long_in_one_step_costs_more(tmp_path: Path, inner: str, said: str) -> None:
    source = "{% set a = x[0] ~ x[0] ~ x[0] %}{% for i in x %}{% for j in x %}" + inner
    values = {"x": ITEMS, "n": 1234567}
    why = missing(filled(tmp_path, source + "{% endfor %}{% endfor %}", values, channel=Channel.APP))
    assert said in why


def test_a_list_of_ordinary_length_fits(tmp_path: Path) -> None:
    source = "{% for a in x %}{{ loop.index }}. {{ a | upper }}\n{% endfor %}"
    said = text(filled(tmp_path, source, {"x": tuple("abc" * 30)}, channel=Channel.APP))
    assert said.splitlines()[89] == "90. C"


def test_a_file_of_a_megabyte_is_refused_unread(tmp_path: Path) -> None:
    (tmp_path / "offer").mkdir()
    (tmp_path / "offer" / "en.sms.j2").write_text("a" * 1_000_000)
    made = JinjaRenderer(tmp_path, "en", "UTC")
    assert made.problems == (
        "offer/en.sms.j2: is longer than 64 kB; write less, or part it into several templates",
    )
    assert "there is no template" in missing(made.render(wanted()))
