"""A SentencePiece model as a tokenizer of the `tokenizers` library, with the ids that its family gives the pieces.

The file says how text is cut; which id a piece has differs: fairseq's models (XLM-R, mBART) put four tokens of their
own first and languages last, Pegasus keeps 103 ids for training, T5 appends its sentinels, Marian looks pieces up in a
vocabulary of its own. A layout is that difference and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import tokenizers
from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers, processors

from microtune.data.sentencepiece_file import Piece, PieceFile
from microtune.data.special_tokens import Made, framed, names_of
from microtune.errors import InputError

SPACE = "\u2581"  # how SentencePiece writes a space inside a piece
HIDDEN = "\ufdd1"  # no character: begins pieces that no text may give, and is taken out again when ids become text
_CODES = (  # mBART's languages in the order of their ids; mBART-50 has the second part too
    "ar_AR cs_CZ de_DE en_XX es_XX et_EE fi_FI fr_XX gu_IN hi_IN it_IT ja_XX kk_KZ ko_KR lt_LT lv_LV my_MM ne_NP nl_XX "
    "ro_RO ru_RU si_LK tr_TR vi_VN zh_CN",
    "af_ZA az_AZ bn_IN fa_IR he_IL hr_HR id_ID ka_GE km_KH mk_MK ml_IN mn_MN mr_IN pl_PL ps_AF pt_XX sv_SE sw_KE ta_IN "
    "te_IN th_TH tl_XX uk_UA ur_PK xh_ZA gl_ES sl_SI",
)
LANGUAGES, MORE_LANGUAGES = (text.split() for text in _CODES)
FAIRSEQ = {"bos": "<s>", "pad": "<pad>", "eos": "</s>", "unk": "<unk>", "cls": "<s>", "sep": "</s>", "mask": "<mask>"}
MOST_EXTRA = 10_000  # sentinels, or ids kept for training
LONGEST_MERGED = 256  # characters of a piece that is looked at for merges


@dataclass(frozen=True)
class Layout:
    """The vocabulary in the order of its ids, and how a text meets it.

    around: what stands before and after a text. pair: the same for two texts, with $A and $B. spaces: "kept" as they
    are; "one" of several, and none around a text, as SentencePiece does it; "white" is the same for all white space, as
    transformers does it for T5 and fairseq's models. prefix: "first" puts a space before the text, "always" also after
    each added token. lstrip: special tokens that swallow the space before them. extra: pieces of the file that are
    special tokens too.
    """

    pieces: tuple[Piece, ...]
    special: dict[str, str]
    around: tuple[str, ...] = ("$A",)
    pair: tuple[str, ...] = ("$A", "$B")
    spaces: Literal["kept", "one", "white"] = "white"
    prefix: Literal["first", "always", "never"] = "always"
    lstrip: tuple[str, ...] = ()  # special tokens that swallow a space before them
    extra: tuple[str, ...] = ()  # pieces of the file that are special tokens too


Maker = Callable[[PieceFile, Mapping[str, Any]], Layout]


def control(*texts: str, score: float = 0.0) -> tuple[Piece, ...]:
    """Tokens that no text can give."""
    return tuple(Piece(text, score, "control") for text in texts)


def plain(file: PieceFile, config: Mapping[str, Any]) -> Layout:
    """Ids and rules as the file has them; bos and eos as the configuration asks."""
    special = file.special | names_of(config)
    around, pair = framed(special, bos=bool(config.get("add_bos_token")), eos=bool(config.get("add_eos_token")))
    prefix: Literal["first", "never"] = "first" if file.prefix else "never"
    return Layout(file.pieces, special, around, pair, spaces="one" if file.collapse else "kept", prefix=prefix)


def llama(file: PieceFile, config: Mapping[str, Any]) -> Layout:
    """Llama 1 and 2, Mistral, Phi-3: no white space is lost, a bos stands first unless the configuration says not."""
    special = file.special | names_of(config)
    around, pair = framed(special, bos=_said(config, "add_bos_token", True), eos=_said(config, "add_eos_token", False))
    prefix: Literal["first", "always", "never"] = "always" if config.get("legacy") else "first"
    if not _said(config, "add_prefix_space", True):
        prefix = "never"
    return Layout(file.pieces, special, around, pair, spaces="kept", prefix=prefix)


def gemma(file: PieceFile, config: Mapping[str, Any]) -> Layout:
    """Gemma: as Llama, without the space before a text; turns are marked by special tokens."""
    layout = replace(llama(file, config), prefix="never")
    turns = ("<start_of_turn>", "<end_of_turn>")
    pieces = tuple(p._replace(kind="control") if p.text in turns else p for p in layout.pieces)
    return replace(layout, pieces=pieces)


def t5(file: PieceFile, config: Mapping[str, Any]) -> Layout:
    """T5 and mT5: the sentinels come last, the highest first, unless the file has them already."""
    count = _count(config, "extra_ids", 100)
    known = {piece.text for piece in file.pieces}
    sentinels = [f"<extra_id_{i}>" for i in reversed(range(count))]
    special = {"eos": "</s>", "unk": "<unk>", "pad": "<pad>"} | names_of(config)
    eos = special["eos"]
    pieces = file.pieces + control(*(s for s in sentinels if s not in known))
    extra = tuple(s for s in sentinels if s in known)
    return Layout(pieces, special, ("$A", eos), ("$A", eos, "$B", eos), extra=extra)


def fairseq(file: PieceFile, config: Mapping[str, Any], last: tuple[str, ...] = ()) -> Layout:
    """XLM-R: <s>, <pad>, </s>, <unk>, then the pieces of the file from its fourth on, then <mask>."""
    if len(file.pieces) < 4 or any(piece.kind == "normal" for piece in file.pieces[:3]):
        raise InputError("its first three pieces are not <unk>, <s> and </s>, as fairseq's models have them.")
    special = FAIRSEQ | names_of(config)
    bos, pad, eos, unk = (special[name] for name in ("bos", "pad", "eos", "unk"))
    first = (*control(bos, pad, eos), Piece(unk, 0.0, "unknown"))
    pieces = (*first, *file.pieces[3:], *control(*last, special["mask"]))
    pair = (bos, "$A", eos, eos, "$B", eos)
    return Layout(pieces, special, (bos, "$A", eos), pair, lstrip=(special["mask"],))


def mbart(file: PieceFile, config: Mapping[str, Any]) -> Layout:
    """mBART: 25 languages before the mask; a source text ends with </s> and its language."""
    layout = fairseq(file, config, tuple(LANGUAGES))
    after = (layout.special["eos"], _language(config, LANGUAGES))
    return replace(layout, around=("$A", *after), pair=("$A", "$B", *after))


def mbart50(file: PieceFile, config: Mapping[str, Any]) -> Layout:
    """mBART-50: 52 languages; a text begins with its language and ends with </s>."""
    languages = LANGUAGES + MORE_LANGUAGES
    layout = fairseq(file, config, tuple(languages))
    before, after = _language(config, languages), layout.special["eos"]
    return replace(layout, around=(before, "$A", after), pair=(before, "$A", "$B", after), spaces="one")


def pegasus(file: PieceFile, config: Mapping[str, Any]) -> Layout:
    """Pegasus: <pad>, </s>, two masks and <unk_2> ... before the pieces of the file, which start with its third."""
    special = {"pad": "<pad>", "eos": "</s>", "unk": "<unk>", "mask": "<mask_2>"} | names_of(config)
    offset = _count(config, "offset", 103)
    sentence = config.get("mask_token_sent", "<mask_1>")
    masks = (sentence, special["mask"]) if isinstance(sentence, str) else (special["mask"],)
    kept = control(*(f"<unk_{i}>" for i in range(2, offset)), score=-100.0)
    pieces = (*control(special["pad"], special["eos"], *masks), *kept, *file.pieces[2:])
    return Layout(pieces, special, ("$A", special["eos"]), ("$A", "$B", special["eos"]), spaces="one")


LAYOUTS: dict[str, Maker] = {
    "LlamaTokenizer": llama,
    "CodeLlamaTokenizer": llama,
    "GemmaTokenizer": gemma,
    "T5Tokenizer": t5,
    "MT5Tokenizer": t5,
    "XLMRobertaTokenizer": fairseq,
    "MBartTokenizer": mbart,
    "MBart50Tokenizer": mbart50,
    "PegasusTokenizer": pegasus,
}
BY_FAMILY: dict[str, Maker] = {
    **dict.fromkeys(("llama", "mistral", "phi3"), llama),
    **dict.fromkeys(("gemma", "gemma2", "gemma3", "gemma3_text"), gemma),
    **dict.fromkeys(("t5", "mt5", "umt5"), t5),
    "xlm-roberta": fairseq,
    "mbart": mbart,
    "pegasus": pegasus,
}


def marian(file: PieceFile, ids: Mapping[str, int], special: dict[str, str]) -> Layout:
    """Marian: pieces have the ids of vocab.json, which holds two languages; those without one are counted as unknown.

    They are put behind the vocabulary, so that a text is cut as the file says; with `Tokenizer.known` their ids become
    that of <unk>. Tokens that the file does not have are hidden from it: a text gives one only if nothing in the file
    covers it and it stands there word for word.
    """
    scores = {piece.text: piece for piece in file.pieces}
    marks = set(special.values())
    places: list[Piece | None] = [None] * (max(ids.values()) + 1)
    for text, place in ids.items():
        found = scores.get(text)
        if text in marks:
            places[place] = Piece(text, 0.0, "unknown" if text == special["unk"] else "control")
        elif text.startswith(">>") and text.endswith("<<"):
            places[place] = Piece(text, 0.0, "user")  # the language to translate into
        elif found is not None and found.kind in ("normal", "user"):
            places[place] = found
        else:
            places[place] = Piece(HIDDEN + text, 0.0, "unused")
    pieces = [piece or Piece(f"{HIDDEN}<{place}>", 0.0, "unused") for place, piece in enumerate(places)]
    beyond = [p for p in file.pieces if p.kind in ("normal", "user") and p.text not in ids]
    eos = special["eos"]
    return Layout((*pieces, *beyond), special, ("$A", eos), ("$A", "$B", eos), spaces="one")


def build(file: PieceFile, layout: Layout, path: Path) -> Made:
    """The tokenizer of a layout."""
    backend = tokenizers.Tokenizer(_model(file, layout, path))
    steps: list[Any] = []
    if file.charsmap:
        steps.append(normalizers.Precompiled(file.charsmap))
    if any(piece.text.startswith(HIDDEN) for piece in layout.pieces):
        steps.insert(0, normalizers.Replace(HIDDEN, "\ufdd0"))
    if layout.spaces == "one":
        steps += [normalizers.Replace(Regex("\\A +| +\\z"), ""), normalizers.Replace(Regex(" {2,}"), " ")]
    backend.normalizer = normalizers.Sequence(steps) if steps else None
    metaspace = pre_tokenizers.Metaspace(replacement=SPACE, prepend_scheme=layout.prefix, split=layout.spaces != "kept")
    backend.pre_tokenizer = (
        pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), metaspace])
        if layout.spaces == "white"
        else metaspace
    )
    backend.decoder = _decoder(file, layout)
    ids = {piece.text: place for place, piece in enumerate(layout.pieces)}
    marks = [t for t in (*layout.around, *layout.pair) if not t.startswith("$")]
    if missing := [t for t in marks if t not in ids]:
        raise InputError(f'{path}: there is no piece "{missing[0]}", which stands around every text of this family.')
    backend.post_processor = processors.TemplateProcessing(
        single=list(layout.around), pair=list(layout.pair), special_tokens=[(t, ids[t]) for t in dict.fromkeys(marks)]
    )
    return Made(backend, layout.special, _marks(layout))


def _marks(layout: Layout) -> dict[str, AddedToken]:
    """Special and user-defined pieces as added tokens, which are found before all else."""
    special = {*layout.special.values(), *layout.extra}
    return {
        piece.text: AddedToken(
            piece.text,
            normalized=False,
            special=piece.kind in ("control", "unknown") or piece.text in special,
            lstrip=piece.text in layout.lstrip,
        )
        for piece in layout.pieces
        if piece.kind in ("control", "unknown", "user") or piece.text in special
    }


def _model(file: PieceFile, layout: Layout, path: Path) -> Any:
    unknown = next((i for i, piece in enumerate(layout.pieces) if piece.kind == "unknown"), None)
    if unknown is None:
        raise InputError(f"{path}: there is no piece for the unknown, which every SentencePiece model has.")
    if file.form == "unigram":
        return models.Unigram([(p.text, p.score) for p in layout.pieces], unknown, file.byte_fallback)
    return models.BPE(
        {piece.text: place for place, piece in enumerate(layout.pieces)},
        _merges(layout.pieces),
        unk_token=layout.pieces[unknown].text,
        fuse_unk=True,
        byte_fallback=file.byte_fallback,
    )


def _merges(pieces: tuple[Piece, ...]) -> list[tuple[str, str]]:
    """Every way in which a piece is two others, the piece of the highest score first.

    SentencePiece merges by the score of the outcome and keeps no list of merges.
    """
    places = {piece.text: place for place, piece in enumerate(pieces) if piece.kind in ("normal", "user")}
    found = []
    for text, place in places.items():
        score = pieces[place].score
        for cut in range(1, len(text)) if len(text) <= LONGEST_MERGED else ():
            left, right = places.get(text[:cut]), places.get(text[cut:])
            if left is not None and right is not None:
                found.append((-score, place, left, right, cut, text))
    found.sort()
    return [(text[:cut], text[cut:]) for *_, cut, text in found]


def _decoder(file: PieceFile, layout: Layout) -> Any:
    steps: list[Any] = []
    if any(piece.text.startswith(HIDDEN) for piece in layout.pieces):
        steps.append(decoders.Replace(HIDDEN, ""))
    if file.byte_fallback or layout.spaces == "kept":
        steps += [decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse()]
        steps += [decoders.Strip(" ", 1, 0)] if layout.prefix != "never" else []
    else:
        steps.append(decoders.Metaspace(replacement=SPACE, prepend_scheme=layout.prefix))
    return decoders.Sequence(steps)


def _said(config: Mapping[str, Any], key: str, default: bool) -> bool:
    value = config.get(key)
    return default if value is None else bool(value)


def _count(config: Mapping[str, Any], key: str, default: int) -> int:
    value = config.get(key)
    value = default if value is None else value
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MOST_EXTRA:
        raise InputError(f'"{key}" is {str(value)[:60]}, but must be a whole number from 0 to {MOST_EXTRA}.')
    return value


def _language(config: Mapping[str, Any], known: list[str]) -> str:
    value = config.get("src_lang") or "en_XX"
    if value not in known:
        raise InputError(f'"src_lang" is "{str(value)[:60]}", which is no language of this model.')
    return str(value)
