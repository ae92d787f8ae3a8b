"""The demo, as a newcomer types it: every object accounted for, and questions whose first answers are right in one list of everything."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest


@pytest.mark.slow
def test_the_demo_answers_its_own_questions(tmp_path):
    command = [sys.executable, "-m", "flows.cli", "demo", str(tmp_path / "demo"), "--direct", "--json"]
    told = json.loads(subprocess.run(command, capture_output=True, text=True, timeout=300, check=True, cwd=tmp_path).stdout)
    account = told["account"]
    assert account["listed"] == account["embedded"] + account["quarantined"] + sum(account["skipped"].values())
    assert (account["balanced"], account["quarantined"], account["unchanged"]) == (True, 9, 0)
    named = {answer["question"]: [hit["uri"].rsplit("/", 1)[1] for hit in answer["hits"]] for answer in told["answers"]}
    right = {"a dog barking": "dog", "a blue train": "blue.train", "夜晚，一只白色的猫": "cat.*night", "the picture": "bird"}
    for question, names in named.items():
        for start, fits in right.items():
            if question.startswith(start):
                assert all(re.search(fits, name) for name in names[:2]), (question, names)
    everything = {name.rsplit(".", 1)[1] for question, names in named.items() if "everything" in question for name in names}
    sounds, pictures, texts = {"wav", "flac", "ogg"}, {"png", "jpg", "webp"}, {"txt", "md", "html"}
    assert all(everything & media for media in (sounds, pictures, texts)), "one list holds texts, pictures and sounds"
