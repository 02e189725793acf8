"""``fiberaug edit``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from fiberaug.editing.options import EditOptions
    from fiberaug.synthetic.generator import ImageGenerator
    from fiberaug.synthetic.pool import Pool

__all__ = ["command"]

_PREVIEWED = 16  # photos whose windows a dry run counts


def command(  # noqa: PLR0917  # Typer makes options of them
    shards: Annotated[
        list[str], typer.Argument(help="Shards, a set, or a folder of photos.")
    ],
    base: Annotated[
        str,
        typer.Option(
            help="Folder of diffusers or of a generator, a Hub id, or module:function."
        ),
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder of the pool.")],
    mode: Annotated[
        str,
        typer.Option(
            help="image-to-image, inpaint, controlnet, controlnet-image-to-image,"
            " controlnet-inpaint or paste."
        ),
    ] = "inpaint",
    region: Annotated[str, typer.Option(help="bboxes, mask or grid.")] = "bboxes",
    what: Annotated[
        str | None,
        typer.Option(help="Repaint the object, the background or the window."),
    ] = None,
    window: Annotated[
        str, typer.Option(help="Side of windows, px: one number, or LEAST-MOST.")
    ] = "512-1024",
    margin: Annotated[int, typer.Option(help="Context around a region, px.")] = 64,
    feather: Annotated[int, typer.Option(help="Width of the ramp, px.")] = 16,
    most: Annotated[
        int, typer.Option(help="Windows of a photo, drawn by seed; 0: all.")
    ] = 8,
    copies: Annotated[int, typer.Option(help="Versions of each photo.")] = 1,
    seed: Annotated[int, typer.Option(help="Seed of the edits.")] = 0,
    classes: Annotated[
        str | None,
        typer.Option(help="Classes whose objects are edited, with commas."),
    ] = None,
    to: Annotated[
        str | None, typer.Option(help="Class that objects are replaced by.")
    ] = None,
    prompt: Annotated[
        str | None, typer.Option(help="Text; {label} and {caption} are filled in.")
    ] = None,
    negative: Annotated[str | None, typer.Option(help="Text to avoid.")] = None,
    strength: Annotated[
        float | None, typer.Option(help="How much is replaced, above 0 to 1.")
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Denoising steps.")] = None,
    guidance: Annotated[float | None, typer.Option(help="Scale of guidance.")] = None,
    sampler: Annotated[str | None, typer.Option(help="Name of the sampler.")] = None,
    match: Annotated[
        bool, typer.Option("--match", help="Match colours of pasted patches.")
    ] = False,
    labels: Annotated[
        str, typer.Option(help="auto (by the table), keep or drop-edited.")
    ] = "auto",
    ignore: Annotated[
        int, typer.Option(help="Class id of mask pixels not known any more.")
    ] = 255,
    encode: Annotated[
        str, typer.Option(help="png or webp, without loss, or keep: JPEG for JPEG.")
    ] = "png",
    lora: Annotated[
        list[str] | None, typer.Option(help="Adapter to load; may be repeated.")
    ] = None,
    lora_scale: Annotated[float, typer.Option(help="Of all adapters.")] = 1.0,
    controlnet: Annotated[
        str | None, typer.Option(help="Folder of a ControlNet.")
    ] = None,
    revision: Annotated[
        str | None, typer.Option(help="Commit of a Hub id, 40 hex digits.")
    ] = None,
    download: Annotated[
        bool, typer.Option("--download", help="Fetch a Hub id.")
    ] = False,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, ...")] = None,
    memory: Annotated[
        str | None, typer.Option(help="What the base may take, such as 8GB.")
    ] = None,
    safety: Annotated[
        bool, typer.Option("--safety", help="Let the base's safety checker look.")
    ] = False,
    split: Annotated[
        str | None,
        typer.Option(help="Part of the set; of one without parts, which it is."),
    ] = None,
    limit: Annotated[int | None, typer.Option(help="Photos, from the first.")] = None,
    shard_size: Annotated[str, typer.Option(help="Such as 256MB or 1GiB.")] = "256MB",
    on_error: Annotated[
        str, typer.Option(help="Of broken samples: skip and note, or raise.")
    ] = "skip",
    licence: Annotated[str | None, typer.Option(help="Of the samples.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done, and stop.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Edit regions of photos into a pool, labels kept.

    The same command goes on where an interrupted one was. Exit code 3 when a photo is
    broken: it is left out and stands in rejected.jsonl.
    """
    import contextlib
    import sys
    from functools import partial

    from fiberaug.editing.options import EditOptions
    from fiberaug.editing.writing import edit_pool

    given = [] if classes is None else [one.strip() for one in classes.split(",")]
    options = EditOptions(
        mode=mode, region=region, what=what, window=_sides(window), margin=margin,
        feather=feather, most=most or None, copies=copies, seed=seed,
        classes=tuple(given), to=to, prompt=prompt, negative=negative,
        strength=strength, steps=steps, guidance=guidance, sampler=sampler, match=match,
        labels=labels, ignore=ignore, encode=encode,
    )  # fmt: skip
    opened: dict[str, Any] = {
        "lora": tuple(lora or ()), "lora_scale": lora_scale, "controlnet": controlnet,
        "revision": revision, "download": download, "device": device, "memory": memory,
        "safety": safety,
    }  # fmt: skip
    source: Any = shards[0] if len(shards) == 1 else shards
    open_base = partial(_open_base, base, options, opened)
    # What the user's code prints must not stand among what a script reads.
    with contextlib.redirect_stdout(sys.stderr):
        if dry_run:
            plan = _plan(source, open_base(), options, split, limit)
        else:
            pool = edit_pool(
                source, open_base, out, split=split, limit=limit, shard_size=shard_size,
                on_error=on_error, licence=licence, progress=not as_json,
                **options.to_dict(),
            )  # fmt: skip
    if dry_run:
        _report_plan(plan, as_json=as_json)
        return
    _report(pool, as_json=as_json)
    if pool.file.state == "short":
        raise typer.Exit(3)


def _sides(text: str) -> int | tuple[int, int]:
    """Return the side of windows, or least and most.

    Raises:
        UsageError: The text is neither.
    """
    from fiberaug.errors import UsageError

    least, dash, most = text.partition("-")
    if not least.isdecimal() or (dash and not most.isdecimal()):
        raise UsageError(f"--window is a number, or LEAST-MOST in px, got {text!r:.40}")
    return (int(least), int(most)) if dash else int(least)


def _largest(options: "EditOptions") -> tuple[int, int]:
    """Return height and width of the largest window that a pipeline gets, px."""
    side = -(-options.sides[1] // 8) * 8
    return side, side


def _open_base(
    base: str, options: "EditOptions", opened: dict[str, Any]
) -> "ImageGenerator":
    """Return what edits: of a folder with ``generator.json``, code, or diffusers.

    Raises:
        UsageError: There is none, or options do not go with it.
    """
    from fiberaug.errors import UsageError
    from fiberaug.synthetic.loading import FILE, load_code, open_generator

    folder = Path(base)
    code = ":" in base and not folder.is_dir()
    if not code and not (folder / FILE).is_file():
        from fiberaug.pretrained import PretrainedPipeline

        if options.prompt is None:
            raise UsageError(
                "a pipeline of diffusers needs a text to follow, such as --prompt 'a"
                " photo of a {label}'"
            )
        if options.mode == "paste":
            return PretrainedPipeline.open(base, mode="text-to-image", **opened)
        # what the largest window takes is what has to fit
        return PretrainedPipeline.open(
            base, mode=options.mode, size=_largest(options), **opened
        )
    plain = {"lora_scale": 1.0}
    for name, value in opened.items():
        if value and value != plain.get(name):
            raise UsageError(
                f"--{name.replace('_', '-')} is for pipelines of diffusers, and {base}"
                " is a generator of its own"
            )
    return load_code(base) if code else open_generator(base)


def _plan(
    source: Any,  # noqa: ANN401  # as StreamingDataset takes it
    generator: "ImageGenerator",
    options: "EditOptions",
    split: str | None,
    limit: int | None,
) -> dict[str, Any]:
    """Return what a run would do, with the windows of the first photos."""
    from fiberaug.editing.objects import Objects
    from fiberaug.editing.parents import Parents
    from fiberaug.editing.regions import draw_regions, find_regions
    from fiberaug.editing.writing import editor_of
    from fiberaug.errors import DataRefused
    from fiberaug.pretrained import PretrainedPipeline

    memory = None
    if isinstance(generator, PretrainedPipeline) and options.mode != "paste":
        memory = generator.plan(size=_largest(options)).to_dict()
    parents = Parents.open(source, split=split)
    editor = editor_of(generator, options, parents)
    windows, broken, looked = [], 0, 0
    for job in parents.jobs(1, min(limit or _PREVIEWED, _PREVIEWED)):
        shard = parents.open_shard(job.shard)
        looked += 1
        try:
            members = shard.read(job.row)
            decoder = parents.reading.decoder
            header = decoder.header(members)
            fields = decoder(members).fields
            width, height = header.upright if header else fields["image"].shape[1::-1]
            found = find_regions(
                Objects.of(fields, width, height), options, editor.wants
            )
        except DataRefused:
            broken += 1
            continue
        key = shard.index.key(job.row)
        drawn = draw_regions(found, options.most, options.seed, f"{key} 0")
        windows.append(len(drawn))
    photos = parents.photos(limit)
    mean = sum(windows) / max(1, len(windows))
    return {
        "photos": photos, "samples": photos * options.copies, "looked_at": looked,
        "broken": broken, "windows_a_photo": round(mean, 2),
        "windows": round(mean * photos * options.copies),
        "options": options.to_dict(), "base": editor.described, "memory": memory,
    }  # fmt: skip


def _report_plan(plan: dict[str, Any], *, as_json: bool) -> None:
    import json

    from fiberaug.sizes import format_bytes

    if as_json:
        print(json.dumps(plan, indent=1))
        return
    options, base = plan["options"], plan["base"]
    print(f"photos: {plan['photos']}, {plan['samples']} samples to be made")
    print(
        f"windows: about {plan['windows']}, {plan['windows_a_photo']} a photo in the"
        f" first {plan['looked_at']}, {plan['broken']} of which are broken"
    )
    sides = "-".join(map(str, options["window"]))
    print(
        f"mode: {options['mode']}, region {options['region']}, windows of {sides} px,"
        f" feather {options['feather']} px"
    )
    print(f"base: {base.get('kind')}, {str(base.get('sha256', 'no hash'))[:16]}")
    if plan["memory"] is not None:
        peak, levers = plan["memory"]["peak_bytes"], plan["memory"]["levers"]
        print(f"memory: {format_bytes(peak)}, {', '.join(levers) or 'no lever'}")


def _report(pool: "Pool", *, as_json: bool) -> None:
    import json

    from fiberaug.synthetic.summary import figures_of, tell

    figures: dict[str, Any] = figures_of(pool.file)
    if as_json:
        print(json.dumps(figures | {"path": str(pool.path)}, indent=1))
        return
    for line in tell(figures):
        if not line.startswith("training data:"):
            print(line)
    checks = figures["checks"]
    fates = ", ".join(f"{n} {fate}" for fate, n in checks["objects"].items())
    print(
        f"edits: {checks['windows']} windows; seams {checks['seam_ratio_mean']:.3g} of"
        f" the steps around them, the steepest {checks['seam_ratio_most']:.3g}"
    )
    print(f"objects repainted: {fates or 'none'}")
    print(f"pixels outside of edits that differ: {checks['outside_differing']}")
    print(f"pool: {pool.path}")
