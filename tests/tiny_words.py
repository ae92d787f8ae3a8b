"""Tiny folders of words, and what describes an encoder with each: no training, vectors that differ clearly."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from encoders.words import segmentation
from encoders.words.vocabulary import joined, write_config, write_vocabulary
from encoders.words.word_files import write_vectors

TEXT = """
the of and to in a is that it was for on are as with his they at be this from have or by one had not but what all were when we there can
an your which their said if do will each about how up out them then she many some so these would other into has more her two like him see
time could no make than first been its who now people my made over did down only way find use may water long little very after words
called just where most know get through back much before go good new write our used me man too any day same right look think also around
another came come work three word must because does part even place well such here take why things help put years different away again
off went old number great tell men say small every found still between name should home big give air line set own under read last never
us left end along while might next sound below saw something thought both few those always looked show large often together asked house
world going want school important until form food keep children feet land side without boy once animals life enough took sometimes four
head above kind began almost live page got earth need far hand high year mother light parts country father let night following picture
being study second eyes soon times story boys since white days ever paper hard near sentence better best across during today others
however sure means knew try told young miles sun ways thing whole hear example heard several change answer room sea against top turned
learn point city play toward five using himself usually red blue green yellow black bird birds dog cat train rain sings sing ship bell
river bank money account king queen woman quick brown fox jumps lazy hello hallo wine naïve café zero six seven eight nine ten hundred
一只 红色 的 小鸟 在 雨 中 唱歌 一列 蓝色 火车
大 小 猫 狗 鸟 水 山 人 我 你 他 我们 是 有 不 了 和 这 那 天 今天 很 好 世界 你好 中文 文本 图片 声音 唱 飞 海 海边
"""


def words(folder: Path, vectors: bool = True) -> Path:
    """A few hundred words, letters and numbers with counts, and vectors of 24 numbers."""
    found = list(dict.fromkeys([*segmentation.words(TEXT), *"abcdefghijklmnopqrstuvwxyz", *map(str, range(100))]))
    n = len(found)
    counts = np.maximum(10_000 // np.arange(1, n + 1), 1)
    folder.mkdir(parents=True, exist_ok=True)
    write_vocabulary(folder, *joined(found), counts, np.minimum(counts, 500))
    write_config(folder, method="none", words=n, tokens=int(counts.sum()), documents=500, segmentation=segmentation.description())
    if vectors:
        drawn = np.random.default_rng(0).standard_normal((n, 24)).astype(np.float32)
        write_vectors(folder, drawn)
        common = drawn.mean(0)
        save_file({"component": common / np.linalg.norm(common)}, folder / "component.safetensors")
    return folder


TINY: dict[str, Callable[[Path], dict[str, Any]]] = {
    "one-hot": lambda folder: {"weights": str(words(folder, vectors=False))},
    "bag-of-words": lambda folder: {"dimension": 64},
    "word-vectors": lambda folder: {"weights": str(words(folder))},
}
