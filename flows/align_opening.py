"""What can refuse an alignment before any work."""

from __future__ import annotations

from pathlib import Path

from encoders import registry
from encoders.align import card as cards
from encoders.align import heads, space_folder
from encoders.align.towers import FAMILIES
from encoders.spaces import anchored, load_encoders, without_heads
from flows import secret_blocks
from flows.alignment import Alignment
from flows.pair_vectors import PairVectors
from flows.pairs_file import open_pairs
from flows.settings import AlignSettings, SettingsError
from retrieval import ranking
from storage.objects import Source
from tasks.pairs import Pairs, PairsError
from tasks.plan import RefusedError


def open_alignment(settings: AlignSettings) -> Alignment:
    """Do everything that can refuse an alignment before any work: encoders, pairs, source, and what stands in its folder.

    Raises SettingsError, EncoderError, PairsError, SourceError or RefusedError, each one clear message.
    """
    secret_blocks.install()
    specs = load_encoders(settings.space, settings.keep)
    sections = without_heads(anchored(settings.space), [m for m, spec in specs.items() if spec.head])
    pairs, digest, source = _pairs(settings)
    folder = Path(settings.out).expanduser() / settings.name
    alignment = Alignment(settings, sections, PairVectors(settings, folder, specs, pairs, source), digest)
    _refuse_encoders(alignment)
    _refuse_metric(settings.metric, pairs)
    for modality in pairs.modalities:
        registry.check(specs[modality])
    if (alignment.folder / space_folder.SPACE).exists() and not settings.replace:
        _refuse_another(alignment)
    return alignment


def _pairs(settings: AlignSettings) -> tuple[Pairs, str, Source]:
    pairs, digest, source = open_pairs(settings.pairs, settings.source, settings.limits.bytes)
    source.check()
    return pairs.only(settings.columns) if settings.columns else pairs, digest, source


def _refuse_encoders(alignment: Alignment) -> None:
    settings, specs, pairs = alignment.settings, alignment.stored.specs, alignment.pairs
    lacking = [m for m in (*pairs.modalities, *settings.keep) if m not in specs]
    if lacking:
        raise PairsError(
            f"{settings.space} has no encoder for {', '.join(dict.fromkeys(lacking))}, only for {', '.join(specs)}; add a section to its "
            f"TOML file, or name the columns to use with --columns"
        )
    if settings.train == "none":
        _refuse_strangers(alignment)
    for modality in (m for m in pairs.modalities if specs[m].head and m not in settings.keep):
        if settings.train != "none":
            raise SettingsError(
                f"space = {settings.space!r}: {modality} has a head already; give the space that was aligned, not its result"
            )
        if (head := heads.of(specs[modality])) and head.center is not None:
            raise SettingsError(f"space = {settings.space!r}: {modality} is calibrated already; calibrate what it was made from")
    trained = [m for m in pairs.modalities if m not in settings.keep]
    for modality in trained if settings.train not in {"heads", "none"} else ():
        if specs[modality].encoder not in FAMILIES:
            raise SettingsError(
                f"train = {settings.train!r}: the weights of {modality}'s encoder {specs[modality].encoder!r} cannot be trained, only "
                f"those of {', '.join(FAMILIES)}; train heads, or keep it"
            )
    if settings.hard_negatives and settings.train != "heads":
        raise SettingsError(f"hard_negatives = {settings.hard_negatives}: they are mined for heads; leave them out, or train heads")
    if not set(pairs.modalities) - set(settings.keep):
        raise SettingsError(f"keep = {', '.join(settings.keep)}: nothing is left to train; keep fewer modalities than the pairs have")
    kept = {m: specs[m].dimension for m in settings.keep}
    if kept and {*kept.values()} != {alignment.dimension}:
        sizes = ", ".join(f"{m}: {size}" for m, size in kept.items())
        raise SettingsError(f"vectors that are kept must have the dimension of the space, {alignment.dimension}, and have {sizes}")


def _refuse_strangers(alignment: Alignment) -> None:
    """Without training, encoders must share a space already, and calibration is all that is done."""
    sizes = {m: alignment.stored.specs[m].dimension for m in alignment.pairs.modalities}
    if {*sizes.values()} != {alignment.dimension}:
        told = ", ".join(f"{m}: {size}" for m, size in sizes.items())
        raise SettingsError(f"train = 'none': the encoders give vectors of {told} numbers, and share no space yet; train heads")
    if not alignment.settings.calibrate:
        raise SettingsError("train = 'none' without calibration leaves nothing to do; calibrate, or train heads")


def _refuse_metric(metric: str, pairs: Pairs) -> None:
    direction, _, name = metric.rpartition(" ")
    filled = {m: pairs.frame.get_column(m).is_not_null() for m in pairs.modalities}
    possible = [f"{a}>{b}" for a in filled for b in filled if a != b and (filled[a] & filled[b]).any()]
    if name not in ranking.METRICS or (direction and direction not in possible):
        raise SettingsError(
            f"metric = {metric!r} is none that validation gives; allowed are {', '.join(ranking.METRICS)}, alone or behind one of "
            f"{', '.join(possible)}, as in {possible[0] + ' recall@1'!r}"
        )


def _refuse_another(alignment: Alignment) -> None:
    before, now = cards.read(alignment.folder).get("asked"), alignment.asked()
    if before != now:
        other = [key for key in now if before is None or before.get(key) != now[key]]
        raise RefusedError(
            f"{alignment.folder} holds a space already, made with other {', '.join(other)}, and tables may have been made with it; choose "
            f"another --name, or --replace it"
        )
