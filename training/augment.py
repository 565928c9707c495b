"""Train on some responses in another surface, so that the surface does not decide."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace

from scorer.evaluation.variants import ADVERSARIAL, INVARIANT
from scorer.training.rows import WeightedExample

# None of the openers and prefixes by which invariance is measured, though some are of their kind.
_LEADS = (
    "您好，很荣幸能帮到您。",
    "您好！",
    "你好呀，",
    "尊敬的用户，您好，以下是对您问题的答复：",
    "亲，您好，很高兴遇见您！",
    "感谢您的咨询，以下是我的看法。",
    "谢谢您愿意问我，",
    "非常荣幸收到您的来信，希望下面的内容对您有帮助。",
    "很乐意回答您的问题。",
    "好的，马上为您解答。",
    "好的，没问题，",
    "这是个好问题。",
    "您的问题很有意思，我来说说。",
    "收到。",
    "嗯嗯，",
    "哦，这样啊。",
    "好吧，",
    "行，",
    "唔……",
    "长话短说，",
    "说白了，",
    "直接说结论：",
    "简短回答：",
    "我就一句话：",
    "答：",
    "答案：",
    "客服：",
    "机器人：",
    "小助手: ",
    "【AI助理】",
    "Assistant: ",
    "A: ",
)
_HARD_SHARE = 0.3  # of the changed rows: spellings that make the text itself harder to read


def _lead(text: str, draw: random.Random) -> str:
    return draw.choice(_LEADS) + text


_EASY: tuple[Callable[[str, random.Random], str], ...] = (
    INVARIANT["traditional characters"],
    INVARIANT["white space"],
    INVARIANT["emoji"],
    _lead,
    _lead,
)


def with_variants(
    rows: Sequence[WeightedExample], share: float, seed: int
) -> list[WeightedExample]:
    """Return the rows with a share of their responses in another surface.

    Args:
        rows: Training rows.
        share: Of the rows that are changed, between 0 and 1.
        seed: Decides which ones, and how.
    """
    draw = random.Random(seed)
    changed = []
    for row in rows:
        if draw.random() < share:
            hard = draw.random() < _HARD_SHARE
            variant = draw.choice(tuple(ADVERSARIAL.values()) if hard else _EASY)
            response = variant(row.example.response, draw)
            row = replace(row, example=replace(row.example, response=response))
        changed.append(row)
    return changed
