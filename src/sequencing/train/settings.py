"""The settings of a run: whether they are in order, and whether they are those that it began with."""

from __future__ import annotations

from pathlib import Path

from sequencing.compiled import check_compile
from sequencing.evaluate import check_tokenizer
from sequencing.loss import NORMALIZERS
from sequencing.optim import OPTIMIZERS, TEACHER_RATES, check_schedule
from sequencing.policy import OBJECTIVES
from sequencing.precision import check_precision
from sequencing.records import write_json
from sequencing.relaxed import RELAXED
from sequencing.rewards import check_reward
from sequencing.run_config import RunConfig, run_config, saved
from sequencing.selection import check_select
from sequencing.train.checkpoint import checkpoint_folders, identify
from sequencing.train.guard import check_guard
from sequencing.train.trackers import check_trackers
from sequencing.train_config import TrainConfig
from sequencing_np.config import Origin, changes, choose, read_json
from sequencing_np.errors import ConfigError, UsageError
from sequencing_np.head import MIXTURES
from sequencing_np.writing import sweep

CONFIG = "config.json"

FREE = {  # settings of [train] that may change between two starts of one run
    "steps", "epochs", "minutes", "patience", "validate_every", "validate_sentences", "validate_beam", "samples",
    "log_every", "save_minutes", "keep", "keep_models", "keep_best", "trackers", "threads", "device", "bleu_tokenize",
    "select", "guard", "recompute", "shard",
}  # fmt: skip


def check_settings(config: RunConfig) -> None:
    """ConfigError where [train] names what does not exist, or has no end."""
    train = config.train
    choose(OPTIMIZERS, train.optimizer, "train.optimizer")
    choose(NORMALIZERS, train.normalize, "train.normalize")
    check_select(train.select)
    choose(TEACHER_RATES, train.teacher.type, "train.teacher.type")
    choose(RELAXED, train.teacher.relaxed, "train.teacher.relaxed")
    check_objective(config)
    check_precision(train.precision)
    check_compile(train.compile)
    if train.bleu_tokenize:
        check_tokenizer(train.bleu_tokenize)
    check_schedule(train)
    check_guard(train.guard)
    check_shard(train)
    check_trackers(train.trackers)
    if config.model.copies and config.vocab.source.level == "vectors":
        raise ConfigError("model.decoder.copy: the source is vectors, which no text can repeat; set copy = false")
    if config.model.copies and not config.vocab.joint:
        raise ConfigError("model.decoder.copy: source and target must share their ids; set vocab.joint = true")
    if (config.model.copies or config.model.decoder.head in MIXTURES) and train.z_loss:
        raise ConfigError(
            f"train.z_loss = {train.z_loss}: a decoder that copies or mixes says probabilities, whose Z is 1; set "
            "z_loss = 0"
        )
    if not (train.steps or train.epochs or train.minutes or (train.patience and config.data.dev)):
        raise ConfigError("training would never end: set train.steps, train.epochs, train.minutes or train.patience")


def check_objective(config: RunConfig) -> None:
    """ConfigError where the objective does not exist, or would not do what was asked."""
    train, objective = config.train, config.train.objective
    row = choose(OBJECTIVES, objective.type, "train.objective.type")
    check_reward(objective.reward)
    if row.weights is None:
        return
    if objective.samples < row.samples:
        raise ConfigError(
            f"train.objective.samples = {objective.samples}: {objective.type} compares samples; "
            f"give {row.samples} or more"
        )
    taught = {
        "r_drop": train.r_drop,
        "coverage": train.coverage,
        "distill.teacher": train.distill.teacher,
        "teacher.rate": train.teacher.rate != 1 or train.teacher.type != "constant",
    }
    if wrong := [name for name, given in taught.items() if given]:
        raise ConfigError(
            f"train.{wrong[0]}: is of the taught tokens' cross entropy, and train.objective.type = {objective.type!r} "
            "learns from the model's own answers; leave one of them out"
        )


def check_shard(train: TrainConfig) -> None:
    """ConfigError where each rank is to keep a part of the model, and something does not go with it."""
    objective = train.objective.type
    if train.shard and train.same_bits:
        raise ConfigError(
            "train.shard = true adds gradients where they are kept, in an order that depends on the number of ranks; "
            "set train.same_bits = false"
        )
    if train.shard and train.optimizer == "muon":
        raise ConfigError(
            "train.shard = true keeps parts of matrices, and train.optimizer = 'muon' turns whole ones; take 'adamw'"
        )
    if train.shard and train.compile:
        raise ConfigError(
            "train.shard = true gathers a layer's weights when it is called, and compiled blocks were not tried with "
            "that; set train.compile = false"
        )
    if train.shard and OBJECTIVES[objective].baseline:
        raise ConfigError(
            f"train.shard = true: the baseline of train.objective.type = {objective!r} is not kept in parts; take an "
            "objective without one, as self_critical, or set shard = false"
        )


def taught_at_once(config: RunConfig) -> bool:
    """Whether a batch uses each layer once, however long its sentences are."""
    objective, teacher = config.train.objective, config.train.teacher
    whole = teacher.two_passes or (teacher.rate == 1 and teacher.type == "constant")
    return OBJECTIVES[objective.type].weights is None and whole


def begin_folder(folder: Path) -> None:
    """The folder of a run, if need be a new one; UsageError where it cannot be made."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{folder}: cannot be made: {error.strerror}; give another --run folder") from None


def same_run(config: RunConfig, folder: Path) -> None:
    """Save the configuration with the run; ConfigError where the folder holds a run with other settings.

    A run that has saved no checkpoint has not begun: a start that failed may be mended and made again.
    """
    begin_folder(folder)
    sweep(folder)
    path = folder / CONFIG
    if path.is_file():
        values, _ = read_json(path)
        before, now = (saved(part) for part in (run_config(values, Origin(str(path))), config))
        for side in (before, now):
            side["train"]["objective"].pop("workers")
            side["train"] = {key: value for key, value in side["train"].items() if key not in FREE}
            side["train"]["init"] = {"freeze": side["train"]["init"]["freeze"]}  # the rest is for a new run alone
            side.pop("search")
            side["data"] = {"max_length": side["data"]["max_length"], "weights": side["data"]["weights"]}
        for key, old, new in changes(before, now):
            if checkpoint_folders(folder):
                raise ConfigError(
                    f"{folder} holds a run with other settings: {key} was {old!r} and is now {new!r}. Continue with "
                    "the same ones, or give another --run folder"
                )
    elif any(folder.iterdir()):
        raise UsageError(f"{folder}: is not empty and holds no run (no {CONFIG}); give a new or empty folder")
    write_json(path, saved(config))  # first, as what makes the folder that of a run
    identify(folder)
