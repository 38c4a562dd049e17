"""mir train: f from a data set of one's own."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from make_it_real.cli import console, options
from make_it_real.training.run import CHECKPOINT, MODEL, Run, prepare
from make_it_real.weights import model_file

if TYPE_CHECKING:
    from torch import Tensor

    from make_it_real.training.config import BaseConfig
    from make_it_real.training.trainer import BaseTrainer


@console.command
def train(
    data: Annotated[
        list[Path],
        typer.Argument(help="Folders or zips of images, or folders of IDX files, as one set."),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The run's folder.")],
    start: Annotated[
        str | None,
        typer.Option(
            "--from", help="Start from this model, named as by -m, and the critic beside it."
        ),
    ] = None,
    steps: Annotated[int, typer.Option("--steps", min=1, help="Optimizer steps in all.")] = 12_000,
    minutes: Annotated[
        float | None,
        typer.Option("--minutes", min=0, help="Stop after so much training."),
    ] = None,
    objective: Annotated[
        Literal["adversarial", "ign"],
        typer.Option("--objective", help="The adversarial projector, or the paper's own."),
    ] = "adversarial",
    decay_steps: Annotated[
        int | None,
        typer.Option(
            "--decay-steps", min=0, help="Last steps, with falling learning rate [3000; ign: 0]."
        ),
    ] = None,
    batch: Annotated[
        int | None, typer.Option("--batch", min=16, help="Images a step, of 4 [64; ign: 256].")
    ] = None,
    lr: Annotated[
        float | None, typer.Option("--lr", min=0, help="Of Adam [2e-4; ign: 1e-4].")
    ] = None,
    size: Annotated[
        int | None, typer.Option("--size", min=8, help="Side in pixels, for images [64].")
    ] = None,
    channels: Annotated[
        int | None, typer.Option("--channels", min=1, max=3, help="1 or 3, for images [3].")
    ] = None,
    faces: Annotated[
        bool | None,
        typer.Option(
            "--faces/--no-faces",
            help="Find faces in the images and align them [as --from's model has it].",
        ),
    ] = None,
    flip: Annotated[bool, typer.Option("--flip", help="Mirror images at random.")] = False,
    damage: Annotated[
        str | None,
        typer.Option(
            "--damage", help="Kinds to learn to repair, by commas; twice: twice as often."
        ),
    ] = None,
    laws: Annotated[
        str | None,
        typer.Option("--laws", help="Other laws of z to learn too: white, spectral, blend."),
    ] = None,
    law_share: Annotated[
        float | None,
        typer.Option("--law-share", min=0, max=1, help="Share of z drawn by these laws [0.3]."),
    ] = None,
    augment: Annotated[
        float | None,
        typer.Option(
            "--augment",
            min=0,
            max=0.8,
            help="Share of the critic's images to change at random [by their number].",
        ),
    ] = None,
    early_stop: Annotated[
        bool | None,
        typer.Option(
            "--early-stop/--no-early-stop",
            help="Hold images out, keep the f that is nearest to them [with --from].",
        ),
    ] = None,
    norm: Annotated[
        Literal["batch", "group"] | None,
        typer.Option("--norm", help="ign: batch, as published, or group: image by image [batch]."),
    ] = None,
    source: Annotated[
        Literal["spectral", "principal", "mixture", "published", "white"] | None,
        typer.Option(
            "--source", help="The law of z [mixture or spectral, by size; ign: published]."
        ),
    ] = None,
    spread: Annotated[
        float,
        typer.Option("--spread", min=0.01, help="Draw z so many times as wide as images are."),
    ] = 1.0,
    clamp: Annotated[
        float | None, typer.Option("--clamp", help="ign: L_tight's bound, in L_rec [1.5].")
    ] = None,
    tight_rec: Annotated[
        Literal["z", "x"] | None,
        typer.Option("--tight-rec", help="ign: whose L_rec bounds L_tight, z's or x's [z]."),
    ] = None,
    lambdas: Annotated[
        str | None,
        typer.Option("--lambdas", help="ign: weights of L_rec, L_idem, L_tight [20,20,2.5]."),
    ] = None,
    accumulate: Annotated[
        int, typer.Option("--accumulate", min=1, help="Work each batch off in so many parts.")
    ] = 1,
    compiled: Annotated[
        bool | None,
        typer.Option(
            "--compile/--no-compile",
            help="Compile the networks [on CUDA from 64 pixels on, if it works].",
        ),
    ] = None,
    cached: Annotated[
        bool,
        typer.Option("--cache/--no-cache", help="Keep decoded images in the cache folder."),
    ] = True,
    critic_every: Annotated[
        int | None,
        typer.Option(
            "--critic-every",
            min=0,
            help="Let the critics have a part in each so many-th step, repair only between [1]; "
            "0: in none, and f goes on making what it made.",
        ),
    ] = None,
    projected: Annotated[
        float | None,
        typer.Option(
            "--projected", min=0, help="Weight of a critic on ImageNet's features, 2 say [none]."
        ),
    ] = None,
    energy: Annotated[
        float | None,
        typer.Option(
            "--energy",
            min=0,
            help="With --projected: share of the energy distance of features, 1 say [none].",
        ),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of everything random.")] = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the checkpoint.")] = False,
    save_every: Annotated[
        float, typer.Option("--save-every", min=0, help="Minutes between checkpoints.")
    ] = 3.0,
    name: Annotated[str | None, typer.Option("--name", help="Of the model [the folder's].")] = None,
    licence: Annotated[str, typer.Option("--licence", help="Of the weights, for their card.")] = "",
    device: options.Device = "auto",
) -> None:
    """Train f on images of your own; the run's folder gets model, checkpoint, samples and log.

    Ctrl-C saves and exits with 130; --resume goes on from there. --resume takes a new --steps,
    --decay-steps, --lr, --damage, --laws and --critic-every; the rest stays as the run was begun.
    torchrun -m make_it_real train … divides each batch among processes; the result is the same.
    """
    checkpoint = output / CHECKPOINT
    if output.exists() and not output.is_dir():
        raise typer.BadParameter(f"-o {output} is a file; name a folder")
    if resume and not checkpoint.exists():
        raise typer.BadParameter(f"{checkpoint} is not there to resume from")
    if not resume and checkpoint.exists():
        raise typer.BadParameter(f"{output} holds a run; --resume goes on with it")
    if channels == 2:
        raise typer.BadParameter("--channels is 1 or 3")
    if batch is not None and batch % 4:
        raise typer.BadParameter("--batch must be a multiple of 4")
    if start is not None and (resume or objective == "ign"):
        raise typer.BadParameter("--from begins a run of --objective adversarial")
    if objective == "ign" and (augment is not None or early_stop):
        raise typer.BadParameter("--augment and --early-stop are for --objective adversarial")
    published_only = {
        "--norm": norm, "--clamp": clamp, "--tight-rec": tight_rec, "--lambdas": lambdas,
    }  # fmt: skip
    learned = {
        "--damage": damage, "--laws": laws, "--law-share": law_share,
        "--critic-every": critic_every, "--projected": projected, "--energy": energy,
    }  # fmt: skip
    given = [option for option, value in learned.items() if value is not None]
    if given and objective == "ign":
        raise typer.BadParameter(f"{given[0]} is for --objective adversarial: the paper's has none")
    for option, weight in (("--projected", projected), ("--energy", energy)):
        if weight is not None and resume:
            raise typer.BadParameter(f"{option}: a run keeps the critics that it was begun with")
    if critic_every == 0 and start is None:
        raise typer.BadParameter("--critic-every 0 begins a run --from a model")
    if resume and spread != 1:
        raise typer.BadParameter("--spread: a run keeps the z that it was begun with")
    if energy and not projected:
        raise typer.BadParameter("--energy is of the features that --projected brings")
    for option, value in published_only.items():
        if value is not None and objective != "ign" and not resume:
            raise typer.BadParameter(f"{option} is for --objective ign")

    from make_it_real import devices, distributed
    from make_it_real.data.dataset import load
    from make_it_real.images.framing import described
    from make_it_real.training import adversarial, early_stopping, finetune, ign
    from make_it_real.training import adversarial as training
    from make_it_real.training import ign as published
    from make_it_real.training.checkpoint import objective_of
    from make_it_real.training.config import (
        PublishedConfig,
        TrainConfig,
        default_config,
        default_model,
    )
    from make_it_real.training.losses import PublishedLambdas
    from make_it_real.weights import pretrained

    chosen = distributed.begin(devices.pick(device))
    if distributed.rank():
        console.be_quiet()
    if resume:
        objective = "ign" if objective_of(checkpoint) == "ign" else "adversarial"
        if given and objective == "ign":
            raise typer.BadParameter(f"{given[0]}: this run's objective is ign, which has none")
    recipes: Any = published if objective == "ign" else training
    plain: Any = recipes.PublishedConfig() if objective == "ign" else TrainConfig()
    changes: dict[str, Any] = {
        "steps": steps,
        "decay_steps": plain.decay_steps if decay_steps is None else decay_steps,
        "lr": plain.lr if lr is None else lr,
    }
    changes |= named(
        damage, laws, law_share=law_share, critic_every=critic_every, projected=projected,
        energy=energy,
    )  # fmt: skip
    trainer: BaseTrainer
    wanted: BaseConfig
    held: Tensor | None = None
    earlier = output / MODEL if resume else None if start is None else model_file.resolve(start)
    if faces is None and earlier is not None and earlier.exists():
        faces = described(model_file.inspect(earlier).framing).faces
    faces = bool(faces)
    if resume:
        kind = ign.PublishedTrainer if objective == "ign" else adversarial.Trainer
        taught = changes.pop("damage", None)
        trainer = kind.load(checkpoint, chosen, **changes)
        config = trainer.f.config
        if taught is not None:
            check_damage(taught, config.channels)
            trainer.config = replace(trainer.config, damage=taught)
        images = load(
            data, size=config.image_size, channels=config.channels, faces=faces, cached=cached
        )
        if images.pixels.shape[1:] != (config.channels, config.image_size, config.image_size):
            raise typer.BadParameter(
                f"{_names(data)}: not the image size that this run was begun with"
            )
        images, held = early_stopping.split(images, trainer.config.hold_out, trainer.config.seed)
    else:
        if earlier is not None:
            first = pretrained.load(earlier).config
            size, channels = size or first.image_size, channels or first.channels
        images = load(data, size=size, channels=channels, faces=faces, cached=cached)
        shape = images.pixels.shape[-1], images.pixels.shape[1]
        law: dict[str, Any] = {} if source is None else {"source": source}
        changes |= {"batch": batch or plain.batch, "flip": flip, "seed": seed, "spread": spread}
        # Of many images this takes half a minute, in which nothing else is to be seen.
        console.say("fitting z to the images")
        try:
            if objective == "ign":
                config = ign.default_model(*shape, norm=norm or "batch", **law)
                if lambdas is not None:
                    changes["lambdas"] = PublishedLambdas(*map(float, lambdas.split(",")))
                bound = {"clamp": clamp, "tight_rec": tight_rec}
                changes |= {name: value for name, value in bound.items() if value is not None}
                wanted = PublishedConfig(**changes)
                trainer = ign.begin(images, config, wanted, chosen)
            else:
                watched = start is not None if early_stop is None else early_stop
                changes |= against_memorising(len(images), augment, watched)
                images, held = early_stopping.split(images, changes["hold_out"], seed)
                if earlier is None:
                    config = replace(default_model(*shape), **law)
                    wanted = default_config(config, **changes)
                    trainer = adversarial.begin(images, config, wanted, chosen)
                else:
                    trainer, notes = finetune.begin_from(earlier, images, chosen, source, **changes)
                    for note in notes:
                        console.say(note)
        except (ValueError, TypeError) as error:
            raise typer.BadParameter(f"{_names(data)}: {error}") from error
    parts = distributed.size() * accumulate
    if parts > 1 and getattr(trainer.config, "projected", False):
        raise typer.BadParameter("--projected works in one process and one part")
    if parts > 1 and (objective == "ign" or trainer.config.batch % (16 * parts)):
        raise typer.BadParameter(
            f"{parts} parts of a batch need --objective adversarial and a --batch that is a "
            f"multiple of {16 * parts}"
        )
    trainer.accumulate = accumulate
    distributed.same(trainer.state().values())
    if images.note:
        console.say(images.note)
    for reason in images.skipped[:10]:
        console.complain(f"left out: {reason}")
    console.say(
        f"{len(images):,} images of {'×'.join(map(str, images.pixels.shape[1:]))}, "
        f"f of {sum(p.numel() for p in trainer.f.parameters()):,} parameters, on {chosen}"
    )

    console.detail(f"{trainer.f.config}\n{trainer.config}")

    watch = None
    leads = distributed.rank() == 0
    if leads and held is not None and len(held) and early_stop is not False:
        before = model_file.inspect(output / MODEL).figures if resume else {}
        best = before.get("held_out_distance", float("inf"))
        watch = early_stopping.Watch(images.pixels, held, best)
        console.say(f"{len(held):,} images held out: real ones lie {watch.floor:.3f} from them")
    effort = prepare(trainer, images, compiled)
    name = name or output.resolve().name
    run = Run(output, trainer, images, name, licence, watch, effort, faces=faces)
    output.mkdir(parents=True, exist_ok=True)
    interrupted = run.follow(save_every * 60, None if minutes is None else minutes * 60)
    distributed.end()
    if interrupted:
        console.complain(f"interrupted at step {trainer.step}; --resume goes on from {checkpoint}")
        raise typer.Exit(console.INTERRUPTED)
    if leads:
        print(output / MODEL)


def _names(data: list[Path]) -> str:
    return ", ".join(map(str, data))


def named(damage: str | None, laws: str | None, **numbers: float | None) -> dict[str, Any]:
    """The fields of TrainConfig that these options name, as far as one can tell without a model.

    numbers: fields by name, None where the option is not given.
    """
    from make_it_real.training.config import TrainConfig

    changes: dict[str, Any] = {}
    for option, name, text in (("--damage", "damage", damage), ("--laws", "laws", laws)):
        if text is not None:
            changes[name] = tuple(text.split(",")) if text else ()
            try:
                TrainConfig(**{name: changes[name]})
            except ValueError as error:
                raise typer.BadParameter(f"{option}: {error}") from error
    return changes | {name: value for name, value in numbers.items() if value is not None}


def check_damage(kinds: tuple[str, ...], channels: int) -> None:
    from make_it_real.degradations import kinds as degradations_kinds

    try:
        degradations_kinds.check_damage(kinds, channels)
    except ValueError as error:
        raise typer.BadParameter(f"--damage: {error}") from error


def against_memorising(n: int, augment: float | None, watched: bool) -> dict[str, Any]:
    """The settings that keep f from learning n images by heart, announced on stderr."""
    from make_it_real.training.augment import share_for
    from make_it_real.training.early_stopping import LEAST, share_out

    share = share_for(n) if augment is None else augment
    if share:
        console.say(
            f"{n:,} images: {share:.0%} of what the critic sees, real and made alike, is moved, "
            f"masked or lit at random (--augment)"
        )
    if watched and n < LEAST:
        console.say(f"under {LEAST} images none is held out: training runs to its last step")
    return {"augment": share, "hold_out": share_out(n) if watched else 0}
