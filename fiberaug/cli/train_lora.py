"""``fiberaug train lora``."""

from typing import Annotated

import typer

from fiberaug.cli import trainings as given

__all__ = ["lora"]

Base = Annotated[
    str,
    typer.Option(
        help="A Stable Diffusion 1 or 2 (a folder of diffusers, or an id of the Hub),"
        " or a folder of a diffusion model of fiberaug."
    ),
]


def lora(  # noqa: PLR0917  # Typer makes options of them
    shards: given.Shards,
    base: Base,
    out: given.Out,
    size: Annotated[
        str | None,
        typer.Option(help="HEIGHTxWIDTH in px, multiples of 8; default: the base's."),
    ] = None,
    prompt: Annotated[
        str | None,
        typer.Option(help='Such as "a photo of a {label}", which is the default.'),
    ] = None,
    train_images: given.Images = 1_000,
    memory: given.Memory = None,
    device: given.Device = None,
    batch_size: given.Batch = 1,
    rank: Annotated[int, typer.Option(help="Columns of an adapter.")] = 8,
    alpha: Annotated[
        float | None, typer.Option(help="Adapters add alpha / rank times as much.")
    ] = None,
    targets: Annotated[
        str, typer.Option(help="Modules that get adapters, with commas between.")
    ] = "to_q,to_k,to_v,to_out.0",
    lr: Annotated[
        str, typer.Option(help='Learning rate, such as "cosine 1e-4 1e-6".')
    ] = "1e-4",
    prior: Annotated[
        str | None,
        typer.Option(help="Images of the class: shards, or how many are to be made."),
    ] = None,
    prior_prompt: Annotated[
        str | None, typer.Option(help='What they are called: "a photo of a dog".')
    ] = None,
    prior_weight: Annotated[
        float, typer.Option(help="What one counts beside a photo.")
    ] = 1.0,
    min_snr: Annotated[
        float, typer.Option(help="Most weight of a time by its noise; 0: all alike.")
    ] = 5.0,
    noise_offset: Annotated[
        float, typer.Option(help="Of noise that a whole channel has in common.")
    ] = 0.0,
    dtype: Annotated[
        str | None, typer.Option(help="Of the frozen model, such as bfloat16.")
    ] = None,
    eight_bit: Annotated[
        bool, typer.Option("--eight-bit", help="Adam in 8 bits, by bitsandbytes.")
    ] = False,
    revision: Annotated[
        str | None, typer.Option(help="Commit of an id of the Hub.")
    ] = None,
    download: Annotated[
        bool, typer.Option("--download", help="Fetch the base from the Hub.")
    ] = False,
    unconditional: given.Unconditional = False,
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
    """Fine-tune a pretrained model on your photos, by adapters (LoRA).

    The same command goes on where an interrupted one was. The adapters are then in
    OUT/generator: `fiberaug generate BASE --lora OUT/generator ...`.
    """
    import json
    import logging

    from fiberaug.training import LoRATrainer
    from fiberaug.training.ranking import Ranks

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    trainer = LoRATrainer(
        base, shards, prompt=prompt, size=size, rank=rank, alpha=alpha,
        targets=tuple(one.strip() for one in targets.split(",")),
        prior=int(prior) if prior is not None and prior.isdigit() else prior,
        prior_prompt=prior_prompt, prior_weight=prior_weight, memory=memory, out=out,
        batch_size=batch_size, seed=seed, device=given.joined(device), dtype=dtype,
        revision=revision, download=download,
        conditional=False if unconditional else None, held_out=held_out,
        windows=windows, num_workers=workers, lr=lr, min_snr=min_snr or None,
        noise_offset=noise_offset, eight_bit=eight_bit, bf16=bf16, board=board,
        progress=not as_json, licence=licence,
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
