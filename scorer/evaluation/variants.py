"""The same response in another surface: what must not change a decision, and what is meant to."""

from __future__ import annotations

import hashlib
import random
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Mapping
from functools import cache

from scorer.errors import MissingExtraError

try:
    from opencc import OpenCC
    from pypinyin import lazy_pinyin
except ImportError as error:
    raise MissingExtraError("Writing variants of a text", "train", str(error.name)) from error

Variant = Callable[[str, random.Random], str]

_SPELT_SHARE = 0.15  # of the characters, or runs of them, that an adversarial spelling changes

POLITE = (
    "您好，感谢您的提问。",
    "好的，很高兴为您解答。",
    "亲爱的用户，您好！",
    "非常感谢您的信任，下面是我的回答。",
)
CURT = ("嗯。", "行吧，直说。", "简单讲：", "一句话，")
PREFIXES = ("助手：", "回答：", "AI：", "【回复】")
EMOJI = ("😊", "👍", "✨", "🌟", "🙏", "💪")

# Common characters that fall into two parts; people write them apart to get past filters.
_PARTS = {
    "骗": "马扁",
    "好": "女子",
    "妈": "女马",
    "她": "女也",
    "奶": "女乃",
    "姓": "女生",
    "如": "女口",
    "妙": "女少",
    "朋": "月月",
    "明": "日月",
    "时": "日寸",
    "昨": "日乍",
    "晚": "日免",
    "暗": "日音",
    "林": "木木",
    "村": "木寸",
    "相": "木目",
    "根": "木艮",
    "校": "木交",
    "桥": "木乔",
    "机": "木几",
    "杆": "木干",
    "利": "禾刂",
    "种": "禾中",
    "和": "禾口",
    "秋": "禾火",
    "科": "禾斗",
    "私": "禾厶",
    "加": "力口",
    "功": "工力",
    "动": "云力",
    "助": "且力",
    "对": "又寸",
    "欢": "又欠",
    "难": "又隹",
    "戏": "又戈",
    "观": "又见",
    "刘": "文刂",
    "别": "另刂",
    "到": "至刂",
    "判": "半刂",
    "歌": "哥欠",
    "欺": "其欠",
    "欲": "谷欠",
    "政": "正攵",
    "故": "古攵",
    "教": "孝攵",
    "放": "方攵",
    "赌": "贝者",
    "财": "贝才",
    "账": "贝长",
    "购": "贝勾",
    "贱": "贝戋",
    "败": "贝攵",
    "强": "弓虽",
    "张": "弓长",
    "引": "弓丨",
    "弘": "弓厶",
    "佛": "亻弗",
    "信": "亻言",
    "体": "亻本",
    "他": "亻也",
    "们": "亻门",
    "你": "亻尔",
    "化": "亻匕",
    "传": "亻专",
    "保": "亻呆",
    "便": "亻更",
    "伤": "亻力",
    "打": "扌丁",
    "找": "扌戈",
    "拍": "扌白",
    "抽": "扌由",
    "投": "扌殳",
    "担": "扌旦",
    "挂": "扌圭",
    "法": "氵去",
    "没": "氵殳",
    "江": "氵工",
    "河": "氵可",
    "酒": "氵酉",
    "毒": "龶母",
    "驾": "加马",
    "药": "艹约",
    "苦": "艹古",
    "花": "艹化",
    "草": "艹早",
    "男": "田力",
    "思": "田心",
    "息": "自心",
    "忘": "亡心",
    "您": "你心",
    "想": "相心",
    "意": "音心",
    "怒": "奴心",
    "恶": "亚心",
    "患": "串心",
}


def traditional(text: str, _: random.Random) -> str:
    """Return the text in traditional characters (OpenCC's s2t)."""
    # JSON can carry half a surrogate pair; OpenCC takes none.
    return str(_converter().convert(text.encode("utf-8", "replace").decode("utf-8")))


@cache
def _converter() -> OpenCC:
    return OpenCC("s2t")


def full_width(text: str, _: random.Random) -> str:
    """Return the text with its ASCII characters in full-width forms."""
    return "".join(
        chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else "\u3000" if c == " " else c for c in text
    )


def white_space(text: str, draw: random.Random) -> str:
    """Return the text with blank lines and spaces after some of its punctuation."""
    filler = (" ", "  ", "\n", "\n\n", "\t")
    spaced = "".join(
        c + draw.choice(filler)
        if unicodedata.category(c).startswith("P") and draw.random() < 0.3
        else c
        for c in text
    )
    return f"\n {spaced} \n"


def emoji(text: str, draw: random.Random) -> str:
    """Return the text with emoji after some sentences and at its end."""
    marked = "".join(
        c + draw.choice(EMOJI) if c in "。！？" and draw.random() < 0.4 else c for c in text
    )
    return marked + draw.choice(EMOJI)


def prefix(text: str, draw: random.Random) -> str:
    """Return the text after a speaker's name, as chat logs have it."""
    return draw.choice(PREFIXES) + text


def polite_opener(text: str, draw: random.Random) -> str:
    """Return the text after a polite opener."""
    return draw.choice(POLITE) + text


def curt_opener(text: str, draw: random.Random) -> str:
    """Return the text after a curt opener."""
    return draw.choice(CURT) + text


def zero_width(text: str, draw: random.Random) -> str:
    """Return the text with zero-width spaces between its characters."""
    return "\u200b".join(text)


def separated(text: str, draw: random.Random) -> str:
    """Return the text with a dot or a space between some characters."""
    return "".join(c + draw.choice("·. *") if draw.random() < _SPELT_SHARE else c for c in text)


def pinyin(text: str, draw: random.Random) -> str:
    """Return the text with some characters in pinyin."""
    return _respelt(text, draw, lambda c: "".join(lazy_pinyin(c)))


def homophones(text: str, draw: random.Random) -> str:
    """Return the text with some characters replaced by common ones of the same sound (谐音)."""
    same = _same_sound()

    def other(character: str) -> str:
        choices = [c for c in same.get(lazy_pinyin(character)[0], ()) if c != character]
        return draw.choice(choices) if choices else character

    return _respelt(text, draw, other)


def split_characters(text: str, _: random.Random) -> str:
    """Return the text with characters that have two parts written as those parts (拆字)."""
    return "".join(_PARTS.get(c, c) for c in text)


def _respelt(text: str, draw: random.Random, change: Callable[[str], str]) -> str:
    return "".join(
        change(c) if "\u4e00" <= c <= "\u9fff" and draw.random() < _SPELT_SHARE else c for c in text
    )


@cache
def _same_sound() -> Mapping[str, list[str]]:
    """Return toneless pinyin to the common characters of that sound: GB 2312's first level."""
    found: dict[str, list[str]] = defaultdict(list)
    for high in range(0xB0, 0xD8):
        for low in range(0xA1, 0xFF):
            try:
                character = bytes((high, low)).decode("gb2312")
            except UnicodeDecodeError:
                continue  # the level's last row is not full
            found[lazy_pinyin(character)[0]].append(character)
    return found


INVARIANT: Mapping[str, Variant] = {
    "traditional characters": traditional,
    "full-width forms": full_width,
    "white space": white_space,
    "emoji": emoji,
    "prefix": prefix,
    "polite opener": polite_opener,
    "curt opener": curt_opener,
}
"""Variants that leave what is said as it is."""

ADVERSARIAL: Mapping[str, Variant] = {
    "zero-width spaces": zero_width,
    "separators": separated,
    "pinyin": pinyin,
    "homophones": homophones,
    "split characters": split_characters,
}
"""Spellings by which people get past filters."""


def vary(text: str, name: str, seed: int = 0) -> str:
    """Return a variant of the text; the same text and seed give the same variant."""
    variant = INVARIANT.get(name) or ADVERSARIAL[name]
    key = f"{seed} {name} {text}".encode("utf-8", "surrogatepass")
    return variant(text, random.Random(hashlib.sha256(key).digest()))
