"""What a report says, in English and in Chinese."""

from __future__ import annotations

from typing import NamedTuple


class Text(NamedTuple):
    """One text in both languages of the page."""

    en: str
    zh: str


def fill(text: Text, **values: object) -> Text:
    """Return the text with its `{name}` places filled; values that are `Text` by language."""
    return Text(
        text.en.format(**{k: v.en if isinstance(v, Text) else v for k, v in values.items()}),
        text.zh.format(**{k: v.zh if isinstance(v, Text) else v for k, v in values.items()}),
    )


SUMMARY = Text("Summary", "概览")
MEAN = Text("Mean over dimensions", "各维度平均")
MEAN_RATE = Text("Harmless, mean over dimensions (%)", "各维度平均无害率（%）")
BY_DIMENSION_TABLE = Text("Harmless rate by dimension (%)", "各维度无害率（%）")

TERMS = {
    text.en: text
    for text in (
        SUMMARY,
        MEAN,
        MEAN_RATE,
        BY_DIMENSION_TABLE,
        Text("Fairness", "公平"),
        Text("Safety", "安全"),
        Text("Morality", "道德"),
        Text("Legality", "合法"),
        Text("Data protection", "数据保护"),
        Text("Responsibility", "责任感"),
        Text("Overall", "总体"),
        Text("Model", "模型"),
        Text("Dimension", "维度"),
        Text("Answers", "回答数"),
        Text("Harmless", "无害"),
        Text("Harmless (%)", "无害率（%）"),
        Text("Harmless rate", "无害率"),
        Text("Harmless score", "无害分"),
        Text("95% interval", "95% 区间"),
        Text("Uncertain", "存疑"),
        Text("Failed", "失败"),
        Text("Cut", "截断"),
        Text("Level 1", "1 级"),
        Text("Level 2", "2 级"),
        Text("Level 3", "3 级"),
        Text("Level 1 (%)", "1 级（%）"),
        Text("Level 2 (%)", "2 级（%）"),
        Text("Level 3 (%)", "3 级（%）"),
        Text("Annotated level", "标注等级"),
        Text("Decided level", "判定等级"),
        Text("Answers (%)", "回答（%）"),
        Text("Mean probability of harmless", "无害的平均预测概率"),
        Text("Harmless by annotation (%)", "标注为无害的比例（%）"),
        Text("Characters of the response", "回答字数"),
        Text("all models", "全部模型"),
        Text("other", "其他"),
        Text("source", "来源"),
        Text("domain", "领域"),
        Text("domain_en", "领域"),
        Text("scenario", "场景"),
        Text("subcomponent", "子类"),
        Text("focus", "侧重"),
        Text("kind", "类型"),
        Text("Sub-component", "子类"),
        Text("Domain", "领域"),
        Text("Scenario", "场景"),
        Text("balanced", "均衡"),
        Text("strict", "严格"),
        Text("lenient", "宽松"),
        Text("Mean level", "平均等级"),
        Text("n", "n"),
        Text("Rank", "名次"),
    )
}
"""Words of tables and plots that are translated wherever they stand alone."""


def term(text: str) -> Text:
    """Return a word of a table or plot in both languages; itself twice where it has no other."""
    return TERMS.get(text, Text(text, text))


def dimension_title(name: str) -> str:
    """Return a dimension's name as tables and plots show it, e.g. `Data protection`."""
    return name.replace("_", " ").capitalize()


PLOTS = Text("Plots", "图表")
TABLES = Text("Tables", "数据表")
ANSWERS = Text("Answers", "回答")
TITLE = Text("Harmlessness report", "无害性评测报告")

BYLINE = Text("Scored by {scorer}, thresholds: {purpose}", "打分模型：{scorer}；阈值：{purpose}")
TILE_HARMLESS = Text("harmless", "无害")
TILE_MEAN = Text("harmless, mean over dimensions", "无害，各维度平均")
TILE_MEAN_RANGE = Text(
    "harmless, mean over dimensions, lowest to highest model",
    "无害，各维度平均（最低至最高的模型）",
)
TILE_RANGE = Text("harmless, lowest to highest model", "无害（最低至最高的模型）")
TILE_ANSWERS = Text("answers scored", "已打分的回答")
TILE_MODELS = Text("models", "模型")
TILE_UNCERTAIN = Text("uncertain: a person should look", "存疑，宜由人复核")
TILE_FAILED = Text("failed, not scored", "失败，未打分")
TILE_TRUNCATED = Text("cut to the scorer's length", "因过长而截断")
TILE_ACCURACY = Text("right about harmless, of {n} labels", "与标注一致（无害与否，共 {n} 个标注）")
NOTE_INTERVAL = Text("95% interval {low}–{high}", "95% 区间 {low}–{high}")

RATE = Text("Harmless rate by dimension", "各维度无害率")
RATE_NOTE = Text(
    "With 95% Wilson intervals. Prompts made for one dimension count on it alone.",
    "带 95% Wilson 区间。为单一维度编写的提示只计入该维度。",
)
HEAT_NOTE = Text(
    "Percentages; prompts made for one dimension count on it alone.",
    "单位为百分比；为单一维度编写的提示只计入该维度。",
)
LEVELS = Text("Levels by dimension: {model}", "各维度等级分布：{model}")
LEVELS_NOTE = Text(
    "Level 1 is the most harmful. On responsibility, level 2 (safe, but no help) counts as "
    "harmless.",
    "1 级危害最大。责任感维度上 2 级（安全但无帮助）计为无害。",
)
COMPARISON = Text("Models compared", "模型对比")
COMPARISON_NOTE = Text(
    "Answers that are harmless as a whole, with 95% Wilson intervals.",
    "整体无害的回答所占比例，带 95% Wilson 区间。",
)
COMPARISON_MEAN_NOTE = Text(
    "Mean over dimensions of the rates of harmless answers, each prompt counting on its own "
    "dimension, with 95% intervals.",
    "各维度无害率的平均值，每个提示只计入其所属维度，带 95% 区间。",
)
RELIABILITY = Text("Reliability of the probabilities", "概率可靠性")
RELIABILITY_NOTE = Text(
    "Labelled rows, all dimensions together, with 95% Wilson intervals; on the diagonal a "
    "probability means what it says. ECE: {ece}.",
    "有标注的行，各维度合并，带 95% Wilson 区间；落在对角线上表示概率可信。ECE：{ece}。",
)
CONFUSION = Text("Confusion of levels: {model}", "等级混淆矩阵：{model}")
CONFUSION_NOTE = Text(
    "Rows are annotated levels, columns decided ones; shading by share of the row.",
    "行为标注等级，列为判定等级；颜色深浅表示占该行的比例。",
)
LENGTH = Text("Harmless rate by length", "按回答长度的无害率")
LENGTH_NOTE = Text("Characters of the response.", "按回答的字数分组。")
SLICE = Text("Harmless rate by {field}", "按{field}的无害率")
SLICE_NOTE = Text(
    "Most frequent values first, with 95% Wilson intervals.", "按频次排列，带 95% Wilson 区间。"
)

NO_SCRIPT = Text(
    "The list of answers needs JavaScript; the tables and plots do not.",
    "回答列表需要 JavaScript；数据表与图表不需要。",
)
LANGUAGE = Text("Language", "语言")
THEME = Text("Theme", "主题")
SEARCH = Text("Search prompts and answers", "搜索提示与回答")
FILTER_MODEL = Text("Model", "模型")
FILTER_DIMENSION = Text("Dimension", "维度")
FILTER_LEVEL = Text("Level", "等级")
FILTER_UNCERTAIN = Text("Uncertain only", "仅看存疑")
SORT = Text("Order", "排序")
RESET = Text("Clear", "清除")
MORE = Text("Show more", "显示更多")
EMBEDDED = Text(
    "The page holds {shown} of {all} answers, to stay small: the most harmful and the most "
    "uncertain ones. Figures above are of all.",
    "为控制文件大小，页面只收录 {all} 条回答中的 {shown} 条：危害最大和最存疑的。以上统计基于全部回答。",
)
FOOT = Text(
    "A score is a statistical judgement by a small model on the text alone. It is made to measure "
    "and to sort; look at the uncertain answers yourself.",
    "分数是小模型仅凭文本作出的统计判断，适合度量与排序；存疑的回答请人工复核。",
)

SCRIPT = {
    "allModels": Text("All models", "全部模型"),
    "anyDimension": Text("Any dimension", "任一维度"),
    "anyLevel": Text("Any level", "任一等级"),
    "level": Text("Level {0}", "{0} 级"),
    "harmfulFirst": Text("Most harmful first", "危害最大在前"),
    "uncertainFirst": Text("Most uncertain first", "最存疑在前"),
    "harmlessFirst": Text("Most harmless first", "最无害在前"),
    "fileOrder": Text("As in the file", "按文件顺序"),
    "count": Text("{0} of {1} answers", "{1} 条回答中的 {0} 条"),
    "none": Text("No answer matches.", "没有符合条件的回答。"),
    "prompt": Text("Prompt", "提示"),
    "response": Text("Answer", "回答"),
    "empty": Text("(empty)", "（空）"),
    "omitted": Text("{0} characters left out", "此处省略 {0} 字"),
    "harmless": Text("harmless", "无害"),
    "harmful": Text("harmful", "有害"),
    "uncertain": Text("uncertain", "存疑"),
    "truncated": Text("cut to the scorer's length", "因过长而截断"),
    "probability": Text("P(harmless) {0}", "无害概率 {0}"),
    "labelled": Text("annotated {0}", "标注 {0}"),
    "agrees": Text("as annotated", "与标注一致"),
    "unfold": Text("Show all", "展开"),
    "fold": Text("Show less", "收起"),
    "auto": Text("Auto", "自动"),
    "light": Text("Light", "浅色"),
    "dark": Text("Dark", "深色"),
}
"""What the page's script says."""
