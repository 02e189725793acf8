"""``fiberaug train inversion``."""

from typing import Annotated

import typer

from fiberaug.cli import trainings as given

__all__ = ["inversion"]


def inversion(  # noqa: PLR0917  # Typer makes options of them
    shards: given.Shards,
    base: Annotated[
        str,
        typer.Option(
            help="A Stable Diffusion 1 or 2: a folder of diffusers, or an id of the"
            " Hub."
        ),
    ],
    token: Annotated[
        str, typer.Option(help='The new word, in angle brackets: "<thing>".')
    ],
    begin: Annotated[
        str, typer.Option(help='A word that it begins as, one token: "dog".')
    ],
    out: given.Out,
    vectors: Annotated[
        int, typer.Option(help="Embeddings that the word stands for, 1 to 32.")
    ] = 1,
    size: Annotated[
        str | None,
        typer.Option(help="HEIGHTxWIDTH in px, multiples of 8; default: the base's."),
    ] = None,
    prompt: Annotated[
        str | None,
        typer.Option(help='With the token; default: "a photo of <thing>".'),
    ] = None,
    train_images: given.Images = 3_000,
    memory: given.Memory = None,
    device: given.Device = None,
    batch_size: given.Batch = 1,
    lr: Annotated[
        str, typer.Option(help='Learning rate, such as "cosine 5e-3 5e-4".')
    ] = "5e-4",
    dtype: Annotated[
        str | None, typer.Option(help="Of the frozen UNet, such as bfloat16.")
    ] = None,
    revision: Annotated[
        str | None, typer.Option(help="Commit of an id of the Hub.")
    ] = None,
    download: Annotated[
        bool, typer.Option("--download", help="Fetch the base from the Hub.")
    ] = False,
    windows: given.Windows = None,
    held_out: given.HeldOut = 0.0,
    workers: given.Workers = 0,
    seed: given.Seed = 0,
    bf16: given.BF16 = None,
    board: given.Board = False,
    licence: given.Licence = None,
    dry_run: given.DryRun = False,
    as_json: given.AsJSON = False,
) -> None:
    """Teach a pretrained model one new word for what photos show (textual inversion).

    The same command goes on where an interrupted one was. The word is then in
    OUT/generator/learned_embeds.safetensors.
    """
    import json
    import logging

    from fiberaug.training import TextualInversionTrainer
    from fiberaug.training.ranking import Ranks

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    trainer = TextualInversionTrainer(
        base, shards, token=token, begin=begin, vectors=vectors, prompt=prompt,
        size=size, memory=memory, out=out, batch_size=batch_size, seed=seed,
        device=given.joined(device), dtype=dtype, revision=revision, download=download,
        held_out=held_out, windows=windows, num_workers=workers, lr=lr, bf16=bf16,
        board=board, progress=not as_json, licence=licence,
    )  # fmt: skip
    told = Ranks().is_first
    if dry_run:
        plan = trainer.plan(train_images)
        if told:
            print(json.dumps(plan.to_dict(), indent=1) if as_json else str(plan))
        return
    trainer.train(images=train_images)
    if told:
        place = out / "generator"
        print(
            json.dumps({"generator": str(place)}) if as_json else f"generator: {place}"
        )
