"""The data sets of the table, each as one task, with what is run on it. One core needs an hour.

Training rows are few, so these scores are no published ones; two of them on the same rows may be compared. `CLASSES` is
the older, longer table of every method on six sets; `EVERY` has each task of microtune on an English set and, where
there is one, a Chinese one.
"""

from __future__ import annotations

from all_tasks import derived
from all_tasks.works import Run, Work, parts_in

LABELS = ("most frequent", "tf-idf")
QUESTIONS = ("whole passage", "best sentence", "tf-idf sentence")
COUNTED = ("unigram", "4-gram")
SUMMARY = ("rouge1", "rougeL")
TRANSLATION = ("bleu", "chrf")


def classes(
    name: str, text: str, label: str, rows: int | None, language: str = "en", header: bool | None = None
) -> Work:
    """A set of the older table: any ending, validation and test capped where training is."""
    validation, test = (500, 2000) if rows is not None else (None, None)
    files = parts_in(f"{name}/{{}}.*")
    caps = {"train": rows, "validation": validation, "test": test}
    return Work(name, "classification", language, files, text, label, **caps, header=header, baselines=LABELS)


CLASSES = [
    classes("banking77", "text", "category", None),
    classes("ag_news", "description", "label", 2000),
    classes("movie_reviews", "text", "label", 400),
    classes("snips", "text", "intent", 4000),
    classes("thucnews_titles", "column_1", "column_2", 4000, "zh", header=False),
    classes("cold_offensive", "TEXT", "label", 3000, "zh"),
]


def minilm(method: str, epochs: float, **train: float) -> tuple[Run, ...]:
    return (Run("minilm", method, epochs, train),)


def sprout(method: str, epochs: float, **train: float) -> tuple[Run, ...]:
    return (Run("sprout", method, epochs, train),)


def both(model: str, method: str, epochs: float) -> tuple[Run, ...]:
    """The base as it is, and tuned."""
    return (Run(model, "untuned"), Run(model, method, epochs))


LABELLING = [
    Work(
        *("unfair_tos-types", "classification", "en", parts_in("unfair_tos/{}.jsonl.gz"), "sentence", "types"),
        *(3000, 500, 1000, derived.unfair_types),
        options={"form": "multi"},
        max_length=128,
        baselines=LABELS,
        runs=minilm("top:2", 4),
        scores=("micro_f1", "macro_f1"),
    ),
    Work(
        *("crosswoz-acts", "classification", "zh", parts_in("crosswoz/{}.json.gz"), "text", "acts"),
        *(1500, 300, 600, derived.crosswoz_acts),
        options={"form": "multi"},
        baselines=LABELS,
        runs=sprout("lora:8", 3),
        scores=("micro_f1", "macro_f1"),
    ),
    Work(
        *("sst5-scale", "classification", "en", parts_in("sst5/{}.tsv.gz"), "column_1", "column_2", 2000, 500, 1000),
        header=False,
        options={"form": "ordinal"},
        baselines=LABELS,
        runs=minilm("top:2", 3),
        scores=("accuracy", "mae_steps"),
    ),
    Work(
        *("sst5-numbers", "regression", "en", parts_in("sst5/{}.tsv.gz"), "column_1", "column_2", 2000, 500, 1000),
        header=False,
        baselines=("mean", "tf-idf ridge"),
        runs=minilm("top:2", 3),
        scores=("rmse", "spearman"),
    ),
    Work(
        *("snips-slots", "token-labelling", "en", parts_in("snips/{}.jsonl.gz"), "text", "slots", 1500, 300, 700),
        make=derived.kept("text", "slots"),
        baselines=("known words", "word logistic"),
        runs=minilm("lora:8", 3),
        scores=("f1", "precision", "recall"),
    ),
    Work(
        *("crosswoz-slots", "token-labelling", "zh", parts_in("crosswoz/{}.json.gz"), "text", "slots"),
        *(1500, 300, 600, derived.crosswoz_slots),
        baselines=("known words", "word logistic"),
        runs=sprout("lora:8", 3),
        scores=("f1", "precision", "recall"),
    ),
]

ASKED = ("question", "context")
READING = [
    Work(
        *("policyqa", "question-answering", "en", parts_in("policyqa/{}.json.gz"), "question", "answers"),
        *(2000, 200, 800),
        key=ASKED,
        max_length=256,
        baselines=QUESTIONS,
        runs=minilm("full", 3, lr=1e-4),
        scores=("f1", "exact_match"),
    ),
    Work(
        *("xquad-en", "question-answering", "en", parts_in("xquad/en.{}.json.gz"), "question", "answers"),
        key=ASKED,
        baselines=QUESTIONS,
        runs=minilm("full", 3, lr=2e-4),
        scores=("f1", "exact_match"),
    ),
    Work(
        *("xquad-zh", "question-answering", "zh", parts_in("xquad/zh.{}.json.gz"), "question", "answers"),
        key=ASKED,
        baselines=QUESTIONS,
        runs=sprout("top:3", 3),
        scores=("f1", "exact_match"),
    ),
    Work(
        *("cmrc2018", "question-answering", "zh", parts_in("cmrc2018/{}.json.gz"), "question", "answers"),
        *(400, 60, 200),
        key=ASKED,
        baselines=QUESTIONS,
        runs=sprout("top:3", 2),
        scores=("f1", "exact_match"),
    ),
    Work(
        *("bbq", "multiple-choice", "en", ("bbq/Age.jsonl.gz",), "question", "answer", 600, 100, 600),
        make=derived.bbq_clear,
        key=("context", "question"),
        options={"context_field": "context", "choices_field": "choices"},
        baselines=("guessing", "tf-idf option"),
        runs=(Run("sprout", "untuned"),),  # its authors allow evaluation alone
    ),
    Work(
        *("c3-dialogues", "multiple-choice", "zh", parts_in("c3/d-{}.json.gz"), "question", "answer", 500, 100, 400),
        key=("context", "question"),
        options={"context_field": "context", "choices_field": "choice"},
        baselines=("guessing", "tf-idf option"),
        runs=both("sprout", "lora:8", 2),
    ),
    Work(
        *(
            "lawbench",
            "multiple-choice",
            "zh",
            ("lawbench/knowledge_qa_multiple_choice.json.gz",),
            "question",
            "answer",
        ),
        make=derived.lawbench,
        baselines=("guessing", "tf-idf option"),
        runs=both("sprout", "lora:8", 2),
    ),
]

PARALLEL = tuple(f"multi30k/{part}.en.gz + multi30k/{part}.de.gz" for part in ("train", "val", "test_2016_flickr"))
WRITING = [
    Work(
        *("tatoeba", "sequence-to-sequence", "en to zh", parts_in("tatoeba_en_zh/{}.tsv.gz"), "column_1", "column_2"),
        *(2000, 200, 300),
        header=False,
        options={"max_new_tokens": 40},
        baselines=("copy", "nearest"),
        runs=sprout("lora:16", 2),
        scores=TRANSLATION,
    ),
    Work(
        *("multi30k", "sequence-to-sequence", "en to de", PARALLEL, "source", "target", 1500, 200, 300),
        options={"max_new_tokens": 60},
        baselines=("copy", "nearest"),
        runs=sprout("lora:16", 2),
        scores=TRANSLATION,
    ),
    Work(
        *("scitldr", "sequence-to-sequence", "en", parts_in("scitldr/{}.jsonl.gz"), "abstract", "summary"),
        *(300, 60, 150, derived.scitldr),
        options={"max_new_tokens": 48},
        baselines=("copy", "lead-1"),
        runs=sprout("top:3", 3),
        scores=SUMMARY,
    ),
    Work(
        *("csl_titles", "sequence-to-sequence", "zh", parts_in("csl_titles/{}.tsv.gz"), "column_1", "column_2"),
        *(500, 60, 150),
        header=False,
        options={"max_new_tokens": 32},
        baselines=("copy", "lead-1"),
        runs=sprout("top:3", 3),
        scores=SUMMARY,
    ),
    Work(
        *("alpaca_en", "instruction", "en", parts_in("alpaca_en/{}.jsonl.gz"), "instruction", "output", 500, 100, 300),
        key=("instruction", "input"),
        baselines=COUNTED,
        runs=both("sprout", "lora:8", 2),
        scores=("loss", "token_accuracy"),
    ),
    Work(
        *("alpaca_zh", "instruction", "zh", parts_in("alpaca_zh/{}.jsonl.gz"), "instruction", "output", 500, 100, 300),
        key=("instruction", "input"),
        baselines=COUNTED,
        runs=both("sprout", "lora:8", 2),
        scores=("loss", "token_accuracy"),
    ),
    Work(
        *(
            "gsm8k",
            "instruction",
            "en",
            ("gsm8k/train.jsonl.gz", "gsm8k/test.jsonl.gz"),
            "question",
            "answer",
            500,
            60,
            100,
        ),
        baselines=("most frequent number", "nearest number", *COUNTED),
        runs=both("sprout", "lora:8", 2),
        scores=("number_match", "loss"),
    ),
]

ANSWERS = ("longer answer", "tf-idf cosine", "tf-idf answers")
PREFERRED = ("preference_accuracy", "margin")
RANKED = ("mrr", "recall@1")
REST = [
    Work(
        *("medquad-own-answer", "preference", "en", parts_in("medquad/{}.jsonl.gz"), "prompt", None, 240, 40, 150),
        make=derived.own_answer("question", "answer"),
        baselines=ANSWERS,
        runs=sprout("lora:8", 2),
        scores=PREFERRED,
    ),
    Work(
        *("huatuo-own-answer", "preference", "zh", parts_in("huatuo_med_zh/{}.jsonl.gz"), "prompt", None, 240, 40, 150),
        make=derived.own_answer("instruction", "output"),
        baselines=ANSWERS,
        runs=sprout("lora:8", 2),
        scores=PREFERRED,
    ),
    Work(
        *("dpo_zh_demo", "preference", "zh", ("preference_demo/dpo_zh_demo.json.gz",), "prompt"),
        make=derived.demo_pairs,
        baselines=ANSWERS,
        runs=sprout("lora:8", 2),
        scores=PREFERRED,
    ),
    Work(
        *("tinyshakespeare", "language-modelling", "en", parts_in("tinyshakespeare/{}.txt"), "text"),
        *(None, 150, 20, 40, derived.chunks),
        baselines=COUNTED,
        runs=both("sprout", "lora:8", 2),
        scores=("bits_per_byte",),
    ),
    Work(
        *("hotel reviews", "language-modelling", "zh", parts_in("chnsenticorp_hotel/{}.csv.gz"), "review"),
        *(None, 600, 100, 200),
        baselines=COUNTED,
        runs=both("sprout", "lora:8", 2),
        scores=("bits_per_byte",),
    ),
    Work(
        *("medquad", "similarity", "en", parts_in("medquad/{}.jsonl.gz"), "question", None, 500, 100, 300),
        make=derived.kept("question", "answer"),
        key=("question", "answer"),
        options={"pair_field": "answer", "form": "ranked"},
        max_length=128,
        baselines=("guessing", "tf-idf"),
        runs=both("minilm", "lora:8", 2),
        scores=RANKED,
    ),
    Work(
        *("cmrc2018-search", "similarity", "zh", parts_in("cmrc2018/{}.json.gz"), "question", None, 500, 100, 300),
        make=derived.kept("question", "context"),
        key=ASKED,
        options={"pair_field": "context", "form": "ranked"},
        max_length=192,
        baselines=("guessing", "tf-idf"),
        runs=both("sprout", "lora:8", 2),
        scores=RANKED,
    ),
]

EVERY = [*LABELLING, *READING, *WRITING, *REST]
WORKS = {work.name: work for work in [*CLASSES, *EVERY]}
