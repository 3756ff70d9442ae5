"""What a lint report says, in English. Findings: kind -> (what was found, what to do)."""

FINDINGS: dict[str, tuple[str, str]] = {
    "unreadable": (
        "Reading stopped: {message}",
        "Mend this place; only the {count:,} rows before it were looked at.",
    ),
    "empty-field": (
        'The field "{field}" ({role}) is empty in {count:,} of {of:,} rows.',
        "Fill it in or remove these rows; training refuses them.",
    ),
    "never-filled": ('The field "{field}" is empty in every row.', "It can be removed."),
    "constant-field": (
        'The field "{field}" holds "{value}" in every row.',
        "It says nothing about a row; leave it out.",
    ),
    "very-long": (
        "{count:,} of {of:,} texts are longer than {limit:,} characters (the median has {median:,}).",
        "Look at them: several records in one field, or a missing quotation mark, look like this.",
    ),
    "very-short": (
        "{count:,} of {of:,} texts are shorter than {limit:,} characters (the median has {median:,}).",
        "Look at them: a text that was lost on the way looks like this.",
    ),
    "exact-copies": (
        "{count:,} of {of:,} rows repeat an earlier row (text and answer).",
        "Remove them: they weigh double, and in two splits they make scores too good.",
    ),
    "contradictory-labels": (
        "{count:,} of {of:,} rows have the text of an earlier row and another label.",
        "Decide which label is right; no model can learn both.",
    ),
    "several-answers": (
        "{count:,} of {of:,} rows have the input of an earlier row and another answer.",
        "Fine where several answers are right; keep such rows in one split.",
    ),
    "copies-not-all": (
        "Copies were looked for among the first {count:,} different texts only.",
        "Split the file to look at the rest.",
    ),
    "test-overlap": (
        "{count:,} of {of:,} rows stand in the test file too ({leaked:,} of its {test:,} texts).",
        "Remove them from training, or the score says nothing.",
    ),
    "near-test": (
        "{count:,} of {of:,} rows nearly repeat a row of the test file.",
        "Remove them from training, or make the split by group.",
    ),
    "near-copies": (
        "{count:,} of {of:,} rows nearly repeat another row (80 % of their 5-letter pieces).",
        "Keep one of each, or keep them in one split.",
    ),
    "rare-classes": (
        "{count:,} of {of:,} classes have fewer than {least} rows: {names}.",
        "Collect more, join them to others, or do not expect them to be learnt.",
    ),
    "one-class": ('Every row has the class "{label}".', "A classifier needs at least two classes."),
    "class-imbalance": (
        'The class "{label}" has {share:.1%} of the rows, {times:g} times the rarest.',
        "Judge by macro F1 or MCC rather than accuracy; task.balance=weights lets rare classes count more.",
    ),
    "label-spelling": (
        "The classes {names} differ only in case, width or blanks ({count:,} rows).",
        "Write them alike, or they are learnt as different classes.",
    ),
    "label-cue": (
        "{words} word(s) alone nearly settle the label: {names} (precision, share of the label's rows).",
        "If the word is a trace of how the data was made, remove it; a model will read nothing else.",
    ),
    "doubtful-labels": (
        "{count:,} of {of:,} labels are doubted by a classifier of words (right in {accuracy:.0%} of rows).",
        "Read these rows; not every doubt is an error.",
    ),
    "language-mix": (
        "{count:,} of {of:,} rows are in another language than most ({names}).",
        "Fine if meant; judge each language by itself.",
    ),
    "few-letters": (
        "{count:,} of {of:,} texts have few letters among their characters.",
        "Look at them: tables, code or debris look like this.",
    ),
    "replacement": (
        "{count:,} of {of:,} rows hold U+FFFD, the mark of a character that was lost.",
        "Read the source again in its true encoding.",
    ),
    "mojibake": (
        "{count:,} of {of:,} rows hold text read in a wrong encoding (such as Ã© for é).",
        "Read the source again in its true encoding (--encoding).",
    ),
    "control": ("{count:,} of {of:,} rows hold control characters.", "Remove them."),
    "invisible": (
        "{count:,} of {of:,} rows hold invisible characters (zero width, direction marks).",
        "Remove them: two texts that look equal are not.",
    ),
    "markup": ("{count:,} of {of:,} rows hold leftovers of HTML.", "Strip tags and entities."),
    "email": ("{count:,} of {of:,} rows hold an e-mail address.", "Mask them: a model can recite its training data."),
    "phone": ("{count:,} of {of:,} rows hold a telephone number.", "Mask them: a model can recite its training data."),
    "identity-number": (
        "{count:,} of {of:,} rows hold an identity number with a right checksum.",
        "Mask them before anything else happens to this file.",
    ),
    "bank-card": (
        "{count:,} of {of:,} rows hold a bank card number with a right checksum.",
        "Mask them before anything else happens to this file.",
    ),
    "ip-address": ("{count:,} of {of:,} rows hold a public IP address.", "Mask them if they are of persons."),
    "secret-url": ("{count:,} of {of:,} rows hold a URL with a key or token.", "Mask them, and withdraw the keys."),
    "texts-too-long": (
        "{count:,} of {of:,} texts have more than the {limit:,} tokens that {model} reads; their ends are cut.",
        "Shorten them, or take a model that reads more.",
    ),
    "answers-too-long": (
        "{count:,} of {of:,} rows have more than the {limit:,} tokens that {model} reads; {lost:,} of {targets:,} "
        "answer tokens may be lost.",
        "Shorten them: training leaves such rows out, and stops if they are more than 5 %.",
    ),
    "unknown-tokens": (
        "{count:,} of {of:,} rows hold characters that the tokenizer of {model} does not know.",
        "Take a model whose vocabulary has them.",
    ),
    "costly-language": (
        "{model} needs {cost:g} tokens for a word (or Chinese character) of {language}, in {count:,} rows.",
        "A model with a vocabulary for this language would be faster and better.",
    ),
    "recipe-stops": ("The recipe would stop: {message}", "Mend this first."),
}
WHY: dict[str, str] = {
    "named": "the task was named",
    "two-files": "two files, of which lines belong together",
    "only-text": "there is running text and nothing to learn beside it",
    "points-to-answer": "numbers say where answers stand in a passage",
    "answer-in-passage": "answers stand in the passage beside the question",
    "list-of-texts": "lists of texts that read like a conversation",
    "two-answers": "two answers to the same prompt",
    "good-or-bad": "an answer, and a yes or no",
    "turns": "lists of turns with changing speakers",
    "points-to-spans": "numbers say where labelled pieces stand in a text",
    "tags-beside-words": "a list of tags as long as a list of words",
    "answer-among-options": "the answer is one of several options",
    "long-documents": "long documents, with facts about them beside",
    "named-so": "the fields are named so",
    "input-often-empty": "a middle text that is often empty, between two that never are",
    "answers-inside": "a text, and objects of an input and an output",
    "other-language": "two texts in two languages",
    "question-then-answer": "a question, then a text that answers",
    "question-then-number": "a question, then a number",
    "question-from-text": "a text, then a question about it",
    "shorter-from-longer": "two texts of which one says the other in short",
    "two-alike": "two texts of one size that share most words",
    "two-texts": "two texts of which the second does not repeat the first",
    "pair-and-label": "two texts of one size, and few values that come back",
    "pair-and-number": "two texts, and a number",
    "number-rises-with-overlap": "two texts, and a number that rises with the words they share",
    "three-alike": "three texts of one kind",
    "text-and-label": "a text, and few values that come back",
    "text-and-number": "a text, and a number",
}
PLACES: tuple[tuple[str, str], ...] = ()
PAGE: dict[str, str] = {
    "title": "Data report",
    "task": "task",
    "why": "because",
    "others": "or",
    "fields": "fields",
    "rows": "rows",
    "test_rows": "test rows",
    "none": "No findings.",
    "found": "findings",
    "found_one": "finding",
    "error": "error",
    "warning": "warning",
    "note": "note",
    "line": "line {line}",
    "row": "row {line}",
    "saved": "saved",
    "rendered": "Three rows as the task reads them (marked: what is learnt)",
    "recipe": "Recipe",
    "no_recipe": "No ready recipe: the rows must be rewritten first, or this task has none yet.",
    "unread": "Text that this task does not read stands in {names}.",
    "sampled": "Near-copies, label errors, cues, languages and tokens were looked for in {count:,} sampled rows of "
    "{of:,}; --full looks at all.",
    "skipped_sklearn": "Label errors were not looked for: pip install 'microtune[metrics]'.",
    "skipped_weak": "Label errors were not looked for: a classifier of words is hardly better than chance here.",
    "classes": "Rows of each class",
    "read": "Read",
    "learnt": "Learnt",
    "characters": "characters",
    "tokens": "tokens",
    "median": "median",
    "longest": "longest",
    "languages": "Languages",
    "fertility": "Tokens per word (Chinese: per character)",
    "field": "field",
    "filled": "filled",
    "different": "different",
    "to_do": "What to do",
}
