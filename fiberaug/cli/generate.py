"""``fiberaug generate``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

if TYPE_CHECKING:
    from collections.abc import Callable

    from fiberaug.pretrained.plans import Plan
    from fiberaug.synthetic.generator import ImageGenerator
    from fiberaug.synthetic.pool import Pool

__all__ = ["command"]


def command(  # noqa: PLR0917  # Typer makes options of them
    model: Annotated[
        str,
        typer.Argument(
            help="Folder of a generator or of a Stable Diffusion of diffusers, an id of"
            " the Hub with --revision, or module:function."
        ),
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder of the pool.")],
    per_class: Annotated[
        int | None, typer.Option(help="Samples of each class.")
    ] = None,
    count: Annotated[int | None, typer.Option(help="Samples in all.")] = None,
    classes: Annotated[
        str | None,
        typer.Option(
            help="Names of classes, with commas; default: all. Of a pretrained pipeline"
            " the names that {label} in the prompt stands for."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the pool.")] = 0,
    batch_size: Annotated[int, typer.Option(help="Samples made at a time.")] = 16,
    processes: Annotated[int, typer.Option(help="Processes that generate.")] = 1,
    encode: Annotated[
        str, typer.Option(help="png or webp, without loss, or jpeg.")
    ] = "png",
    shard_size: Annotated[str, typer.Option(help="Such as 256MB or 1GiB.")] = "256MB",
    keep_duplicates: Annotated[
        bool, typer.Option("--keep-duplicates", help="Keep samples of equal pixels.")
    ] = False,
    against: Annotated[
        str | None, typer.Option(help="Training shards that nothing may be a copy of.")
    ] = None,
    licence: Annotated[str | None, typer.Option(help="Of the samples.")] = None,
    truncation: Annotated[
        float | None,
        typer.Option(help="Of a GAN's latents, such as 0.7: less is less varied."),
    ] = None,
    steps: Annotated[
        int | None, typer.Option(help="Denoising steps of a diffusion model.")
    ] = None,
    sampler: Annotated[
        str | None,
        typer.Option(help="ddim, ddpm, dpmsolver++ or unipc; pretrained: euler, lcm."),
    ] = None,
    guidance: Annotated[
        float | None, typer.Option(help="Scale of guidance; 1: none.")
    ] = None,
    prompt: Annotated[
        str | None, typer.Option(help='Such as "a photo of a {label}".')
    ] = None,
    negative: Annotated[str | None, typer.Option(help="Text to avoid.")] = None,
    size: Annotated[
        str | None, typer.Option(help="HEIGHTxWIDTH, px, multiples of 8.")
    ] = None,
    lora: Annotated[
        list[Path] | None, typer.Option(help="Adapter, .safetensors; several: again.")
    ] = None,
    lora_scale: Annotated[float, typer.Option(help="Of adapters.")] = 1.0,
    embedding: Annotated[
        list[Path] | None, typer.Option(help="Learned word, .safetensors.")
    ] = None,
    revision: Annotated[
        str | None, typer.Option(help="Commit of an id of the Hub, 40 hex digits.")
    ] = None,
    download: Annotated[
        bool, typer.Option("--download", help="Fetch it from the Hub.")
    ] = False,
    memory: Annotated[
        str | None, typer.Option(help="Most that each process may take, such as 8GB.")
    ] = None,
    safety: Annotated[
        bool, typer.Option("--safety", help="Let its safety checker look at each.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what it would take, and end.")
    ] = False,
    condition: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE",
            help="What else the generator understands; VALUE is JSON or text.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Write a pool of synthetic samples, with where each comes from.

    The same command goes on where an interrupted one was. Exit code 3 when a class has
    fewer samples than were asked for, because too many were refused.
    """
    import contextlib
    import sys
    from functools import partial

    from fiberaug.synthetic.loading import open_generator
    from fiberaug.synthetic.pool import Pool

    names = None if classes is None else [one.strip() for one in classes.split(",")]
    told: dict[str, Any] = {
        "prompt": prompt, "negative": negative, "size": _size(size),
        "lora": lora, "embeddings": embedding, "revision": revision,
        "memory": memory, "download": download or None, "safety": safety or None,
    }  # fmt: skip
    told = {name: value for name, value in told.items() if value is not None}
    make: Callable[[], ImageGenerator] = partial(open_generator, model)
    if _is_pretrained(model, hub=revision is not None or download):
        from fiberaug.pretrained import PretrainedPipeline

        make = partial(
            PretrainedPipeline.open, model, classes=names or (), lora_scale=lora_scale,
            **told,
        )  # fmt: skip
        names = None
    elif told or dry_run:
        _refuse(model, next(iter(told), "dry-run"))
    given = {
        "truncation": truncation, "steps": steps, "sampler": sampler,
        "guidance": guidance,
    }  # fmt: skip
    conditions = _conditions(condition or [], given)
    # What the user's code prints must not stand among what a script reads.
    with contextlib.redirect_stdout(sys.stderr):
        plan = make().plan(**conditions) if dry_run else None  # type: ignore[attr-defined]
    if plan is not None:
        _print_plan(plan, as_json=as_json)
        return
    with contextlib.redirect_stdout(sys.stderr):
        pool = Pool.write(
            make, out, per_class=per_class, count=count,
            classes=names, seed=seed, batch_size=batch_size, processes=processes,
            encoding=encode, shard_size=shard_size, dedupe=not keep_duplicates,
            against=against, licence=licence, progress=not as_json,
            conditions=conditions,
        )  # fmt: skip
    _report(pool, as_json=as_json)
    if pool.file.state == "short":
        raise typer.Exit(3)


def _is_pretrained(model: str, *, hub: bool) -> bool:
    """Return whether a model is a pipeline that others trained.

    Args:
        model: As it was given.
        hub: Whether it is an id of the Hub, if it is no folder.
    """
    from fiberaug.synthetic.loading import FILE

    folder = Path(model)
    if folder.is_dir():
        ours = (folder / FILE).exists()
        return not ours and (folder / "model_index.json").exists()
    return hub


def _refuse(model: str, name: str) -> NoReturn:
    from fiberaug.errors import UsageError

    option = {"embeddings": "embedding"}.get(name, name)
    raise UsageError(
        f"--{option} is for a pretrained pipeline, and {model} is none: a folder of"
        " diffusers has a model_index.json and no generator.json"
    )


def _size(text: str | None) -> tuple[int, int] | None:
    """Return height and width.

    Raises:
        UsageError: It is neither HEIGHTxWIDTH nor one number.
    """
    from fiberaug.errors import UsageError

    if text is None:
        return None
    sides = text.lower().split("x")
    if len(sides) not in (1, 2) or not all(side.isdecimal() for side in sides):
        raise UsageError(
            f"--size must be HEIGHTxWIDTH, such as 512x768, got {text!r:.40}"
        )
    return int(sides[0]), int(sides[-1])


def _conditions(pairs: list[str], given: dict[str, Any]) -> dict[str, Any]:
    """Return what the generator is told, by name.

    Raises:
        UsageError: A pair is no NAME=VALUE, or a name comes twice.
    """
    import json

    from fiberaug.errors import UsageError

    found = {name: value for name, value in given.items() if value is not None}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals or not name.isidentifier():
            raise UsageError(f"--condition must be NAME=VALUE, got {pair!r:.80}")
        if name in found:
            raise UsageError(f"the condition {name} is given twice")
        try:
            found[name] = json.loads(text)
        except (ValueError, RecursionError):
            found[name] = text
    return found


def _print_plan(plan: "Plan", *, as_json: bool) -> None:
    import json

    print(json.dumps(plan.to_dict(), indent=1) if as_json else plan)


def _report(pool: "Pool", *, as_json: bool) -> None:
    import json

    from fiberaug.synthetic.summary import figures_of, tell

    figures: dict[str, Any] = figures_of(pool.file)
    if as_json:
        print(json.dumps(figures | {"path": str(pool.path)}, indent=1))
        return
    for line in tell(figures):
        print(line)
    print(f"pool: {pool.path}")
