"""Which words of a reply name an option: every way to say 'reply 1' becomes one character."""

from __future__ import annotations

import re
import unicodedata

ONE, TWO, BOTH = "\ue001", "\ue002", "\ue003"
"""Characters of a private-use area that stand for 'reply 1', 'reply 2' and 'the two replies'."""

# Traditional characters of the words that decide; other characters may stay as they are.
_SIMPLIFIED = str.maketrans(
    "覆復個選擇擇項應對這後較為無難兩負責認覺適當傾於與雖儘從優勝過還沒總結論終斷評價話題題絕體語種條則會說讓請點様樣歉遜劣遠並僅給們問實顯質於歸納綜將",
    "复复个选择择项应对这后较为无难两负责认觉适当倾于与虽尽从优胜过还没总结论终断评价话题题绝体语种条则会说让请点样样歉逊劣远并仅给们问实显质于归纳综将",
)

_NOUN = r"回复|回答|答复|答案|选项|回应|方案|候选"
_ENGLISH_NOUN = r"response|reply|replies|answer|option|choice"
_MEASURE = r"[个种条则段份位款组篇]"
_FIRST, _SECOND = r"1|一|壹|甲", r"2|二|贰|乙"
# 'reply in general', 'answer one question', 'choose 1 of them', 'option 1.5' name nothing
_NO_NUMBER = r"(?!\d|\.\d|[A-Za-z]|[个条种点次位项段年]|(?<=一)[般下致样些直定起])"
# an ordinal that counts something else
_NOT_A_REPLY = r"(?!的?(?:原因|理由|问题|方面|点|步|建议|因素|优点|缺点|例子|人|层|角度|部分|观点|说法|做法|想法|方法|措施|解释|要求|句))"


def _pair(pattern: str, flags: int = 0) -> tuple[tuple[re.Pattern[str], str], ...]:
    """Return one pattern for each option, by the words that `{n}`, `{l}` and `{o}` stand for."""
    return (
        (re.compile(pattern.format(n=_FIRST, l="A", o="first|1st", w="one"), flags), ONE),
        (re.compile(pattern.format(n=_SECOND, l="B", o="second|2nd", w="two"), flags), TWO),
    )


_OPEN, _CLOSE = r"[#(\[“‘「『《\"']?", r"[)\]”’」』》\"']?"
_NUMBERED = (
    *_pair(rf"第\s*(?:{{n}})\s*{_MEASURE}\s*的?\s*(?:{_NOUN})"),
    *_pair(rf"第\s*(?:{{n}})\s*(?:{_NOUN})"),
    *_pair(rf"第\s*(?:{{n}})\s*{_MEASURE}{_NOT_A_REPLY}"),
    *_pair(rf"(?<!\d)(?:{{n}})\s*号\s*(?:{_NOUN})?"),
    *_pair(rf"(?:{_NOUN})[ \t]*{_OPEN}[ \t]*(?:{{n}}){_NO_NUMBER}[ \t]*{_CLOSE}"),
    *_pair(rf"(?:{_NOUN})[ \t]*{_OPEN}[ \t]*{{l}}(?![A-Za-z0-9])[ \t]*{_CLOSE}"),
    *_pair(
        rf"\b(?:the\s+)?(?:{_ENGLISH_NOUN})\s*(?:number|no\.)?[ \t]*{_OPEN}[ \t]*(?:{{n}}|{{w}}\b)"
        rf"{_NO_NUMBER}[ \t]*{_CLOSE}",
        re.IGNORECASE,
    ),
    *_pair(rf"\b(?i:{_ENGLISH_NOUN})[ \t]*{_OPEN}[ \t]*{{l}}(?![A-Za-z0-9])[ \t]*{_CLOSE}"),
    *_pair(
        rf"\b(?:the\s+)?(?:{{o}})\s+(?:{_ENGLISH_NOUN}|one)\b",
        re.IGNORECASE,
    ),
    *_pair(r"\bthe\s+(?:{o})(?=\s*(?:[.,!;]|$|is\b))", re.IGNORECASE),
    # a bare number after a word that asks for one
    *_pair(
        r"(?:(?<=选)|(?<=选择)|(?<=答案是)|(?<=答案为)|(?<=[:=])|(?<=\bis)|(?<=choose)|(?<=pick))"
        r"\s*(?:{n})(?=\s*(?:$|[。.,!?;)\n因更吧]))",
        re.IGNORECASE | re.MULTILINE,
    ),
    *_pair(r"(?:(?<=选)|(?<=选择)|(?<=[:=]))\s*{l}(?![A-Za-z0-9])", re.IGNORECASE),
)
_IS_LETTER = r"is|was|because|as|since|seems|looks|than|over|and|or|vs|rather|instead|shows|gives|provides|offers|has|would"
_LETTERS = (
    (re.compile(rf"(?<![A-Za-z0-9])A(?![A-Za-z0-9股型级片]|\s+(?!(?:{_IS_LETTER})\b)[a-z])"), ONE),
    (re.compile(r"(?<![A-Za-z0-9素])B(?![A-Za-z0-9超站股型])"), TWO),
)
_ALONE = {"1": ONE, "2": TWO, "a": ONE, "b": TWO, "一": ONE, "二": TWO}
# a number at the very start that heads no list
_LEADING = re.compile(
    r"\A\s*([12])(?=\s*[。!;]|[ \t]*,(?!\s*\d)|[ \t]*\n(?![\s\S]{0,4000}\n[ \t]*[12]\b))"
)
_FORMER = re.compile(rf"前者|(?:前|上)面?(?:一个|那个|的)(?:{_NOUN})|\bthe former\b", re.IGNORECASE)
_LATTER = re.compile(rf"后者|(?:后|下)面?(?:一个|那个|的)(?:{_NOUN})|\bthe latter\b", re.IGNORECASE)
_TWO_OF_THEM = re.compile(
    rf"(?:这|以上|上述)?(?:两|俩|2|二)\s*{_MEASURE}?(?:的)?(?:{_NOUN}|者)|(?:这|以上|上述)?两{_MEASURE}(?=都|均|皆|也|差|一样)"
    rf"|双方|\b(?:these |the )?two (?:responses|replies|answers|options)\b",
    re.IGNORECASE,
)
_BETWEEN = r"\s*(?:和|与|跟|及|以及|或者?|还是|、|/|vs\.?|and|or|&)\s*"
_JOINED = re.compile(rf"{ONE}{_BETWEEN}{TWO}|{TWO}{_BETWEEN}{ONE}", re.IGNORECASE)
_COMPARED = re.compile(
    rf"([{ONE}{TWO}])\s*[和与跟同]\s*([{ONE}{TWO}])\s*(?:相比|比较|比起来|相较)(?:而言|来说|来看|之下)?"
    r"(?=\s*(?:更|要|还|较|明显|显然|略|稍))"
)
_LIST_MARK = re.compile(r"^[ \t]*(?:\d{1,2}[.、)]|\(\d{1,2}\)|[-•·+*>]+|#{1,6})[ \t]+(?=\S)", re.M)
_CIRCLED = {ord("①"): "1", ord("②"): "2", ord("❶"): "1", ord("❷"): "2"}
_DECORATION = str.maketrans(dict.fromkeys("*`~_", " "))
_BOXED = re.compile(
    r"\\boxed\s*\{([^{}]{1,40})\}|\[\[([^\[\]]{1,40})\]\]|<answer>([^<>]{1,40})</answer>"
)
_BRACKETS = re.compile(
    r"[{}\[\]\"“”‘’「」『』《》【】]|(?<![A-Za-z])'|'(?![A-Za-z])|\\text|<[^<>\n]{1,20}>"
)
_JSON_COMMA = re.compile(r"[\"'”]\s*,\s*[\"'“]|(?<=[0-9])\s*,\s*[\"'“]")
_CELL = re.compile(r"[ \t]*\|[ \t]*")


def mark_mentions(text: str) -> str:
    """Return a reply with `ONE`, `TWO` and `BOTH` in place of the words that name options.

    Full-width forms, traditional characters, Markdown, JSON and quotes are levelled first; English
    words come back in lower case. Lines stay lines.
    """
    text = unicodedata.normalize("NFKC", text.translate(_CIRCLED)).translate(_SIMPLIFIED)
    text = "".join(c for c in text if unicodedata.category(c) != "Cf")  # zero-width characters
    for private in (ONE, TWO, BOTH):
        text = text.replace(private, " ")
    text = _BOXED.sub(lambda found: f"\n最终答案:{found[1] or found[2] or found[3]}\n", text)
    text = _LIST_MARK.sub("", text.translate(_DECORATION))
    text = _BRACKETS.sub(" ", _JSON_COMMA.sub("\n", _without_cells(text)))
    alone = _ALONE.get(text.strip().strip("().。, ").casefold())
    if alone:
        return alone
    text = _LEADING.sub(lambda found: _ALONE[found[1]], text)
    for pattern, token in (*_NUMBERED, *_LETTERS):
        text = pattern.sub(token, text)
    text = _resolve(text)
    text = _COMPARED.sub(r"\1比\2", text)
    text = _JOINED.sub(BOTH, text)
    return _TWO_OF_THEM.sub(BOTH, text).casefold()


def _without_cells(text: str) -> str:
    if "|" not in text:
        return text
    lines = (_CELL.sub(":", line.strip(" \t|")) for line in text.split("\n"))
    return "\n".join(lines)


def _resolve(text: str) -> str:
    """Replace 'the former' and 'the latter', by the order of the sentence that names both."""
    order = (ONE, TWO)
    parts = []
    for sentence in re.split(r"(?<=[。!?;\n])", text):
        named = [c for c in sentence if c in (ONE, TWO)]
        if len(set(named)) == 2:
            order = (named[0], ONE if named[0] == TWO else TWO)
        parts.append(_LATTER.sub(order[1], _FORMER.sub(order[0], sentence)))
    return "".join(parts)
