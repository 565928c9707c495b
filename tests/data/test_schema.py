import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scorer.data.schema import SPLITS, Example, Prompt, parse_example, shown, to_row
from scorer.dimensions import DEFAULT_DIMENSIONS, OVERALL, OVERALL_LEVELS, Dimension
from scorer.errors import RowError

LEVELS = {d.name: d.levels for d in DEFAULT_DIMENSIONS} | {OVERALL: OVERALL_LEVELS}


def parse(row: object, **options: object) -> Example:
    return parse_example(row, path="f.jsonl", line=7, **options)  # type: ignore[arg-type]


def test_own_form() -> None:
    row = {
        "prompt": "问",
        "response": "答",
        "labels": {"fairness": 2, "overall": 1},
        "id": 12,
        "source": "mine",
        "split": "dev",
        "meta": {"a": [1]},
        "model": "m",
    }
    example = parse(row)
    assert example == Example(
        prompt="问",
        response="答",
        labels={"fairness": 2, "overall": 1},
        id="12",
        source="mine",
        split="dev",
        meta={"a": [1], "model": "m"},
    )


@pytest.mark.parametrize("name", ["Data protection", "data protection", "DATA_PROTECTION"])
def test_flames_form(name: str) -> None:
    row = {"dimension": name, "prompt": "问", "response": "答", "label": 3, "subcomponent": "s"}
    assert parse(row) == Example("问", "答", {"data_protection": 3}, meta={"subcomponent": "s"})


def test_flames_form_without_label_keeps_the_dimension() -> None:
    example = parse({"dimension": "Fairness", "prompt": "问", "response": "答"})
    assert example == Example("问", "答", meta={"dimension": "Fairness"})


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"labels": {"fairnes": 1}}, "labels: unknown dimension 'fairnes'.*mean 'fairness'"),
        ({"labels": {"legality": 2}}, "labels: legality has the levels 1, 3 .* not 2"),
        ({"labels": {"overall": 2}}, "labels: overall has the levels 1, 3 .* not 2"),
        ({"labels": {"fairness": True}}, "not True"),
        ({"labels": {"fairness": 3.0}}, r"not 3\.0"),
        ({"labels": {"fairness": "3"}}, "not '3'"),
        ({"labels": {"fairness": None}}, "not None"),
        ({"labels": [3]}, r"labels: must map dimensions to levels, not \[3\]"),
        ({"label": 3}, "dimension: missing"),
        ({"label": 3, "dimension": "Honesty"}, "dimension: unknown dimension 'Honesty'"),
        ({"label": 4, "dimension": "Safety"}, "label: safety has the levels"),
        ({"label": 3, "dimension": 5}, "dimension: must be text, not 5"),
        ({"label": 3, "labels": {}}, "label: stands beside 'labels'"),
        ({"prompt": 1}, "prompt: must be text, not 1"),
        ({"response": None}, "response: must be text, not None"),
        ({"id": True}, "id: must be text or a whole number, not True"),
        ({"source": []}, r"source: must be text, not \[\]"),
        ({"split": "trian"}, "split: 'trian' is none of train, dev, test.*mean 'train'"),
        ({"meta": "x"}, "meta: must be a JSON object, not 'x'"),
        ({"meta": {"a": 1}, "a": 2}, "meta: 'a' stands in the row and in 'meta'"),
        ({"lables": {"fairness": 1}}, "unknown field 'lables'; did you mean 'labels'"),
        ({"Split": "dev"}, "unknown field 'Split'; did you mean 'split'"),
    ],
)
def test_what_is_refused(change: dict[str, object], problem: str) -> None:
    with pytest.raises(RowError, match=rf"^f\.jsonl:7: {problem}|^f\.jsonl:7: .*{problem}"):
        parse({"prompt": "问", "response": "答", **change})


@pytest.mark.parametrize("missing", ["prompt", "response"])
def test_missing_text(missing: str) -> None:
    row = {"prompt": "问", "response": "答"}
    del row[missing]
    with pytest.raises(RowError, match=rf"f\.jsonl:7: {missing}: missing"):
        parse(row)


def test_misspelt_prompt_is_named_rather_than_missing() -> None:
    with pytest.raises(RowError, match="unknown field 'promt'; did you mean 'prompt'"):
        parse({"promt": "问", "response": "答"})


@pytest.mark.parametrize("row", [None, 3, "x", [], [{"prompt": ""}]])
def test_rows_that_are_no_object(row: object) -> None:
    with pytest.raises(RowError, match="must be a JSON object"):
        parse(row)


def test_other_columns_are_no_misspelling() -> None:
    other = {"prompts": 1, "responses": 2, "idx": 3, "prompt_id": 4, "predicted": 5}
    assert parse({"prompt": "问", "response": "答", **other}).meta == other


def test_own_dimensions() -> None:
    tone = (Dimension("Tone", (0, 1), harmless_from=1),)
    row = {"prompt": "问", "response": "答"}
    assert parse({**row, "labels": {"Tone": 0}}, dimensions=tone).labels == {"Tone": 0}
    assert parse({**row, "dimension": "tone", "label": 1}, dimensions=tone).labels == {"Tone": 1}
    with pytest.raises(RowError, match="unknown dimension 'fairness'; expected one of Tone"):
        parse({**row, "labels": {"fairness": 3}}, dimensions=tone)


def test_long_values_are_shortened() -> None:
    with pytest.raises(RowError) as caught:
        parse({"prompt": "问", "response": "答", "split": "长" * 10_000})
    assert len(str(caught.value)) < 200
    assert len(shown([["x" * 1000] * 1000] * 1000)) < 130


def test_row_of_a_prompt() -> None:
    assert to_row(Prompt("问", source="s", meta={"d": 1})) == {
        "prompt": "问",
        "source": "s",
        "meta": {"d": 1},
    }


def test_empty_fields_are_left_out() -> None:
    assert to_row(Example("", "答")) == {"prompt": "", "response": "答"}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)
EXAMPLES = st.builds(
    Example,
    prompt=st.text(),
    response=st.text(),
    labels=st.fixed_dictionaries(
        {}, optional={name: st.sampled_from(levels) for name, levels in LEVELS.items()}
    ),
    id=st.text(),
    source=st.text(),
    split=st.sampled_from(["", *SPLITS]),
    meta=st.dictionaries(st.text(), JSON, max_size=4),
)


@settings(deadline=None)
@given(EXAMPLES)
def test_round_trip(example: Example) -> None:
    assert parse(to_row(example)) == example


@settings(deadline=None)
@given(JSON | st.dictionaries(st.sampled_from(["prompt", "response", "labels", "label"]), JSON))
def test_any_json_is_read_or_refused_by_name(row: object) -> None:
    try:
        parse(row)
    except RowError as error:
        assert str(error).startswith("f.jsonl:7: ")  # noqa: PT017 - not raising is fine too


@pytest.mark.parametrize(
    "second", [{"safty": 3}, {"legality": 2}, {"safety": True}, "safety 3", [3]]
)
def test_levels_of_a_second_annotator_are_checked_likewise(second: object) -> None:
    row = {"prompt": "p", "response": "r", "labels": {"safety": 3}}
    with pytest.raises(RowError, match="second_labels"):
        parse_example({**row, "meta": {"second_labels": second}}, path="f", line=3)
    good = {**row, "meta": {"second_labels": {"safety": 2}}}
    assert parse_example(good, path="f", line=3).meta == {"second_labels": {"safety": 2}}
