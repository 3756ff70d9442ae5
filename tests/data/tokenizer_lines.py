"""Lines of many kinds for tokenizer tests, made from a seed: English, Chinese, code, emoji, odd spaces, controls."""

from __future__ import annotations

import random

_ENGLISH = (
    "the of and to in is that for it as was with be by on not he his but at are this have from or had an they "
    "which one you were her all she there would their we him been has when who will more no if out so said "
    "what up its about into than them can only other new some could time these two may then do first any my "
    "now such like our over man me even most made after also did many before must through back years where "
    "much your way well down should because each just those people Mr how too little state good very make "
    "world still own see men work long get here between both life being under never day same another know "
    "while last might us great old year off come since against go came right used"
)
ENGLISH = _ENGLISH.split()
CHINESE = (
    "的一是了我不人在他有这个上们来到时大地为子中你说生国年着就那和要她出也得里后自以会家可下而过天去能对小多然于心学么之都"
    "好看起发当没成只如事把还用第样道想作种开美总从无情己面最女但现前些所同日手又行意动方期它头经长儿回位分爱老因很给名法间"
)
EMOJI = "😀😂👍🏽👩\u200d👩\u200d👧\u200d👦🇩🇪❤\ufe0f🎉🚀🤖☕✓→∑½ﬁ①Ⅷ℃™"
CODE = (
    "def f(x): return x**2",
    "for (int i = 0; i < n; ++i) { a[i] += b[i]; }",
    "\tif x != None and y >= 0x1F:",
    "    print(f'{name!r:>10}')  # TODO",
    "SELECT * FROM t WHERE id='7';",
    '<div class="a b">&nbsp;</div>',
    "a = {'k': [1, 2.5e-3], \"z\": None}",
    'git commit -m "fix #12" && make -j8',
)
SPACES = (" ", "  ", "\t", "   ", "\u00a0", "\u3000", "\u2003", "\u200b", "\n", "\r\n")
CONTROLS = "\x00\x01\x07\x08\x0b\x0c\x1b\x7f\x85\u200d\u2028\ufeff"
ACCENTS = "éàüñçøßœ Ångström naïve Ελλάδα Привет שלום مرحبا हिन्दी ไทย 日本語 한국어 e\u0301 ｆｕｌｌ１２３，。！？「」"


def words(rng: random.Random, count: int) -> str:
    return " ".join(rng.choice(ENGLISH) for _ in range(count))


def chinese(rng: random.Random, count: int) -> str:
    text = "".join(rng.choice(CHINESE) for _ in range(count))
    return text + rng.choice("，。！？、：") if rng.random() < 0.5 else text


def piece(rng: random.Random) -> str:
    kind = rng.randrange(9)
    if kind < 3:
        text = words(rng, rng.randrange(1, 9))
        return text.capitalize() + rng.choice([".", "?", "!", ",", "", "'s", "n't"])
    if kind == 3:
        return chinese(rng, rng.randrange(1, 15))
    if kind == 4:
        return rng.choice(CODE)
    if kind == 5:
        return "".join(rng.choice(EMOJI) for _ in range(rng.randrange(1, 4)))
    if kind == 6:
        return rng.choice(ACCENTS.split())
    if kind == 7:
        return str(rng.randrange(10 ** rng.randrange(1, 9)))
    return "".join(rng.choice(ENGLISH + list("_-/.@#")) for _ in range(3))


def lines(count: int = 2000, *, seed: int = 0, odd: bool = True) -> list[str]:
    """Different lines; `odd` mixes in strange white space and control characters."""
    rng = random.Random(seed)
    found: dict[str, None] = {"": None, " ": None, "a": None, "的": None}
    while len(found) < count:
        parts = []
        for _ in range(rng.randrange(1, 6)):
            parts.append(piece(rng))
            parts.append(rng.choice(SPACES) if odd and rng.random() < 0.2 else rng.choice(["", " ", " "]))
        if odd and rng.random() < 0.05:
            parts.insert(rng.randrange(len(parts)), rng.choice(CONTROLS))
        found["".join(parts)] = None
    return list(found)


def training_text(*, seed: int = 1) -> list[str]:
    """What the small vocabularies are trained on."""
    rng = random.Random(seed)
    made = [piece(rng) + " " + words(rng, 6) for _ in range(1500)] + [chinese(rng, 12) for _ in range(500)]
    return [" ".join(line.split()) for line in made]
