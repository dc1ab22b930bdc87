"""How a run learns: the table [train] of its configuration, as frozen dataclasses.

What the names in it stand for say the tables of `sequencing.optim`, `loss`, `evaluate` and `train.settings`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from sequencing_np.config import require

AUTO = "auto"  # of some settings: what a short trial finds


@dataclass(frozen=True)
class ScheduleConfig:
    """The learning rate over time: a warm-up from zero, then a row of SCHEDULES in `sequencing.optim`."""

    type: str = "inverse_square_root"
    warmup: int = 400  # steps
    half_life: int = 1000  # steps in which an exponential decay halves the rate
    final: float = 0.0  # what linear, cosine and wsd end at, and plateau does not go below, as a share of the rate
    decay: float = 0.1  # of wsd: the share of all steps, the last ones, in which the rate falls
    factor: float = 0.5  # of plateau: what the rate is multiplied by
    plateau_patience: int = 3  # of plateau: validations without a better score before it is

    def __post_init__(self) -> None:
        require(self.warmup >= 0, f"warmup {self.warmup}: must be 0 (none) or more")
        require(0 <= self.final <= 1, f"final {self.final}: must be from 0 to 1")
        require(0 < self.decay <= 1, f"decay {self.decay}: must be above 0 and at most 1 (all steps)")
        require(0 < self.factor < 1, f"factor {self.factor}: must be above 0 and below 1; 0.5 halves the rate")
        require(self.plateau_patience >= 1, f"plateau_patience {self.plateau_patience}: must be 1 or more")


@dataclass(frozen=True)
class SamplingConfig:
    """Scheduled sampling: how often the decoder reads the target's word and not its own (Bengio et al. 2015)."""

    type: str = "constant"  # a row of TEACHER_RATES in `sequencing.optim`
    rate: float = 1.0  # constant: the rate; else the rate at the start
    final: float = 0.0  # what linear decay ends at
    scale: float = 10_000.0  # steps: the slope of linear, the time constant of exponential and inverse_sigmoid
    per_sentence: bool = False
    draw: bool = False  # draw the own word from the softmax; false: take the likeliest
    relaxed: str = "none"  # a row of RELAXED in `sequencing.relaxed`: own words that are learnt through
    temperature: float = 1.0  # of these: the lower, the nearer they are to one word
    two_passes: bool = False  # own words are those that follow the target's, found in a pass before: all at once

    def __post_init__(self) -> None:
        require(0 <= self.rate <= 1 and 0 <= self.final <= 1, f"rate {self.rate}, final {self.final}: must be 0 to 1")
        require(self.scale > 0, f"scale {self.scale}: must be above 0 steps")
        require(self.temperature > 0, f"temperature {self.temperature}: must be above 0")
        one_by_one = self.relaxed == "none" or not self.two_passes
        require(one_by_one, f"relaxed {self.relaxed!r}: is of words that are said one by one; set two_passes = false")


@dataclass(frozen=True)
class InitConfig:
    """What a new run begins with, and what of it stays as it is."""

    from_run: str = ""  # a run or model folder, relative to the configuration file: its weights, where they fit
    freeze: tuple[str, ...] = ()  # weights that stay as they are: "encoder.*"; but not "!encoder.key.*"
    least: float = 0.5  # the share of all numbers that must fit, or it is an error

    def __post_init__(self) -> None:
        require(0 <= self.least <= 1, f"least {self.least}: must be from 0 to 1")


@dataclass(frozen=True)
class LoraConfig:
    """Low-rank parts beside linear layers that stay as they are (Hu et al. 2021)."""

    rank: int = 0  # 0: none
    alpha: float = 16.0  # the parts count alpha / rank
    on: tuple[str, ...] = ("*",)  # names of layers: "decoder.*", "*.query"

    def __post_init__(self) -> None:
        require(self.rank >= 0, f"rank {self.rank}: must be 0 (none) or more")
        require(self.alpha > 0, f"alpha {self.alpha}: must be above 0")
        require(bool(self.on), f'on {list(self.on)}: give at least one pattern; ["*"] is all layers')


@dataclass(frozen=True)
class DistillConfig:
    """A frozen teacher whose distribution is learnt, word by word (Hinton et al. 2015; Kim and Rush 2016)."""

    teacher: str = ""  # a run or model folder with the same vocabularies; relative to the configuration file
    weight: float = 0.5  # its share of the loss; the right words have the rest
    temperature: float = 1.0  # above 1 what it finds unlikely counts for more

    def __post_init__(self) -> None:
        require(0 < self.weight <= 1, f"weight {self.weight}: must be above 0 and at most 1 (the teacher alone)")
        require(self.temperature > 0, f"temperature {self.temperature}: must be above 0")


@dataclass(frozen=True)
class ObjectiveConfig:
    """What is made small. All but cross entropy learn from what whole answers, drawn from the model, are worth."""

    type: str = "cross_entropy"  # a row of OBJECTIVES in `sequencing.policy`
    reward: str = "bleu"  # a row of REWARDS in `sequencing.rewards`, delta_bleu, or module:function, file.py:function
    all_targets: bool = False  # all that the training data give for a source are references, and the best one counts
    samples: int = 5  # answers a sentence
    burn_in: int = 0  # steps of cross entropy alone before the model speaks (`increment`)
    increment: int = 0  # steps after which it says one token more at the end of each target; 0: all from the start
    cross_entropy: float = 0.0  # the weight of the whole target's cross entropy beside the reward
    entropy: float = 0.0  # the weight of the entropy, which is to stay large
    near: float = 0.0  # the weight of the divergence from the model `start`, which is to stay small
    start: str = ""  # that model: a run or model folder, relative to the configuration file
    dropout: bool = False  # while the encoder reads and the answers are learnt from; never while they are drawn
    longest: float = 1.5  # an answer is cut, and earns nothing, at so many times its target and five tokens
    length_guard: float = 0.0  # what is lost by another length than the target's, a share of it
    repetition_guard: float = 0.0  # what is lost by pairs of tokens said again, a share of all
    sharpness: float = 0.005  # of minimum_risk (Shen et al. 2016, equation 9: alpha)
    with_target: bool = True  # of minimum_risk: the target is a candidate too
    baseline_size: int = 128  # of reinforce: the width of the baseline
    baseline_rate: float = 1e-3  # its learning rate: it has an optimiser (Adam) of its own
    workers: int = 0  # processes that count rewards; 0: the training's own

    def __post_init__(self) -> None:
        for name in ("samples", "baseline_size"):
            require(getattr(self, name) >= 1, f"{name} {getattr(self, name)}: must be 1 or more")
        for name in ("burn_in", "increment", "cross_entropy", "entropy", "near", "length_guard", "repetition_guard"):
            require(getattr(self, name) >= 0, f"{name} {getattr(self, name)}: must be 0 (none) or more")
        require(self.workers >= 0, f"workers {self.workers}: must be 0 (none) or more")
        for name in ("sharpness", "baseline_rate"):
            require(getattr(self, name) > 0, f"{name} {getattr(self, name)}: must be above 0")
        require(self.longest >= 1, f"longest {self.longest}: must be 1 or more, or right answers would be cut")
        several = self.increment > 0 or not self.burn_in
        require(several, f"burn_in {self.burn_in}: says when the model begins to speak; set increment too")
        both = bool(self.start) or not self.near
        require(both, f"near {self.near}: stays near another model; name it as objective.start, or set near = 0")


@dataclass(frozen=True)
class GuardConfig:
    """What is done with updates that cannot be right. One whose gradient or loss is no finite number is never made."""

    patience: int = 10  # updates skipped in a row, after which it is enough
    then: str = "end"  # a row of THEN in `sequencing.train.guard`: what is done after that
    on_spike: str = "none"  # a row of SPIKES there: what is done with a gradient that is much longer than usual
    spike: float = 10.0  # times the usual norm, which is what that means
    window: int = 100  # updates over which the usual norm is the mean; nothing is a spike before there were as many

    def __post_init__(self) -> None:
        require(self.patience >= 1, f"patience {self.patience}: must be 1 (the first is enough) or more")
        require(self.spike > 1, f"spike {self.spike}: must be above 1, the usual norm")
        require(self.window >= 1, f"window {self.window}: must be 1 or more")


@dataclass(frozen=True)
class TrainConfig:
    """How to learn, and when to stop: whichever of steps, epochs, minutes and patience comes first."""

    batch_tokens: int | str = 8192  # a batch, source and target, padding included; "auto": what memory holds
    accumulate: int = 1  # batches of a step, whose gradients are summed
    same_bits: bool = False  # with several ranks: the same weights to the bit as with one, for powers of two of both
    steps: int = 0  # updates; 0: no limit
    epochs: int = 0  # passes over the data; 0: no limit
    minutes: float = 0.0  # of training, validation included; 0: no limit
    patience: int = 0  # validations without a better score before it stops; 0: never
    optimizer: str = "adam"  # a row of OPTIMIZERS in `sequencing.optim`: adam, adamw, muon, sgd
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    betas: tuple[float, ...] = (0.9, 0.98)
    momentum: float = 0.0  # sgd only
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    clip: float = 1.0  # largest norm of the gradient; 0: unbounded
    guard: GuardConfig = field(default_factory=GuardConfig)
    label_smoothing: float = 0.0
    r_drop: float = 0.0  # weight of how differently two passes with dropout answer (Liang et al. 2021, equation 4)
    z_loss: float = 0.0  # weight of log(Z)^2, Z being what the softmax divides by (Chowdhery et al. 2022, section 5)
    coverage: float = 0.0  # weight of the loss for looking at a token again (See et al. 2017, equation 12)
    normalize: str = "tokens"  # a row of NORMALIZERS in `sequencing.loss`
    teacher: SamplingConfig = field(default_factory=SamplingConfig)
    init: InitConfig = field(default_factory=InitConfig)
    lora: LoraConfig = field(default_factory=LoraConfig)
    distill: DistillConfig = field(default_factory=DistillConfig)
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    average: float = 0.0  # decay of the exponential moving average that is validated and saved; 0: none
    validate_every: int = 500  # steps
    validate_sentences: int = 1000  # of dev, for decoding; the loss is taken over all of it
    validate_beam: int = 1  # of that decoding; 1 is greedy
    bleu_tokenize: str = ""  # sacreBLEU's tokenizer (13a, zh, ja-mecab, char, none); empty: its default
    select: str = "bleu"  # what the best model is chosen by: a row of METRICS in `sequencing.selection`, or
    # module:function, file.py:function
    samples: int = 5  # src/prd/trg triples shown at each validation
    log_every: int = 50  # steps
    save_minutes: float = 5.0  # between checkpoints
    keep: int = 2  # checkpoints, the newest ones
    keep_models: int = 0  # models of the last validations, as RUN/models/STEP: to be averaged
    keep_best: int = 0  # models that did best by `select`, as RUN/best_models/STEP: to be averaged
    trackers: tuple[str, ...] = ()  # rows of TRACKERS in `sequencing.train.trackers`, or "module:Class"
    threads: int = 0  # 0: PyTorch's own choice
    precision: str = "float32"  # a row of PRECISIONS in `sequencing.precision`, or auto
    shard: bool = False  # each rank keeps a part of the model, its gradient and what the optimiser keeps of it
    compile: bool | str = False  # blocks of self-attention, by torch.compile; "auto": where a short measurement says so
    recompute: bool = False  # blocks of self-attention once more for the gradient: less memory, a third more work
    device: str = "auto"  # auto, cpu, cuda, cuda:1 …
    seed: int = 1

    def __post_init__(self) -> None:
        tokens = self.batch_tokens
        fits = tokens >= 1 if isinstance(tokens, int) else tokens == AUTO
        require(fits, f'batch_tokens {tokens!r}: must be 1 or more, or "{AUTO}"')
        positive = (
            "accumulate",
            "validate_every",
            "validate_sentences",
            "validate_beam",
            "log_every",
        )
        for name in positive:
            require(getattr(self, name) >= 1, f"{name} {getattr(self, name)}: must be 1 or more")
        require(self.keep >= 2, f"keep {self.keep}: must be 2 or more: the newest may turn out to be damaged")
        for name in NOT_NEGATIVE:
            require(getattr(self, name) >= 0, f"{name} {getattr(self, name)}: must be 0 (none) or more")
        require(self.learning_rate > 0, f"learning_rate {self.learning_rate}: must be above 0")
        require(0 <= self.label_smoothing < 1, f"label_smoothing {self.label_smoothing}: must be from 0 to below 1")
        require(0 <= self.average < 1, f"average {self.average}: must be from 0 (none) to below 1")
        two = len(self.betas) == 2 and all(0 <= beta < 1 for beta in self.betas)
        require(two, f"betas {list(self.betas)}: must be two numbers from 0 to below 1")
        require(0 <= self.momentum < 1, f"momentum {self.momentum}: must be from 0 to below 1")
        learnt = bool(self.init.from_run) or not self.lora.rank
        require(learnt, f"lora.rank {self.lora.rank}: adds to what was learnt before; set init.from_run, or rank = 0")


NOT_NEGATIVE = (
    "keep_models", "keep_best", "steps", "epochs", "minutes", "patience", "clip", "r_drop", "z_loss", "coverage",
    "weight_decay", "samples", "seed", "threads", "save_minutes",
)  # fmt: skip
