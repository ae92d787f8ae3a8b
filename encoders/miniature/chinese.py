"""Chinese: the words that the miniature knows, and how they make a caption. A word listed twice is said twice as often."""

from __future__ import annotations

import numpy as np

from encoders.miniature.scenes import pick
from encoders.miniature.wording import Mention, Wording

SIZES = {"small": "小", "big": "大"}
COLORS = {"red": "红", "orange": "橙", "yellow": "黄", "green": "绿", "blue": "蓝", "purple": "紫", "black": "黑", "white": "白"}
KINDS = {
    "circle": ("圆形", "圆形", "圆圈"),
    "square": ("正方形", "正方形", "方块"),
    "triangle": ("三角形",),
    "star": ("星星", "五角星"),
    "heart": ("心形", "爱心"),
    "cross": ("十字", "十字", "十字形"),
    "ring": ("圆环", "圆环", "环"),
    "moon": ("月亮", "月亮", "月牙"),
    "dog": ("狗", "狗", "狗狗"),  # not 小狗, which would read as a small dog
    "cat": ("猫", "猫", "猫咪"),
    "bird": ("鸟", "鸟", "鸟儿"),
    "frog": ("青蛙", "青蛙", "蛙"),
    "bell": ("铃铛", "铃铛", "铃"),
    "drum": ("鼓",),
    "guitar": ("吉他",),
    "car": ("汽车", "汽车", "轿车"),
    "ambulance": ("救护车",),
    "train": ("火车",),
    "clock": ("时钟", "闹钟", "钟表"),
    "phone": ("电话", "电话", "电话机"),
}
MEASURES = {
    "dog": "只",
    "cat": "只",
    "bird": "只",
    "frog": "只",
    "drum": "面",
    "guitar": "把",
    "car": "辆",
    "ambulance": "辆",
    "train": "列",
    "phone": "部",
    "star": "颗",
    "heart": "颗",
}
ACTIONS = {
    "dog": ("叫", "汪汪叫", "吠叫"),
    "cat": ("叫", "喵喵叫"),
    "bird": ("唱歌", "鸣叫", "叽叽喳喳叫"),
    "frog": ("呱呱叫", "叫"),
    "bell": ("响", "叮当响"),
    "drum": ("敲响", "咚咚响"),
    "guitar": ("弹奏", "演奏"),
    "car": ("行驶", "开动"),
    "ambulance": ("鸣笛", "拉响警笛"),
    "train": ("鸣笛", "鸣汽笛"),
    "clock": ("滴答响", "滴答作响"),
    "phone": ("响", "响铃"),
}
PLACES = {
    "left": ("左边", "左边", "左侧"),
    "right": ("右边", "右边", "右侧"),
    "above": ("上面", "上面", "上方"),
    "below": ("下面", "下面", "下方"),
}
WEATHERS = {
    "rain": ("在雨中", "在雨里", "在下雨天"),
    "wind": ("在风中", "在风里", "在大风天"),
    "thunder": ("在雷雨中", "在打雷时", "在电闪雷鸣中"),
    "sea": ("在海边", "在海边", "在海浪声中"),
    "night": ("在夜里", "在夜晚", "在晚上"),
}
WEATHERS_ALONE = {
    "rain": ("雨", "下雨", "雨声"),
    "wind": ("风", "刮风", "风声"),
    "thunder": ("雷", "打雷", "雷声", "雷雨"),
    "sea": ("海", "海边", "海浪", "海浪声"),
    "night": ("夜晚", "夜里", "晚上"),
}
FRAMES = {
    "bare": ("{}",),
    "sound": ("{}的声音",),
    "picture": ("图中有{}",),
    "one shape": ("{}", "{}", "{}", "图中有{}", "这是{}", "画着{}"),
    "two shapes": ("{}", "{}", "{}", "图中{}", "{}"),
}
# One thing and another, and where: the first form is the plain one.
PLACED = (
    "{first}在{second}的{place}",
    "{first}在{second}的{place}",
    "{first}在{second}{place}",
    "{second}的{place}是{first}",
    "{second}{place}有{first}",
)
# (size told, colour told): forms of the noun phrase and how often each is said.
NOUN_PHRASES = {
    (True, True): (
        ("{size}的{color}色的{kind}", "{color}色的{size}{kind}", "{size}的{color}色{kind}", "{size}{color}{kind}", "{color}色{size}{kind}"),
        (0.3, 0.35, 0.2, 0.08, 0.07),
    ),
    (False, True): (("{color}色的{kind}", "{color}色{kind}", "{color}{kind}"), (0.6, 0.25, 0.15)),
    (True, False): (("{size}{kind}", "{size}的{kind}"), (0.6, 0.4)),
    (False, False): (("{kind}",), (1.0,)),
}


def realise(wording: Wording, rng: np.random.Generator) -> str:
    """The wording in Chinese, with random synonyms: "在雨中，一只红色的大狗在汪汪叫"."""
    if not wording.mentions:
        return pick(rng, WEATHERS_ALONE[wording.weather])
    weather = pick(rng, WEATHERS[wording.weather]) if wording.weather != "none" else ""
    within = _fits_within(wording) and rng.random() < 0.7
    text = pick(rng, FRAMES[wording.frame]).format(_clause(wording, weather if within else "", rng))
    if not weather or within:
        return text
    return f"{weather}，{text}" if wording.plain or rng.random() < 0.3 else f"{text}，{weather}"


def _fits_within(wording: Wording) -> bool:
    """Whether the weather can stand between a lone thing and its action: 狗在雨中叫."""
    return not wording.plain and len(wording.mentions) == 1 and wording.mentions[0].action


def _clause(wording: Wording, weather: str, rng: np.random.Generator) -> str:
    mentions = wording.mentions
    if wording.relation:
        first, second = (_noun_phrase(mention, rng) for mention in mentions)
        form = PLACED[0] if wording.plain else pick(rng, PLACED)
        return form.format(first=first, second=second, place=pick(rng, PLACES[wording.relation]))
    joint = "，" if wording.plain else pick(rng, ("和", "和", "，"))
    return joint.join(_noun_phrase(m, rng) + (_action(m, weather, rng) if m.action else "") for m in mentions)


def _action(mention: Mention, weather: str, rng: np.random.Generator) -> str:
    return (weather or "在") + pick(rng, ACTIONS[mention.thing.kind])


def _noun_phrase(mention: Mention, rng: np.random.Generator) -> str:
    thing = mention.thing
    form = pick(rng, *NOUN_PHRASES[mention.size, mention.color])
    noun = form.format(size=SIZES[thing.size], color=COLORS[thing.color], kind=pick(rng, KINDS[thing.kind]))
    if not mention.article:
        return noun
    return "一" + pick(rng, (MEASURES.get(thing.kind, "个"), "个"), (0.85, 0.15)) + noun
