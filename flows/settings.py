"""Settings of a run: frozen models, read from a TOML file or flags, and shown as a form in Prefect's UI."""

from __future__ import annotations

from dataclasses import fields
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, model_validator

from encoders.media.kinds import Limits

GIB = 1 << 30


class SettingsError(ValueError):
    """A setting is unknown or out of range; found before any work."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class LimitSettings(_Frozen):
    """What one object may cost. Checked before decoding where the object says it; an object beyond a limit goes to quarantine."""

    bytes: int = Field(4 * GIB, gt=0, description="Largest object, in bytes.")
    pixels: int = Field(100_000_000, gt=0, description="Largest picture, width times height.")
    sound_seconds: float = Field(12 * 3600.0, gt=0, description="Longest sound, in seconds.")
    characters: int = Field(100_000_000, gt=0, description="Longest text, in characters.")
    video_seconds: float = Field(12 * 3600.0, gt=0, description="Longest video, in seconds.")
    frame_pixels: int = Field(36_000_000, gt=0, description="Largest frame of a video, width times height.")
    seconds: float = Field(30.0, gt=0, description="Longest time that decoding an object may take without progress, in seconds.")
    memory: int = Field(2 * GIB, gt=0, description="Most memory that decoding an object may take, in bytes.")
    rows: int = Field(10_000_000, gt=0, description="Most rows of a table file.")
    row_characters: int = Field(1_000_000, gt=0, description="Longest text of a table's row, its caption included, in characters.")

    def of_one_object(self) -> Limits:
        """Those that decoders check."""
        return Limits(**{each.name: getattr(self, each.name) for each in fields(Limits)})


class TableSettings(_Frozen):
    """Which columns of JSONL, CSV, TSV and Parquet files hold texts. Without a text column such files are skipped."""

    text: str = Field("", description="Column whose texts are embedded, one row of the file an object of its own.")
    id: str = Field("", description="Column that names a row for good; without it rows are named by their number, from 0.")
    caption: str = Field("", description="Column put in front of each text, embedded and found with it: a title, a caption.")

    @model_validator(mode="after")
    def _text_first(self) -> Self:
        if not self.text and (self.id or self.caption):
            raise ValueError("tables.id and tables.caption need tables.text: the column whose texts are embedded")
        return self


class FrameSettings(_Frozen):
    """Which frames of a video are embedded. It changes which rows there are, and no vector; videos in the table stay as they are."""

    every: float = Field(2.0, gt=0, description="Seconds between frames; a picture that stands still is taken once.")
    rate: float = Field(0.0, ge=0, description="Frames a second, instead of every; 0 goes by every.")
    scene: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="Take a frame where it differs so much from the one before (0.1: cuts), instead of by time; 0 goes by time.",
    )
    most: int = Field(2000, gt=0, description="Most frames of one video, spread over all of it.")

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.rate and self.scene:
            raise ValueError("frames.rate and frames.scene exclude each other: frames are taken by time or by change")
        return self


class EmbedSettings(_Frozen):
    """Embed what a source holds and the table does not yet."""

    source: str = Field("", description="Where the objects are: a folder, or s3://bucket/prefix, gs://…, az://…, https://…")
    database: str = Field("", description="LanceDB database: a folder, or an object-store URL.")
    table: str = Field("media", pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", description="Table in the database; holds exactly one space.")
    space: str = Field("miniature", description="A space's name (see `sensorium encoders`) or the path of its TOML file.")
    floor: float = Field(
        0.6, ge=0, le=1, description="The run fails if a smaller share of the readable objects than this ends up embedded."
    )
    allow_deletions: bool = Field(False, description="Go on although the source suddenly lacks a large share of what the table holds.")
    most_vanished: float = Field(0.5, ge=0, le=1, description="Share of the table's objects whose sudden absence stops the run.")
    workers: int = Field(0, ge=0, description="Processes that decode; 0 means one per core.")
    ahead: int = Field(0, ge=0, description="Shards prepared ahead of the encoder; 0 means one more than there are workers.")
    shard_objects: int = Field(512, gt=0, description="Most objects in a shard.")
    shard_bytes: int = Field(256 << 20, gt=0, description="Most bytes of objects in a shard, unless one alone is larger.")
    batch: int = Field(64, gt=0, description="Segments in one forward pass.")
    device: str = Field("auto", description="auto, cpu, cuda, or cuda:N.")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto", description="Number format of the model; auto takes what is fast here."
    )
    scratch: str = Field("", description="Folder for files between tasks; empty means the system's temporary folder.")
    tables: TableSettings = Field(default_factory=TableSettings, description="Columns of table files that hold texts.")
    frames: FrameSettings = Field(default_factory=FrameSettings, description="Which frames of videos are embedded.")
    limits: LimitSettings = Field(default_factory=LimitSettings, description="What one object may cost.")


class TrainWordsSettings(_Frozen):
    """Train words, or vectors of words, on the texts of a source."""

    source: str = Field(min_length=1, description="Where the texts are: a folder, or s3://bucket/prefix, gs://…, az://…, https://…")
    output: str = Field("words", min_length=1, description="Folder that is made.")
    method: Literal["skip-gram", "cbow", "glove", "vocabulary"] = Field("skip-gram", description="vocabulary only counts words.")
    dimension: int = Field(100, gt=0, le=4096, description="Length of a vector.")
    window: int = Field(5, gt=0, le=100, description="Neighbours on each side.")
    min_count: int = Field(5, gt=0, description="Words that occur more rarely are left out.")
    most_words: int = Field(400_000, gt=1, description="Most words that are kept, the most frequent ones.")
    epochs: int = Field(0, ge=0, description="Passes over the texts; 0 means 5, for glove 25.")
    seed: int = Field(1, ge=0, description="Of all that is drawn: the same seed and texts give the same vectors.")
    x_max: float = Field(100.0, gt=0, description="Of glove: the count from which on all pairs weigh the same; 10 suits a few megabytes.")
    floor: float = Field(0.6, ge=0, le=1, description="The command fails if a smaller share of the texts than this could be read.")
    scratch: str = Field("", description="Folder for files on the way, about twice the size of the texts; for glove some times as much.")
    tables: TableSettings = Field(default_factory=TableSettings, description="Columns of table files that hold texts.")
    limits: LimitSettings = Field(default_factory=LimitSettings, description="What one text may cost.")


class ShareSettings(_Frozen):
    """How pairs are divided, by the content of their media."""

    train: float = Field(0.8, ge=0, le=1, description="Share that is trained on.")
    validation: float = Field(0.1, ge=0, le=1, description="Share that decides when to stop, and how to calibrate.")
    test: float = Field(0.1, ge=0, le=1, description="Share that is read once, when all is done, for the figures.")


class AlignSettings(_Frozen):
    """Learn from pairs how encoders come into one space."""

    pairs: str = Field("", description="Parquet, CSV or JSONL with columns text, image, audio, video: a file, or its URL in a bucket.")
    space: str = Field("miniature", description="The encoders: a space's name or TOML file; they need not share a dimension.")
    name: str = Field("", pattern=r"^([A-Za-z0-9][A-Za-z0-9_.-]*)?$", description="Of the new space, and of its folder.")
    out: str = Field(".", min_length=1, description="Folder in which that folder is made.")
    source: str = Field("", description="Where relative URIs begin: a folder or a URL; empty means the folder of the pairs.")
    columns: tuple[Literal["text", "image", "audio", "video"], ...] = Field(
        (), description="Columns of the pairs that are used; none: all."
    )
    head: Literal["linear", "mlp", "residual"] = Field("residual", description="What is trained behind each encoder.")
    hidden: int = Field(0, ge=0, le=65_536, description="Width of a head's hidden layer; 0 means twice its larger side.")
    dimension: int = Field(
        0, ge=0, le=65_536, description="Of the new space; 0 means the largest of the encoders', or that of what is kept."
    )
    keep: tuple[Literal["text", "image", "audio", "video"], ...] = Field(
        (), description="Modalities whose vectors stay as they are; the others are trained to them."
    )
    train: str = Field(
        "heads",
        pattern=r"^(heads|all|scratch|none|last:[0-9]+)$",
        description="heads; or the encoders, too: their last:N blocks, all of them, or scratch: all from random weights; or none: a space "
        "that exists is calibrated alone.",
    )
    loss: Literal["info-nce", "multi-positive", "sigmoid"] = Field("info-nce", description="What training minimises.")
    weights: dict[str, NonNegativeFloat] = Field(
        default_factory=dict, description='Of pairs of modalities, such as {"image-audio": 0.5}; 1 where none.'
    )
    batch: int = Field(1024, ge=2, description="Pairs of one step; fewer where there are fewer.")
    chunk: int = Field(
        0, ge=0, description="Pairs that go through an encoder at once (GradCache); 0 means all, or 64 where encoders are trained, too."
    )
    steps: int = Field(0, ge=0, description="How long to train; 0 means 1000 steps, unless epochs says it.")
    epochs: int = Field(0, ge=0, description="Passes over the pairs, instead of steps.")
    learning_rate: float = Field(0.0, ge=0, description="0 means 0.001 for heads, 0.00002 for encoders, 0.0005 for those from scratch.")
    weight_decay: float = Field(0.05, ge=0, description="Of AdamW.")
    warm_up: float = Field(0.05, ge=0, le=1, description="Share of the steps in which the learning rate rises.")
    hard_negatives: int = Field(0, ge=0, le=64, description="Near but wrong neighbours of each pair that stand beside it in the batch.")
    metric: str = Field("mrr", description='Of the validation, decides which weights are kept: "mrr", "recall@1", "text>image recall@5" …')
    evaluate_every: int = Field(50, gt=0, description="Steps between two validations.")
    patience: int = Field(5, ge=0, description="Validations without a better one after which training stops; 0 never stops it.")
    calibrate: bool = Field(True, description="Close the gap between modalities, where validation says that it helps.")
    checkpoint_every: float = Field(30.0, ge=0, description="Seconds between two checkpoints.")
    seed: int = Field(1, ge=0, description="Of all that is drawn: the same seed and pairs give the same weights.")
    shares: ShareSettings = Field(default_factory=ShareSettings, description="How pairs are divided.")
    replace: bool = Field(
        False, description="Replace a space of this name that was trained otherwise; tables made with it cannot be asked then."
    )
    allow_deletions: bool = Field(False, description="Go on although much is gone of what earlier pairs named.")
    workers: int = Field(0, ge=0, description="Processes that decode; 0 means one per core.")
    encode_batch: int = Field(64, gt=0, description="Segments in one forward pass of embedding.")
    device: str = Field("auto", description="auto, cpu, cuda, or cuda:N.")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field("auto", description="Number format in which encoders embed.")
    scratch: str = Field("", description="Folder for files between tasks; empty means the system's temporary folder.")
    limits: LimitSettings = Field(default_factory=LimitSettings, description="What one object may cost.")

    @model_validator(mode="after")
    def _one_length(self) -> Self:
        if self.steps and self.epochs:
            raise ValueError("steps and epochs exclude each other: give one of them")
        return self


class BridgeSettings(_Frozen):
    """Join two spaces that share text, by captions alone."""

    a: str = Field(min_length=1, description="The space that stays as it is: a space's name or TOML file.")
    b: str = Field(min_length=1, description="The space that is mapped into it.")
    captions: str = Field(min_length=1, description="A text file with a caption a line; or Parquet, CSV, TSV or JSONL.")
    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", description="Of the new space, and of its folder.")
    out: str = Field(".", min_length=1, description="Folder in which that folder is made.")
    column: str = Field("text", min_length=1, description="Of a table of captions, the column that holds them.")
    memory_a: str = Field("", description="A database that was embedded with space A: any pictures, in no pairs. Better with one.")
    memory_b: str = Field("", description="A database that was embedded with space B: any sounds, in no pairs. Better with one.")
    table: str = Field("media", pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", description="Table in either database.")
    most: int = Field(20_000, gt=0, description="Most vectors that are drawn from a memory.")
    method: Literal["ridge", "procrustes", "mlp"] = Field("ridge", description="Least squares, a rotation, or C-MCR's trained projector.")
    ridge: float = Field(0.0, ge=0, description="Strength of the ridge; 0 means 0.1 with both memories and 1 without.")
    temperature: float = Field(0.02, gt=0, description="Of the softmax with which captions look into a memory.")
    noise: float = Field(0.7, ge=0, description="Length of the noise added to vectors while a projector is trained.")
    intra: float = Field(0.1, ge=0, description="Weight of C-MCR's intra-MCR loss while a projector is trained.")
    steps: int = Field(500, gt=0, description="Of a projector's training.")
    seed: int = Field(1, ge=0, description="Of all that is drawn.")
    replace: bool = Field(False, description="Replace a space of this name; tables made with it cannot be asked then.")
    batch: int = Field(64, gt=0, description="Captions in one forward pass.")
    device: str = Field("auto", description="auto, cpu, cuda, or cuda:N.")


class ScoreSettings(_Frozen):
    """Measure how well a table answers pairs that are known."""

    database: str = Field("", description="LanceDB database: a folder, or an object-store URL.")
    pairs: str = Field("", description="Parquet, CSV or JSONL with columns text, image, audio, video.")
    table: str = Field("media", pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", description="Table in the database.")
    source: str = Field("", description="Where relative URIs begin: a folder or a URL; empty means the folder of the pairs.")
    split: Literal["all", "train", "validation", "test"] = Field("all", description="Which side of the pairs, as align divides them.")
    seed: int = Field(1, ge=0, description="Of the division, as in align, of the bootstrap, and of what is drawn.")
    shares: ShareSettings = Field(default_factory=ShareSettings, description="How pairs are divided, as in align.")
    among: Literal["table", "pairs"] = Field("table", description="What is found: all that the table holds, or the pairs' objects alone.")
    against: str = Field("", description="Another database to score on the very same pairs.")
    against_table: str = Field("", description="Its table; empty means of the same name.")
    at_least: tuple[str, ...] = Field((), description='What must be reached, such as "text>image recall@1=0.5", or the run fails.')


class MaintainSettings(_Frozen):
    """Keep a table's index good and the table small."""

    database: str = Field("", description="LanceDB database: a folder, or an object-store URL.")
    table: str = Field("media", pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", description="Table in the database.")
    recall: float = Field(
        0.98, gt=0, le=1, description="Share of the ten nearest that the index must surely find, for every kind of question."
    )
    index_from: int = Field(0, ge=0, description="Rows from which an index is made; 0 decides by rows times dimension (10 million).")
    questions: int = Field(300, ge=10, le=10_000, description="Rows of each kind that are asked to measure recall; 0.98 takes 133.")
    keep_days: float = Field(7.0, ge=0, description="Versions older than this are dropped; what is published never is.")
    seed: int = Field(1, ge=0, description="Of the rows that are drawn.")
