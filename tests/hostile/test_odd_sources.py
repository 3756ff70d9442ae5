"""Sources that are no files: names that cannot be, and Python objects of any shape."""

from __future__ import annotations

from itertools import islice
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from test_data_doors import SECONDS, one_line

from microtune.data.fields import find_field
from microtune.data.sources import iter_rows
from microtune.errors import MicrotuneError
from patience import within


@settings(max_examples=150, deadline=None, derandomize=True, database=None)
@given(name=st.text(max_size=40), ending=st.sampled_from(["", ".csv", ".jsonl.gz", "/x.csv", "*.csv", "[.tsv", ".gz"]))
def test_bad_names(name: str, ending: str) -> None:
    """Names of files that do not exist, odd ones included, end in one sentence."""
    with within(SECONDS):
        try:
            list(islice(iter_rows("/nonexistent-folder/" + name + ending), 10))
        except MicrotuneError as error:
            one_line(error)


@settings(max_examples=150, deadline=None, derandomize=True, database=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10) | st.binary(max_size=4),
        lambda inner: (
            st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4) | st.integers(), inner, max_size=4)
        ),
        max_leaves=12,
    )
)
def test_bad_memory(source: Any) -> None:
    """Python objects of any shape."""
    with within(SECONDS):
        try:
            rows = list(iter_rows(source)) if not isinstance(source, str) else []
            find_field(rows, "text")
        except MicrotuneError as error:
            one_line(error)
