"""See and hear a video in one pass: frames or clips, and windows of its sound track, with their times."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from encoders.media import videos
from encoders.media.frames import FrameChoice
from encoders.media.kinds import Limits, Source
from encoders.spec import Encoder, Modality
from tasks.segments import Segment


def frames(
    encoders: Mapping[Modality, Encoder], source: Source, choice: FrameChoice, limits: Limits, alive: Callable[[], None]
) -> Iterator[tuple[Modality, Segment]]:
    """Yield segments of all modalities as they come, each with start and end in seconds by the video's clock.

    Parameters
    ----------
    encoders : "image" gets frames, "video" gets clips, "audio" gets windows of the sound track.
    choice : which frames.
    alive : called whenever something was read.
    """
    specs = {modality: encoder.spec for modality, encoder in encoders.items()}
    for part in videos.parts(source, specs, choice, limits, alive):
        yield part.modality, Segment(encoders[part.modality].prepare(part.medium), part.start, part.end)
